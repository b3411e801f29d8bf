# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outbox's SQLite file: made, opened, opened again when it was replaced, and set aside when it is damaged."""

from __future__ import annotations

import errno
import functools
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import ParamSpec, TypeVar, cast

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.lock_file import locked

try:
    import sqlite3

    NO_SQLITE = ""
except Exception as sqlite_error:  # of a Python that was built without it, or does not find its library
    NO_SQLITE = (
        f"the Python module sqlite3 cannot be imported by {sys.executable} ({sqlite_error}), so nothing can be stored"
        " until it is sent. Install what is missing, or run Ansible with a Python that has it"
    )

FILE_NAME = "outbox.sqlite3"
SALT_NAME = "salt"
SCHEMA_VERSION = 1  # of schema.py
# Seconds that a writer waits for the others.
PATIENCE = 5.0
_JOURNAL_MAX = 4 << 20
_SALT_SIZE = 16
# What SQLite itself adds to the file's name.
COMPANIONS = ("-wal", "-shm", "-journal")
_SET_ASIDE = ".corrupt-"
_OTHER_FORMAT = re.compile("no such (table|column)|has no column")


class OutboxError(Exception):
    """The outbox cannot be used. The text names the file and the reason."""


class DamagedOutbox(OutboxError):
    """The file was damaged. It has been set aside, a new one is in its place: the same call may be made once more."""


_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def require_sqlite() -> None:
    """Nothing where this Python has SQLite.

    :raises OutboxError: where it has not.
    """
    if NO_SQLITE:
        raise OutboxError(NO_SQLITE)


def again_when_damaged(method: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """Call the method once more when the file had to be replaced meanwhile."""

    @functools.wraps(method)
    def called(*args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
        try:
            return method(*args, **kwargs)
        except DamagedOutbox:
            return method(*args, **kwargs)

    return called


@contextmanager
def committing(database: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction that the caller has begun, or undo it where something fails."""
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def salt_of(folder: str, like: str | None = None) -> bytes:
    """What integration keys are hashed with in this folder; kept apart from the file, so that it outlives a damage.

    :param like: a folder whose salt becomes that of this one, where this one has none and that one can be read.
    :raises OutboxError: where it can be neither read nor made.
    """
    path = os.path.join(folder, SALT_NAME)
    try:
        _refuse(folders.weakness(folder))
        with suppress(FileNotFoundError):
            return _read_salt(path)
        _refuse(folders.make(folder))
        # Linked into place when it is whole, so that nobody ever reads a part of it.
        draft = f"{path}.{secrets.token_hex(8)}"
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(_salt_like(like) or secrets.token_bytes(_SALT_SIZE))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                os.replace(draft, path)
        finally:
            if os.path.exists(draft):
                os.unlink(draft)
        return _read_salt(path)
    except OSError as error:
        raise OutboxError(f"{error.filename or path}: {error.strerror}") from None


def _read_salt(path: str) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read(_SALT_SIZE)


def _salt_like(folder: str | None) -> bytes:
    with suppress(OSError, OutboxError):
        if folder is not None:
            _refuse(folders.weakness(folder))
            return _read_salt(os.path.join(folder, SALT_NAME))
    return b""


def _refuse(weakness: str | None) -> None:
    """Only where nobody else can change what is in a folder may anything there be opened."""
    if weakness:
        raise OutboxError(weakness)


class Database:
    """An open outbox file. It follows the path: when another process has replaced the file, so does this object.

    :param durable: whether each transaction survives a power cut.
    :param patience: seconds to wait for other writers; None for :data:`PATIENCE`.
    :param create: whether to make the file where it is missing.
    :param alone: only to read, while no other process has it open: then it needs no room on the disk.
    :raises OutboxError: where the folder cannot be made or written, or the file not be read.
    """

    up_since = 0.0

    def __init__(
        self,
        folder: str,
        durable: bool = True,
        patience: float | None = None,
        create: bool = True,
        alone: bool = False,
    ) -> None:
        self.folder = folder
        self.path = os.path.join(folder, FILE_NAME)
        self.set_aside: str | None = None
        self._durable = durable
        self._patience = PATIENCE if patience is None else patience
        self._create_missing = create
        self._alone = alone
        self._inode = 0
        self._has_log = False
        self._database: sqlite3.Connection | None = None
        self._open()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def now(self) -> float:
        """This machine's clock, Unix seconds."""
        return time.time()

    @again_when_damaged
    def rows(self, statement: str, values: object = ()) -> list[sqlite3.Row]:
        """The result of a query."""
        if self._database is not None and self._database.in_transaction:
            # That handles errors itself: the file must not be replaced below it.
            return self._database.execute(statement, values).fetchall()  # type: ignore[arg-type]
        with self._errors():
            return self._current().execute(statement, values).fetchall()  # type: ignore[arg-type]

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer gets between."""
        with self._errors():
            database = self._begin()
            changes = database.total_changes
            with committing(database):
                yield database
            if self._durable and self._has_log and database.total_changes != changes:
                self._sync_log()

    def _begin(self) -> sqlite3.Connection:
        while True:
            database = self._current()
            database.execute("BEGIN IMMEDIATE")
            if self._inode == _inode_of(self.path):
                return database
            # The file was replaced while this waited for the lock.
            database.execute("ROLLBACK")

    def _sync_log(self) -> None:
        """Bring the transaction to the disk: SQLite would let the next writer in only after that, now they share it."""
        try:
            with open(self.path + "-wal", "rb") as log:
                getattr(os, "fdatasync", os.fsync)(log)
        except OSError as error:
            raise OutboxError(f"{self.path}-wal: {error.strerror}") from None

    def strip(self, condition: str, values: Sequence[object]) -> None:
        """Forget the texts of the events of which the condition holds. Within a transaction of the caller."""
        database = self._current()
        # Taken out and put back: rows that only get smaller leave their pages half empty.
        database.execute(f"CREATE TEMP TABLE stripped AS SELECT * FROM events WHERE {condition}", tuple(values))
        database.execute("UPDATE stripped SET body = NULL")
        database.execute("DELETE FROM events WHERE id IN (SELECT id FROM stripped)")
        database.execute("INSERT INTO events SELECT * FROM stripped")
        database.execute("DROP TABLE stripped")

    def vacuum(self) -> None:
        """Give back to the file system what is no longer used."""
        with self._errors():
            # As a script: a mere query would stop after its first step, which is one page.
            self._current().executescript("PRAGMA incremental_vacuum")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise OutboxError(f"{self.path}: {error}") from None
            self._replace()
            raise DamagedOutbox(f"{self.path}: {error}") from None

    def _current(self) -> sqlite3.Connection:
        if self._database is None or self._inode != _inode_of(self.path):
            self.close()
            self._open()
        return cast(sqlite3.Connection, self._database)

    def _open(self) -> None:
        require_sqlite()
        self._refuse_deleted()
        try:
            self._connect()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise OutboxError(f"{self.path}: {error}") from None
            self._replace()
        except OSError as error:
            raise OutboxError(f"{error.filename or self.path}: {error.strerror}") from None

    def _refuse_deleted(self) -> None:
        if not self._create_missing and not os.path.lexists(self.path):
            raise OutboxError(f"{self.path}: it was deleted")

    def _connect(self) -> None:
        _refuse(folders.make(self.folder))
        # Where there is one, it is not opened here: closing it would drop the locks that SQLite holds in this process.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._inode = _inode_of(self.path)
        database = sqlite3.connect(self.path, timeout=self._patience, isolation_level=None)
        try:
            database.row_factory = sqlite3.Row
            if self._alone:
                database.execute("PRAGMA locking_mode = EXCLUSIVE")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise OutboxError(
                    f"{self.path}: written by a newer version of flashcat.flashduty (format {version}, "
                    f"known here is {SCHEMA_VERSION}). Install the same version everywhere, or set another state_dir"
                )
            if version < SCHEMA_VERSION:
                # Of several that change the journal's mode at once, SQLite refuses some without waiting.
                with _locked(os.path.join(self.folder, "creation.lock"), self._patience):
                    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.schema import create

                    create(database, self.folder)
            self._has_log = database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            database.execute(f"PRAGMA synchronous = {'FULL' if self._durable and not self._has_log else 'NORMAL'}")
            database.execute(f"PRAGMA journal_size_limit = {_JOURNAL_MAX}")
        except BaseException:
            database.close()
            raise
        self._database = database

    def _replace(self) -> None:
        """Set the damaged file aside, under a name of its own, and save into a new one what can still be read."""
        damaged = self._inode
        self.close()
        try:
            with _locked(os.path.join(self.folder, "lock"), self._patience):
                self._refuse_deleted()
                if _inode_of(self.path) == damaged:
                    name = f"{self.path}{_SET_ASIDE}{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
                    # The log first: beside a new file it would be taken for that one's own.
                    for companion in (*COMPANIONS, ""):
                        if os.path.exists(self.path + companion):
                            os.rename(self.path + companion, name + companion)
                    self.set_aside = name
                self._connect()
                if self.set_aside is not None and self._database is not None:
                    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.rescue import rescue

                    rescue(self.set_aside, self._database)
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(f"{self.path}: {error}") from None


def set_aside_in(folder: str) -> set[str]:
    """The damaged files that were set aside in the folder, each without its companions."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    aside = (name for name in names if name.startswith(f"{FILE_NAME}{_SET_ASIDE}") and not name.endswith(COMPANIONS))
    return {os.path.join(folder, name) for name in aside}


def _is_damage(error: sqlite3.Error) -> bool:
    # Exactly this class: its subclasses are locks, full disks and the like.
    return error.__class__ is sqlite3.DatabaseError or bool(_OTHER_FORMAT.search(str(error)))


def _inode_of(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


@contextmanager
def _locked(path: str, patience: float) -> Iterator[None]:
    with locked(path, patience) as got:
        if not got:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        yield
