# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shared outbox: what all nodes report is in one PostgreSQL, by the rules of the outbox."""

from __future__ import annotations

import hashlib
import os

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.postgres import PostgresDatabase
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared_schema import open_database

# Seconds. Couriers look here every fifth second, so that nothing stays open for longer than 45.
_SILENT_AFTER = 40.0
_PRUNE_INTERVAL = 3600.0
# Marks, among the pauses, when that is due.
_PRUNED = " pruned"


class SharedOutbox(AnyOutbox):
    """The shared outbox, open for one integration.

    :ivar integration: how it knows that: by a hash of the key, with a salt of its own.
    :ivar node: this machine or container, as it knows it.
    """

    def __init__(self, database: PostgresDatabase, connection: Connection, salt: bytes = b"") -> None:
        rows = database.rows("SELECT value FROM settings WHERE name = 'salt'")
        if not rows:
            raise OutboxError("the database has no salt: its tables were changed by hand")
        integration = connection.integration_id(bytes.fromhex(rows[0]["value"]))
        super().__init__(database, integration, _SILENT_AFTER, node_of(Process.of(os.getpid()), salt))
        number = hashlib.sha256(integration.encode()).digest()[:8]
        database.serialize_by(int.from_bytes(number, "big", signed=True))

    @classmethod
    def open(cls, connection: Connection, salt: bytes = b"") -> SharedOutbox:
        """Open the shared outbox that the connection names.

        :param salt: that of the outbox of this node, which tells it from others of this machine.
        :raises OutboxError: where it cannot be used; the text holds no password.
        """
        database = open_database(str(connection.outbox_url))
        try:
            return cls(database, connection, salt)
        except BaseException:
            database.close()
            raise

    def prune(self) -> None:
        """Forget what is settled and old, where no courier has done so within the last hour."""
        now = self.database.now()
        with self.database.writing() as transaction:
            is_due = transaction.execute(
                "INSERT INTO pauses (integration, failures, until, error) VALUES (?, 0, ?, NULL)"
                " ON CONFLICT (integration) DO UPDATE SET until = excluded.until WHERE pauses.until < ?",
                (_PRUNED, now + _PRUNE_INTERVAL, now),
            ).rowcount
        if is_due:
            self.integrations.prune()

    def reserved_until(self) -> float:
        """Unix seconds until which what this node enters now, or goes on keeping, is left to it."""
        return self.database.now() + _SILENT_AFTER

    def keep(self, runs: list[str]) -> None:
        """Give a sign of life of runs of this node, over which this process watches, and go on reserving what it has
        entered."""
        self.runs.seen(*runs)
        with self.database.writing() as transaction:
            transaction.execute(
                "UPDATE events SET reserved_until = ? WHERE integration = ? AND node = ? AND state = 'waiting'"
                " AND reserved_until > 0",
                (self.reserved_until(), self.integration, self.node),
            )


def node_of(process: Process, salt: bytes) -> str:
    """The machine or container of a process, for people, and a mark of its outbox."""
    return f"{process.host} {hashlib.sha256(salt).hexdigest()[:8]}"
