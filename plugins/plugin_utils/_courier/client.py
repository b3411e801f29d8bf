# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The courier's client: starts the courier of one process and one integration, wakes it, and waits for it."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import entry
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.config import (
    COURIER_NAME,
    FIFO_READER,
    NO_MORE_PROCESSES,
    SIGNALS_READER,
    CourierConfig,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals, interrupts_held_back
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import is_private, spool_folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.lock_file import locked
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

# Seconds.
_LOCK_TIMEOUT = 2.0
_POLL_FIRST = 0.002
_POLL_MOST = 0.02
_WAKE_AGAIN = 1.0
_READING = 10.0
# How often a courier may vanish without a word while it is waited for.
_SILENT_ENDS = 3
_WORDS_MOST = 500


def requests_is_missing() -> str | None:
    """The warning where ``requests`` is not installed on the control node; None where it is."""
    if importlib.util.find_spec("requests") is not None:
        return None
    return (
        f"the Python package requests is missing for {sys.executable},"
        f" install it with: {sys.executable} -m pip install requests"
    )


def reap_orphans() -> None:
    """Reap the couriers that ended after those who had started them, and so were left to the first process.

    For that process, in its main thread. The first process of a container may be no init.
    """
    with suppress(OSError):
        with open("/proc/self/task/1/children", encoding="ascii") as children:
            pids = children.read().split()
        for pid in pids:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as state:
                has_ended = state.read().startswith(f"{pid} ({COURIER_NAME}) Z")
            if has_ended:
                os.waitpid(int(pid), os.WNOHANG)


class CourierClient:
    """Has what is in the store delivered.

    :param store: where the events are, and of which integration.
    :param process: the ansible process beside which the courier stays.
    :param run: the run that the courier closes should that process vanish.
    :param signals: those of that process; None where nobody watches them.
    :param interrupted_text: what a change says that the courier closes after a Ctrl-C; None for what it says otherwise.
    """

    def __init__(
        self,
        store: Store,
        process: Process,
        run: str | None = None,
        signals: Signals | None = None,
        interrupted_text: str | None = None,
    ) -> None:
        self._store = store
        self._process = process
        self._run = run
        self._signals = signals
        self._interrupted_text = interrupted_text
        self._fifos: list[str] = []
        self._started: list[_Started] = []

    def wake(self) -> None:
        """Let the courier look into the outbox, and start it where there is none.

        :raises OSError: where it cannot be started.
        :raises OutboxError: where no folder can be used in which it could be called.
        """
        fifos = self._fifos
        if not fifos:
            name = f"{self._store.integration[:16]}-{self._process.pid}-{self._process.start}"
            fifos = _fifos(name, self._store.folder, self._store.configured)
        if not any(map(_woken, fifos)):
            os.makedirs(os.path.dirname(fifos[0]), mode=0o700, exist_ok=True)
            # Without the lock too: a courier too many does less harm than none.
            with locked(fifos[0] + ".lock", _LOCK_TIMEOUT):
                if not any(map(_woken, fifos)):
                    # Half a courier looks like one that was woken, and delivers nothing.
                    with interrupts_held_back():
                        self._start(fifos)
        self._fifos = fifos

    def wait(self, done: Callable[[Outbox], bool], seconds: float) -> bool:
        """Wait for the courier until ``done`` says so of the outbox, at most so many seconds.

        :raises OSError: where the courier has ended, in its own words, or has died and cannot be started again.
        :raises OutboxError: where the outbox cannot be read.
        """
        end = time.monotonic() + seconds
        pause, wake_at, silent_ends = _POLL_FIRST, time.monotonic() + _WAKE_AGAIN, 0
        outbox: Outbox | None = None
        try:
            while True:
                outbox = self._store.opened(outbox)
                if done(outbox):
                    return True
                last_words = self._last_words()
                if last_words is not None:
                    silent_ends += 1
                    if last_words or silent_ends >= _SILENT_ENDS:
                        raise OSError(f"the courier ended: {last_words or 'several times without a message'}")
                    self.wake()
                now = time.monotonic()
                if now >= end:
                    return False
                if now >= wake_at:
                    # Should the courier have died, another takes its place.
                    self.wake()
                    wake_at = now + _WAKE_AGAIN
                time.sleep(min(pause, end - now))
                pause = min(pause * 1.5, _POLL_MOST)
        finally:
            if outbox is not None:
                outbox.close()

    def _last_words(self) -> str | None:
        """What the courier that this started last has said at its end; None where that has not come."""
        said = [(each, each.last_words()) for each in self._started]
        self._started = [each for each, words in said if words is None]
        words = said[-1][1] if said else None
        return None if words is None else self._store.connection.redact(words)[:_WORDS_MOST]

    def _start(self, fifos: Sequence[str]) -> None:
        self._last_words()
        fifo, reader = _made(fifos)
        config = CourierConfig(
            state_dir=self._store.configured,
            connection=self._store.connection,
            process=self._process,
            fifo=fifo,
            run=self._run,
            interrupted_text=self._interrupted_text,
            signals=self._signals is not None,
            import_path=entry.import_path(),
        )
        with ExitStack() as ours, ExitStack() as its:

            def owned(stack: ExitStack, descriptor: int) -> int:
                moved = _above(descriptor)
                stack.callback(os.close, moved)
                return moved

            stdin, writer = (owned(stack, end) for stack, end in zip((its, ours), os.pipe(), strict=True))
            words, stderr = (owned(its, end) for end in os.pipe())
            file_actions = [
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, owned(its, reader), FIFO_READER),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ]
            if self._signals is not None:
                signals = owned(its, os.dup(self._signals.reader))
                file_actions.append((os.POSIX_SPAWN_DUP2, signals, SIGNALS_READER))
            try:
                pid = os.posix_spawn(
                    sys.executable,
                    entry.command("_courier.process"),
                    entry.environment(with_libpq=self._store.connection.outbox_url is not None),
                    file_actions=file_actions,
                    setsid=True,
                )
            except BlockingIOError:
                raise OSError(NO_MORE_PROCESSES) from None
            self._started.append(_Started(pid, _above(os.dup(words))))
            # Only the courier has its ends now: should it die, writing to it fails, and reading from it ends.
            its.close()
            _write(writer, config.to_json().encode())


class _Started:
    """A courier that this process has started.

    :param words: the reading end of its standard error.
    """

    def __init__(self, pid: int, words: int) -> None:
        os.set_blocking(words, False)
        self._pid = pid
        self._words = words
        self._said = b""

    def last_words(self) -> str | None:
        """The last line of its standard error, empty where it said nothing; None while it runs."""
        try:
            while said := os.read(self._words, 4096):
                self._said += said
        except BlockingIOError:
            return None
        os.close(self._words)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        return self._said.decode("utf-8", "replace").strip().rpartition("\n")[2]


def try_fifo(folder: str, state_dir: str) -> None:
    """Make a named pipe as a courier of a folder is called by, and remove it.

    :raises OSError: where none can be made.
    """
    fifo, reader = _made(_fifos(f"trial-{os.getpid()}", folder, state_dir))
    os.close(reader)
    os.unlink(fifo)


def _fifos(name: str, folder: str, state_dir: str) -> list[str]:
    """Where the named pipe of a courier may be, the best first: not every file system has them."""
    elsewhere = [os.path.dirname(spool) for spool in spool_folders(state_dir)]
    return [os.path.join(place, f"{name}.fifo") for place in (os.path.join(folder, "couriers"), *elsewhere)]


def _made(fifos: Sequence[str]) -> tuple[str, int]:
    """The first of the named pipes that can be made, and its reading end.

    :raises OSError: where none can.
    """
    problem: OSError | None = None
    for fifo in fifos:
        folder = os.path.dirname(fifo)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if fifo != fifos[0] and not is_private(folder):
                continue
            with suppress(FileExistsError):
                os.mkfifo(fifo, 0o600)
            return fifo, os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            problem = problem or error
    raise problem or FileNotFoundError(fifos[0])


def _write(descriptor: int, data: bytes) -> None:
    """Write as much as a pipe's reader takes while it lives.

    :raises OSError: where it lives and takes nothing.
    """
    os.set_blocking(descriptor, False)
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    with suppress(BrokenPipeError):  # its last words say more
        while data:
            if not poll.poll(1000 * _READING):
                raise TimeoutError("the courier does not read its configuration")
            data = data[os.write(descriptor, data) :]


def _above(descriptor: int) -> int:
    """The same under a number above those that the courier gets: where a standard stream is closed, they are free."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, SIGNALS_READER + 1)
    os.close(descriptor)
    return moved


def _woken(path: str) -> bool:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0) as fifo:
            if not stat.S_ISFIFO(os.fstat(fifo.fileno()).st_mode):
                return False
            fifo.write(b"!")  # nothing where it is full, so that it has been woken often enough
    except OSError:
        return False
    return True
