# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The spool: a private outbox in place of one that cannot be used, until a process can use that one and takes it in.

A disk that is full or read-only, a folder that cannot be made, a file that is locked or of a newer version: then events
and runs go into a second outbox, in a folder for temporary files. It is an outbox like the other, so the same rules
hold in it. What it shares with the first one (the runs of a process that began there) is the newer truth.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    COMPANIONS,
    Database,
    OutboxError,
    salt_of,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import is_private
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox, Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import upsert

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import Transaction

# Seconds to wait for an outbox that is to take the spool in.
_PATIENCE_TAKING_IN = 0.1
# Each with its key, and which rows may be overwritten.
_TABLES = (
    ("runs", "id", " WHERE runs.closed_at IS NULL"),
    ("events", "uid", " WHERE events.settled_at IS NULL"),
    ("parts", "run, host", ""),
)


def make(folder: str, configured: str, connection: Connection, process: Process | None) -> None:
    """Make a spool, and bring along the open runs of a process with their events, where the outbox can be read.

    :raises OSError: where the folder cannot be made, or belongs to somebody else.
    :raises OutboxError: where the spool cannot be used.
    """
    parent = os.path.dirname(folder)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    if not is_private(parent):
        raise OutboxError(f"{parent}: it belongs to another user, or other users can write to it")
    salt_of(folder, like=configured)
    with Outbox(folder, connection) as spool:
        if process is None or not Outbox.exists(configured):
            return
        for alone in (False, True):
            with contextlib.suppress(OutboxError):
                known = connection.integration_id(salt_of(configured))
                database = Database(configured, create=False, alone=alone)
                with AnyOutbox(database, known) as outbox, spool.database.writing() as transaction:
                    _copy(outbox, spool, transaction, outbox.runs.open_of(process))
                    return


def take_in(folder: str, configured: str, connection: Connection) -> None:
    """Move what lies in a spool into the outbox.

    Where the two know integrations by different names, only what belongs to this one is moved.

    :raises OSError: where the folder of the outbox cannot be used.
    :raises OutboxError: where the outbox cannot be used.
    """
    salt_of(configured, like=folder)
    with (
        Outbox(configured, connection, patience=_PATIENCE_TAKING_IN) as outbox,
        Outbox(folder, connection, patience=_PATIENCE_TAKING_IN, create=False) as spool,
        contextlib.ExitStack() as until_it_is_gone,
    ):
        own = spool.integration
        is_shared = own == outbox.integration
        # While the outbox is waited for, the spool goes on.
        with outbox.database.writing() as transaction:
            source = until_it_is_gone.enter_context(spool.database.writing())
            _copy(spool, outbox, transaction)
        if not is_shared:
            source.execute("DELETE FROM parts WHERE run IN (SELECT id FROM runs WHERE integration = ?)", (own,))
            source.execute("DELETE FROM events WHERE integration = ?", (own,))
            source.execute("DELETE FROM runs WHERE integration = ?", (own,))
        if is_shared or not spool.database.rows("SELECT 1 FROM events UNION SELECT 1 FROM runs LIMIT 1"):
            # Within the transaction: a process that waits for its end finds that the file has gone.
            for companion in (*COMPANIONS, ""):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(spool.database.path + companion)


def _copy(source: AnyOutbox, target: AnyOutbox, transaction: Transaction, runs: list[str] | None = None) -> None:
    """Copy runs and events, which the target may know in an older state.

    Where the two know integrations by different names, only what belongs to this one.

    :param transaction: of the target.
    :param runs: only these runs and their events; None for all.
    """
    for table, key, older in _TABLES:
        for row in source.database.rows(f"SELECT * FROM {table} ORDER BY rowid"):
            values = dict(row)
            if runs is not None and values["id" if table == "runs" else "run"] not in runs:
                continue
            if "integration" in values and source.integration != target.integration:
                if values["integration"] != source.integration:
                    continue
                values["integration"] = target.integration
            if table == "events":
                del values["id"]
            upsert(transaction, table, key, values, older)
