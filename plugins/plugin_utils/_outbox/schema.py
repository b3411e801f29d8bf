# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of the outbox, and how the file is made."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import SCHEMA_VERSION, committing

if TYPE_CHECKING:
    import sqlite3

# SQLite's write-ahead log needs memory that the writers share, which these do not offer across machines.
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2"}
    | {"gfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.cephfs", "fuse.s3fs"}
)
SCHEMA = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    integration TEXT NOT NULL,
    change_key TEXT NOT NULL,
    body TEXT,
    fingerprint TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    asked_time INTEGER NOT NULL,
    change_status TEXT NOT NULL,
    run TEXT,
    state TEXT NOT NULL DEFAULT 'waiting',
    put_at REAL NOT NULL,
    expires_at REAL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try REAL NOT NULL DEFAULT 0,
    claimed_by TEXT,
    claimed_until REAL,
    settled_at REAL,
    request_id TEXT,
    http_status INTEGER,
    error_code TEXT,
    error TEXT,
    shown INTEGER NOT NULL DEFAULT 0,
    node TEXT NOT NULL DEFAULT '',
    reserved_until REAL NOT NULL DEFAULT 0,
    shared TEXT NOT NULL DEFAULT ''
);
CREATE INDEX events_by_key ON events (integration, change_key, id);
CREATE INDEX events_pending ON events (integration, id) WHERE state IN ('waiting', 'sending');
CREATE INDEX events_waiting ON events (integration, put_at, id) WHERE state = 'waiting';
CREATE INDEX events_sending ON events (integration, claimed_until) WHERE state = 'sending';
CREATE INDEX events_expiring ON events (integration, expires_at) WHERE state = 'waiting' AND expires_at IS NOT NULL;
CREATE INDEX events_of_run ON events (run) WHERE run IS NOT NULL;
CREATE INDEX events_held ON events (integration, change_key) WHERE state = 'held';
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    integration TEXT NOT NULL,
    process TEXT NOT NULL,
    courier TEXT,
    vanished_text TEXT NOT NULL,
    vanished_result TEXT NOT NULL,
    opened_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    closed_at REAL,
    shared TEXT NOT NULL DEFAULT ''
);
CREATE INDEX runs_open ON runs (integration) WHERE closed_at IS NULL;
CREATE TABLE integrations (id TEXT PRIMARY KEY, api_url TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE parts (
    run TEXT NOT NULL,
    host TEXT NOT NULL,
    outcome TEXT NOT NULL,
    text TEXT NOT NULL,
    task TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (run, host)
);
CREATE TABLE pauses (integration TEXT PRIMARY KEY, failures INTEGER NOT NULL, until REAL NOT NULL, error TEXT);
CREATE TABLE sendings (integration TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX sendings_by_time ON sendings (integration, at);
"""


def create(database: sqlite3.Connection, folder: str) -> None:
    """Make the tables, unless another process has made them meanwhile.

    :raises sqlite3.Error: where the file cannot be written.
    """
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if not is_on_network(folder):
        database.execute("PRAGMA journal_mode = WAL")
    database.execute("BEGIN IMMEDIATE")
    with committing(database):
        if database.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in SCHEMA.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def is_on_network(folder: str, mounts: str = "/proc/self/mounts") -> bool:
    """Whether the folder lies on a file system that several machines may share; False where that is unknown."""
    folder = os.path.realpath(folder)
    found = kind = ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                # A later line of the same mount point covers the earlier one.
                point, system = _unescaped(line.split()[1]), line.split()[2]
                if len(point) >= len(found) and (folder + "/").startswith(point.rstrip("/") + "/"):
                    found, kind = point, system
    except (OSError, IndexError):
        return False
    return kind in _NETWORK_FILE_SYSTEMS


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)
