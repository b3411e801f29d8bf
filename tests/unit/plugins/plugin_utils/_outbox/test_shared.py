# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest
from outboxes import LEASE, START, Clock, acting_as, claimed, deliver_all, event
from shared_outboxes import opened, restarted

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox, node_of

ELSEWHERE = Process("other", "boot", "namespace", 7, "1")


@pytest.fixture
def shared(tmp_path: Path, clock: Clock) -> SharedOutbox:
    return opened(tmp_path, clock)


def entered(shared: SharedOutbox, key: str, node: str) -> None:
    """An event that a node has entered and not sent."""
    shared.put(event(key))
    with shared.database.writing() as transaction:
        transaction.execute(
            "UPDATE events SET node = ?, reserved_until = ? WHERE change_key = ?", (node, shared.reserved_until(), key)
        )


def test_what_a_node_has_entered_is_left_to_it_while_it_is_there(shared: SharedOutbox, clock: Clock) -> None:
    entered(shared, "theirs", "other 1234")
    entered(shared, "mine", shared.node)
    assert deliver_all(shared) == ["mine"]
    clock.time += 39
    assert deliver_all(shared) == []
    clock.time += 2
    assert deliver_all(shared) == ["theirs"]


def test_a_sign_of_life_keeps_runs_and_what_is_reserved(tmp_path: Path, shared: SharedOutbox, clock: Clock) -> None:
    other = opened(tmp_path, clock, "other 1234")
    other.runs.open("run", Watch(ELSEWHERE, "It was killed.", "killed"), [event("theirs")])
    with other.database.writing() as transaction:
        transaction.execute("UPDATE events SET node = ?, reserved_until = ?", (other.node, other.reserved_until()))
    for _number in range(5):
        clock.time += 30
        with acting_as(ELSEWHERE):
            other.keep(["run"])
        assert shared.runs.close_all_vanished() == 0
        assert not isinstance(shared.claims.claim(LEASE), Claim)
    assert shared.database.rows("SELECT courier FROM runs")[0]["courier"] == ELSEWHERE.to_text()
    clock.time += 41
    assert shared.runs.close_all_vanished() == 1
    assert json.loads(claimed(shared).body)["change_status"] == "Processing"


def test_failures_of_one_node_hold_up_no_other_and_a_429_holds_up_all(shared: SharedOutbox, clock: Clock) -> None:
    for key in "abc":
        shared.put(event(key))
    claim = claimed(shared)
    shared.claims.failed(claim, ApiError("no way", True, None), clock.time, clock.time + 60)
    claim = claimed(shared)
    shared.claims.failed(claim, ApiError("too many requests", True, 429), clock.time, clock.time + 60)
    assert shared.claims.claim(LEASE) == clock.time + 60


def test_what_is_old_is_forgotten_once_an_hour(
    shared: SharedOutbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned: list[float] = []
    monkeypatch.setattr(shared.integrations, "prune", lambda: pruned.append(clock.time))
    for _number in range(5):
        shared.prune()
        clock.time += 1800
    assert pruned == [START, START + 5400]


def test_a_node_is_known_by_its_name_and_apart_from_others_of_that_name() -> None:
    assert node_of(ELSEWHERE, b"salt").startswith("other ")
    assert node_of(ELSEWHERE, b"salt") == node_of(ELSEWHERE._replace(pid=8, start="2"), b"salt")
    assert node_of(ELSEWHERE, b"salt") != node_of(ELSEWHERE, b"another outbox")


def test_nobody_is_taken_for_vanished_while_the_database_has_just_come_up(
    tmp_path: Path, shared: SharedOutbox, clock: Clock
) -> None:
    shared.runs.open("run", Watch(ELSEWHERE, "It was killed.", "killed"), [event("theirs")])
    clock.time += 100
    restarted(shared, clock.time - 10)
    assert shared.runs.close_all_vanished() == 0
    clock.time += 31
    assert shared.runs.close_all_vanished() == 1
