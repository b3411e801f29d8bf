# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flush: what it closes, what it delivers, and what it says of the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from deliveries import APP_KEY, KEY, PATIENCE, DirectDelivery, OneTry, statuses
from outboxes import ME, acting_as, event, outbox_in

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent, InvalidValue
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    ChangeQuery,
    Found,
    find_changes,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.flush import Flush
from flashduty_sandbox.receiver import Receiver

OTHERS: dict[str, list[Any]] = {"others": [], "adopted": [], "dropped": [], "of_others": []}
NOTHING = {"changed": False, "closed": 0, "stale": [], "delivered": 0, "waiting": 0, "refused": [], **OTHERS}
Flushes = Callable[..., Flush]


@pytest.fixture
def flush(store: Store, connection: Connection, receiver: Receiver) -> Flushes:
    """Makes a flush of the store that asks the receiver for changes."""
    connection = connection._replace(app_key=APP_KEY)

    def find(query: ChangeQuery) -> Found:
        return find_changes(connection, query, PATIENCE)

    def made(
        find: Callable[[ChangeQuery], Found] = find, delivery: type[DirectDelivery] = DirectDelivery, **options: Any
    ) -> Flush:
        stale = {"stale_integration_id": receiver.integration_id(KEY)}
        return Flush({**stale, **options}, connection, store, delivery(store, connection), find, Notices())

    return made


def put(store: Store, *events: ChangeEvent) -> None:
    for each in events:
        store.do(lambda outbox, each=each: outbox.put(each))  # type: ignore[misc]


def claimed(store: Store, owner: Process, failed_until: float | None = None) -> None:
    """Somebody sends what is next; where there is a moment until which it pauses, that fails."""

    def claim(outbox: Outbox) -> None:
        with acting_as(owner):
            found = outbox.claims.claim(3600.0)
        assert isinstance(found, Claim)
        if failed_until is not None:
            outbox.claims.failed(found, ApiError("it is down", True, None), failed_until, failed_until)

    store.do(claim)


def open_run(store: Store, process: Process, key: str = "a", ago: float = 3600.0) -> None:
    """A process has opened a run, so many seconds ago."""
    with outbox_in(store.configured, lambda: time.time() - ago, store.connection) as outbox:
        outbox.runs.open("run", Watch(process, "it vanished", "killed"), [event(key)])


def report_elsewhere(store: Store, connection: Connection, key: str, ago: int, **labels: str) -> None:
    """Another control node has reported a change so many seconds ago."""
    elsewhere = Store(f"{store.configured} of another", connection)
    at = int(time.time()) - ago
    put(elsewhere, event(key, event_time=at, labels={"source": "ansible", **labels}))
    DirectDelivery(elsewhere, connection).wait(lambda outbox: not outbox.events.pending(), PATIENCE)


def test_where_nothing_was_ever_stored_nothing_is_made(flush: Flushes, store: Store, receiver: Receiver) -> None:
    assert flush().flush(PATIENCE) == flush().preview() == NOTHING
    assert (store.exists, receiver.requests()) == (False, [])


def test_what_waits_is_delivered_and_counted(flush: Flushes, store: Store, receiver: Receiver) -> None:
    put(store, event("a"), event("b"))
    assert flush().preview() == {**NOTHING, "changed": True, "waiting": 2}
    assert receiver.requests() == []
    assert flush().flush(PATIENCE) == {**NOTHING, "changed": True, "delivered": 2}
    assert flush().flush(PATIENCE) == flush().preview() == NOTHING
    assert (statuses(receiver), statuses(receiver, "b")) == (["Processing"], ["Processing"])


def test_without_the_shared_outbox_that_is_set_this_one_is_flushed_and_the_task_fails(
    store: Store, connection: Connection, receiver: Receiver
) -> None:
    shared = connection._replace(outbox_url="postgresql://flash:s3cret-word@127.0.0.1:1/flashduty")
    sharing = Store(store.configured, shared)
    put(store, event("a"))
    delivery = DirectDelivery(sharing, shared)
    flush = Flush({}, shared, sharing, delivery, lambda _query: Found([], 0, False), Notices())
    for result, done in ((flush.preview(), {"waiting": 1}), (flush.flush(PATIENCE), {"delivered": 1})):
        assert result == {**NOTHING, "changed": True, "failed": True, "msg": result["msg"], **done}
        assert "only the outbox of this machine was flushed" in result["msg"]
        assert "s3cret-word" not in result["msg"]
    assert statuses(receiver) == ["Processing"]


def test_refusals_of_earlier_are_not_taken_off_what_is_delivered(
    flush: Flushes, store: Store, connection: Connection, receiver: Receiver
) -> None:
    put(store, event("a"))
    receiver.faults.set("status", status=400, times=1)
    DirectDelivery(store, connection).wait(lambda outbox: not outbox.events.pending(), PATIENCE)
    put(store, event("b"))
    result = flush().flush(PATIENCE)
    assert (result["delivered"], len(result["refused"])) == (1, 1)


def test_a_run_that_vanished_is_closed(flush: Flushes, store: Store, dead: Process, receiver: Receiver) -> None:
    open_run(store, dead)
    assert flush().preview() == {**NOTHING, "changed": True, "closed": 1, "waiting": 1}
    assert flush().flush(PATIENCE) == {**NOTHING, "changed": True, "closed": 1, "delivered": 2}
    assert statuses(receiver) == ["Processing", "Canceled"]


def test_a_run_that_goes_on_is_left_open(flush: Flushes, store: Store, receiver: Receiver) -> None:
    open_run(store, ME)
    assert flush().flush(PATIENCE) == {**NOTHING, "changed": True, "delivered": 1}
    assert statuses(receiver) == ["Processing"]


def test_what_failed_before_is_tried_now(flush: Flushes, store: Store) -> None:
    put(store, event())
    claimed(store, ME, failed_until=time.time() + 3600)
    assert flush().flush(PATIENCE)["delivered"] == 1


def test_what_a_dead_process_was_sending_is_sent(flush: Flushes, store: Store, dead: Process) -> None:
    put(store, event())
    claimed(store, dead)
    assert flush().flush(PATIENCE)["delivered"] == 1


def test_what_another_process_sends_is_waited_for_as_long_as_asked_and_told(
    flush: Flushes, store: Store, receiver: Receiver
) -> None:
    put(store, event())
    claimed(store, ME)
    result = flush().flush(0.05)
    assert (result["failed"], result["waiting"], result["delivered"]) == (True, 1, 0)
    assert f"1 event still waits in {store.folder}: no answer yet" in result["msg"]
    assert receiver.requests() == []


def test_why_something_still_waits_is_told(flush: Flushes, store: Store, receiver: Receiver) -> None:
    receiver.faults.set("reset")
    put(store, event())
    result = flush(delivery=OneTry).flush(PATIENCE)
    assert (result["failed"], result["waiting"], result["changed"]) == (True, 1, True)
    assert "the connection was closed before an answer arrived" in result["msg"]


def test_a_refusal_is_no_delivery_and_told_once(flush: Flushes, store: Store, receiver: Receiver) -> None:
    receiver.faults.set("status", status=400, key="b", message="no such field")
    put(store, event("a"), event("b"))
    result = flush().flush(PATIENCE)
    assert (result["delivered"], result["waiting"], "failed" in result) == (1, 0, False)
    (refused,) = result["refused"]
    assert (refused["change_key"], refused["change_status"], refused["http_status"]) == ("b", "Processing", 400)
    assert "no such field" in refused["error"]
    assert refused["request_id"] in [each["request_id"] for each in receiver.requests()]
    assert flush().flush(PATIENCE) == NOTHING


def test_what_another_node_abandoned_is_closed_where_that_is_asked_for(
    flush: Flushes, store: Store, connection: Connection, receiver: Receiver
) -> None:
    report_elsewhere(store, connection, "old", 7200)
    report_elsewhere(store, connection, "young", 60)
    assert flush().flush(PATIENCE) == NOTHING
    assert flush(stale_after="1h").preview() == {**NOTHING, "changed": True, "closed": 1, "stale": ["old"]}
    assert not store.exists
    assert flush(stale_after="1h").flush(PATIENCE) == {
        **NOTHING,
        "changed": True,
        "closed": 1,
        "stale": ["old"],
        "delivered": 1,
    }
    assert statuses(receiver, "old") == ["Processing", "Canceled"]
    assert statuses(receiver, "young") == ["Processing"]
    assert flush(stale_after="1h").flush(PATIENCE) == NOTHING


def test_what_is_in_progress_here_is_not_abandoned(
    flush: Flushes, store: Store, connection: Connection, receiver: Receiver
) -> None:
    report_elsewhere(store, connection, "a", 7200)
    open_run(store, ME)
    assert flush(stale_after="1h").preview()["stale"] == []
    assert flush(stale_after="1h").flush(PATIENCE)["stale"] == []
    assert "Canceled" not in statuses(receiver)


@pytest.mark.parametrize("waiting", [True, False])
def test_where_flashduty_cannot_be_asked_what_waits_is_delivered_all_the_same(
    flush: Flushes, store: Store, waiting: bool
) -> None:
    def fails(_query: ChangeQuery) -> Found:
        raise ApiError("it is on fire", retry=True)

    if waiting:
        put(store, event())
    preview = flush(fails, stale_after="1h").preview()
    result = flush(fails, stale_after="1h").flush(PATIENCE)
    assert preview["failed"] is result["failed"] is True
    assert preview["msg"] == result["msg"] == "stale changes cannot be read from Flashduty: it is on fire"
    assert (preview["waiting"], result["delivered"], result["waiting"]) == (waiting, waiting, 0)


def test_a_rule_that_cannot_be_used_is_refused_before_anything_is_done(flush: Flushes) -> None:
    with pytest.raises(InvalidValue, match="stale_after"):
        flush(stale_after="5m")
