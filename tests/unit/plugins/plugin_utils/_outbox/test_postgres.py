# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.postgres import (
    PostgresDatabase,
    Row,
    _translated,
    without_password,
)


@pytest.mark.parametrize(
    ("statement", "translated"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT ? WHERE a = ?", "SELECT %s WHERE a = %s"),
        ("SELECT :run, :now", "SELECT %(run)s, %(now)s"),
        ("SELECT error LIKE '%key%' AND a = ?", "SELECT error LIKE '%%key%%' AND a = %s"),
    ],
)
def test_statements_have_the_placeholders_that_psycopg_takes(statement: str, translated: str) -> None:
    assert _translated(statement) == translated


def test_a_row_is_read_by_name_and_by_number_as_one_of_sqlite() -> None:
    row = type("Named", (Row,), {"names": ("uid", "state")})(("a", "waiting"))
    assert (row["state"], row[0], dict(row), list(row)) == (
        "waiting",
        "a",
        {"uid": "a", "state": "waiting"},
        ["a", "waiting"],
    )
    with pytest.raises(ValueError, match="not in tuple"):
        row["unknown"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://us:p%40ss@host/db",
        "postgresql://host/db?user=us&password=p%40ss",
        "postgresql://host/db?user=us&sslpassword=p%40ss",
    ],
)
def test_the_password_is_in_no_message(url: str) -> None:
    assert (
        without_password(f"cannot use {url}: p@ss or p%40ss was refused", url)
        == "cannot use ***: *** or *** was refused"
    )


def test_where_psycopg_is_missing_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(OutboxError, match=r"psycopg cannot be imported .* -m pip install 'psycopg\[binary\]'"):
        PostgresDatabase("postgresql://127.0.0.1/db")
