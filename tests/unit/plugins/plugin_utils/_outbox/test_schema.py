# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the file of an outbox is made, by one process of several, on a local disk or a network's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import schema
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import SCHEMA_VERSION
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.schema import create, is_on_network


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "file", isolation_level=None)) as opened:
        yield opened


def pragma(database: sqlite3.Connection, name: str) -> object:
    return database.execute(f"PRAGMA {name}").fetchone()[0]


def tables(database: sqlite3.Connection) -> set[str]:
    return {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.parametrize(("on_network", "journal"), [(False, "wal"), (True, "delete")])
def test_several_machines_do_not_share_a_log(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_network: bool, journal: str
) -> None:
    monkeypatch.setattr(schema, "is_on_network", lambda folder: on_network and folder == str(tmp_path))
    create(database, str(tmp_path))
    assert pragma(database, "journal_mode") == journal
    assert pragma(database, "user_version") == SCHEMA_VERSION
    # What is forgotten makes the file smaller.
    assert pragma(database, "auto_vacuum") == 2
    assert {"events", "runs", "parts", "pauses", "sendings"} <= tables(database)


def test_a_file_that_another_process_has_made_meanwhile_is_left_alone(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    create(database, str(tmp_path))
    database.execute("INSERT INTO sendings VALUES ('one', 1.0)")
    with closing(sqlite3.connect(tmp_path / "file", isolation_level=None)) as late:
        create(late, str(tmp_path))
    assert database.execute("SELECT count(*) FROM sendings").fetchone() == (1,)


def test_a_file_that_cannot_be_made_has_no_half_of_it(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "SCHEMA", f"{schema.SCHEMA}; CREATE TABLE of a fault")
    with pytest.raises(sqlite3.OperationalError):
        create(database, str(tmp_path))
    assert (tables(database), pragma(database, "user_version"), database.in_transaction) == (set(), 0, False)


@pytest.mark.parametrize(
    ("mount", "folder", "on_network"),
    [
        ("server:/home {} nfs4 rw 0 0", "state", True),
        ("server:/home {} nfs4 rw 0 0", "", True),
        ("//server/home {} cifs rw 0 0", "state", True),
        ("host:/ {} fuse.sshfs rw 0 0", "state", True),
        ("/dev/sdb1 {} ext4 rw 0 0", "state", False),
        # Only the beginning of the name is the same.
        ("server:/home {}/sta nfs4 rw 0 0", "state", False),
        ("server:/home {}/a\\040b nfs4 rw 0 0", "a b", True),
        # The nearest one counts, and of the same point the last.
        ("server:/home {} nfs4 rw 0 0\ntmpfs {}/state tmpfs rw 0 0", "state", False),
        ("tmpfs {}/state tmpfs rw 0 0\nserver:/home {} nfs4 rw 0 0", "state", False),
        ("server:/home {} nfs4 rw 0 0\n/dev/sdb1 {} ext4 rw 0 0", "state", False),
        ("nonsense", "state", False),
    ],
)
def test_a_network_file_system_is_known(tmp_path: Path, mount: str, folder: str, on_network: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\n{mount.replace('{}', str(tmp_path))}\n")
    assert is_on_network(str(tmp_path / folder), str(mounts)) is on_network


def test_what_is_reached_by_a_link_lies_where_the_link_leads(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path}/home nfs4 rw 0 0\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert is_on_network(str(tmp_path / "link" / "state"), str(mounts))


def test_a_system_that_does_not_tell_its_mounts_counts_as_local(tmp_path: Path) -> None:
    assert not is_on_network(str(tmp_path), str(tmp_path / "absent"))
