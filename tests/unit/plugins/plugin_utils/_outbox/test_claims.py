# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each event goes to one sender at a time, in order for each change, paced, and is forgotten in the end."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outboxes import (
    DAY,
    LEASE,
    ME,
    START,
    TWO,
    Clock,
    claimed,
    claimed_by,
    counts,
    deliver_all,
    event,
    outbox_in,
    outcome,
    status_of,
)

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import claims, integrations
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    FILE_NAME,
    Database,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import GIVEN_UP
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch


def test_events_of_one_change_go_one_after_the_other(outbox: Outbox) -> None:
    for status in ("Planned", "Processing", "Done"):
        outbox.put(event(status=status))
    outbox.put(event("b"))
    first, other = claimed(outbox), claimed(outbox)
    assert (status_of(first), other.change_key) == ("Planned", "b")
    assert outbox.claims.claim(LEASE) == START + LEASE
    outbox.claims.delivered(first, "r")
    assert status_of(claimed(outbox)) == "Processing"


def test_a_refused_event_makes_way(outbox: Outbox) -> None:
    outbox.put(event())
    outbox.put(event(status="Done"))
    outbox.claims.refused(claimed(outbox), ApiError("no", False, 400, "InvalidParameter", "r"))
    assert status_of(claimed(outbox)) == "Done"


def test_nothing_waits(outbox: Outbox) -> None:
    outbox.of(TWO).put(event())
    assert outbox.claims.claim(LEASE) is None


def test_a_failed_event_waits_and_so_does_what_is_behind_it(outbox: Outbox, clock: Clock) -> None:
    outbox.put(event())
    outbox.put(event(status="Done"))
    first = claimed(outbox)
    outbox.claims.failed(first, ApiError("busy", True, 500), START + 5, START)
    assert outbox.claims.claim(LEASE) == START + 5
    clock.time += 5
    again = claimed(outbox)
    assert (again.uid, again.tries) == (first.uid, 2)


def test_a_pause_holds_the_whole_integration_and_no_other(outbox: Outbox, clock: Clock) -> None:
    for box in (outbox, outbox.of(TWO)):
        for key in "ab":
            box.put(event(key))
    outbox.claims.failed(claimed(outbox), ApiError("refused", True, None), START, START + 30)
    assert (outbox.claims.claim(LEASE), outbox.claims.pause.error, outbox.claims.pause.failures) == (
        START + 30,
        "refused",
        1,
    )
    claimed(outbox.of(TWO))
    outbox.claims.clear_pause()
    claim = claimed(outbox)
    outbox.claims.failed(claim, ApiError("refused", True, None), START, START + 30)
    clock.time += 30
    outbox.claims.delivered(claimed(outbox), "r")
    assert (outbox.claims.pause.failures, outbox.claims.pause.error) == (0, None)


def test_the_end_of_a_run_tries_once_more_where_the_api_was_down(outbox: Outbox, clock: Clock) -> None:
    outbox.runs.open("run", Watch(ME, "", "killed"), [event()])
    outbox.claims.failed(claimed(outbox), ApiError("refused", True, None), START, START + 60)
    tried = outbox.claims.try_now("run")
    assert tried == (1, True)
    assert not outbox.claims.is_stuck("run", tried, START + 10)
    outbox.claims.failed(claimed(outbox), ApiError("refused", True, None), START, START + 120)
    assert outbox.claims.is_stuck("run", tried, START + 10)


def test_the_end_of_a_run_keeps_to_a_pause_that_flashduty_asked_for(outbox: Outbox, clock: Clock) -> None:
    outbox.runs.open("run", Watch(ME, "", "killed"), [event()])
    outbox.claims.failed(claimed(outbox), ApiError("too many", True, 429), START, START + 2)
    assert outbox.claims.is_stuck("run", outbox.claims.try_now("run"), START + 10)
    assert outbox.claims.claim(LEASE) == START + 2


def test_the_end_of_a_run_waits_for_three_tries_where_the_api_was_well(outbox: Outbox, clock: Clock) -> None:
    outbox.runs.open("run", Watch(ME, "", "killed"), [event()])
    tried = outbox.claims.try_now("run")
    assert tried == (0, False)
    for pause, stuck in ((1, False), (2, False), (4, True)):
        outbox.claims.failed(claimed(outbox), ApiError("refused", True, None), clock.time, clock.time + pause)
        assert outbox.claims.is_stuck("run", tried, START + 10) is stuck
        clock.time += pause
    assert not outbox.claims.is_stuck("another run", tried, START + 10)


def test_a_claim_is_lost_when_its_lease_ends(outbox: Outbox, clock: Clock) -> None:
    put = outbox.put(event())
    lost = claimed(outbox)
    clock.time += LEASE + 1
    mine = claimed(outbox)
    assert mine.uid == put.uid
    outbox.claims.failed(lost, ApiError("late", True, None), START, START)
    assert outcome(outbox, put.uid).state == "sending"
    outbox.claims.delivered(lost, "late but true")
    assert outcome(outbox, put.uid).request_id == "late but true"
    outbox.claims.refused(mine, ApiError("no", False, 400, None, None))
    assert outcome(outbox, put.uid).state == "delivered"


def test_the_claims_of_a_dead_process_are_taken_back_at_once(outbox: Outbox, dead: Process) -> None:
    outbox.put(event("a"))
    outbox.put(event("b"))
    outbox.put(event("c"))
    claimed_by(dead, outbox)
    claimed(outbox)
    claimed_by(dead._replace(host="elsewhere"), outbox)
    outbox.claims.release_dead()
    assert counts(outbox) == {"waiting": 1, "sending": 2}
    assert claimed(outbox).change_key == "a"


def test_two_senders_never_hold_one_event(tmp_path: Path) -> None:
    with outbox_in(tmp_path) as outbox:
        for number in range(24):
            outbox.put(event(str(number)))

    def all_claims(_number: int) -> list[str]:
        found = []
        with outbox_in(tmp_path) as mine:
            while isinstance(claim := mine.claims.claim(LEASE), Claim):
                found.append(claim.uid)
        return found

    with ThreadPoolExecutor(4) as pool:
        everything = [number for found in pool.map(all_claims, range(4)) for number in found]
    assert sorted(everything) == sorted(set(everything))
    assert len(everything) == 24


def test_the_pace_stays_within_the_published_limits(outbox: Outbox, clock: Clock) -> None:
    # 1100 sends past a whole window: more than a minute's worth.
    for number in range(1100):
        outbox.put(event(str(number)))
    outbox.of(TWO).put(event())
    sent: list[float] = []
    while outbox.events.pending():
        claim = outbox.claims.claim(LEASE)
        if isinstance(claim, Claim):
            sent.append(clock.time)
            outbox.claims.delivered(claim, "r")
        else:
            assert claim is not None
            assert claim > clock.time
            other = outbox.of(TWO).claims.claim(LEASE)
            if isinstance(other, Claim):
                outbox.of(TWO).claims.delivered(other, "r")
            else:
                assert other is None
            clock.time = claim
    for span, most in ((1.0, 100), (60.0, 1000)):
        assert max(sum(start <= at < start + span for at in sent) for start in set(sent)) <= most
    assert 60 <= clock.time - START < 65


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["put a", "put b", "put b soon", "claim", "delivered", "refused", "failed", "wait"]),
        max_size=40,
    )
)
def test_whatever_happens_a_change_is_sent_in_order_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    clock = Clock()
    held: list[Claim] = []
    put: list[str] = []
    settled: dict[str, list[str]] = {"a": [], "b": []}
    with outbox_in(tmp_path_factory.mktemp("outbox"), clock) as outbox:
        for step in steps:
            if step.startswith("put"):
                expires = clock.time + 5 if step.endswith("soon") else None
                uid = outbox.put(event(step[4]), force=True, expires_at=expires).uid
                # Of one second, what waits may be replaced.
                put += [uid] if uid not in put else []
            elif step == "claim":
                claim = outbox.claims.claim(LEASE)
                if isinstance(claim, Claim):
                    held.append(claim)
                    assert len({each.change_key for each in held if each.until >= clock.time}) == sum(
                        each.until >= clock.time for each in held
                    )
            elif step == "wait":
                clock.time += 6
                # As with a real sender: its budget ends before its lease does.
                held = [each for each in held if each.until >= clock.time]
            elif held:
                claim = held.pop()
                if step == "failed":
                    outbox.claims.failed(claim, ApiError("no", True, 500), clock.time + 1, clock.time)
                    continue
                settled[claim.change_key].append(claim.uid)
                if step == "delivered":
                    outbox.claims.delivered(claim, "r")
                else:
                    outbox.claims.refused(claim, ApiError("no", False, 400, None, None))
        clock.time += 100
        for _number in put:
            claim = outbox.claims.claim(LEASE)
            if isinstance(claim, Claim):
                settled[claim.change_key].append(claim.uid)
                outbox.claims.delivered(claim, "r")
        assert all(uids == sorted(uids, key=put.index) for uids in settled.values())
        assert all(outcome(outbox, number).is_settled for number in put)
        expired = [number for number in put if outcome(outbox, number).state == "expired"]
        assert sorted(settled["a"] + settled["b"] + expired) == sorted(put)


def test_what_happens_now_goes_before_a_backlog_and_each_change_keeps_its_order(outbox: Outbox, clock: Clock) -> None:
    for key in ("a", "b"):
        outbox.put(event(key))
    clock.time += DAY
    outbox.put(event("a", "Done"))
    for status in ("Processing", "Done"):
        outbox.put(event("now", status))
    assert deliver_all(outbox) == ["now", "now", "a", "a", "b"]


@pytest.mark.parametrize("years", [1, -1])
def test_a_clock_that_is_set_right_leaves_nothing_stuck(outbox: Outbox, clock: Clock, years: int) -> None:
    year = 365 * DAY * years
    clock.time += year
    outbox.put(event("paused"))
    outbox.claims.failed(claimed(outbox), ApiError("no", True, 500), clock.time + 60, clock.time + 60)
    outbox.claims.clear_pause()
    outbox.put(event("claimed"))
    assert [claimed(outbox).change_key for _number in range(2)] == ["paused", "claimed"]
    outbox.put(event("now"))
    outbox.claims.failed(claimed(outbox), ApiError("no", True, 500), clock.time + 60, clock.time + 60)
    clock.time -= year
    assert sorted(deliver_all(outbox)) == ["claimed", "now", "paused"]


def test_of_a_backlog_beyond_bounds_what_says_least_is_given_up(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrations, "_KEEP_WAITING", 3)
    for key in ("a", "b"):
        outbox.put(event(key))
        clock.time += 1
        outbox.put(event(key, "Done"))
    outbox.put(event("c"))
    outbox.integrations.prune()
    given_up = outbox.events.take_refusals()
    assert [(each.change_key, each.change_status, each.error_code) for each in given_up] == [
        ("a", "Processing", GIVEN_UP),
        ("b", "Processing", GIVEN_UP),
    ]
    assert "3 events were waiting" in given_up[0].error
    assert deliver_all(outbox) == ["a", "b", "c"]


def test_refused_events_leave_their_texts_as_delivered_ones_do(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrations, "_KEEP_BODIES", 2)
    for number in range(4):
        outbox.put(event(str(number)))
        outbox.claims.refused(claimed(outbox), ApiError("no", False, 400, None, None))
    outbox.integrations.prune()
    rows = outbox.database.rows("SELECT change_key, body IS NULL FROM events ORDER BY id")
    assert [tuple(row) for row in rows] == [("0", 1), ("1", 1), ("2", 0), ("3", 0)]


def test_prune_keeps_what_waits_and_the_last_state(outbox: Outbox, clock: Clock) -> None:
    outbox.put(event())
    outbox.put(event(status="Done"))
    assert deliver_all(outbox) == ["a", "a"]
    clock.time += 8 * DAY
    outbox.put(event("waiting"))
    outbox.integrations.prune()
    assert counts(outbox) == {"delivered": 1, "waiting": 1}
    assert not outbox.put(event(status="Done")).changed
    clock.time += 90 * DAY
    outbox.integrations.prune()
    assert counts(outbox) == {"waiting": 1}


def test_what_was_refused_is_kept_for_ninety_days(outbox: Outbox, clock: Clock) -> None:
    outbox.put(event())
    outbox.claims.refused(claimed(outbox), ApiError("no", False, 400, None, None))
    for days, kept in ((89, {"refused": 1}), (2, {})):
        clock.time += days * DAY
        outbox.integrations.prune()
        assert counts(outbox) == kept


def test_many_events_leave_a_small_file(tmp_path: Path, clock: Clock, dead: Process) -> None:
    with outbox_in(tmp_path, clock) as own:
        outbox = own.of("integration-1")
        outbox.runs.open("open", Watch(dead, "gone", "killed"), [event("of an open run")])
        for number in range(30):
            outbox.runs.open(
                f"run {number}", Watch(ME, "", "killed"), [event(f"{number}/{each}") for each in range(1000)]
            )
            outbox.runs.close(f"run {number}", [])
        with closing(sqlite3.connect(own.database.path)) as database:
            database.execute("UPDATE events SET state = 'delivered', settled_at = put_at, request_id = hex(id)")
            database.commit()
        full = Path(own.database.path).stat().st_size
        outbox.integrations.prune()
        assert not outbox.put(event("29/999")).changed
        assert [each.change_key for each in outbox.runs.canceled_events("open")] == ["of an open run"]
    assert full > 10_000_000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 6_000_000


def _steps_of_a_claim(outbox: Outbox) -> int:
    """How much SQLite does for it, in hundreds of its instructions."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    assert isinstance(outbox.database, Database)
    connection = outbox.database._current()
    connection.set_progress_handler(step, 100)
    claimed(outbox)
    connection.set_progress_handler(None, 0)
    return steps


def test_a_claim_costs_the_same_whatever_waits(outbox: Outbox) -> None:
    for number in range(20):
        outbox.put(event(key=str(number)), expires_at=START + 5)
    few = _steps_of_a_claim(outbox)
    for number in range(20, 1000):
        outbox.put(event(key=str(number)), expires_at=START + 5)
    assert _steps_of_a_claim(outbox) <= few + 2


def test_what_is_pruned_leaves_no_holes(outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrations, "_KEEP_BODIES", 10)
    monkeypatch.setattr(claims, "_PACES", ((60.0, 10**6),))
    for number in range(500):
        outbox.put(event(key=str(number), description="x" * 900))
    assert len(deliver_all(outbox)) == 500
    outbox.integrations.prune()
    outbox.close()
    pruned = (tmp_path / FILE_NAME).stat().st_size
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("SELECT count(*), count(body) FROM events").fetchone() == (500, 10)
        database.execute("VACUUM")
    assert pruned < 1.3 * (tmp_path / FILE_NAME).stat().st_size
