# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of a flush that belongs to the outbox which several nodes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from outboxes import CONNECTION, LEASE, Clock, acting_as, claimed, event, outbox_in
from shared_outboxes import opened

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import TOO_MANY_REQUESTS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.shared_flush import SharedFlush

SHARING = CONNECTION._replace(outbox_url="postgresql://flash:s3cret-word@db/flashduty")
ELSEWHERE = Process("elsewhere", "boot", "namespace", 1, "1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    """The outbox of this node."""
    with outbox_in(tmp_path / "own", clock) as made:
        yield made


@pytest.fixture
def shared(tmp_path: Path, clock: Clock) -> Iterator[SharedOutbox]:
    """The shared outbox, as another node sees it."""
    made = opened(tmp_path / "shared", clock, "other 1234")
    yield made
    made.close()


@pytest.fixture
def flush(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedFlush]:
    monkeypatch.setattr(SharedOutbox, "open", lambda *_: opened(tmp_path / "shared", clock, "this 5678"))
    made = SharedFlush(SHARING)
    yield made
    made.close()


def refused(shared: SharedOutbox) -> str:
    """The next event is refused for good; returns which."""
    claim = claimed(shared)
    shared.claims.refused(claim, ApiError("title is too long", False, None))
    return claim.uid


def test_where_no_outbox_is_shared_there_is_nothing_to_flush(outbox: Outbox) -> None:
    flush = SharedFlush(CONNECTION)
    assert (flush.where, flush.begin(outbox), flush.waited, flush.problem) == ("", 0, set(), None)
    flush.finish(outbox)
    assert (flush.vanished(), flush.still_waiting(), flush.last_error(), flush.refusals(set())) == (
        set(),
        set(),
        None,
        [],
    )


def test_one_that_cannot_be_used_is_asked_once(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fails(*_: object) -> SharedOutbox:
        asked.append(1)
        raise OutboxError("connection refused")

    monkeypatch.setattr(SharedOutbox, "open", fails)
    flush = SharedFlush(SHARING)
    assert flush.begin(outbox) == 0
    flush.finish(outbox)
    assert (flush.problem, asked) == ("connection refused", [1])
    assert flush.where == "postgresql://flash:***@db/flashduty"


def test_what_only_this_node_knows_is_entered_and_what_others_left_is_closed(
    flush: SharedFlush, outbox: Outbox, shared: SharedOutbox, clock: Clock
) -> None:
    with acting_as(ELSEWHERE):
        shared.runs.open("theirs", Watch(ELSEWHERE, "It was killed.", "killed"), [event("theirs")])
    clock.time += 3600
    outbox.put(event("ours"))
    assert flush.vanished() == {"theirs"}
    assert flush.begin(outbox) == 1
    rows = shared.database.rows("SELECT change_key FROM events ORDER BY change_key")
    assert [row[0] for row in rows] == ["ours", "theirs", "theirs"]
    assert len(flush.waited) == 3
    assert flush.still_waiting() == flush.waited


def test_what_was_delivered_waits_no_more_and_a_refusal_is_told(
    flush: SharedFlush, outbox: Outbox, shared: SharedOutbox
) -> None:
    for key in ("a", "b"):
        shared.put(event(key))
    flush.begin(outbox)
    one = refused(shared)
    shared.claims.delivered(claimed(shared), "request")
    flush.finish(outbox)
    assert flush.still_waiting() == set()
    assert [each.error for each in flush.refusals(set())] == ["title is too long"]
    # It may be told already by the outbox of this node.
    assert flush.refusals({one}) == []


@pytest.mark.parametrize(("status", "is_tried"), [(503, True), (TOO_MANY_REQUESTS, False)])
def test_a_failure_is_tried_again_now_but_a_pause_that_flashduty_asked_for_holds(
    flush: SharedFlush, outbox: Outbox, shared: SharedOutbox, clock: Clock, status: int, is_tried: bool
) -> None:
    shared.put(event())
    shared.claims.failed(claimed(shared), ApiError("not now", True, status), clock.time + 60, clock.time + 60)
    flush.begin(outbox)
    assert (flush.last_error() is None) is is_tried
    claim = shared.claims.claim(LEASE)
    assert (not isinstance(claim, (float, type(None)))) is is_tried
