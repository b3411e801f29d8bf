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
from outboxes import DAY, LEASE, ME, ONE, START, TWO, Clock, claimed, counts, deliver_all, event, outcome, status_of

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import claims
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    FILE_NAME,
    Database,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import GIVEN_UP
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process


def test_events_of_one_change_go_one_after_the_other(outbox: Outbox) -> None:
    for status in ("Planned", "Processing", "Done"):
        outbox.put(ONE, event(status=status))
    outbox.put(ONE, event("b"))
    first, other = claimed(outbox), claimed(outbox)
    assert (status_of(first), other.change_key) == ("Planned", "b")
    assert outbox.claims.claim(ONE, ME, LEASE) == START + LEASE
    outbox.claims.delivered(first, ONE, "r")
    assert status_of(claimed(outbox)) == "Processing"


def test_a_refused_event_makes_way(outbox: Outbox) -> None:
    outbox.put(ONE, event())
    outbox.put(ONE, event(status="Done"))
    outbox.claims.refused(claimed(outbox), "no", "InvalidParameter", 400, "r")
    assert status_of(claimed(outbox)) == "Done"


def test_nothing_waits(outbox: Outbox) -> None:
    outbox.put(TWO, event())
    assert outbox.claims.claim(ONE, ME, LEASE) is None


def test_a_failed_event_waits_and_so_does_what_is_behind_it(outbox: Outbox, clock: Clock) -> None:
    outbox.put(ONE, event())
    outbox.put(ONE, event(status="Done"))
    first = claimed(outbox)
    outbox.claims.failed(first, ONE, "busy", START + 5, START, 500)
    assert outbox.claims.claim(ONE, ME, LEASE) == START + 5
    clock.time += 5
    again = claimed(outbox)
    assert (again.uid, again.tries) == (first.uid, 2)


def test_a_pause_holds_the_whole_integration_and_no_other(outbox: Outbox, clock: Clock) -> None:
    for integration in (ONE, TWO):
        for key in "ab":
            outbox.put(integration, event(key))
    outbox.claims.failed(claimed(outbox), ONE, "refused", START, START + 30, None)
    assert (outbox.claims.claim(ONE, ME, LEASE), outbox.claims.last_error(ONE), outbox.claims.failures(ONE)) == (
        START + 30,
        "refused",
        1,
    )
    claimed(outbox, TWO)
    outbox.claims.clear_pause(ONE)
    claim = claimed(outbox)
    outbox.claims.failed(claim, ONE, "refused", START, START + 30, None)
    clock.time += 30
    outbox.claims.delivered(claimed(outbox), ONE, "r")
    assert (outbox.claims.failures(ONE), outbox.claims.last_error(ONE)) == (0, None)


def test_the_end_of_a_run_tries_once_more_where_the_api_was_down(outbox: Outbox, clock: Clock) -> None:
    outbox.runs.open("run", ONE, ME, "", [event()])
    outbox.claims.failed(claimed(outbox), ONE, "refused", START, START + 60, None)
    tried = outbox.claims.try_now(ONE, "run")
    assert tried == (1, True)
    assert not outbox.claims.is_stuck(ONE, "run", tried, START + 10)
    outbox.claims.failed(claimed(outbox), ONE, "refused", START, START + 120, None)
    assert outbox.claims.is_stuck(ONE, "run", tried, START + 10)


def test_the_end_of_a_run_keeps_to_a_pause_that_flashduty_asked_for(outbox: Outbox, clock: Clock) -> None:
    outbox.runs.open("run", ONE, ME, "", [event()])
    outbox.claims.failed(claimed(outbox), ONE, "too many", START, START + 2, 429)
    assert outbox.claims.is_stuck(ONE, "run", outbox.claims.try_now(ONE, "run"), START + 10)
    assert outbox.claims.claim(ONE, ME, LEASE) == START + 2


def test_the_end_of_a_run_waits_for_three_tries_where_the_api_was_well(outbox: Outbox, clock: Clock) -> None:
    outbox.runs.open("run", ONE, ME, "", [event()])
    tried = outbox.claims.try_now(ONE, "run")
    assert tried == (0, False)
    for pause, stuck in ((1, False), (2, False), (4, True)):
        outbox.claims.failed(claimed(outbox), ONE, "refused", clock.time, clock.time + pause, None)
        assert outbox.claims.is_stuck(ONE, "run", tried, START + 10) is stuck
        clock.time += pause
    assert not outbox.claims.is_stuck(ONE, "another run", tried, START + 10)


def test_a_claim_is_lost_when_its_lease_ends(outbox: Outbox, clock: Clock) -> None:
    put = outbox.put(ONE, event())
    lost = claimed(outbox)
    clock.time += LEASE + 1
    mine = claimed(outbox)
    assert mine.uid == put.uid
    outbox.claims.failed(lost, ONE, "late", START, START, None)
    assert outcome(outbox, put.uid).state == "sending"
    outbox.claims.delivered(lost, ONE, "late but true")
    assert outcome(outbox, put.uid).request_id == "late but true"
    outbox.claims.refused(mine, "no", None, 400, None)
    assert outcome(outbox, put.uid).state == "delivered"


def test_the_claims_of_a_dead_process_are_taken_back_at_once(outbox: Outbox, dead: Process) -> None:
    outbox.put(ONE, event("a"))
    outbox.put(ONE, event("b"))
    outbox.put(ONE, event("c"))
    assert isinstance(outbox.claims.claim(ONE, dead, LEASE), Claim)
    claimed(outbox)
    assert isinstance(outbox.claims.claim(ONE, dead._replace(host="elsewhere"), LEASE), Claim)
    outbox.claims.release_dead(ONE)
    assert counts(outbox) == {"waiting": 1, "sending": 2}
    assert claimed(outbox).change_key == "a"


def test_two_senders_never_hold_one_event(tmp_path: Path) -> None:
    with Outbox(str(tmp_path), durable=False) as outbox:
        for number in range(24):
            outbox.put(ONE, event(str(number)))

    def claimed_by(_number: int) -> list[str]:
        found = []
        with Outbox(str(tmp_path), durable=False) as mine:
            while isinstance(claim := mine.claims.claim(ONE, ME, LEASE), Claim):
                found.append(claim.uid)
        return found

    with ThreadPoolExecutor(4) as pool:
        everything = [number for found in pool.map(claimed_by, range(4)) for number in found]
    assert sorted(everything) == sorted(set(everything))
    assert len(everything) == 24


def test_the_pace_stays_within_the_published_limits(outbox: Outbox, clock: Clock) -> None:
    # 1100 sends past a whole window: more than a minute's worth.
    for number in range(1100):
        outbox.put(ONE, event(str(number)))
    outbox.put(TWO, event())
    sent: list[float] = []
    while outbox.events.pending(ONE):
        claim = outbox.claims.claim(ONE, ME, LEASE)
        if isinstance(claim, Claim):
            sent.append(clock.time)
            outbox.claims.delivered(claim, ONE, "r")
        else:
            assert claim is not None
            assert claim > clock.time
            other = outbox.claims.claim(TWO, ME, LEASE)
            if isinstance(other, Claim):
                outbox.claims.delivered(other, TWO, "r")
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
    with Outbox(str(tmp_path_factory.mktemp("outbox")), durable=False, now=clock) as outbox:
        for step in steps:
            if step.startswith("put"):
                expires = clock.time + 5 if step.endswith("soon") else None
                uid = outbox.put(ONE, event(step[4]), force=True, expires_at=expires).uid
                # Of one second, what waits may be replaced.
                put += [uid] if uid not in put else []
            elif step == "claim":
                claim = outbox.claims.claim(ONE, ME, LEASE)
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
                    outbox.claims.failed(claim, ONE, "no", clock.time + 1, clock.time, 500)
                    continue
                settled[claim.change_key].append(claim.uid)
                if step == "delivered":
                    outbox.claims.delivered(claim, ONE, "r")
                else:
                    outbox.claims.refused(claim, "no", None, 400, None)
        clock.time += 100
        for _number in put:
            claim = outbox.claims.claim(ONE, ME, LEASE)
            if isinstance(claim, Claim):
                settled[claim.change_key].append(claim.uid)
                outbox.claims.delivered(claim, ONE, "r")
        assert all(uids == sorted(uids, key=put.index) for uids in settled.values())
        assert all(outcome(outbox, number).is_settled for number in put)
        expired = [number for number in put if outcome(outbox, number).state == "expired"]
        assert sorted(settled["a"] + settled["b"] + expired) == sorted(put)


def test_what_happens_now_goes_before_a_backlog_and_each_change_keeps_its_order(outbox: Outbox, clock: Clock) -> None:
    for key in ("a", "b"):
        outbox.put(ONE, event(key))
    clock.time += DAY
    outbox.put(ONE, event("a", "Done"))
    for status in ("Processing", "Done"):
        outbox.put(ONE, event("now", status))
    assert deliver_all(outbox) == ["now", "now", "a", "a", "b"]


@pytest.mark.parametrize("years", [1, -1])
def test_a_clock_that_is_set_right_leaves_nothing_stuck(outbox: Outbox, clock: Clock, years: int) -> None:
    year = 365 * DAY * years
    clock.time += year
    outbox.put(ONE, event("paused"))
    outbox.claims.failed(claimed(outbox), ONE, "no", clock.time + 60, clock.time + 60, 500)
    outbox.claims.clear_pause(ONE)
    outbox.put(ONE, event("claimed"))
    assert [claimed(outbox).change_key for _number in range(2)] == ["paused", "claimed"]
    outbox.put(ONE, event("now"))
    outbox.claims.failed(claimed(outbox), ONE, "no", clock.time + 60, clock.time + 60, 500)
    clock.time -= year
    assert sorted(deliver_all(outbox)) == ["claimed", "now", "paused"]


def test_of_a_backlog_beyond_bounds_what_says_least_is_given_up(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_KEEP_WAITING", 3)
    for key in ("a", "b"):
        outbox.put(ONE, event(key))
        clock.time += 1
        outbox.put(ONE, event(key, "Done"))
    outbox.put(ONE, event("c"))
    outbox.claims.prune()
    given_up = outbox.events.take_refusals(ONE)
    assert [(each.change_key, each.change_status, each.error_code) for each in given_up] == [
        ("a", "Processing", GIVEN_UP),
        ("b", "Processing", GIVEN_UP),
    ]
    assert "3 events were waiting" in given_up[0].error
    assert deliver_all(outbox) == ["a", "b", "c"]


def test_refused_events_leave_their_texts_as_delivered_ones_do(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_KEEP_BODIES", 2)
    for number in range(4):
        outbox.put(ONE, event(str(number)))
        outbox.claims.refused(claimed(outbox), "no", None, 400, None)
    outbox.claims.prune()
    rows = outbox.database.rows("SELECT change_key, body IS NULL FROM events ORDER BY id")
    assert [tuple(row) for row in rows] == [("0", 1), ("1", 1), ("2", 0), ("3", 0)]


def test_prune_keeps_what_waits_and_the_last_state(outbox: Outbox, clock: Clock) -> None:
    outbox.put(ONE, event())
    outbox.put(ONE, event(status="Done"))
    assert deliver_all(outbox) == ["a", "a"]
    clock.time += 8 * DAY
    outbox.put(ONE, event("waiting"))
    outbox.claims.prune()
    assert counts(outbox) == {"delivered": 1, "waiting": 1}
    assert not outbox.put(ONE, event(status="Done")).changed
    clock.time += 90 * DAY
    outbox.claims.prune()
    assert counts(outbox) == {"waiting": 1}


def test_what_was_refused_is_kept_for_ninety_days(outbox: Outbox, clock: Clock) -> None:
    outbox.put(ONE, event())
    outbox.claims.refused(claimed(outbox), "no", None, 400, None)
    for days, kept in ((89, {"refused": 1}), (2, {})):
        clock.time += days * DAY
        outbox.claims.prune()
        assert counts(outbox) == kept


def test_many_events_leave_a_small_file(tmp_path: Path, clock: Clock, dead: Process) -> None:
    with Outbox(str(tmp_path), durable=False, now=clock) as outbox:
        outbox.runs.open("open", ONE, dead, "gone", [event("of an open run")])
        for number in range(30):
            outbox.runs.open(f"run {number}", ONE, ME, "", [event(f"{number}/{each}") for each in range(1000)])
            outbox.runs.close(f"run {number}", ONE, [])
        with closing(sqlite3.connect(outbox.path)) as database:
            database.execute("UPDATE events SET state = 'delivered', settled_at = put_at, request_id = hex(id)")
            database.commit()
        full = Path(outbox.path).stat().st_size
        outbox.claims.prune()
        assert not outbox.put(ONE, event("29/999")).changed
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
        outbox.put(ONE, event(key=str(number)), expires_at=START + 5)
    few = _steps_of_a_claim(outbox)
    for number in range(20, 1000):
        outbox.put(ONE, event(key=str(number)), expires_at=START + 5)
    assert _steps_of_a_claim(outbox) <= few + 2


def test_what_is_pruned_leaves_no_holes(outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_KEEP_BODIES", 10)
    monkeypatch.setattr(claims, "_PACES", ((60.0, 10**6),))
    for number in range(500):
        outbox.put(ONE, event(key=str(number), description="x" * 900))
    assert len(deliver_all(outbox)) == 500
    outbox.claims.prune()
    outbox.close()
    pruned = (tmp_path / FILE_NAME).stat().st_size
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("SELECT count(*), count(body) FROM events").fetchone() == (500, 10)
        database.execute("VACUUM")
    assert pruned < 1.3 * (tmp_path / FILE_NAME).stat().st_size
