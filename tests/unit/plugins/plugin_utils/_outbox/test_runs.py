# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process has left open is closed once, with what is known of it."""

from __future__ import annotations

import os

import pytest
from outboxes import LEASE, ME, START, TWO, Clock, acting_as, claimed, counts, deliver_all, event

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch


def test_a_run_is_closed_once(outbox: Outbox) -> None:
    outbox.runs.open("run", Watch(ME, "vanished", "killed"), [event()])
    assert not outbox.runs.is_closed("run")
    assert outbox.runs.close("run", [event(status="Done")])
    assert not outbox.runs.close("run", [event(status="Done")])
    assert outbox.runs.close_vanished("run") == 0
    assert outbox.runs.is_closed("run")
    assert outbox.events.pending("run") == 2


@pytest.mark.parametrize("stored", [True, False])
def test_a_beginning_that_may_have_been_stored_is_there_once(outbox: Outbox, stored: bool) -> None:
    if stored:
        outbox.runs.open("run", Watch(ME, "vanished", "killed"), [event()])
    assert outbox.runs.close("run", [event(), event(status="Done")])
    assert outbox.events.pending("run") == 2


def test_a_run_that_was_taken_for_vanished_corrects_that_when_it_ends(outbox: Outbox, dead: Process) -> None:
    outbox.runs.open("run", Watch(dead, "vanished", "killed"), [event(), event("b")])
    assert outbox.runs.close_vanished("run") == 2
    said = event("b", "Canceled", description="vanished", labels={"result": "killed"})
    assert not outbox.runs.close("run", [event(status="Done"), said])
    assert outbox.events.pending("run") == 5
    assert not outbox.put(event(status="Done")).changed


def test_a_vanished_run_is_canceled_after_what_it_said_last(outbox: Outbox, clock: Clock, dead: Process) -> None:
    outbox.runs.open("run", Watch(dead, "vanished", "killed"), [event()])
    clock.time += 10
    outbox.runs.open("run", Watch(dead, "vanished", "killed"), [event(title="play 2")])
    (canceled,) = outbox.runs.canceled_events("run")
    assert canceled.event_time == START + 10


def test_only_a_run_whose_process_has_gone_has_vanished(outbox: Outbox, clock: Clock, dead: Process) -> None:
    outbox.runs.open("mine", Watch(ME, "", "killed"), [])
    outbox.runs.open("dead", Watch(dead, "", "killed"), [])
    outbox.runs.open("reused pid", Watch(ME._replace(start="1"), "", "killed"), [])
    outbox.of(TWO).runs.open("other integration", Watch(dead, "", "killed"), [])
    outbox.runs.open("closed", Watch(dead, "", "killed"), [])
    outbox.runs.close("closed", [])
    outbox.runs.open("elsewhere", Watch(ME._replace(host="elsewhere"), "", "killed"), [])
    outbox.runs.open("elsewhere, heard of", Watch(ME._replace(host="elsewhere"), "", "killed"), [])
    outbox.runs.open("earlier boot", Watch(ME._replace(boot="earlier"), "", "killed"), [])
    outbox.runs.open("watched", Watch(dead, "", "killed"), [])
    outbox.runs.seen("watched")
    outbox.runs.open("courier died too", Watch(dead, "", "killed"), [])
    with acting_as(dead):
        outbox.runs.seen("courier died too")
    assert sorted(outbox.runs.vanished()) == ["courier died too", "earlier boot"]
    clock.time += 6
    gone = ["courier died too", "dead", "earlier boot", "reused pid"]
    assert sorted(outbox.runs.vanished()) == gone
    clock.time += 175
    outbox.runs.seen("elsewhere, heard of")
    assert sorted(outbox.runs.vanished()) == sorted([*gone, "elsewhere"])


def test_a_vanished_run_cancels_what_it_left_open(outbox: Outbox, clock: Clock, dead: Process) -> None:
    outbox.runs.open("run", Watch(dead, "ended without a word", "killed"), [event("open"), event("done")])
    outbox.put(event("done", "Done"), run="run")
    outbox.put(event("foreign"))
    clock.time += 5
    outbox.runs.seen("run")
    clock.time += 5
    assert outbox.runs.close_vanished("run") == 1
    assert outbox.runs.close_vanished("run") == 0
    assert outbox.runs.close_vanished("never heard of") == 0
    sent = []
    while isinstance(claim := outbox.claims.claim(LEASE), Claim):
        outbox.claims.delivered(claim, "r")
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


HERE = Process.of(os.getpid())
LEFT_OPEN = Watch(HERE, "left open")


def part(host: str, outcome: str = "done", at: float = START) -> Part:
    return Part(host, outcome, f"{host} broke" if outcome == "failed" else "", "", at)


def statuses(outbox: Outbox, run: str) -> list[str]:
    return [each.change_status for each in outbox.runs.canceled_events(run)]


def test_what_a_task_left_open_is_canceled_and_what_it_closed_is_not(outbox: Outbox) -> None:
    outbox.put(event("a"), run=LEFT_OPEN)
    outbox.put(event("b"), run=LEFT_OPEN)
    outbox.put(event("c"), run=Watch(HERE))
    # Events that say nothing about the end of the process belong to the change all the same.
    outbox.put(event("a", "Done"), run=Watch(HERE))
    runs = outbox.runs.open_of(HERE)
    assert len(runs) == 2
    assert sorted(outbox.runs.close_vanished(run) for run in runs) == [0, 1]
    assert outbox.runs.open_of(HERE) == []


def test_an_equal_event_of_an_earlier_run_is_watched_over_too(outbox: Outbox) -> None:
    outbox.put(event())
    assert not outbox.put(event(), run=LEFT_OPEN).changed
    (run,) = outbox.runs.open_of(HERE)
    assert statuses(outbox, run) == ["Canceled"]


def test_the_last_host_closes_the_change(outbox: Outbox) -> None:
    put = outbox.put(event(), run=LEFT_OPEN)
    for host in ("h1", "h2"):
        outbox.runs.start_part(put.uid, host)
    everybody = frozenset({"h1", "h2", "h3"})
    assert outbox.runs.end_part("a", HERE, part("h1"), everybody).uid is None
    # The third has not begun, but can.
    assert outbox.runs.end_part("a", HERE, part("h2"), everybody).uid is None
    end = outbox.runs.end_part("a", HERE, part("h3"), everybody)
    closed = outbox.events.get(end.uid or "")
    assert closed is not None
    assert (closed.change_status, closed.description) == ("Done", "3 of 3 hosts done.")
    assert not outbox.runs.end_part("a", HERE, part("h3"), everybody).is_open


def test_a_host_that_is_lost_or_failed_makes_it_canceled(outbox: Outbox) -> None:
    put = outbox.put(event(), run=LEFT_OPEN)
    for host in ("h1", "h2", "h3"):
        outbox.runs.start_part(put.uid, host)
    outbox.runs.end_part("a", HERE, part("h1", "failed"), frozenset({"h2", "h3"}))
    end = outbox.runs.end_part("a", HERE, part("h2"), frozenset({"h2"}))
    closed = outbox.events.get(end.uid or "")
    assert closed is not None
    assert closed.change_status == "Canceled"
    assert (closed.description or "").splitlines() == [
        "Failed: h1: h1 broke",
        "Not finished: h3, it became unreachable or was stopped.",
        "1 of 3 hosts done.",
    ]


def test_when_the_process_ends_the_parts_tell_how(outbox: Outbox) -> None:
    put = outbox.put(event(), run=LEFT_OPEN)
    outbox.runs.start_part(put.uid, "h1")
    (run,) = outbox.runs.open_of(HERE)
    assert statuses(outbox, run) == ["Canceled"]
    outbox.runs.end_part("a", HERE, part("h1", at=START + 5), frozenset({"h1", "never begins"}))
    (closing,) = outbox.runs.canceled_events(run, START + 60)
    assert (closing.change_status, closing.event_time) == ("Done", int(START + 5))


def test_of_several_runs_with_one_key_the_last_to_end_closes_the_change(outbox: Outbox, clock: Clock) -> None:
    parent = Process.of(os.getppid())
    outer, inner = event(labels={"host": "web1"}), event(labels={"host": "db1"})
    outbox.runs.open("outer", Watch(ME, "vanished", "killed"), [outer])
    clock.time += 1
    outbox.runs.open("inner", Watch(parent, "vanished", "killed"), [inner])
    failed = event(status="Canceled", description="it failed", labels={"host": "db1", "result": "failed"})
    outbox.runs.close("inner", [failed])
    assert statuses(outbox, "outer") == ["Canceled"]
    clock.time += 1
    outbox.runs.close("outer", [event(status="Done", description="all well", labels={"host": "web1"})])
    sent = []
    while isinstance(claim := outbox.claims.claim(LEASE), Claim):
        outbox.claims.delivered(claim, "r")
        sent.append(ChangeEvent.from_json(claim.body))
    assert [(each.change_status, dict(each.labels)) for each in sent] == [
        ("Processing", {"host": "web1"}),
        ("Processing", {"host": "web1"}),
        ("Canceled", {"host": "web1", "result": "failed"}),
    ]
    assert sent[-1].description == "it failed\nall well"
    # What was held is told once.
    outbox.runs.open("next", Watch(ME, "vanished", "killed"), [outer])
    outbox.runs.close("next", [event(status="Done")])
    clock.time += 1
    claimed(outbox)


def test_a_run_that_has_vanished_or_ended_that_change_holds_up_nothing(outbox: Outbox, clock: Clock) -> None:
    outbox.runs.open("gone", Watch(ME._replace(boot="earlier"), "vanished", "killed"), [event()])
    outbox.put(event("b"), run=LEFT_OPEN)
    outbox.put(event("b", "Done"), run=LEFT_OPEN)
    clock.time += 1
    outbox.runs.open("run", Watch(Process.of(os.getppid()), "vanished", "killed"), [event(), event("b")])
    outbox.runs.close("run", [event(status="Done"), event("b", "Done")])
    deliver_all(outbox)
    clock.time += 1
    deliver_all(outbox)
    assert counts(outbox) == {"delivered": 7}
