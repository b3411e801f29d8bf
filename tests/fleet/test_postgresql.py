# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PostgreSQL of the tests can be broken as they say, and loses nothing that it has confirmed."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from postgresql import Database, PostgreSQL


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url, connect_timeout=2)


def test_it_keeps_what_it_confirmed_before_it_was_killed(postgresql: PostgreSQL, database: Database) -> None:
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("CREATE TABLE kept (number integer)")
    with contextlib.closing(psycopg.connect(database.owner_url, autocommit=True)) as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        postgresql.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("INSERT INTO kept VALUES (2)")
    with pytest.raises(psycopg.OperationalError):
        connect(database.url)
    postgresql.start()
    assert database.rows("SELECT number FROM kept") == [(1,)]


def test_it_answers_nobody_while_it_is_paused(postgresql: PostgreSQL, database: Database) -> None:
    postgresql.pause()
    with pytest.raises(psycopg.OperationalError, match="timeout"):
        connect(database.url)
    postgresql.resume()
    with connect(database.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_database_refuses_what_it_should(database: Database) -> None:
    database.limit_connections(0)
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        connect(database.url)
    database.limit_connections(-1)
    database.set_read_only(True)
    with connect(database.owner_url) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE refused (number integer)")
    database.set_read_only(False)
    with connect(database.owner_url) as connection:
        connection.execute("CREATE TABLE taken (number integer)")
    database.change_password("another")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(database.url)
