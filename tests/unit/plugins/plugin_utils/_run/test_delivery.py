# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run's events are stored and delivered: when the courier is called, how long it is waited for, what is told."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from deliveries import KEY, PATIENCE, statuses, wait_until
from outboxes import CONNECTION, LEASE, ME, event, outbox_in

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.delivery import Delivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import FLUSH, Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import FILE_NAME, SCHEMA_VERSION
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import RunDelivery
from flashduty_sandbox.receiver import Receiver

RUN = "the run"


@pytest.fixture
def signals(wakeup: list[int]) -> Iterator[Signals]:
    made = Signals(signal.set_wakeup_fd)
    yield made
    os.close(made.reader)


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def run(store: Store, connection: Connection, signals: Signals, notices: Notices) -> RunDelivery:
    return RunDelivery(
        store.configured, connection, ME, RUN, signals, "it vanished", "it was interrupted", "killed", notices
    )


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch, store: Store) -> list[bool]:
    """Each start of a courier, which fails: whether there was an outbox by then."""
    found: list[bool] = []

    def spawn(*_arguments: Any, **_options: Any) -> int:
        found.append(store.exists)
        raise PermissionError("no more processes")

    monkeypatch.setattr(os, "posix_spawn", spawn)
    return found


@pytest.fixture
def courier(store: Store, connection: Connection) -> Iterator[int]:
    """What a courier of this process would be called by: it reads from this."""
    Outbox(store.configured, connection).close()
    folder = Path(store.configured) / "couriers"
    folder.mkdir()
    fifo = folder / f"{store.integration[:16]}-{ME.pid}-{ME.start}.fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    yield reader
    os.close(reader)


def calls(courier: int) -> int:
    """How often the courier was called since this was asked."""
    with suppress(BlockingIOError):
        return len(os.read(courier, 4096))
    return 0


@contextmanager
def delivering(run: RunDelivery, connection: Connection, courier: int) -> Iterator[None]:
    """A courier in this process: it delivers, and looks into the outbox when it is called."""
    over = threading.Event()
    with Delivery(Store(run.store.configured, connection)) as delivery:

        def attend() -> None:
            while not over.wait(0.005):
                if calls(courier):
                    delivery.wake()

        thread = threading.Thread(target=attend)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def told(notices: Notices, level: str = "warning") -> list[str]:
    return [notice.text for notice in notices.take() if notice.level == level]


def pending(run: RunDelivery) -> int:
    return run.store.look(lambda outbox: outbox.events.pending())


# Storing


def test_the_courier_is_there_before_there_is_anything_to_close(run: RunDelivery, starts: list[bool]) -> None:
    run.put([event()])
    assert starts == [False, True]
    run.put([event("b")])
    assert starts == [False, True, True]


def test_where_no_courier_can_be_started_the_events_are_stored_all_the_same(
    run: RunDelivery, starts: list[bool], notices: Notices
) -> None:
    run.put([event(), event("b")])
    assert pending(run) == 2
    (text,) = told(notices, "debug")
    assert "no more processes" in text
    started = time.monotonic()
    run.wait(PATIENCE)
    assert time.monotonic() - started < PATIENCE / 2
    (warning,) = told(notices)
    for part in (
        "2 events not delivered (the courier cannot be started: no more processes)",
        "nothing delivers",
        FLUSH,
    ):
        assert part in warning
    assert "background" not in warning


def test_the_courier_is_called_for_each_event(run: RunDelivery, courier: int) -> None:
    run.put([event()])
    assert calls(courier) == 2
    run.put([event("b")])
    assert calls(courier) == 1


def test_the_run_is_closed_with_its_last_events_and_says_otherwise_what_it_would_have_said(
    run: RunDelivery, courier: int
) -> None:
    run.put([event(), event("b")])
    canceled = run.store.look(lambda outbox: outbox.runs.canceled_events(RUN))
    assert [each.description for each in canceled] == ["it vanished", "it vanished"]
    run.close([event(status="Done"), event("b", "Canceled")])
    assert run.store.look(lambda outbox: outbox.runs.is_closed(RUN))
    assert pending(run) == 4


def test_a_damage_is_told_to_the_user(run: RunDelivery, courier: int, notices: Notices) -> None:
    run.put([event()])
    path = Path(run.store.configured) / FILE_NAME
    path.write_bytes(b"this is no database" * 1000)
    run.close([event(status="Done")])
    (text,) = told(notices)
    assert f"{path}.corrupt-" in text


# What earlier runs left


def put(run: RunDelivery, delivered: bool = False) -> None:
    """An event that a task of an earlier run has stored."""

    def store(outbox: Outbox) -> None:
        outbox.put(event())
        if delivered:
            claim = outbox.claims.claim(LEASE)
            assert isinstance(claim, Claim)
            outbox.claims.delivered(claim, "r")

    run.store.do(store)


def test_where_nothing_was_left_no_courier_is_started(run: RunDelivery, starts: list[bool]) -> None:
    run.deliver_what_waits()
    assert not run.store.exists
    put(run, delivered=True)
    run.deliver_what_waits()
    assert starts == []


def test_an_event_that_waits_is_a_courier_worth(run: RunDelivery, starts: list[bool]) -> None:
    put(run)
    run.deliver_what_waits()
    assert len(starts) == 1


# The dead process first: from Python 3.13 on, subprocess starts one by posix_spawn, too.
def test_a_run_that_vanished_is_a_courier_worth(dead: Process, run: RunDelivery, starts: list[bool]) -> None:
    with outbox_in(run.store.configured, lambda: time.time() - 3600, run.store.connection) as outbox:
        outbox.runs.open("another run", Watch(dead, "it vanished", "killed"), [])
    assert pending(run) == 0
    run.deliver_what_waits()
    assert len(starts) == 1


def test_an_outbox_that_cannot_be_read_is_left_to_the_next_run(
    run: RunDelivery, starts: list[bool], notices: Notices
) -> None:
    put(run)
    with Outbox(run.store.configured, CONNECTION) as outbox, outbox.database.writing() as transaction:
        transaction.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    run.deliver_what_waits()
    assert (starts, len(told(notices, "debug"))) == ([], 1)


# Waiting


def test_what_is_delivered_is_waited_for_and_not_spoken_of(
    run: RunDelivery, connection: Connection, courier: int, receiver: Receiver, notices: Notices
) -> None:
    run.put([event()])
    run.close([event(status="Done")])
    with delivering(run, connection, courier):
        run.wait(PATIENCE)
    assert statuses(receiver) == ["Processing", "Done"]
    assert notices.take() == []


def test_what_is_not_delivered_in_time_is_told_with_what_to_do(
    run: RunDelivery, courier: int, notices: Notices
) -> None:
    run.put([event()])
    run.close([event(status="Done")])
    run.wait(0.05)
    (text,) = told(notices)
    for part in ("2 events not delivered yet", "no answer yet", run.store.folder, FLUSH):
        assert part in text


def test_events_of_earlier_runs_are_not_spoken_of_where_the_own_ones_are_delivered(
    run: RunDelivery, connection: Connection, courier: int, receiver: Receiver, notices: Notices
) -> None:
    receiver.faults.set("hang", key="of an earlier run")
    run.store.do(lambda outbox: outbox.put(event("of an earlier run")))
    run.put([event()])
    with delivering(run, connection, courier):
        run.wait(PATIENCE)
        assert statuses(receiver) == ["Processing"]
        assert told(notices) == []
        receiver.faults.clear()


def test_an_api_that_was_down_before_gets_one_more_try(
    run: RunDelivery, connection: Connection, courier: int, receiver: Receiver, notices: Notices
) -> None:
    receiver.faults.set("reset")
    run.put([event()])
    with delivering(run, connection, courier):
        wait_until(lambda: run.store.look(lambda outbox: outbox.claims.pause.error))
        before = len(receiver.requests())
        started = time.monotonic()
        run.wait(PATIENCE)
    assert time.monotonic() - started < PATIENCE / 2
    assert len(receiver.requests()) > before
    (text,) = told(notices)
    assert "1 event not delivered yet (the connection was closed before an answer arrived)" in text


def test_a_refusal_is_told_once_with_what_flashduty_said(
    run: RunDelivery, connection: Connection, courier: int, receiver: Receiver, notices: Notices
) -> None:
    receiver.faults.set("status", status=400, message="no such field")
    run.put([event(), event("b")])
    with delivering(run, connection, courier):
        run.wait(PATIENCE)
    (text,) = told(notices)
    for part in ("refused 2 events: ", "no such field", "HTTP 400", "change a"):
        assert part in text
    assert any(request["request_id"] in text for request in receiver.requests())
    assert KEY not in text
    run.wait(0.0)
    assert told(notices) == []


def test_what_was_given_up_is_told_as_such(
    run: RunDelivery, courier: int, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations._KEEP_WAITING", 0
    )
    run.put([event(), event("b")])
    run.store.do(lambda outbox: outbox.integrations.prune())
    run.wait(0.0)
    (text,) = told(notices)
    assert text.startswith("2 events given up: more than 0 events were waiting")
    assert "flashcat.flashduty.doctor" in text


def test_a_shared_outbox_that_cannot_be_used_is_told_once_where_there_is_to_be_one(
    run: RunDelivery, connection: Connection, courier: int, notices: Notices
) -> None:
    run.store.do(lambda outbox: outbox.claims.sharing_tried("it is down"))
    shared = connection._replace(outbox_url="postgresql://db")
    sharing = RunDelivery(
        run.store.configured, shared, ME, "another run", Signals(signal.set_wakeup_fd), "", "", "killed", notices
    )
    for each in (run, sharing, sharing):
        each.wait(0)
    (warning,) = told(notices)
    assert "(it is down)" in warning
    run.store.do(lambda outbox: outbox.claims.sharing_tried(None))
    sharing.wait(0)
    assert told(notices) == []


def test_an_outbox_that_has_gone_is_no_error(run: RunDelivery, courier: int, notices: Notices) -> None:
    run.put([event()])
    for path in Path(run.store.configured).glob(f"{FILE_NAME}*"):
        path.unlink()
    run.wait(PATIENCE)
    assert any("deleted" in text for text in told(notices, "debug"))


def test_the_courier_that_is_started_delivers_and_leaves_with_nothing_left(
    store: Store,
    connection: Connection,
    signals: Signals,
    notices: Notices,
    receiver: Receiver,
    couriers: list[int],
) -> None:
    run = RunDelivery(
        store.configured, connection, ME, RUN, signals, "it vanished", "it was interrupted", "killed", notices
    )
    run.put([event()])
    run.close([event(status="Done")])
    run.wait(PATIENCE)
    assert (statuses(receiver), len(couriers), notices.take()) == (["Processing", "Done"], 1, [])
