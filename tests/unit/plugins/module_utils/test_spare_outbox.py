# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the outbox cannot be used, a spare one takes its place, and neither forgets what the other knows."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils import _spare_outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.module_utils._spare_outbox import (
    close_run,
    close_vanished_run,
    close_vanished_runs,
    ended_elsewhere,
    folders,
    store,
)

CONNECTION = Connection("http://127.0.0.1:1", "the key")
ME = Process.of(os.getpid())


def counts(outbox: Outbox) -> dict[str, int]:
    """How many events there are in each state."""
    with closing(sqlite3.connect(outbox.path)) as database:
        return dict(database.execute("SELECT state, count(*) FROM events GROUP BY state").fetchall())


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(_spare_outbox, "_MEMORY", str(tmp_path / "no memory"))
    monkeypatch.setattr(_spare_outbox, "_PATIENCE", 0.1)
    return str(tmp_path / "state")


@contextmanager
def locked(folder: str) -> Iterator[None]:
    with Outbox(folder) as outbox, closing(sqlite3.connect(outbox.path)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield


def event(status: str = "Processing", key: str = "a") -> ChangeEvent:
    return ChangeEvent.validated({"change_key": key, "change_status": status, "title": "deploy"}, time.time())


def test_the_wanted_outbox_is_used_where_it_can_be(wanted: str) -> None:
    stored = store(wanted, CONNECTION, lambda outbox, integration: outbox.put(integration, event()))
    assert (stored.folder, stored.notice, stored.answer.changed) == (wanted, None, True)
    assert folders(wanted) == [wanted]


def test_a_locked_outbox_is_replaced_by_a_private_spare_one(wanted: str) -> None:
    with locked(wanted):
        stored = store(wanted, CONNECTION, lambda outbox, integration: outbox.put(integration, event()))
    assert stored.folder != wanted
    assert stored.notice is not None
    assert "locked" in stored.notice
    assert stored.folder in stored.notice
    assert Path(stored.folder).stat().st_mode & 0o077 == 0
    assert folders(wanted) == [wanted, stored.folder]
    assert folders(wanted + " of another") == []


def test_a_folder_that_cannot_be_made_is_replaced(wanted: str) -> None:
    Path(wanted).write_text("a file")
    below = os.path.join(wanted, "state")
    stored = store(below, CONNECTION, lambda outbox, integration: outbox.put(integration, event()))
    assert stored.answer.changed
    assert folders(below) == [stored.folder]


def test_a_spare_folder_that_others_can_write_is_not_trusted(wanted: str, tmp_path: Path) -> None:
    hostile = tmp_path / "tmp" / f"flashduty-{os.getuid()}"
    hostile.mkdir()
    hostile.chmod(0o777)
    with locked(wanted), pytest.raises(OutboxError, match="locked"):
        store(wanted, CONNECTION, lambda outbox, integration: outbox.put(integration, event()))
    assert list(hostile.iterdir()) == []


def test_an_end_that_went_to_the_spare_outbox_is_no_vanished_run(wanted: str) -> None:
    gone = Process.of(_ended_process())
    store(wanted, CONNECTION, lambda box, known: box.open_run("run", known, gone, "killed", [event()]))
    with Outbox(wanted) as outbox:
        outbox.run_seen("run", courier=gone)
    with locked(wanted):
        ended = store(wanted, CONNECTION, lambda box, known: box.close_run("run", known, [event("Done")]))
    assert ended.folder != wanted
    assert close_vanished_runs(wanted, CONNECTION) == 0
    with Outbox(wanted) as outbox:
        assert outbox.run_is_closed("run")
        assert counts(outbox) == {"waiting": 1}


def test_an_outbox_that_holds_the_end_is_the_one_that_delivers_it(wanted: str) -> None:
    gone = Process.of(_ended_process())
    store(wanted, CONNECTION, lambda box, known: box.open_run("run", known, gone, "killed", [event()]))
    with locked(wanted):
        spare = close_run(wanted, wanted, CONNECTION, "run", [event("Done")]).folder
    assert close_vanished_run(wanted, wanted, CONNECTION, "run", None, None) == 0
    assert ended_elsewhere(wanted, wanted, "run")
    assert ended_elsewhere(wanted, spare, "run")
    with Outbox(wanted) as own, Outbox(spare) as other:
        assert (own.holds_end("run"), other.holds_end("run")) == (False, True)


def test_a_run_that_vanished_is_closed_in_the_spare_outbox_where_its_own_can_only_be_read(wanted: str) -> None:
    store(wanted, CONNECTION, lambda box, known: box.open_run("run", known, ME, "killed", [event(), event(key="b")]))
    with locked(wanted):
        assert close_vanished_run(wanted, wanted, CONNECTION, "run", 1_800_000_000, None) == 2
    (spare,) = [folder for folder in folders(wanted) if folder != wanted]
    with Outbox(spare) as outbox:
        assert outbox.run_is_closed("run")
        # What was not sent comes along, so that it still arrives first.
        assert counts(outbox) == {"waiting": 4}
    assert close_vanished_run(wanted, wanted, CONNECTION, "run", 1_800_000_000, None) == 0


def _ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid
