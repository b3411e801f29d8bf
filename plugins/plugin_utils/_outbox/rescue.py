# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can still be read of a damaged outbox goes on in the one that takes its place.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import sqlite3

# What matters of a damaged file: the runs, whatever is not settled, and all events of a run that is not closed.
_WORTH_RESCUING = (
    ("runs", "TRUE"),
    ("parts", "TRUE"),
    ("events", "state IN ('waiting', 'sending') OR run IN (SELECT id FROM runs WHERE closed_at IS NULL)"),
)


def rescue(damaged: str, database: sqlite3.Connection) -> None:
    """Copy what matters of the damaged file into the new one, as far as it can be read."""
    try:
        old = sqlite3.connect(f"file:{damaged}?mode=ro", uri=True)
    except sqlite3.Error:
        return
    try:
        for table, condition in _WORTH_RESCUING:
            try:
                for row in old.execute(f"SELECT * FROM {table} WHERE {condition}"):
                    marks = ", ".join("?" * len(row))
                    database.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", tuple(row))
            except sqlite3.Error:
                continue
    finally:
        old.close()
