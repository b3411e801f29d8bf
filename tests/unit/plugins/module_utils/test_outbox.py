# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outbox keeps every event, hands each to one sender at a time, and in order for each change."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.module_utils import _outbox_sending
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_parts import Part
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Watch
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import (
    FILE_NAME,
    SCHEMA_VERSION,
    DamagedOutbox,
    NewerOutbox,
    OutboxError,
    is_on_network,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_sending import Claim, SendingOutbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process

ONE, TWO = "integration-1", "integration-2"
START = 1_800_000_000.0
DAY = 86400.0
LEASE = 15.0
ME = Process.of(os.getpid())


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


def counts(outbox: SendingOutbox) -> dict[str, int]:
    """How many events there are in each state."""
    with closing(sqlite3.connect(outbox.path)) as database:
        return dict(database.execute("SELECT state, count(*) FROM events GROUP BY state").fetchall())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[SendingOutbox]:
    with SendingOutbox(str(tmp_path), durable=False, now=clock) as opened:
        yield opened


@pytest.fixture
def dead() -> Process:
    """The identity of a process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        return Process.of(process.pid)


def event(key: str = "a", status: str = "Processing", **fields: Any) -> ChangeEvent:
    values: dict[str, Any] = {"change_key": key, "change_status": status, "title": "deploy", **fields}
    return ChangeEvent.validated(values, START + 100 * DAY)


def claimed(outbox: SendingOutbox, integration: str = ONE) -> Claim:
    claim = outbox.claim(integration, ME, LEASE)
    assert isinstance(claim, Claim), claim
    return claim


def deliver_all(outbox: SendingOutbox) -> list[str]:
    keys = []
    while isinstance(claim := outbox.claim(ONE, ME, LEASE), Claim):
        outbox.delivered(claim, ONE, "request")
        keys.append(claim.change_key)
    return keys


def status_of(claim: Claim) -> str:
    return ChangeEvent.from_json(claim.body).change_status


# ---- in


def test_an_event_is_stored_with_its_moment_and_said_once(outbox: SendingOutbox, clock: Clock) -> None:
    first = outbox.put(ONE, event())
    assert (first.changed, first.before) == (True, None)
    clock.time += 60
    again = outbox.put(ONE, event())
    assert (again.changed, again.event_id) == (False, first.event_id)
    assert again.before is not None
    assert again.before.event_time == int(START)
    assert outbox.pending(ONE) == 1


def test_what_differs_is_stored(outbox: SendingOutbox) -> None:
    outbox.put(ONE, event())
    assert outbox.put(ONE, event(), force=True).changed
    assert outbox.put(ONE, event(event_time=int(START) - 5)).changed
    assert outbox.put(ONE, event(status="Done")).changed
    assert outbox.put(ONE, event()).changed
    assert outbox.put(ONE, event("b")).changed
    assert outbox.put(TWO, event()).changed
    assert (outbox.pending(ONE), outbox.pending(TWO)) == (6, 1)


@pytest.mark.parametrize("later", [event(), event(status="Done"), event("b"), event(event_time=7)])
def test_the_last_known_event_tells_what_put_does_and_writes_nothing(outbox: SendingOutbox, later: ChangeEvent) -> None:
    outbox.put(ONE, event())
    known = outbox.last_known(ONE, later)
    assert counts(outbox) == {"waiting": 1}
    put = outbox.put(ONE, later)
    assert (put.changed, put.before) == ((True, None) if known is None else (not known.says_the_same, known.event))


def test_the_last_state_counts_when_it_was_delivered_but_not_when_it_was_refused(outbox: SendingOutbox) -> None:
    outbox.put(ONE, event())
    outbox.delivered(claimed(outbox), ONE, "r1")
    assert not outbox.put(ONE, event()).changed
    outbox.put(ONE, event(status="Done"))
    outbox.refused(claimed(outbox), "no", "InvalidParameter", 400, "r2")
    assert not outbox.put(ONE, event()).changed
    assert outbox.put(ONE, event(status="Done")).changed


def test_an_equal_event_without_expiry_keeps_the_stored_one_alive(outbox: SendingOutbox, clock: Clock) -> None:
    first = outbox.put(ONE, event(), expires_at=START + 10)
    assert not outbox.put(ONE, event()).changed
    clock.time += 11
    assert claimed(outbox).event_id == first.event_id


def test_an_event_expires_and_makes_way(outbox: SendingOutbox, clock: Clock) -> None:
    first = outbox.put(ONE, event(), expires_at=START + 10)
    behind = outbox.put(ONE, event(status="Done"))
    assert outbox.outcome(first.event_id).state == "waiting"
    clock.time += 11
    assert outbox.outcome(first.event_id).is_settled
    assert claimed(outbox).event_id == behind.event_id
    assert counts(outbox) == {"expired": 1, "sending": 1}
    assert outbox.put(ONE, event()).changed


def test_a_lost_claim_past_its_expiry_is_not_sent_again(outbox: SendingOutbox, clock: Clock) -> None:
    put = outbox.put(ONE, event(), expires_at=START + 10)
    claimed(outbox)
    clock.time += LEASE + 1
    assert outbox.claim(ONE, ME, LEASE) is None
    assert outbox.outcome(put.event_id).state == "expired"


# ---- out


def test_events_of_one_change_go_one_after_the_other(outbox: SendingOutbox) -> None:
    for status in ("Planned", "Processing", "Done"):
        outbox.put(ONE, event(status=status))
    outbox.put(ONE, event("b"))
    first, other = claimed(outbox), claimed(outbox)
    assert (status_of(first), other.change_key) == ("Planned", "b")
    assert outbox.claim(ONE, ME, LEASE) == START + LEASE
    outbox.delivered(first, ONE, "r")
    assert status_of(claimed(outbox)) == "Processing"


def test_a_refused_event_makes_way(outbox: SendingOutbox) -> None:
    outbox.put(ONE, event())
    outbox.put(ONE, event(status="Done"))
    outbox.refused(claimed(outbox), "no", "InvalidParameter", 400, "r")
    assert status_of(claimed(outbox)) == "Done"


def test_nothing_waits(outbox: SendingOutbox) -> None:
    outbox.put(TWO, event())
    assert outbox.claim(ONE, ME, LEASE) is None


def test_a_failed_event_waits_and_so_does_what_is_behind_it(outbox: SendingOutbox, clock: Clock) -> None:
    outbox.put(ONE, event())
    outbox.put(ONE, event(status="Done"))
    first = claimed(outbox)
    outbox.failed(first, ONE, "busy", START + 5, START, 500)
    assert outbox.claim(ONE, ME, LEASE) == START + 5
    clock.time += 5
    again = claimed(outbox)
    assert (again.event_id, again.tries) == (first.event_id, 2)


def test_a_pause_holds_the_whole_integration_and_no_other(outbox: SendingOutbox, clock: Clock) -> None:
    for integration in (ONE, TWO):
        for key in "ab":
            outbox.put(integration, event(key))
    outbox.failed(claimed(outbox), ONE, "refused", START, START + 30, None)
    assert (outbox.claim(ONE, ME, LEASE), outbox.last_error(ONE), outbox.failures(ONE)) == (START + 30, "refused", 1)
    claimed(outbox, TWO)
    outbox.clear_pause(ONE)
    claim = claimed(outbox)
    outbox.failed(claim, ONE, "refused", START, START + 30, None)
    clock.time += 30
    outbox.delivered(claimed(outbox), ONE, "r")
    assert (outbox.failures(ONE), outbox.last_error(ONE)) == (0, None)


def test_the_end_of_a_run_tries_once_more_where_the_api_was_down(outbox: SendingOutbox, clock: Clock) -> None:
    outbox.open_run("run", ONE, ME, "", [event()])
    outbox.failed(claimed(outbox), ONE, "refused", START, START + 60, None)
    tried = outbox.try_now(ONE, "run")
    assert tried == (1, True)
    assert not outbox.is_stuck(ONE, "run", tried, START + 10)
    outbox.failed(claimed(outbox), ONE, "refused", START, START + 120, None)
    assert outbox.is_stuck(ONE, "run", tried, START + 10)


def test_the_end_of_a_run_keeps_to_a_pause_that_flashduty_asked_for(outbox: SendingOutbox, clock: Clock) -> None:
    outbox.open_run("run", ONE, ME, "", [event()])
    outbox.failed(claimed(outbox), ONE, "too many", START, START + 2, 429)
    assert outbox.is_stuck(ONE, "run", outbox.try_now(ONE, "run"), START + 10)
    assert outbox.claim(ONE, ME, LEASE) == START + 2


def test_the_end_of_a_run_waits_for_three_tries_where_the_api_was_well(outbox: SendingOutbox, clock: Clock) -> None:
    outbox.open_run("run", ONE, ME, "", [event()])
    tried = outbox.try_now(ONE, "run")
    assert tried == (0, False)
    for pause, stuck in ((1, False), (2, False), (4, True)):
        outbox.failed(claimed(outbox), ONE, "refused", clock.time, clock.time + pause, None)
        assert outbox.is_stuck(ONE, "run", tried, START + 10) is stuck
        clock.time += pause
    assert not outbox.is_stuck(ONE, "another run", tried, START + 10)


def test_a_claim_is_lost_when_its_lease_ends(outbox: SendingOutbox, clock: Clock) -> None:
    put = outbox.put(ONE, event())
    lost = claimed(outbox)
    clock.time += LEASE + 1
    mine = claimed(outbox)
    assert mine.event_id == put.event_id
    outbox.failed(lost, ONE, "late", START, START, None)
    assert outbox.outcome(put.event_id).state == "sending"
    outbox.delivered(lost, ONE, "late but true")
    assert outbox.outcome(put.event_id).request_id == "late but true"
    outbox.refused(mine, "no", None, 400, None)
    assert outbox.outcome(put.event_id).state == "delivered"


def test_the_claims_of_a_dead_process_are_taken_back_at_once(outbox: SendingOutbox, dead: Process) -> None:
    outbox.put(ONE, event("a"))
    outbox.put(ONE, event("b"))
    outbox.put(ONE, event("c"))
    assert isinstance(outbox.claim(ONE, dead, LEASE), Claim)
    claimed(outbox)
    assert isinstance(outbox.claim(ONE, dead._replace(host="elsewhere"), LEASE), Claim)
    outbox.release_dead_claims(ONE)
    assert counts(outbox) == {"waiting": 1, "sending": 2}
    assert claimed(outbox).change_key == "a"


def test_two_senders_never_hold_one_event(tmp_path: Path) -> None:
    with SendingOutbox(str(tmp_path), durable=False) as outbox:
        for number in range(24):
            outbox.put(ONE, event(str(number)))

    def claims(_number: int) -> list[int]:
        found = []
        with SendingOutbox(str(tmp_path), durable=False) as mine:
            while isinstance(claim := mine.claim(ONE, ME, LEASE), Claim):
                found.append(claim.event_id)
        return found

    with ThreadPoolExecutor(4) as pool:
        everything = [number for found in pool.map(claims, range(4)) for number in found]
    assert sorted(everything) == sorted(set(everything))
    assert len(everything) == 24


def test_the_pace_stays_within_the_published_limits(outbox: SendingOutbox, clock: Clock) -> None:
    # 1100 sends past a whole window: more than a minute's worth.
    for number in range(1100):
        outbox.put(ONE, event(str(number)))
    outbox.put(TWO, event())
    sent: list[float] = []
    while outbox.pending(ONE):
        claim = outbox.claim(ONE, ME, LEASE)
        if isinstance(claim, Claim):
            sent.append(clock.time)
            outbox.delivered(claim, ONE, "r")
        else:
            assert claim is not None
            assert claim > clock.time
            other = outbox.claim(TWO, ME, LEASE)
            if isinstance(other, Claim):
                outbox.delivered(other, TWO, "r")
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
    put: list[int] = []
    settled: dict[str, list[int]] = {"a": [], "b": []}
    with SendingOutbox(str(tmp_path_factory.mktemp("outbox")), durable=False, now=clock) as outbox:
        for step in steps:
            if step.startswith("put"):
                expires = clock.time + 5 if step.endswith("soon") else None
                put.append(outbox.put(ONE, event(step[4]), force=True, expires_at=expires).event_id)
            elif step == "claim":
                claim = outbox.claim(ONE, ME, LEASE)
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
                    outbox.failed(claim, ONE, "no", clock.time + 1, clock.time, 500)
                    continue
                settled[claim.change_key].append(claim.event_id)
                if step == "delivered":
                    outbox.delivered(claim, ONE, "r")
                else:
                    outbox.refused(claim, "no", None, 400, None)
        clock.time += 100
        for _number in put:
            claim = outbox.claim(ONE, ME, LEASE)
            if isinstance(claim, Claim):
                settled[claim.change_key].append(claim.event_id)
                outbox.delivered(claim, ONE, "r")
        assert all(ids == sorted(ids) for ids in settled.values())
        assert all(outbox.outcome(number).is_settled for number in put)
        expired = [number for number in put if outbox.outcome(number).state == "expired"]
        assert sorted(settled["a"] + settled["b"] + expired) == put


# ---- what has become of it


def test_a_refusal_is_told_once_to_its_own_integration(outbox: SendingOutbox) -> None:
    outbox.put(ONE, event())
    outbox.put(ONE, event("b"))
    outbox.refused(claimed(outbox), "bad", "InvalidParameter", 400, "r1")
    by_task = claimed(outbox)
    outbox.refused(by_task, "bad", "InvalidParameter", 400, "r2")
    outbox.refusal_told(by_task.event_id)
    assert outbox.tell_refusals(TWO) == []
    (told,) = outbox.tell_refusals(ONE)
    assert (told.change_key, told.change_status, told.http_status, told.request_id, told.error) == (
        "a",
        "Processing",
        400,
        "r1",
        "bad",
    )
    assert outbox.tell_refusals(ONE) == []


def test_the_outcome_tells_how_it_went(outbox: SendingOutbox) -> None:
    put = outbox.put(ONE, event())
    outbox.refused(claimed(outbox), "bad", "InvalidParameter", 400, "r1")
    outcome = outbox.outcome(put.event_id)
    assert (outcome.state, outcome.request_id, outcome.http_status, outcome.error_code, outcome.error) == (
        "refused",
        "r1",
        400,
        "InvalidParameter",
        "bad",
    )


# ---- runs


def test_a_run_is_closed_once(outbox: SendingOutbox) -> None:
    outbox.open_run("run", ONE, ME, "vanished", [event()])
    assert not outbox.run_is_closed("run")
    assert outbox.close_run("run", ONE, [event(status="Done")])
    assert not outbox.close_run("run", ONE, [event(status="Done")])
    assert outbox.close_vanished_run("run") == 0
    assert outbox.run_is_closed("run")
    assert outbox.pending(ONE, "run") == 2


@pytest.mark.parametrize("stored", [True, False])
def test_a_beginning_that_may_have_been_stored_is_there_once(outbox: SendingOutbox, stored: bool) -> None:
    if stored:
        outbox.open_run("run", ONE, ME, "vanished", [event()])
    assert outbox.close_run("run", ONE, [event(), event(status="Done")])
    assert outbox.pending(ONE, "run") == 2


def test_a_run_that_was_taken_for_vanished_corrects_that_when_it_ends(outbox: SendingOutbox, dead: Process) -> None:
    outbox.open_run("run", ONE, dead, "vanished", [event(), event("b")])
    assert outbox.close_vanished_run("run") == 2
    said = event("b", "Canceled", description="vanished")
    assert not outbox.close_run("run", ONE, [event(status="Done"), said])
    assert outbox.pending(ONE, "run") == 5
    assert not outbox.put(ONE, event(status="Done")).changed


def test_a_vanished_run_is_canceled_after_what_it_said_last(outbox: SendingOutbox, clock: Clock, dead: Process) -> None:
    outbox.open_run("run", ONE, dead, "vanished", [event()])
    clock.time += 10
    outbox.open_run("run", ONE, dead, "vanished", [event(title="play 2")])
    (canceled,) = outbox.canceled_events("run")
    assert canceled.event_time == START + 10


def test_only_a_run_whose_process_has_gone_has_vanished(outbox: SendingOutbox, clock: Clock, dead: Process) -> None:
    outbox.open_run("mine", ONE, ME, "", [])
    outbox.open_run("dead", ONE, dead, "", [])
    outbox.open_run("reused pid", ONE, ME._replace(start="1"), "", [])
    outbox.open_run("other integration", TWO, dead, "", [])
    outbox.open_run("closed", ONE, dead, "", [])
    outbox.close_run("closed", ONE, [])
    outbox.open_run("elsewhere", ONE, ME._replace(host="elsewhere"), "", [])
    outbox.open_run("elsewhere, heard of", ONE, ME._replace(host="elsewhere"), "", [])
    outbox.open_run("earlier boot", ONE, ME._replace(boot="earlier"), "", [])
    outbox.open_run("watched", ONE, dead, "", [])
    outbox.run_seen("watched", courier=ME)
    outbox.open_run("courier died too", ONE, dead, "", [])
    outbox.run_seen("courier died too", courier=dead)
    assert sorted(outbox.vanished_runs(ONE)) == ["courier died too", "earlier boot"]
    clock.time += 6
    gone = ["courier died too", "dead", "earlier boot", "reused pid"]
    assert sorted(outbox.vanished_runs(ONE)) == gone
    clock.time += 175
    outbox.run_seen("elsewhere, heard of")
    assert sorted(outbox.vanished_runs(ONE)) == sorted([*gone, "elsewhere"])


def test_a_vanished_run_cancels_what_it_left_open(outbox: SendingOutbox, clock: Clock, dead: Process) -> None:
    outbox.open_run("run", ONE, dead, "ended without a word", [event("open"), event("done")])
    outbox.put(ONE, event("done", "Done"), run="run")
    outbox.put(ONE, event("foreign"))
    clock.time += 5
    outbox.run_seen("run")
    clock.time += 5
    assert outbox.close_vanished_run("run") == 1
    assert outbox.close_vanished_run("run") == 0
    assert outbox.close_vanished_run("never heard of") == 0
    sent = []
    while isinstance(claim := outbox.claim(ONE, ME, LEASE), Claim):
        outbox.delivered(claim, ONE, "r")
        sent.append(ChangeEvent.from_json(claim.body))
    assert [(each.change_key, each.change_status) for each in sent] == [
        ("open", "Processing"),
        ("done", "Processing"),
        ("done", "Done"),
        ("foreign", "Processing"),
        ("open", "Canceled"),
    ]
    assert (sent[-1].description, sent[-1].event_time, sent[-1].title) == (
        "ended without a word",
        int(START) + 5,
        "deploy",
    )


# ---- housekeeping and the file


def test_prune_keeps_what_waits_and_the_last_state(outbox: SendingOutbox, clock: Clock) -> None:
    outbox.put(ONE, event())
    outbox.put(ONE, event(status="Done"))
    assert deliver_all(outbox) == ["a", "a"]
    clock.time += 8 * DAY
    outbox.put(ONE, event("waiting"))
    outbox.prune()
    assert counts(outbox) == {"delivered": 1, "waiting": 1}
    assert not outbox.put(ONE, event(status="Done")).changed
    clock.time += 90 * DAY
    outbox.prune()
    assert counts(outbox) == {"waiting": 1}


def test_many_events_leave_a_small_file(tmp_path: Path, clock: Clock, dead: Process) -> None:
    with SendingOutbox(str(tmp_path), durable=False, now=clock) as outbox:
        outbox.open_run("open", ONE, dead, "gone", [event("of an open run")])
        for number in range(100):
            outbox.open_run(f"run {number}", ONE, ME, "", [event(f"{number}/{each}") for each in range(1000)])
            outbox.close_run(f"run {number}", ONE, [])
        with closing(sqlite3.connect(outbox.path)) as database:
            database.execute("UPDATE events SET state = 'delivered', settled_at = put_at, request_id = hex(id)")
            database.commit()
        full = Path(outbox.path).stat().st_size
        outbox.prune()
        assert not outbox.put(ONE, event("99/999")).changed
        assert [each.change_key for each in outbox.canceled_events("open")] == ["of an open run"]
    assert full > 25_000_000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 20_000_000


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    with SendingOutbox(str(folder)) as outbox:
        assert len(outbox.salt) == 16
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600


def test_what_was_put_is_there_when_opened_again(tmp_path: Path) -> None:
    with SendingOutbox(str(tmp_path)) as outbox:
        put, salt = outbox.put(ONE, event()), outbox.salt
    with SendingOutbox(str(tmp_path)) as outbox:
        assert (outbox.outcome(put.event_id).state, outbox.salt, outbox.set_aside) == ("waiting", salt, None)


def test_a_corrupt_file_is_set_aside_and_kept(tmp_path: Path) -> None:
    rubbish = b"this is no database" * 400
    (tmp_path / FILE_NAME).write_bytes(rubbish)
    with SendingOutbox(str(tmp_path)) as outbox:
        assert outbox.set_aside is not None
        assert Path(outbox.set_aside).read_bytes() == rubbish
        assert outbox.put(ONE, event()).changed
    with SendingOutbox(str(tmp_path)) as outbox:
        assert (outbox.set_aside, outbox.pending(ONE)) == (None, 1)


def test_a_file_that_is_damaged_later_is_set_aside_and_what_can_be_read_goes_on(tmp_path: Path) -> None:
    with SendingOutbox(str(tmp_path)) as outbox:
        outbox.open_run("run", ONE, ME, "gone", [event()])
        salt = outbox.salt
    with SendingOutbox(str(tmp_path)) as outbox, SendingOutbox(str(tmp_path)) as other:
        assert other.pending(ONE) == 1
        _damage(Path(outbox.path), "pauses")
        assert outbox.close_run("run", ONE, [event(status="Done")])
        claim = claimed(outbox)
        with pytest.raises(DamagedOutbox):
            outbox.failed(claim, ONE, "late", START, START, None)
        assert outbox.set_aside is not None
        assert Path(outbox.set_aside).exists()
        assert other.pending(ONE) == 2
        assert other.set_aside is None
        assert outbox.salt == salt
        assert other.outcome(claim.event_id).state == "sending"
        assert outbox.run_is_closed("run")


def _damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_file_without_its_tables_is_set_aside(tmp_path: Path) -> None:
    with SendingOutbox(str(tmp_path)) as outbox:
        path = outbox.path
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE events")
    with SendingOutbox(str(tmp_path)) as outbox:
        assert outbox.put(ONE, event()).changed
        assert outbox.set_aside is not None


def test_an_outbox_that_was_deleted_is_made_again(outbox: SendingOutbox) -> None:
    outbox.put(ONE, event())
    for path in Path(outbox.folder).iterdir():
        path.unlink()
    assert outbox.put(ONE, event()).changed
    assert outbox.pending(ONE) == 1


def test_a_claim_of_an_outbox_that_was_replaced_settles_nothing(outbox: SendingOutbox) -> None:
    outbox.put(ONE, event("old"))
    claim = claimed(outbox)
    for path in Path(outbox.folder).iterdir():
        path.unlink()
    put = outbox.put(ONE, event("new"))
    assert put.event_id == claim.event_id
    outbox.delivered(claim, ONE, "r")
    assert outbox.outcome(put.event_id).state == "waiting"


def test_what_put_acknowledged_survives_the_death_of_the_writer(tmp_path: Path) -> None:
    (tmp_path / "writer.py").write_text(
        "import sys, time\n"
        "from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent\n"
        "from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_sending import SendingOutbox\n"
        "with SendingOutbox(sys.argv[1]) as outbox:\n"
        "    for number in range(10**6):\n"
        "        fields = dict(change_key=f'{sys.argv[2]}/{number}', change_status='Done', title='t')\n"
        f"        outbox.put('{ONE}', ChangeEvent.validated(fields, time.time()))\n"
        "        print(number, flush=True)\n",
        encoding="utf-8",
    )
    folder = tmp_path / "state"
    acknowledged = 0
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    for lives in range(5):
        with subprocess.Popen(
            [sys.executable, str(tmp_path / "writer.py"), str(folder), str(lives)],
            stdout=subprocess.PIPE,
            env=environment,
        ) as writer:
            assert writer.stdout is not None
            for _number in range(3 + 7 * lives):
                writer.stdout.readline()
            writer.kill()
            acknowledged += 3 + 7 * lives + len(writer.stdout.read().split())
    with SendingOutbox(str(folder)) as outbox:
        assert outbox.set_aside is None
        assert acknowledged <= outbox.pending(ONE) <= acknowledged + 5


def test_a_network_file_system_is_known(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path.parent} nfs4 rw 0 0\n"
        f"tmpfs {str(tmp_path / 'a b').replace(' ', chr(92) + '040')} tmpfs rw 0 0\n",
        encoding="utf-8",
    )
    assert is_on_network(str(tmp_path), str(mounts))
    assert not is_on_network(str(tmp_path / "a b" / "c"), str(mounts))
    assert not is_on_network("/", str(mounts))
    assert not is_on_network(str(tmp_path), str(tmp_path / "absent"))


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    with SendingOutbox(str(tmp_path)) as outbox:
        outbox.put(ONE, event())
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(NewerOutbox, match=f"format {SCHEMA_VERSION + 1}"):
        SendingOutbox(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir() if "corrupt" in path.name] == []
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutboxError, match="file"):
        SendingOutbox(str(tmp_path / "file" / "state"))


def test_many_may_open_a_new_outbox_at_once(tmp_path: Path) -> None:
    def salt(_number: int) -> bytes:
        with SendingOutbox(str(tmp_path)) as outbox:
            assert outbox.set_aside is None
            return outbox.salt

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(salt, range(16)))) == 1


def test_an_event_is_on_the_disk_when_put_returns_and_keeps_no_other_writer_waiting_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def fdatasync(descriptor: int) -> None:
        with SendingOutbox(str(tmp_path), durable=False, patience=0) as other:
            other.put(TWO, event(key=f"other {len(synced)}"))
            synced.append(other.pending(ONE))

    with SendingOutbox(str(tmp_path)) as outbox:
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        outbox.put(ONE, event())
        outbox.put(ONE, event())
        assert synced == [1]
        outbox.put(ONE, event(status="Done"))
        assert synced == [1, 2]


def _steps_of_a_claim(outbox: SendingOutbox) -> int:
    """How much SQLite does for it, in hundreds of its instructions."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = outbox._file._current()
    connection.set_progress_handler(step, 100)
    claimed(outbox)
    connection.set_progress_handler(None, 0)
    return steps


def test_a_claim_costs_the_same_whatever_waits(outbox: SendingOutbox) -> None:
    for number in range(20):
        outbox.put(ONE, event(key=str(number)), expires_at=START + 5)
    few = _steps_of_a_claim(outbox)
    for number in range(20, 1000):
        outbox.put(ONE, event(key=str(number)), expires_at=START + 5)
    assert _steps_of_a_claim(outbox) <= few + 2


def test_what_is_pruned_leaves_no_holes(outbox: SendingOutbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outbox_sending, "_KEEP_BODIES", 10)
    monkeypatch.setattr(_outbox_sending, "_PACES", ((60.0, 10**6),))
    for number in range(500):
        outbox.put(ONE, event(key=str(number), description="x" * 900))
    assert len(deliver_all(outbox)) == 500
    outbox.prune()
    outbox.close()
    pruned = (tmp_path / FILE_NAME).stat().st_size
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("SELECT count(*), count(body) FROM events").fetchone() == (500, 10)
        database.execute("VACUUM")
    assert pruned < 1.3 * (tmp_path / FILE_NAME).stat().st_size


# ---- processes


def test_a_process_is_known_again_and_told_from_others(dead: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Process.from_text(ME.to_text()) == ME
    assert ME.is_local
    assert ME.is_alive()
    assert not ME._replace(start="1").is_alive()
    assert not ME._replace(boot="other").is_local
    assert dead.is_local
    assert not dead.is_alive()
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert Process.of(os.getpid()) == ME


# ---- changes of tasks that are closed when their process ends


HERE = Process.of(os.getpid())
LEFT_OPEN = Watch(HERE, "left open")


def part(host: str, outcome: str = "done", at: float = START) -> Part:
    return Part(host, outcome, f"{host} broke" if outcome == "failed" else "", at)


def statuses(outbox: SendingOutbox, run: str) -> list[str]:
    return [each.change_status for each in outbox.canceled_events(run)]


def test_what_a_task_left_open_is_canceled_and_what_it_closed_is_not(outbox: SendingOutbox) -> None:
    outbox.put(ONE, event("a"), watch=LEFT_OPEN)
    outbox.put(ONE, event("b"), watch=LEFT_OPEN)
    outbox.put(ONE, event("c"), watch=Watch(HERE))
    # Events that say nothing about the end of the process belong to the change all the same.
    outbox.put(ONE, event("a", "Done"), watch=Watch(HERE))
    runs = outbox.open_runs_of(HERE, ONE)
    assert len(runs) == 2
    assert sorted(outbox.close_vanished_run(run) for run in runs) == [0, 1]
    assert outbox.open_runs_of(HERE, ONE) == []


def test_an_equal_event_of_an_earlier_run_is_watched_over_too(outbox: SendingOutbox) -> None:
    outbox.put(ONE, event())
    assert not outbox.put(ONE, event(), watch=LEFT_OPEN).changed
    (run,) = outbox.open_runs_of(HERE, ONE)
    assert statuses(outbox, run) == ["Canceled"]


def test_the_last_host_closes_the_change(outbox: SendingOutbox) -> None:
    put = outbox.put(ONE, event(), watch=LEFT_OPEN)
    for host in ("h1", "h2"):
        outbox.begin_part(put.event_id, host)
    everybody = frozenset({"h1", "h2", "h3"})
    assert outbox.end_part(ONE, "a", HERE, part("h1"), everybody).event_id is None
    # The third has not begun, but can.
    assert outbox.end_part(ONE, "a", HERE, part("h2"), everybody).event_id is None
    end = outbox.end_part(ONE, "a", HERE, part("h3"), everybody)
    closed = outbox.event(end.event_id or 0)
    assert closed is not None
    assert (closed.change_status, closed.description) == ("Done", "3 of 3 hosts done.")
    assert not outbox.end_part(ONE, "a", HERE, part("h3"), everybody).known


def test_a_host_that_is_lost_or_failed_makes_it_canceled(outbox: SendingOutbox) -> None:
    put = outbox.put(ONE, event(), watch=LEFT_OPEN)
    for host in ("h1", "h2", "h3"):
        outbox.begin_part(put.event_id, host)
    outbox.end_part(ONE, "a", HERE, part("h1", "failed"), frozenset({"h2", "h3"}))
    end = outbox.end_part(ONE, "a", HERE, part("h2"), frozenset({"h2"}))
    closed = outbox.event(end.event_id or 0)
    assert closed is not None
    assert closed.change_status == "Canceled"
    assert (closed.description or "").splitlines() == [
        "Failed: h1: h1 broke",
        "Not finished: h3, it became unreachable or was stopped.",
        "1 of 3 hosts done.",
    ]


def test_when_the_process_ends_the_parts_tell_how(outbox: SendingOutbox) -> None:
    put = outbox.put(ONE, event(), watch=LEFT_OPEN)
    outbox.begin_part(put.event_id, "h1")
    (run,) = outbox.open_runs_of(HERE, ONE)
    assert statuses(outbox, run) == ["Canceled"]
    outbox.end_part(ONE, "a", HERE, part("h1", at=START + 5), frozenset({"h1", "never begins"}))
    (closing,) = outbox.canceled_events(run, START + 60)
    assert (closing.change_status, closing.event_time) == ("Done", int(START + 5))
