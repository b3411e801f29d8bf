# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver with its connection, a store, and processes that end when they are told to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deliveries import APP_KEY, KEY, PATIENCE, ended

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from flashduty_sandbox.receiver import Receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver.db", [KEY], [APP_KEY]) as running:
        yield running


@pytest.fixture
def connection(receiver: Receiver) -> Connection:
    return Connection(receiver.url, KEY, timeout=PATIENCE)


@pytest.fixture
def store(tmp_path: Path, connection: Connection) -> Store:
    return Store(str(tmp_path / "state"), connection)


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this machine that lives until its standard input is closed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process


@pytest.fixture
def dead() -> Process:
    """The identity of a process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        return Process.of(process.pid)


@pytest.fixture
def couriers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The PIDs of the couriers that a test starts, which are ended after it."""
    pids: list[int] = []
    spawn = os.posix_spawn

    def spawned(*arguments: Any, **options: Any) -> int:
        pids.append(spawn(*arguments, **options))
        return pids[-1]

    monkeypatch.setattr(os, "posix_spawn", spawned)
    yield pids
    for pid in pids:
        ended(pid)
