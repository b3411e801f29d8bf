# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One holder at a time, and what happens to the others."""

from __future__ import annotations

import errno
import fcntl
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.lock_file import locked


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with locked(path, 0.0) as first, locked(path, 0.05) as second:
        assert (first, second) == (True, False)
    with locked(path, 0.0) as third:
        assert third
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_the_lock_is_waited_for(tmp_path: Path) -> None:
    path, held = str(tmp_path / "lock"), threading.Event()

    def hold() -> None:
        with locked(path, 0.0):
            held.set()
            time.sleep(0.1)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with locked(path, 10.0) as got:
        assert got
    holder.join()


def test_a_file_system_without_locks_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    start = time.monotonic()
    with locked(str(tmp_path / "lock"), 60.0) as got:
        assert not got
    assert time.monotonic() - start < 30


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(str(tmp_path / "missing" / "lock"), 0.0):
        pass


def test_an_error_under_the_lock_is_left_alone_and_frees_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with pytest.raises(OSError, match="of the task"), locked(path, 0.0):
        raise OSError("of the task")
    with locked(path, 0.0) as got:
        assert got
