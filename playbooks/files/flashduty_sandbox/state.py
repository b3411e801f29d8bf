# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folder of one sandbox, which belongs to one user.

| file | what it is |
|---|---|
| environment | lines for a shell, which point Ansible at the running sandbox |
| keys.json | the keys: made at the first start, new ones after a reset |
| sandbox.db | what the sandbox holds; see store |
| sandbox.json | address and process of the running sandbox |
| sandbox.lock, change.lock | locked as long as it runs, and while it is started or stopped |
| sandbox.log | what it says while it starts, and of failures inside |
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flashduty_sandbox.receiver import PRODUCT, START_COMMAND, Receiver

PORT = 8765
ANSWER_SECONDS = 5.0


class SandboxError(Exception):
    """Something that the user has to hear about, in one line."""


class _Locked(SandboxError):
    """Another process holds the lock."""


class Keys(NamedTuple):
    """The integration keys of a sandbox and its APP keys; None where new ones are to be made."""

    integrations: list[str] | None = None
    apps: list[str] | None = None


class State:
    """The folder of one sandbox and what lies in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "sandbox.db"
        self.environment = folder / "environment"
        self.log = folder / "sandbox.log"
        self._running = folder / "sandbox.lock"
        self._changing = folder / "change.lock"
        self._address = folder / "sandbox.json"
        self._keys = folder / "keys.json"

    def create(self) -> None:
        """Make the folder where it is missing. Raises SandboxError where others could put files into it."""
        try:
            for path in reversed([path for path in (self.folder, *self.folder.parents) if not path.exists()]):
                path.mkdir(mode=0o700, exist_ok=True)
            status = self.folder.stat()
        except OSError as error:
            raise SandboxError(f"{self.folder} cannot be used: {error.strerror}") from error
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise SandboxError(
                f"{self.folder} belongs to another user, or others may write there, and it holds keys: "
                "choose another folder with -e sandbox_state_dir=, or set its owner and mode 0700"
            )

    # ---- what runs

    def changing(self) -> AbstractContextManager[None]:
        """Let one start or stop at a time into this folder."""
        return _locked(self._changing, block=True)

    def running(self) -> AbstractContextManager[None]:
        """Hold the lock that says that this sandbox runs. Raises SandboxError where another one does."""
        return _locked(self._running, block=False)

    def is_running(self) -> bool:
        """Whether a process holds that lock, whatever files were left behind."""
        if not self._running.exists():
            return False
        try:
            with self.running():
                return False
        except _Locked:
            return True

    def wait_until_stopped(self, seconds: float) -> None:
        """Return once the sandbox has ended. Raises SandboxError where it still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() > deadline:
                raise SandboxError(f"the sandbox in {self.folder} still runs after {seconds:g} seconds")
            time.sleep(0.02)

    @contextmanager
    def announced(self, receiver: Receiver) -> Iterator[None]:
        """Leave address and environment of the running sandbox in the folder."""
        _write(self._address, json.dumps({"url": receiver.url, "pid": os.getpid()}))
        self.keep(receiver)
        try:
            yield
        finally:
            for path in (self._address, self.environment):
                path.unlink(missing_ok=True)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the running sandbox. Raises SandboxError where it does not answer, or another one does."""
        try:
            url = str(json.loads(self._address.read_text(encoding="utf-8"))["url"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SandboxError(f"the sandbox in {self.folder} is starting or ending, try again") from error
        status = _ask(url, "GET", "/sandbox/status")
        if not isinstance(status, dict) or status.get("sandbox") != PRODUCT:
            raise SandboxError(f"what answers at {url} is no sandbox")
        if status.get("database") != str(self.database):
            raise SandboxError(f"what answers at {url} is the sandbox of {status.get('database')}")
        return status if path == "/sandbox/status" else _ask(url, method, path, body)

    # ---- keys

    def keys(self) -> Keys:
        """The keys that were kept here. Raises SandboxError where they cannot be read."""
        try:
            kept = json.loads(self._keys.read_text(encoding="utf-8"))
            return Keys(*([str(key) for key in kept[name]] for name in Keys._fields))
        except FileNotFoundError:
            return Keys()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SandboxError(f"{self._keys} cannot be read: -e sandbox_reset=true makes new keys") from error

    def keep(self, receiver: Receiver) -> None:
        """Write the keys of a running sandbox down, and the environment that carries the first of them."""
        _write(self._keys, json.dumps(Keys(receiver.integration_keys, receiver.app_keys)._asdict()))
        _write(
            self.environment,
            f"# Points Ansible at the sandbox, in this shell: . environment\n{receiver.environment()}\n",
        )

    @property
    def shell(self) -> str:
        """The line that points a shell at the sandbox."""
        path = shlex.quote(str(self.environment))
        home = f"{Path.home()}/"
        return f". ~/{path[len(home) :]}" if path.startswith(home) else f". {path}"

    def settings(self, receiver: Receiver) -> dict[str, str]:
        """The line for a shell, and the command that starts this sandbox again."""
        variables: dict[str, object] = {}
        if receiver.port != PORT:
            variables["sandbox_port"] = receiver.port
        if self.folder != Path("~/.ansible/flashduty/sandbox").expanduser():
            variables["sandbox_state_dir"] = str(self.folder)
        if receiver.merge != "first":
            variables["sandbox_merge"] = receiver.merge
        if receiver.route_label:
            variables["sandbox_route_label"] = receiver.route_label
        options = f" -e {shlex.quote(json.dumps(variables))}" if variables else ""
        return {"shell": self.shell, "start": f"{START_COMMAND}{options}"}


@contextmanager
def _locked(path: Path, *, block: bool) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SandboxError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        yield
    except BlockingIOError as error:
        raise _Locked(f"another sandbox runs in {path.parent}") from error
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner can read."""
    draft = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _ask(url: str, method: str, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection(url.partition("://")[2], timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SandboxError(f"the sandbox at {url} does not answer: {error}") from error
    finally:
        connection.close()
