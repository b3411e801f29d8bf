# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules of the outbox ask of a database: SQLite's and PostgreSQL's do it alike.

Statements are written in what both understand, with ``?`` or ``:name`` for values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Row(Protocol):
    """A row of a result, by names and by numbers."""

    def __getitem__(self, key: str | int, /) -> Any:
        """The value of a column."""

    def __iter__(self) -> Iterator[Any]:
        """The values."""

    def keys(self) -> Sequence[str]:
        """The names of the columns."""


class Transaction(Protocol):
    """A transaction that no other writer gets between."""

    def execute(self, statement: str, values: Any = (), /) -> Any:
        """Execute one statement; returns a cursor that has ``rowcount``, ``fetchone`` and ``fetchall``."""


class SqlDatabase(Protocol):
    """An open database.

    :ivar up_since: before then nobody could store anything, Unix seconds; 0 where that is always possible.
    """

    up_since: float

    def now(self) -> float:
        """The clock that its times are of, Unix seconds."""

    def rows(self, statement: str, values: Any = (), /) -> list[Any]:
        """The result of a query."""

    def writing(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction."""

    def strip(self, condition: str, values: Sequence[object], /) -> None:
        """Forget the texts of the events of which the condition holds. Within a transaction of the caller."""

    def close(self) -> None:
        """Close it."""

    def vacuum(self) -> None:
        """Give back to the file system what is no longer used."""


def upsert(transaction: Transaction, table: str, key: str, values: Mapping[str, Any], older: str = "") -> None:
    """Insert a row, or let it have these values where the table has one of that key.

    :param older: the condition, with its WHERE, of what may be overwritten; empty for everything.
    """
    names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
    newer = ", ".join(f"{name} = excluded.{name}" for name in values)
    transaction.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {newer}{older}", values
    )
