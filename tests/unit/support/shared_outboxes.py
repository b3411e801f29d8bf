# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shared outbox in SQLite, which several nodes of one test open: its rules are those of PostgreSQL's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from outboxes import Clock

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import Database
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.postgres import PostgresDatabase
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox

CONNECTION = Connection("http://127.0.0.1:1", integration_key="8f3c0ad5e1b24c67")


class _Database(Database):
    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock = clock
        super().__init__(str(folder), durable=False, patience=1.0)
        with self.writing() as transaction:
            transaction.execute("CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            transaction.execute("INSERT OR IGNORE INTO settings VALUES ('salt', '0123456789abcdef')")

    def now(self) -> float:
        return self._clock()

    def serialize_by(self, _number: int) -> None:
        """SQLite lets only one write."""


def restarted(shared: SharedOutbox, moment: float) -> None:
    """The database has come up then."""
    shared.database.up_since = moment


def opened(folder: Path, clock: Clock, node: str = "") -> SharedOutbox:
    """The shared outbox as one node sees it.

    :param node: its name; empty for this machine's.
    """
    database: Any = _Database(folder, clock)
    shared = SharedOutbox(cast(PostgresDatabase, database), CONNECTION)
    if node:
        shared.node = node
    return shared
