# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from outboxes import LEASE, ME, Clock, event, outbox_in
from shared_outboxes import CONNECTION, opened

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import sharing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.sharing import Sharing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox, Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

GONE = Process("gone", "boot", "namespace", 7, "1")


class Postgres:
    """The shared outbox of a test: it can be out of reach."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.clock = clock
        self.is_down = False
        self.attempts = 0

    def open(self, _connection: object, _salt: bytes) -> SharedOutbox:
        self.attempts += 1
        if self.is_down:
            raise OutboxError("connection refused")
        shared = opened(self.folder, self.clock)
        rows = shared.database.rows

        def read(statement: str, values: object = ()) -> list[object]:
            if self.is_down:
                raise OutboxError("server closed the connection")
            return rows(statement, values)

        shared.database.rows = read  # type: ignore[method-assign]
        return shared


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.time = time.time()
    return clock


@pytest.fixture
def postgres(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    there = Postgres(tmp_path / "shared", clock)
    monkeypatch.setattr(SharedOutbox, "open", there.open)
    monkeypatch.setattr(sharing, "_RETRY_FIRST", 0.01)
    # One thread connects, others use the connection.
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, check_same_thread=False))
    return there


@pytest.fixture
def node(tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    with outbox_in(tmp_path / "node", clock, CONNECTION) as outbox:
        yield outbox


@pytest.fixture
def used(postgres: Postgres, node: Outbox) -> Iterator[Sharing]:
    with Sharing(Store(node.folder, CONNECTION)) as opened_for_test:
        yield opened_for_test


def delivered(claim: Claim, outbox: AnyOutbox) -> None:
    outbox.claims.delivered(claim, "request")


def until_it_is_used_again(used: Sharing, attempts: int, postgres: Postgres) -> None:
    with used._state:
        assert used._state.wait_for(lambda: postgres.attempts > attempts and used._shared is not None, 30)


def test_what_waits_is_in_the_shared_outbox_before_it_is_sent(used: Sharing, node: Outbox, postgres: Postgres) -> None:
    node.runs.open("run", Watch(ME, "It was killed.", "killed"), [event("a")])
    claim = used.claim(node, LEASE)
    assert isinstance(claim, Claim)
    with opened(postgres.folder, postgres.clock) as shared:
        assert [row["state"] for row in shared.database.rows("SELECT state FROM events")] == ["sending"]
        assert shared.runs.open_of(ME) == ["run"]
        used.record(partial(delivered, claim))
        assert shared.events.states_of("run") == ["delivered"]
    assert node.events.states_of("run") == ["sending"]


def test_while_it_cannot_be_used_the_outbox_of_the_node_is_and_says_why(postgres: Postgres, node: Outbox) -> None:
    postgres.is_down = True
    node.put(event("a"))
    node.put(event("b"))
    with Sharing(Store(node.folder, CONNECTION)) as used:
        assert isinstance(used.claim(node, LEASE), Claim)
        assert node.claims.sharing_problem == "connection refused"
        postgres.is_down = False
        until_it_is_used_again(used, 0, postgres)
        assert isinstance(used.claim(node, LEASE), Claim)
        assert node.claims.sharing_problem is None


def test_an_answer_that_came_while_it_could_not_be_used_is_recorded_later(
    used: Sharing, node: Outbox, postgres: Postgres, clock: Clock
) -> None:
    with opened(postgres.folder, clock) as shared:
        shared.put(event("left by another"))
        claim = used.claim(node, LEASE)
        assert isinstance(claim, Claim)
        postgres.is_down = True
        attempts = postgres.attempts
        with pytest.raises(OutboxError):
            used.do(lambda each: each.database.rows("SELECT 1"))
        used.record(partial(delivered, claim))
        assert shared.events.pending() == 1
        postgres.is_down = False
        until_it_is_used_again(used, attempts, postgres)
        used.keep(node, [])
        assert shared.events.pending() == 0


def test_after_an_outage_it_judges_nobody_at_once(
    used: Sharing, node: Outbox, postgres: Postgres, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(postgres.folder, clock) as shared:
        shared.runs.open("run", Watch(GONE, "It was killed.", "killed"), [event("a")])
        clock.time += 100
        postgres.is_down = True
        attempts = postgres.attempts
        with pytest.raises(OutboxError):
            used.do(lambda each: each.database.rows("SELECT 1"))
        postgres.is_down = False
        until_it_is_used_again(used, attempts, postgres)
        used.keep(node, [])
        assert not shared.runs.is_closed("run")
        monkeypatch.setattr(used, "_judges_from", 0.0)
        used.keep(node, [])
        assert shared.runs.is_closed("run")


def test_what_another_courier_of_the_node_sends_is_left_to_it(used: Sharing, node: Outbox) -> None:
    node.put(event("a"))
    assert isinstance(node.claims.claim(LEASE), Claim)
    assert not isinstance(used.claim(node, LEASE), Claim)


def test_failures_of_this_node_hold_it_up(used: Sharing, node: Outbox, clock: Clock) -> None:
    node.put(event("a"))
    claim = used.claim(node, LEASE)
    assert isinstance(claim, Claim)
    node.claims.failed(claim, ApiError("no way", True, None), clock.time, clock.time + 60)
    assert used.claim(node, LEASE) == clock.time + 60


def test_where_the_folder_of_the_outbox_cannot_be_used_it_is_shared_all_the_same(
    postgres: Postgres, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with Sharing(Store(str(tmp_path / "file" / "state"), CONNECTION)) as used:
        assert used.do(lambda shared: shared.claims.is_waiting()) is False
