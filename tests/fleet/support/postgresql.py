# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL of this machine, in a folder of its own, that can be broken in every way."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

# Seconds that it may take to start, also after a kill and on a busy machine.
PATIENCE = 60.0
_DEBIAN = Path("/usr/lib/postgresql")


class NoPostgreSQL(Exception):
    """There is no PostgreSQL here that could be started."""


def find() -> Path:
    """The folder of PostgreSQL's programs: Debian's newest, or where PATH finds initdb. Raises NoPostgreSQL."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: [int(part) for part in path.parts[-3].split(".")])
    if found:
        return found[-1].parent
    if path := shutil.which("initdb"):
        return Path(path).resolve().parent
    raise NoPostgreSQL("PostgreSQL is missing: install it (Debian: apt-get install postgresql)")


class PostgreSQL:
    """A server on a free port of 127.0.0.1. PostgreSQL refuses to run as root, so root starts it as user postgres.

    :ivar port: it is the same after each start.
    """

    def __init__(self) -> None:
        self._programs = find()
        # In a folder that user postgres reaches: those of pytest belong to the person who runs it.
        self._folder = Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp"))
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._password = secrets.token_hex(8)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._initialize()

    def _initialize(self) -> None:
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        if self._user:
            shutil.chown(password_file, "postgres", "postgres")
        command = [str(self._programs / "initdb"), "--auth=scram-sha-256", "--username=admin", "--encoding=UTF8"]
        command += ["--locale=C", f"--pwfile={password_file}", f"--pgdata={self._folder / 'data'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder, **self._user)

    def start(self) -> None:
        """Start it, or nothing if it runs, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, **self._user
            )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it as an administrator does who does not wait for its clients."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE)

    def kill(self) -> None:
        """As if its machine lost power: all its processes at once."""
        assert self._process is not None
        self.pause()
        for pid in self._pids():
            _send(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """From now on it takes connections, and answers nothing."""
        assert self._process is not None
        # The first can then make no others.
        for _attempt in range(2):
            for pid in self._pids():
                _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after a pause."""
        for pid in reversed(self._pids()):
            _send(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        """The postmaster and its children, which are in process groups of their own."""
        if self._process is None or self._process.poll() is not None:
            return []
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [self._process.pid, *map(int, children.split())]

    def close(self) -> None:
        """Stop it and delete its folder."""
        self.resume()
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text(errors="replace")

    def url(self, user: str, password: str, database: str, **parameters: str) -> str:
        """Where a client finds a database."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return f"postgresql://{user}:{quote(password)}@127.0.0.1:{self.port}/{database}{query}"

    @contextlib.contextmanager
    def connection(self, database: str = "postgres") -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """The administrator's connection, each statement a transaction of its own."""
        url = self.url("admin", self._password, database, connect_timeout="5")
        with contextlib.closing(psycopg.connect(url, autocommit=True)) as connection:
            yield connection

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the administrator; returns its rows."""
        with self.connection(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class Database:
    """One database of it, with a role that may make a schema and one that may do nothing yet.

    :ivar owner_url: for who sets it up.
    :ivar user: the role of the control nodes.
    :ivar url: for the control nodes.
    """

    def __init__(self, server: PostgreSQL) -> None:
        self.server = server
        self.name = f"fleet_{secrets.token_hex(4)}"
        self.owner, self.user = f"{self.name}_owner", f"{self.name}_node"
        self.password = secrets.token_hex(12)
        for role in (self.owner, self.user):
            server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{self.password}'")
        server.execute(f"CREATE DATABASE {self.name} OWNER {self.owner}")
        self.owner_url = server.url(self.owner, self.password, self.name)
        self.url = server.url(self.user, self.password, self.name)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database answers an administrator."""
        return self.server.execute(statement, self.name)

    def disconnect(self) -> None:
        """End every connection of its users."""
        users = f"usename IN ('{self.owner}', '{self.user}')"
        self.server.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {users}")

    def set_read_only(self, value: bool) -> None:
        """As a standby is, to which the address has moved: what is connected is cut off."""
        self.server.execute(f"ALTER DATABASE {self.name} SET default_transaction_read_only = {value}")
        self.disconnect()

    def limit_connections(self, count: int) -> None:
        """No more than so many, -1 for no limit; what is connected is cut off."""
        self.server.execute(f"ALTER DATABASE {self.name} CONNECTION LIMIT {count}")
        self.disconnect()

    def change_password(self, password: str) -> None:
        """Of the control nodes' role; what is connected is cut off."""
        self.server.execute(f"ALTER ROLE {self.user} PASSWORD '{password}'")
        self.disconnect()

    def connections(self) -> int:
        """How many the control nodes hold."""
        return int(self.server.execute(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{self.user}'")[0][0])

    def drop(self) -> None:
        """Take it away, with its roles."""
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        for role in (self.owner, self.user):
            self.server.execute(f"DROP ROLE {role}")


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
