# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outboxes import LEASE, Clock, claimed, event, outbox_in
from shared_outboxes import opened

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.listing import Listing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.relay import Relay, untold
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox

FIRST = Process("first", "boot", "namespace", 1, "1")
SECOND = Process("second", "boot", "namespace", 2, "2")


class Node:
    """A machine with an outbox of its own."""

    def __init__(self, folder: Path, clock: Clock, process: Process) -> None:
        self.outbox = outbox_in(folder / process.host, clock)
        self.shared = opened(folder / "shared", clock, process.host)
        self.process = process

    def opens(self, run: str = "", key: str = "a", **fields: Any) -> None:
        watch = Watch(self.process, "It was killed.", "killed")
        self.outbox.runs.open(run or self.process.host, watch, [event(key, **fields)])

    def closes(self, status: str = "Done", run: str = "", key: str = "a", **fields: Any) -> None:
        self.outbox.runs.close(run or self.process.host, [event(key, status, **fields)])

    def exchanges(self) -> None:
        Relay(self.outbox, self.shared).exchange()

    def delivers_alone(self) -> None:
        """As while the shared outbox cannot be used."""
        self.outbox.claims.delivered(claimed(self.outbox), "request")

    def delivers(self) -> list[str]:
        """What waits in the shared outbox for it, as status and key."""
        sent = []
        while not isinstance(claim := self.shared.claims.claim(LEASE), (float, type(None))):
            assert self.outbox.claims.take(claim)
            for outbox in (self.shared, self.outbox):
                outbox.claims.delivered(claim, "request")
            body = json.loads(claim.body)
            sent.append(f"{body['change_status']} {body['change_key']}")
        return sent


@pytest.fixture
def first(tmp_path: Path, clock: Clock) -> Iterator[Node]:
    node = Node(tmp_path, clock, FIRST)
    yield node
    node.outbox.close()
    node.shared.close()


@pytest.fixture
def second(tmp_path: Path, clock: Clock) -> Iterator[Node]:
    node = Node(tmp_path, clock, SECOND)
    yield node
    node.outbox.close()
    node.shared.close()


def states(shared: SharedOutbox) -> list[tuple[str, str]]:
    return [tuple(row) for row in shared.database.rows("SELECT change_status, state FROM events ORDER BY id")]


def test_a_run_is_entered_once_with_all_it_says(first: Node) -> None:
    first.opens()
    for _number in range(3):
        first.exchanges()
    assert states(first.shared) == [("Processing", "waiting")]
    assert first.delivers() == ["Processing a"]
    first.closes()
    first.exchanges()
    assert first.delivers() == ["Done a"]
    first.exchanges()
    assert untold(first.outbox) == 0
    assert first.shared.runs.is_closed("first")
    assert first.outbox.events.pending() == 0


def test_what_a_dead_node_left_is_closed_and_delivered_by_another(first: Node, second: Node, clock: Clock) -> None:
    first.opens(labels={"service": "shop"})
    first.exchanges()
    clock.time += 30
    second.exchanges()
    assert (second.shared.runs.close_all_vanished(), second.delivers()) == (0, [])
    clock.time += 11
    assert second.shared.runs.close_all_vanished() == 1
    assert second.delivers() == ["Processing a", "Canceled a"]
    last = Listing(second.shared.database).latest(1)[0]
    assert (last.change_status, last.title) == ("Canceled", "deploy")
    body = json.loads(second.shared.database.rows("SELECT body FROM events ORDER BY id DESC LIMIT 1")[0][0])
    assert (body["description"], body["labels"]["service"], body["labels"]["result"]) == (
        "It was killed.",
        "shop",
        "killed",
    )


def test_a_node_that_comes_back_closes_nothing_again(first: Node, second: Node, clock: Clock) -> None:
    first.opens()
    first.exchanges()
    clock.time += 50
    second.shared.runs.close_all_vanished()
    second.delivers()
    # Its disk has survived, and so its outbox closes the run as well.
    clock.time += 500
    assert [first.outbox.runs.close_vanished(run) for run in first.outbox.runs.vanished()] == [1]
    first.exchanges()
    assert first.delivers() == []
    assert first.outbox.events.pending() == 0
    assert untold(first.outbox) == 0


def test_a_run_that_was_cut_off_goes_on_and_ends_with_the_truth(first: Node, second: Node, clock: Clock) -> None:
    first.opens()
    first.exchanges()
    first.delivers()
    clock.time += 50
    second.shared.runs.close_all_vanished()
    assert second.delivers() == ["Canceled a"]
    clock.time += 10
    first.closes()
    first.exchanges()
    assert first.delivers() == ["Done a"]
    assert first.shared.runs.is_closed("first")


def test_a_run_that_had_ended_while_it_was_cut_off_is_said_to_have_ended_so(
    first: Node, second: Node, clock: Clock
) -> None:
    first.opens()
    first.exchanges()
    first.delivers()
    first.closes()
    first.delivers_alone()
    clock.time += 50
    second.shared.runs.close_all_vanished()
    assert second.delivers() == ["Canceled a"]
    first.exchanges()
    assert second.delivers() == ["Done a"]
    # Of two events of one status and second, Flashduty would discard the later.
    moments = first.shared.database.rows("SELECT event_time FROM events WHERE change_status = 'Done'")
    assert len({row[0] for row in moments}) == 2


def test_a_run_that_ended_without_the_shared_outbox_is_entered_as_it_ended(first: Node, second: Node) -> None:
    first.opens()
    first.exchanges()
    first.delivers()
    first.closes()
    first.delivers_alone()
    for _number in range(2):
        first.exchanges()
    assert first.shared.runs.is_closed("first")
    assert states(first.shared) == [("Processing", "delivered"), ("Done", "delivered")]
    assert second.delivers() == []


def test_what_was_delivered_without_the_shared_outbox_is_entered_and_not_sent_again(first: Node, clock: Clock) -> None:
    first.opens()
    first.delivers_alone()
    assert untold(first.outbox) == 1
    first.exchanges()
    assert states(first.shared) == [("Processing", "delivered")]
    assert first.delivers() == []
    assert untold(first.outbox) == 0
    clock.time += 50
    # It is known to be open, so that it is closed.
    assert first.shared.runs.close_all_vanished() == 1
    assert first.delivers() == ["Canceled a"]


def test_what_was_entered_and_then_delivered_without_it_is_told(first: Node, second: Node, clock: Clock) -> None:
    first.opens()
    first.exchanges()
    first.delivers_alone()
    first.exchanges()
    clock.time += 50
    assert states(first.shared) == [("Processing", "delivered")]
    assert second.delivers() == []


def test_a_node_learns_what_another_has_sent_for_it(first: Node, second: Node, clock: Clock) -> None:
    first.opens()
    first.exchanges()
    clock.time += 41
    assert second.delivers() == ["Processing a"]
    first.exchanges()
    assert first.outbox.events.pending() == 0
    assert Listing(first.outbox.database).latest(1)[0].request_id == "request"


def test_events_of_one_change_keep_their_order_across_nodes(first: Node, second: Node, clock: Clock) -> None:
    first.opens()
    first.exchanges()
    clock.time += 1
    second.outbox.put(event("a", description="of the second"))
    second.exchanges()
    assert second.delivers() == []
    assert first.delivers() == ["Processing a"]
    assert second.delivers() == ["Processing a"]


def test_of_runs_of_two_nodes_with_one_ticket_the_last_to_end_closes_it(
    first: Node, second: Node, clock: Clock
) -> None:
    for node in (first, second):
        node.opens()
        node.exchanges()
        clock.time += 1
    first.closes("Canceled", description="The first failed.")
    first.exchanges()
    first.delivers()
    second.delivers()
    first.exchanges()
    assert first.outbox.events.pending() == 0
    second.closes()
    second.exchanges()
    assert second.delivers() == ["Canceled a"]
    assert states(first.shared)[-1] == ("Canceled", "delivered")


def test_runs_of_one_node_that_end_after_each_other_are_not_held_for_one_another(first: Node, clock: Clock) -> None:
    first.opens("one")
    clock.time += 1
    first.outbox.runs.open("two", Watch(SECOND._replace(host="first"), "It was killed.", "killed"), [event("a")])
    clock.time += 1
    first.closes("Done", "one")
    first.closes("Done", "two")
    first.exchanges()
    assert first.delivers()[-1] == "Done a"
    first.exchanges()
    assert first.outbox.events.pending() == 0


def test_what_is_changed_while_it_waits_is_changed_there(first: Node) -> None:
    first.outbox.put(event("a"), expires_at=first.shared.database.now() + 5)
    first.exchanges()
    first.outbox.put(event("a"))
    first.exchanges()
    assert first.shared.database.rows("SELECT expires_at FROM events")[0][0] is None


def test_parts_of_a_change_decide_how_a_node_that_died_has_left_it(first: Node, second: Node, clock: Clock) -> None:
    first.opens()
    uid = Listing(first.outbox.database).latest(1)[0].id
    first.outbox.runs.start_part(uid, "web1")
    first.exchanges()
    clock.time += 50
    second.shared.runs.close_all_vanished()
    assert (
        "web1"
        in json.loads(second.shared.database.rows("SELECT body FROM events ORDER BY id DESC")[0][0])["description"]
    )
