# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file: private, durable, replaced when it is damaged, left alone when it is newer."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from outboxes import CONNECTION, ME, START, TWO, claimed, event, outcome

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    FILE_NAME,
    SCHEMA_VERSION,
    DamagedOutbox,
    OutboxError,
    set_aside_in,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    with Outbox(str(folder), CONNECTION) as outbox:
        assert len(outbox.salt) == 16
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600


def test_what_was_put_is_there_when_opened_again(tmp_path: Path) -> None:
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        put, salt = outbox.put(event()), outbox.salt
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        assert (outcome(outbox, put.uid).state, outbox.salt, outbox.database.set_aside) == ("waiting", salt, None)


def test_a_corrupt_file_is_set_aside_and_kept(tmp_path: Path) -> None:
    rubbish = b"this is no database" * 400
    (tmp_path / FILE_NAME).write_bytes(rubbish)
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        assert outbox.database.set_aside is not None
        assert Path(outbox.database.set_aside).read_bytes() == rubbish
        assert outbox.put(event()).changed
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        assert (outbox.database.set_aside, outbox.events.pending()) == (None, 1)


def test_a_file_that_is_damaged_later_is_set_aside_and_what_can_be_read_goes_on(tmp_path: Path) -> None:
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        outbox.runs.open("run", Watch(ME, "gone", "killed"), [event()])
        salt = outbox.salt
    with Outbox(str(tmp_path), CONNECTION) as outbox, Outbox(str(tmp_path), CONNECTION) as other:
        assert other.events.pending() == 1
        _damage(Path(outbox.database.path), "pauses")
        assert outbox.runs.close("run", [event(status="Done")])
        claim = claimed(outbox)
        with pytest.raises(DamagedOutbox):
            outbox.claims.failed(claim, ApiError("late", True, None), START, START)
        assert outbox.database.set_aside is not None
        assert Path(outbox.database.set_aside).exists()
        assert other.events.pending() == 2
        assert other.database.set_aside is None
        assert outbox.salt == salt
        assert outcome(other, claim.uid).state == "sending"
        assert outbox.runs.is_closed("run")


def _damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_file_without_its_tables_is_set_aside(tmp_path: Path) -> None:
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        path = outbox.database.path
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE events")
    mine = Store(str(tmp_path), CONNECTION)
    assert mine.do(lambda outbox: outbox.put(event())).changed
    assert (mine.folder, len(set_aside_in(str(tmp_path)))) == (str(tmp_path), 1)


def test_an_outbox_that_was_deleted_is_made_again(outbox: Outbox) -> None:
    outbox.put(event())
    for path in Path(outbox.folder).iterdir():
        path.unlink()
    assert outbox.put(event()).changed
    assert outbox.events.pending() == 1


def test_a_claim_of_an_outbox_that_was_replaced_settles_nothing(outbox: Outbox) -> None:
    outbox.put(event("old"))
    claim = claimed(outbox)
    for path in Path(outbox.folder).iterdir():
        path.unlink()
    put = outbox.put(event("new"))
    assert put.uid != claim.uid
    outbox.claims.delivered(claim, "r")
    assert outcome(outbox, put.uid).state == "waiting"


def test_what_put_acknowledged_survives_the_death_of_the_writer(tmp_path: Path) -> None:
    (tmp_path / "writer.py").write_text(
        "import sys, time\n"
        "from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent\n"
        "from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection\n"
        "from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox\n"
        "with Outbox(sys.argv[1], Connection(*sys.argv[3:])) as outbox:\n"
        "    for number in range(10**6):\n"
        "        fields = dict(change_key=f'{sys.argv[2]}/{number}', change_status='Done', title='t')\n"
        "        outbox.put(ChangeEvent.validated(fields, time.time()))\n"
        "        print(number, flush=True)\n",
        encoding="utf-8",
    )
    folder = tmp_path / "state"
    acknowledged = 0
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    for lives in range(5):
        with subprocess.Popen(
            [sys.executable, str(tmp_path / "writer.py"), str(folder), str(lives), *CONNECTION[:2]],
            stdout=subprocess.PIPE,
            env=environment,
        ) as writer:
            assert writer.stdout is not None
            for _number in range(3 + 7 * lives):
                writer.stdout.readline()
            writer.kill()
            acknowledged += 3 + 7 * lives + len(writer.stdout.read().split())
    with Outbox(str(folder), CONNECTION) as outbox:
        assert outbox.database.set_aside is None
        assert acknowledged <= outbox.events.pending() <= acknowledged + 5


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        outbox.put(event())
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(OutboxError, match=f"format {SCHEMA_VERSION + 1}"):
        Outbox(str(tmp_path), CONNECTION)
    assert [path.name for path in tmp_path.iterdir() if "corrupt" in path.name] == []
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutboxError, match="file"):
        Outbox(str(tmp_path / "file" / "state"), CONNECTION)


def test_many_may_open_a_new_outbox_at_once(tmp_path: Path) -> None:
    def salt(_number: int) -> bytes:
        with Outbox(str(tmp_path), CONNECTION) as outbox:
            assert outbox.database.set_aside is None
            return outbox.salt

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(salt, range(16)))) == 1


def test_an_event_is_on_the_disk_when_put_returns_and_keeps_no_other_writer_waiting_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def fdatasync(descriptor: int) -> None:
        with Outbox(str(tmp_path), CONNECTION, durable=False, patience=0) as other:
            other.of(TWO).put(event(key=f"other {len(synced)}"))
            synced.append(other.events.pending())

    with Outbox(str(tmp_path), CONNECTION) as outbox:
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        outbox.put(event())
        outbox.put(event())
        assert synced == [1]
        outbox.put(event(status="Done"))
        assert synced == [1, 2]
