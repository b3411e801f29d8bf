# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.schema import SCHEMA
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared_schema import statements


def test_the_tables_are_those_of_sqlite_in_the_types_of_postgresql() -> None:
    made = ";".join(statements())
    tables = re.findall(r"CREATE TABLE (\w+)", SCHEMA)
    assert re.findall(r"CREATE TABLE (\w+)", made) == ["settings", *tables]
    assert re.findall(r"CREATE INDEX (\w+)", made) == re.findall(r"CREATE INDEX (\w+)", SCHEMA)
    # PostgreSQL's REAL has six digits, its INTEGER ends in 2038.
    assert re.search(r"\bREAL\b|\bINTEGER\b|AUTOINCREMENT|ROWID", made) is None
