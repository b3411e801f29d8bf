# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A row is inserted, or takes the place of the one that has its key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import upsert


@pytest.fixture
def table() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, seen INTEGER, host TEXT)")
        upsert(database, "runs", "id", {"id": "a", "seen": 2, "host": "deploy01"})
        yield database


def test_another_key_is_another_row_and_the_same_one_the_newer_values(table: sqlite3.Connection) -> None:
    upsert(table, "runs", "id", {"id": "b", "seen": 1})
    upsert(table, "runs", "id", {"id": "a", "seen": 1})
    # What was not given stays.
    assert table.execute("SELECT * FROM runs ORDER BY id").fetchall() == [("a", 1, "deploy01"), ("b", 1, None)]


@pytest.mark.parametrize(("seen", "expected"), [(1, 2), (3, 3)])
def test_what_is_newer_is_kept_where_that_is_asked_for(table: sqlite3.Connection, seen: int, expected: int) -> None:
    upsert(table, "runs", "id", {"id": "a", "seen": seen}, " WHERE runs.seen < excluded.seen")
    assert table.execute("SELECT seen FROM runs").fetchall() == [(expected,)]
