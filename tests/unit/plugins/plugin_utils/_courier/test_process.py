# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The courier: how long it stays, what it closes, and when it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from deliveries import PATIENCE, exit_code, statuses, wait_until
from outboxes import outbox_in

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import CourierClient
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.config import CourierConfig
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.delivery import Delivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.process import Courier, _Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from flashduty_sandbox.receiver import Receiver

Neighbour = subprocess.Popen[bytes]


def event(key: str = "a", status: str = "Processing") -> ChangeEvent:
    return ChangeEvent.validated({"change_key": key, "change_status": status, "title": "t"}, time.time())


def open_run(store: Store, beside: Process, run: str = "run", key: str = "a") -> None:
    store.do(lambda outbox: outbox.runs.open(run, Watch(beside, "it vanished", "killed"), [event(key)]))


def pending(store: Store) -> int:
    return store.look(lambda outbox: outbox.events.pending())


def descriptions(receiver: Receiver, key: str = "a") -> list[str | None]:
    return [each["body"].get("description") for each in receiver.events() if each["change_key"] == key]


class Rig:
    """A courier in this process, beside a process of its own.

    :param run: the run that it is to close.
    """

    def __init__(self, store: Store, connection: Connection, beside: Process, run: str | None) -> None:
        self.fifo = Path(store.configured).parent / "courier.fifo"
        os.mkfifo(self.fifo)
        self._watch = _Watch(str(self.fifo), beside)
        own = Store(store.configured, connection, beside)
        config = CourierConfig(store.configured, connection, beside, str(self.fifo), run, None, False, [])
        self._delivery = Delivery(own)
        self.courier = Courier(config, self._watch, own, self._delivery)

    def call(self) -> None:
        """Wake it, as a client does."""
        self.fifo.write_bytes(b"!")

    def attend(self) -> None:
        """What the process of a courier does."""
        with self._delivery:
            self.courier.attend()
        self.courier.close()

    @contextmanager
    def attending(self, neighbour: Neighbour) -> Iterator[threading.Thread]:
        """It attends in a thread, until its process ends at last."""
        thread = threading.Thread(target=self.attend)
        thread.start()
        try:
            yield thread
        finally:
            neighbour.communicate()
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def close(self) -> None:
        """Close what the process of a courier leaves to its end."""
        self._watch._process_has_gone()
        os.close(self._watch._fifo)


@pytest.fixture
def rig(store: Store, connection: Connection, neighbour: Neighbour) -> Iterator[Callable[..., Rig]]:
    beside = Process.of(neighbour.pid)
    with ExitStack() as until:

        def make(run: str | None = None) -> Rig:
            made = Rig(store, connection, beside, run)
            until.callback(made.close)
            return made

        yield make


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_IDLE_MOST", 0.02), ("_SIGN_OF_LIFE", 0.01), ("_LEAVING_INTERVAL", 0.01)):
        monkeypatch.setattr(process, name, seconds)


def test_events_go_out_while_the_process_lives_also_those_put_before_there_was_an_outbox(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, receiver: Receiver
) -> None:
    courier = rig()
    with courier.attending(neighbour):
        for status in ("Processing", "Done"):
            store.do(lambda outbox, status=status: outbox.put(event(status=status)))  # type: ignore[misc]
            courier.call()
            wait_until(lambda: pending(store) == 0)
    assert statuses(receiver) == ["Processing", "Done"]


def test_when_the_process_ends_its_runs_are_canceled_and_everything_is_delivered(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, receiver: Receiver
) -> None:
    beside = Process.of(neighbour.pid)
    courier = rig("run")
    open_run(store, beside)
    # A task of that process has opened another change, and somebody else's run is not ours to close.
    store.do(lambda outbox: outbox.put(event("task"), run=Watch(beside, "left open")))
    open_run(store, Process.of(os.getpid()), "of another", "another")
    with courier.attending(neighbour):
        wait_until(lambda: pending(store) == 0)
        assert statuses(receiver) == ["Processing"]
    assert pending(store) == 0
    assert statuses(receiver) == statuses(receiver, "task") == ["Processing", "Canceled"]
    assert (descriptions(receiver)[-1], descriptions(receiver, "task")[-1]) == ("it vanished", "left open")
    assert statuses(receiver, "another") == ["Processing"]


def test_a_run_that_was_closed_in_time_is_not_canceled(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, receiver: Receiver
) -> None:
    courier = rig("run")
    open_run(store, Process.of(neighbour.pid))
    store.do(lambda outbox: outbox.runs.close("run", [event(status="Done")]))
    with courier.attending(neighbour):
        pass
    assert statuses(receiver) == ["Processing", "Done"]


def test_a_process_that_ended_before_its_courier_was_up_is_noticed(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, receiver: Receiver
) -> None:
    open_run(store, Process.of(neighbour.pid))
    neighbour.communicate()
    rig("run").attend()
    assert statuses(receiver) == ["Processing", "Canceled"]


def test_what_vanished_beside_it_is_closed_too(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, receiver: Receiver, dead: Process
) -> None:
    long_ago = time.time() - 3600
    with outbox_in(store.configured, lambda: long_ago, store.connection) as outbox:
        outbox.runs.open("of a dead one", Watch(dead, "it vanished", "killed"), [event("dead")])
    courier = rig()
    with courier.attending(neighbour):
        wait_until(lambda: statuses(receiver, "dead") == ["Processing", "Canceled"])


def test_the_sign_of_life_of_a_run_is_given_again_and_again(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, hasty: None
) -> None:
    beside = Process.of(neighbour.pid)
    open_run(store, beside)
    courier = rig("run")

    def seen() -> tuple[float, str | None]:
        with store.opened() as outbox:
            (row,) = outbox.database.rows("SELECT seen_at, courier FROM runs")
            return row["seen_at"], row["courier"]

    with courier.attending(neighbour):
        wait_until(lambda: seen()[1] == Process.of(os.getpid()).to_text())
        before = seen()[0]
        wait_until(lambda: seen()[0] > before)


def test_a_courier_without_work_leaves_and_cannot_be_called_any_more(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, hasty: None
) -> None:
    store.do(lambda outbox: None)
    courier = rig()
    with courier.attending(neighbour) as thread:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert neighbour.poll() is None
        assert not courier.fifo.exists()


def test_beside_the_first_process_of_a_container_a_courier_stays_for_nobody_would_reap_it(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, hasty: None
) -> None:
    store.do(lambda outbox: None)
    courier = rig()
    config = courier.courier._config
    courier.courier._config = config._replace(process=config.process._replace(pid=1))
    with courier.attending(neighbour) as thread:
        thread.join(0.3)
        assert thread.is_alive()


def test_a_courier_stays_while_a_run_of_its_process_is_open(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, hasty: None, receiver: Receiver
) -> None:
    open_run(store, Process.of(neighbour.pid))
    courier = rig()
    with courier.attending(neighbour) as thread:
        thread.join(0.15)
        assert thread.is_alive()
        assert courier.fifo.exists()
    assert statuses(receiver) == ["Processing", "Canceled"]


def test_a_courier_leaves_when_its_outbox_was_deleted(
    rig: Callable[..., Rig], store: Store, neighbour: Neighbour, hasty: None
) -> None:
    open_run(store, Process.of(neighbour.pid))
    courier = rig("run")
    with courier.attending(neighbour) as thread:
        wait_until(lambda: pending(store) == 0)
        for path in Path(store.configured).iterdir():
            if path.is_file():
                path.unlink()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_what_cannot_be_delivered_is_given_up_after_a_while_and_kept(
    rig: Callable[..., Rig],
    store: Store,
    neighbour: Neighbour,
    receiver: Receiver,
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_LINGER", 0.05)
    receiver.faults.set("refuse", seconds=PATIENCE)
    open_run(store, Process.of(neighbour.pid))
    courier = rig("run")
    with courier.attending(neighbour):
        pass
    assert pending(store) == 2


def test_retiring_twice_takes_no_pipe_of_another_courier_away(rig: Callable[..., Rig]) -> None:
    courier = rig()
    courier.courier.retire()
    os.mkfifo(courier.fifo)
    courier.courier.retire()
    assert courier.fifo.exists()


@pytest.mark.parametrize("interrupted", [False, True])
def test_as_a_process_of_its_own_it_tells_a_ctrl_c_from_another_end_and_leaves_nothing_behind(
    store: Store,
    receiver: Receiver,
    neighbour: Neighbour,
    couriers: list[int],
    interrupted: bool,
) -> None:
    ends: list[int] = []

    def set_wakeup_fd(writer: int, **_options: bool) -> int:
        ends.append(writer)
        return -1

    signals = Signals(set_wakeup_fd)
    beside = Process.of(neighbour.pid)
    client = CourierClient(store, beside, "run", signals, "it was interrupted")
    try:
        client.wake()
        open_run(store, beside)
        client.wake()
        # What Python writes there when the process gets the signal.
        os.write(ends[0], bytes([signal.SIGINT if interrupted else signal.SIGTERM]))
        neighbour.communicate()
        wait_until(lambda: statuses(receiver) == ["Processing", "Canceled"])
        assert descriptions(receiver)[-1] == ("it was interrupted" if interrupted else "it vanished")
        assert exit_code(couriers[0]) == 0
        assert list((Path(store.configured) / "couriers").iterdir()) == []
    finally:
        for descriptor in (signals.reader, ends[0]):
            os.close(descriptor)
