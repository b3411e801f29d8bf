# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database of the shared outbox: PostgreSQL, with the interface that SQLite's has here.

psycopg is imported when a connection is made: by couriers and by tasks that ask for it, never by a run.
"""

from __future__ import annotations

import functools
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_url import secrets_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError

# The folder of the tables in the database, as PostgreSQL calls it.
NAMESPACE = "flashduty"
# Seconds.
_CONNECT = 3
_DEADLINE = 8.0
_STATEMENT = 5
_CLOCK = "SELECT extract(epoch FROM clock_timestamp()), extract(epoch FROM pg_postmaster_start_time())"
_PLACEHOLDER = re.compile(r"\?|:(\w+)|%")


class Row(tuple[Any, ...]):
    """A row of a result, by names and by numbers."""

    names: Sequence[str] = ()

    def __getitem__(self, key: Any) -> Any:
        """The value of a column."""
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)

    def keys(self) -> Sequence[str]:
        """The names of the columns."""
        return self.names


@functools.lru_cache(maxsize=256)
def _row_type(names: Sequence[str]) -> type[Row]:
    return type("Row", (Row,), {"names": names})


def _rows_of(cursor: Any) -> type[Row]:
    return _row_type(tuple(column.name for column in cursor.description or ()))


class PostgresDatabase:
    """An open connection, which threads may share. Once it has failed, it cannot be used any more.

    :param url: as libpq takes it.
    :raises OutboxError: where it cannot be made; the text holds no password.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.RLock()
        self._lock_number = 0
        try:
            import psycopg
        except ImportError as error:
            raise OutboxError(
                f"the Python package psycopg cannot be imported by {sys.executable} ({error});"
                f" install it with: {sys.executable} -m pip install 'psycopg[binary]'"
            ) from None
        self._error: type[Exception] = psycopg.Error
        given = dict(parse_qsl(urlsplit(url).query))
        defaults = {
            "connect_timeout": _CONNECT,
            "application_name": "flashcat.flashduty",
            "tcp_user_timeout": int(1000 * _DEADLINE),
            "keepalives_idle": 15,
        }
        with self._errors():
            connect: Any = psycopg.connect
            self._connection: Any = connect(
                url,
                autocommit=True,
                row_factory=_rows_of,
                cursor_factory=psycopg.ClientCursor,
                prepare_threshold=None,
                **{name: value for name, value in defaults.items() if name not in given},
            )
        with self._errors():
            self._connection.execute(
                f"SET search_path = {NAMESPACE}; SET statement_timeout = '{_STATEMENT}s';"
                f" SET lock_timeout = '{_STATEMENT}s'; "
                f"SET idle_in_transaction_session_timeout = '{2 * _STATEMENT}s'; SET client_min_messages = 'warning'"
            )
            clock, began = self._connection.execute(_CLOCK).fetchone()
        self._ahead = float(clock) - time.time()
        self.up_since = float(began)
        self._transaction = _Transaction(self._connection)

    def now(self) -> float:
        """The clock of the database, which all nodes share, Unix seconds."""
        return time.time() + self._ahead

    def serialize_by(self, number: int) -> None:
        """Let transactions follow each other in which this number was given, a signed one of 64 bits."""
        self._lock_number = number

    def close(self) -> None:
        """Close the connection."""
        with suppress(self._error):
            self._connection.close()

    def rows(self, statement: str, values: Any = ()) -> list[Any]:
        """The result of a query."""
        with self._lock, self._errors():
            return self._transaction.execute(statement, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[_Transaction]:
        """A transaction that no other writer of the same integration gets between."""
        with self._lock, self._errors():
            transaction = self._transaction
            try:
                transaction.execute("BEGIN")
                # Who waits for it shall do so before anything looks at the clock.
                transaction.execute("SELECT pg_advisory_xact_lock(?)", (self._lock_number,)).fetchone()
                yield transaction
                transaction.execute("COMMIT").fetchall()
            except BaseException:
                transaction.forget()
                with suppress(self._error):
                    self._connection.execute("ROLLBACK")
                raise

    def strip(self, condition: str, values: Sequence[object]) -> None:
        """Forget the texts of the events of which the condition holds. Within a transaction of the caller."""
        self._transaction.execute(f"UPDATE events SET body = NULL WHERE {condition}", tuple(values))

    def vacuum(self) -> None:
        """Nothing: PostgreSQL does that by itself."""

    @contextmanager
    def _errors(self) -> Iterator[None]:
        # A server that has stopped answers nothing, not even that it is late.
        watchdog = threading.Timer(_DEADLINE, self._hang_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except self._error as error:
            raise OutboxError(without_password(" ".join(str(error).split()), self._url)) from None
        finally:
            watchdog.cancel()

    def _hang_up(self) -> None:
        with suppress(Exception):
            connection = socket.fromfd(self._connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()


class _Result:
    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self.rows: list[Any] | None = None
        self.changed = 0

    def fetchall(self) -> list[Any]:
        """All rows."""
        if self.rows is None:
            self._send()
        return self.rows or []

    def fetchone(self) -> Any:
        """The next row; None where there is none."""
        rows = self.fetchall()
        return rows.pop(0) if rows else None

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        if self.rows is None:
            self._send()
        return self.changed


class _Transaction:
    """Statements go out together with the next one whose result is looked at: others wait for what takes long here."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._unsent: list[tuple[str, _Result]] = []

    def execute(self, statement: str, values: Any = ()) -> _Result:
        """Execute a statement that is written as SQLite takes it."""
        text = self._connection.cursor().mogrify(
            _translated(statement), values if isinstance(values, dict) else tuple(values)
        )
        result = _Result(self._send)
        self._unsent.append((text, result))
        return result

    def forget(self) -> None:
        """What has not gone out is not to be done."""
        self._unsent = []

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        cursor = self._connection.execute("; ".join(text for text, _result in unsent))
        for _text, result in unsent:
            result.rows, result.changed = cursor.fetchall() if cursor.description else [], cursor.rowcount
            cursor.nextset()


@functools.lru_cache(maxsize=256)
def _translated(statement: str) -> str:
    """The statement with placeholders as psycopg takes them."""

    def replaced(match: re.Match[str]) -> str:
        if match.group() == "?":
            return "%s"
        return "%%" if match.group() == "%" else f"%({match.group(1)})s"

    return _PLACEHOLDER.sub(replaced, statement)


def without_password(text: str, url: str) -> str:
    """The text without the password that the URL may hold, however short that is."""
    for secret in secrets_of(url, 1):
        text = text.replace(secret, "***")
    return text
