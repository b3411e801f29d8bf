# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of a courier: one is started, woken, and waited for."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from deliveries import KEY, PATIENCE, ended, statuses

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import client, entry
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import (
    CourierClient,
    requests_is_missing,
    try_fifo,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from flashduty_sandbox.receiver import Receiver


@pytest.fixture
def beside(neighbour: subprocess.Popen[bytes]) -> Process:
    """The process beside which couriers stay."""
    return Process.of(neighbour.pid)


def put(store: Store, key: str = "a") -> str:
    event = ChangeEvent.validated({"change_key": key, "change_status": "Processing", "title": "t"}, time.time())
    return store.do(lambda outbox: outbox.put(event).uid)


def is_empty(outbox: Outbox) -> bool:
    return outbox.events.pending() == 0


def fifos(store: Store) -> list[Path]:
    return list((Path(store.configured) / "couriers").glob("*.fifo"))


def test_clients_of_one_process_and_integration_share_one_courier(
    store: Store, beside: Process, couriers: list[int], receiver: Receiver
) -> None:
    one, two = CourierClient(store, beside), CourierClient(store, beside)
    put(store)
    for each in (one, two, one):
        each.wake()
    assert one.wait(is_empty, PATIENCE)
    # It is called again when it is up.
    put(store, "b")
    two.wake()
    assert two.wait(is_empty, PATIENCE)
    assert (statuses(receiver), statuses(receiver, "b")) == (["Processing"], ["Processing"])
    assert len(couriers) == 1
    (fifo,) = fifos(store)
    assert (fifo.stat().st_mode & 0o077, fifo.parent.stat().st_mode & 0o077) == (0, 0)


def test_a_courier_gets_neither_our_files_nor_the_key_where_others_can_read_it(
    store: Store, beside: Process, couriers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASHDUTY_INTEGRATION_KEY", KEY)
    pipe = os.pipe()
    try:
        os.set_inheritable(pipe[1], True)
        put(store)
        courier = CourierClient(store, beside)
        courier.wake()
        assert courier.wait(is_empty, PATIENCE)
        place = Path(f"/proc/{couriers[0]}")
        ours = os.readlink(f"/proc/self/fd/{pipe[1]}")
        assert ours not in [os.readlink(each) for each in (place / "fd").iterdir()]
        assert {os.readlink(place / "fd" / number) for number in ("1", "2")} == {os.devnull}
        assert KEY.encode() not in (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
        # A Ctrl-C of the terminal does not reach it.
        assert os.getsid(couriers[0]) == couriers[0]
    finally:
        for end_of_pipe in pipe:
            os.close(end_of_pipe)


def test_who_waits_starts_another_in_place_of_a_courier_that_died(
    store: Store, beside: Process, couriers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_WAKE_AGAIN", 0.05)
    courier = CourierClient(store, beside)
    courier.wake()
    ended(couriers[0])
    put(store)
    assert courier.wait(is_empty, PATIENCE)
    assert len(couriers) == 2
    assert len(fifos(store)) == 1


@pytest.mark.parametrize("step", ["CourierConfig", "_Started", "_write"])
def test_a_ctrl_c_while_a_courier_is_started_comes_when_it_is_up(
    store: Store, beside: Process, couriers: list[int], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    done = getattr(client, step)

    def interrupted(*arguments: Any, **named: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return done(*arguments, **named)

    put(store)
    courier = CourierClient(store, beside)
    with monkeypatch.context() as patch:
        patch.setattr(client, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            courier.wake()
    courier.wake()
    assert courier.wait(is_empty, PATIENCE)
    assert len(couriers) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_couriers_of_two_integrations_or_processes_are_called_apart(
    store: Store, connection: Connection, beside: Process, couriers: list[int]
) -> None:
    other = connection._replace(integration_key="another")
    CourierClient(store, beside).wake()
    CourierClient(Store(store.configured, other), beside).wake()
    CourierClient(store, beside._replace(start=f"{beside.start}1")).wake()
    assert len(set(fifos(store))) == len(couriers) == 3


def test_waiting_asks_at_once_and_gives_up_in_time(store: Store, beside: Process) -> None:
    put(store)
    courier = CourierClient(store, beside)
    asked: list[str] = []

    def never(outbox: Outbox) -> bool:
        asked.append(outbox.integration)
        return False

    assert courier.wait(lambda _outbox: True, 0.0)
    assert not courier.wait(never, 0.0)
    assert asked == [store.integration]
    assert not courier.wait(never, 0.05)


def test_where_no_courier_can_be_called_or_couriers_that_is_an_error(
    store: Store, beside: Process, couriers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store)
    (Path(store.configured) / "couriers").write_text("in the way")
    with pytest.raises(OSError, match="couriers"):
        CourierClient(store, beside).wake()
    (Path(store.configured) / "couriers").unlink()
    monkeypatch.setattr("sys.executable", "/no/such/python")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        CourierClient(store, beside).wake()
    # The listing itself takes one.
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1
    assert couriers == []


def test_a_pipe_that_is_full_is_no_error(store: Store, beside: Process) -> None:
    put(store)
    folder = Path(store.configured) / "couriers"
    folder.mkdir()
    fifo = folder / f"{store.integration[:16]}-{beside.pid}-{beside.start}.fifo"
    os.mkfifo(fifo)
    # A courier that is busy.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        with suppress(BlockingIOError):
            while os.write(writer, b"!" * 4096):
                pass
        CourierClient(store, beside).wake()
    finally:
        os.close(reader)
        os.close(writer)


def test_what_is_missing_on_the_control_node_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert requests_is_missing() is None
    monkeypatch.setitem(sys.modules, "requests", None)
    assert (requests_is_missing() or "").endswith("-m pip install requests")


# Where there is no courier


def damaged(folder: Path, code: str) -> list[str]:
    """An import path with a package `requests` that does this."""
    folder.mkdir()
    (folder / "requests.py").write_text(code, encoding="utf-8")
    return [str(folder), *entry.import_path()]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"raise RuntimeError('''no\nway with {KEY}''')", r"RuntimeError: no way with \*\*\*\*\*\*\*\*"),
        ("this is no Python", "SyntaxError"),
        ("import urllib3_of_another_time", "urllib3_of_another_time"),
        ("import os; os._exit(3)", "several times without a message"),
    ],
)
def test_the_last_words_of_a_courier_end_the_waiting(
    store: Store,
    beside: Process,
    couriers: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    code: str,
    words: str,
) -> None:
    path = damaged(tmp_path / "damaged", code)
    monkeypatch.setattr(entry, "import_path", lambda: path)
    put(store)
    courier = CourierClient(store, beside)
    courier.wake()
    begun = time.monotonic()
    with pytest.raises(OSError, match=f"^the courier ended: .*{words}") as caught:
        courier.wait(is_empty, PATIENCE)
    assert time.monotonic() - begun < PATIENCE / 2
    assert "\n" not in str(caught.value)
    # Only what is killed has no time to tidy up.
    assert len(fifos(store)) == ("_exit" in code)
    with pytest.raises(ChildProcessError):
        os.waitpid(couriers[-1], os.WNOHANG)


@pytest.mark.parametrize("python", ["/bin/false", sys.executable])
def test_a_configuration_larger_than_a_pipe_does_not_hang_whoever_starts_a_courier(
    store: Store,
    beside: Process,
    couriers: list[int],
    monkeypatch: pytest.MonkeyPatch,
    python: str,
) -> None:
    put(store)
    monkeypatch.setattr(sys, "executable", python)
    courier = CourierClient(store, beside, interrupted_text="x" * 1_000_000)
    courier.wake()
    if python == "/bin/false":
        with pytest.raises(OSError, match="without a message"):
            courier.wait(is_empty, PATIENCE)
    else:
        assert courier.wait(is_empty, PATIENCE)


def test_where_the_file_system_has_no_named_pipes_the_courier_is_called_by_one_elsewhere(
    store: Store,
    beside: Process,
    couriers: list[int],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    mkfifo = os.mkfifo

    def without(path: str, mode: int) -> None:
        if str(path).startswith(store.configured):
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        mkfifo(path, mode)

    monkeypatch.setattr(os, "mkfifo", without)
    monkeypatch.setattr(folders, "_ROOTS", (str(tmp_path),))
    for key in ("a", "b"):
        put(store, key)
        courier = CourierClient(store, beside)
        courier.wake()
        assert courier.wait(is_empty, PATIENCE)
    assert (statuses(receiver), statuses(receiver, "b"), len(couriers)) == (["Processing"], ["Processing"], 1)
    (fifo,) = tmp_path.glob("flashduty-*/*.fifo")
    assert (fifo.parent.stat().st_mode & 0o077, fifos(store)) == (0, [])


def test_where_named_pipes_can_be_made_nowhere_that_is_an_error(
    store: Store, beside: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(path: str, _mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", path)

    monkeypatch.setattr(os, "mkfifo", without)
    with pytest.raises(PermissionError, match=store.configured):
        CourierClient(store, beside).wake()
    with pytest.raises(PermissionError, match=store.configured):
        try_fifo(store.configured, store.configured)


def test_a_file_in_the_place_of_a_named_pipe_is_no_courier(store: Store, beside: Process, couriers: list[int]) -> None:
    put(store)
    courier = CourierClient(store, beside)
    courier.wake()
    ended(couriers[0])
    (fifo,) = fifos(store)
    fifo.unlink()
    fifo.write_text("")
    courier.wake()
    assert courier.wait(is_empty, PATIENCE)


def test_where_no_process_can_be_started_the_limit_is_named(
    store: Store, beside: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawn(*_arguments: object, **_options: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawn", spawn)
    with pytest.raises(OSError, match="ulimit -u"):
        CourierClient(store, beside).wake()


def test_a_courier_inherits_no_descriptor_whatever_its_number(
    store: Store, beside: Process, couriers: list[int]
) -> None:
    pipe = os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    high = fcntl.fcntl(pipe[1], fcntl.F_DUPFD, 3000)
    try:
        put(store)
        courier = CourierClient(store, beside)
        courier.wake()
        assert courier.wait(is_empty, PATIENCE)
        assert str(high) not in os.listdir(f"/proc/{couriers[0]}/fd")
    finally:
        for descriptor in (*pipe, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
