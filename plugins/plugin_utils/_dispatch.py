# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way from a door of the collection to delivery: which outbox, starting and calling the courier, waiting for it.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox, OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _courier

_STANDALONE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_standalone.py")
# The courier needs nothing else of the environment, which may hold keys.
_ENVIRONMENT = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {name for proxy in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (proxy, proxy.upper())}
)
# Seconds.
_LOCK_TIMEOUT = 2.0
_POLL_FIRST = 0.002
_POLL_MOST = 0.05
_CALL_AGAIN = 1.0


def requests_is_missing() -> str | None:
    """What to tell the user where ``requests`` is not installed on the control node; None where it is."""
    if importlib.util.find_spec("requests") is not None:
        return None
    return (
        f"the Python package requests is missing for {sys.executable},"
        f" install it with: {sys.executable} -m pip install requests"
    )


def usable_folder(wanted: str) -> tuple[str, str | None]:
    """The folder of the outbox, and what to tell the user about it.

    :param wanted: the option ``state_dir``, or its default.
    :returns: that folder; or, where no outbox can be there, one of this user's below the system's temporary folder.
    :raises OutboxError: where there can be none at all.
    """
    try:
        with Outbox(wanted) as outbox:
            if outbox.set_aside is None:
                return wanted, None
            return wanted, f"the outbox was damaged; it is kept as {outbox.set_aside}, and a new one is used"
    except OutboxError as error:
        other = os.path.join(tempfile.gettempdir(), f"flashduty-{os.getuid()}")
        os.makedirs(other, mode=0o700, exist_ok=True)
        state = os.lstat(other)
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
            raise
        Outbox(other).close()
        return other, (
            f"the outbox cannot be used ({error}); {other} is used instead. Set state_dir to a writable folder"
        )


class Dispatch:
    """Hands over to the courier of one process and one integration.

    :param folder: the outbox's folder.
    :param connection: where to deliver to.
    :param process: the ansible process beside which the courier stays.
    :param run: the run that the courier closes should that process vanish.
    """

    def __init__(self, folder: str, connection: Connection, process: Process, run: str | None = None) -> None:
        self.folder = folder
        self._connection = connection
        self._process = process
        self._run = run
        with Outbox(folder) as outbox:
            self.integration = connection.integration_id(outbox.salt)
        self._fifo = os.path.join(folder, "couriers", f"{self.integration[:16]}-{process.pid}-{process.start}.fifo")

    def call(self) -> None:
        """Let the courier look into the outbox, and start it where there is none.

        :raises OSError: where it cannot be started.
        """
        if self._called():
            return
        os.makedirs(os.path.dirname(self._fifo), mode=0o700, exist_ok=True)
        lock = os.open(self._fifo + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(lock)
            if not self._called():
                self._start()
        finally:
            os.close(lock)

    def wait(self, done: Callable[[Outbox], bool], seconds: float) -> bool:
        """Wait for the courier until ``done`` says so of the outbox, at most so many seconds."""
        end = time.monotonic() + seconds
        pause, call_at = _POLL_FIRST, time.monotonic() + _CALL_AGAIN
        with Outbox(self.folder) as outbox:
            while not done(outbox):
                now = time.monotonic()
                if now >= end:
                    return False
                if now >= call_at:
                    # Should the courier have died, another takes its place.
                    self.call()
                    call_at = now + _CALL_AGAIN
                time.sleep(min(pause, end - now))
                pause = min(pause * 1.5, _POLL_MOST)
        return True

    def _called(self) -> bool:
        try:
            fifo = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            os.write(fifo, b"!")
        except OSError:  # full, so it has been called often enough
            pass
        finally:
            os.close(fifo)
        return True

    def _start(self) -> None:
        if not os.path.exists(self._fifo):
            os.mkfifo(self._fifo, 0o600)
        mission = _courier.Mission(
            folder=self.folder,
            connection=self._connection,
            process=self._process,
            fifo=self._fifo,
            run=self._run,
            import_path=[os.path.abspath(path) for path in sys.path if path],
        )
        reader = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
        # Should it have that very number already: duplicating it onto itself does not make it inheritable.
        os.set_inheritable(reader, reader == _courier.FIFO_READER)
        pipe, writer = os.pipe()
        try:
            os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-B", _STANDALONE, "_courier"],
                {name: value for name, value in os.environ.items() if name in _ENVIRONMENT},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, pipe, 0),
                    (os.POSIX_SPAWN_DUP2, reader, _courier.FIFO_READER),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setsid=True,
            )
            os.write(writer, mission.to_json().encode())
        finally:
            for descriptor in (reader, pipe, writer):
                os.close(descriptor)


def _lock(descriptor: int) -> None:
    end = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() > end:
                return
            time.sleep(0.01)
