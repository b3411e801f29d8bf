# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outbox: every event lies here, durable, from before its first delivery until long after.

Private to this collection; may change in any release.

Whatever is true is in this SQLite file, which any number of processes share. How events leave it is in
``_outbox_sending.py``. An event's states::

    waiting ──▶ sending ──▶ delivered
       ▲           ├──────▶ refused    (Flashduty will never take it)
       └───────────┤
                   └──────▶ expired    (the task that wanted it gave up on it)
"""

from __future__ import annotations

import functools
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_parts import Conclusion, Part, described
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import (
    FILE_NAME,
    DamagedOutbox,
    OutboxFile,
    salt_of,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process

# Seconds that a writer waits for the others.
PATIENCE = 10.0
# Failed tries that are worth waiting for where the API was well before: they take 3 seconds.
_WORTH_WAITING = 3
# A run of another machine or container is taken for vanished when its courier has not been heard of for so many
# seconds.
_SILENT_AFTER = 180.0
_COURIER_STARTS_WITHIN = 5.0

PENDING = "state IN ('waiting', 'sending')"
_LAST = (
    "SELECT * FROM events WHERE integration = ? AND change_key = ? AND (state = 'delivered'"
    " OR (state IN ('waiting', 'sending') AND (expires_at IS NULL OR expires_at >= ?))) ORDER BY id DESC LIMIT 1"
)
_WATCHING_RUN = (
    "SELECT id FROM runs WHERE integration = ? AND process = ? AND closed_at IS NULL"
    " AND id IN (SELECT run FROM events WHERE integration = ? AND change_key = ?) LIMIT 1"
)


_Answer = TypeVar("_Answer")
_Self = TypeVar("_Self", bound="Outbox")


def _again_when_damaged(method: Callable[..., _Answer]) -> Callable[..., _Answer]:
    """Call the method once more when the file had to be replaced meanwhile."""

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> _Answer:
        try:
            return method(*args, **kwargs)
        except DamagedOutbox:
            return method(*args, **kwargs)

    return called


class Put(NamedTuple):
    """What :meth:`Outbox.put` did.

    :ivar event_id: the event that was stored, or the equal one that was there.
    :ivar changed: whether an event was stored.
    :ivar before: the last event of that change until then; None where there was none or its text is no longer kept.
    """

    event_id: int
    changed: bool
    before: ChangeEvent | None


class Watch(NamedTuple):
    """A process after whose end a change is closed that it left open.

    :ivar vanished_text: the description of the Canceled event; None where an event only joins a change that is watched.
    """

    process: Process
    vanished_text: str | None = None


class Known(NamedTuple):
    """The last event of a change, by what the outbox knows.

    :ivar says_the_same: whether :meth:`Outbox.put` would not store the event that it was compared with.
    :ivar pending: whether it still waits for its delivery.
    :ivar event_time: Unix seconds.
    :ivar settled_at: when it was delivered, Unix seconds; None where it was not.
    :ivar event: None where its text is no longer kept.
    """

    says_the_same: bool
    pending: bool
    event_time: int
    settled_at: float | None
    event: ChangeEvent | None


class Outcome(NamedTuple):
    """How far the delivery of an event has come."""

    state: str
    request_id: str | None
    http_status: int | None
    error_code: str | None
    error: str | None

    @property
    def is_settled(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("delivered", "refused", "expired")


class Tried(NamedTuple):
    """What had become of a run's events before they are waited for.

    :ivar times: how often one of them has failed, at most.
    :ivar is_down: whether the last try of the integration failed.
    """

    times: int
    is_down: bool


class Refusal(NamedTuple):
    """An event that Flashduty refused for good."""

    change_key: str
    change_status: str
    http_status: int | None
    request_id: str | None
    error: str


class PartEnd(NamedTuple):
    """What :meth:`Outbox.end_part` did.

    :ivar known: whether the process has that change open.
    :ivar event_id: the event that closes the change; None where other hosts are not through.
    """

    known: bool
    event_id: int | None


class Outbox:
    """The store in ``folder``. Open it late, close it early, and never carry it across a fork.

    :param durable: whether each transaction survives a power cut.
    :param now: the clock, Unix seconds.
    :param patience: seconds to wait for other writers.
    :param create: whether to make it where it is missing.
    :param alone: only to read, while no other process has it open.
    :raises OutboxError: where the folder cannot be made or written, or the file not be read.
    """

    def __init__(
        self,
        folder: str,
        durable: bool = True,
        now: Callable[[], float] = time.time,
        patience: float = PATIENCE,
        create: bool = True,
        alone: bool = False,
    ) -> None:
        self.folder = folder
        self._now = now
        self._file = OutboxFile(folder, durable, patience, create, alone)

    @staticmethod
    def exists(folder: str) -> bool:
        """Whether there is an outbox in the folder."""
        return os.path.exists(os.path.join(folder, FILE_NAME))

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def path(self) -> str:
        """The file."""
        return self._file.path

    @property
    def set_aside(self) -> str | None:
        """Where a damaged file has been put by this object; None where there was no damage."""
        return self._file.set_aside

    @property
    def salt(self) -> bytes:
        """What the integration key is hashed with in this outbox."""
        return salt_of(self.folder)

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._file.writing()

    def _rows(self, statement: str, values: Any = ()) -> list[sqlite3.Row]:
        return self._file.rows(statement, values)

    # Events: in

    @_again_when_damaged
    def put(
        self,
        integration: str,
        event: ChangeEvent,
        run: str | None = None,
        force: bool = False,
        expires_at: float | None = None,
        watch: Watch | None = None,
    ) -> Put:
        """Store an event, unless the last one of its change says the same.

        :param integration: :meth:`Connection.integration_id`.
        :param event: its ``event_time`` is compared only where it has one.
        :param run: the run that closes this change should it vanish.
        :param force: store it in any case.
        :param expires_at: Unix seconds after which it is not worth sending any more; None keeps it for ever.
        :param watch: the process after whose end the change is closed, where ``run`` is None.
        :raises OutboxError: where it could not be stored.
        """
        with self._writing() as database:
            run = run or self._watching_run(database, integration, event, watch)
            last = database.execute(_LAST, (integration, event.change_key, self._now())).fetchone()
            before = ChangeEvent.from_json(last["body"]) if last is not None and last["body"] else None
            if last is not None and not force and self._says_the_same(last, event):
                if expires_at is None and last["expires_at"] is not None:
                    database.execute("UPDATE events SET expires_at = NULL WHERE id = ?", (last["id"],))
                if run is not None and run != last["run"]:
                    database.execute(
                        "UPDATE events SET run = ? WHERE id = ? AND body IS NOT NULL"
                        " AND (run IS NULL OR run NOT IN (SELECT id FROM runs WHERE closed_at IS NULL))",
                        (run, last["id"]),
                    )
                return Put(int(last["id"]), False, before)
            return Put(self._insert(database, integration, event, run, expires_at), True, before)

    def last_known(self, integration: str, event: ChangeEvent) -> Known | None:
        """The event that :meth:`put` would compare with this one; None where there is none. Writes nothing."""
        rows = self._rows(_LAST, (integration, event.change_key, self._now()))
        if not rows:
            return None
        last = rows[0]
        return Known(
            says_the_same=self._says_the_same(last, event),
            pending=last["state"] != "delivered",
            event_time=last["event_time"],
            settled_at=last["settled_at"],
            event=ChangeEvent.from_json(last["body"]) if last["body"] else None,
        )

    @staticmethod
    def _says_the_same(last: sqlite3.Row, event: ChangeEvent) -> bool:
        same_time = event.event_time is None or event.event_time == last["event_time"]
        return same_time and bool(last["fingerprint"] == event.fingerprint())

    def _insert(
        self,
        database: sqlite3.Connection,
        integration: str,
        event: ChangeEvent,
        run: str | None,
        expires_at: float | None = None,
    ) -> int:
        event = event.at(self._now())
        cursor = database.execute(
            "INSERT INTO events (integration, change_key, body, fingerprint, event_time, change_status, run, put_at,"
            " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                integration,
                event.change_key,
                event.to_json(),
                event.fingerprint(),
                event.event_time,
                event.change_status,
                run,
                self._now(),
                expires_at,
            ),
        )
        return int(cursor.lastrowid or 0)

    # What has become of them

    def outcome(self, event_id: int) -> Outcome:
        """How far the delivery of an event has come; one past its expiry that nobody sends counts as expired."""
        rows = self._rows(
            "SELECT CASE WHEN state = 'waiting' AND expires_at < ? THEN 'expired' ELSE state END AS state,"
            " request_id, http_status, error_code, error FROM events WHERE id = ?",
            (self._now(), event_id),
        )
        return Outcome(*rows[0]) if rows else Outcome("expired", None, None, None, "the outbox was replaced meanwhile")

    def pending(self, integration: str, run: str | None = None) -> int:
        """How many events of the integration, or of one run, are not settled."""
        statement, values = f"SELECT count(*) FROM events WHERE integration = ? AND {PENDING}", [integration]
        if run is not None:
            statement, values = statement + " AND run = ?", [integration, run]
        return int(self._rows(statement, values)[0][0])

    def expire(self, event_id: int) -> None:
        """The task that wanted the event gives up on it now."""
        with self._writing() as database:
            database.execute(
                "UPDATE events SET state = 'expired', settled_at = ? WHERE id = ? AND state = 'waiting'"
                " AND expires_at IS NOT NULL",
                (self._now(), event_id),
            )

    def keys_in_use(self, integration: str) -> set[str]:
        """The keys of the changes that open runs have reported, or of which events wait."""
        rows = self._rows(
            "SELECT DISTINCT change_key FROM events WHERE integration = ?"
            f" AND ({PENDING} OR run IN (SELECT id FROM runs WHERE closed_at IS NULL))",
            (integration,),
        )
        return {str(row["change_key"]) for row in rows}

    def try_now(self, integration: str, run: str) -> Tried:
        """Let what waits of a run be tried once more without a pause, unless Flashduty itself has asked for one."""
        failures, times = self._rows(
            "SELECT (SELECT failures FROM pauses WHERE integration = ?), (SELECT max(tries - (state = 'sending'))"
            f" FROM events WHERE integration = ? AND run = ? AND {PENDING})",
            (integration, integration, run),
        )[0]
        if failures:
            with self._writing() as database:
                database.execute(
                    "UPDATE pauses SET until = 0 WHERE integration = ? AND NOT EXISTS"
                    f" (SELECT 1 FROM events WHERE integration = ? AND http_status = 429 AND {PENDING})",
                    (integration, integration),
                )
                database.execute(
                    "UPDATE events SET next_try = 0 WHERE integration = ? AND run = ? AND state = 'waiting'",
                    (integration, run),
                )
        return Tried(int(times or 0), bool(failures))

    def is_stuck(self, integration: str, run: str, tried: Tried, until: float) -> bool:
        """Whether it is in vain to wait for the events of a run until then, Unix seconds.

        :param tried: what :meth:`try_now` said. Where the API was down by then, one more try tells that it still is.
        """
        times, paused_until = self._rows(
            f"SELECT (SELECT max(tries - (state = 'sending')) FROM events WHERE integration = ? AND {PENDING}"
            " AND run = ?), (SELECT until FROM pauses WHERE integration = ?)",
            (integration, run, integration),
        )[0]
        worth = 1 if tried.is_down else _WORTH_WAITING
        next_try = self._now() if tried.is_down else until
        return (times or 0) - tried.times >= worth or (paused_until or 0.0) > next_try

    def last_error(self, integration: str) -> str | None:
        """Why the last try failed, where it did."""
        rows = self._rows("SELECT error FROM pauses WHERE integration = ?", (integration,))
        return str(rows[0]["error"]) if rows else None

    def tell_refusals(self, integration: str) -> list[Refusal]:
        """The refused events that nobody was told of yet; they count as told from now on."""
        chosen = "integration = ? AND state = 'refused' AND told = 0"
        if not self._rows(f"SELECT 1 FROM events WHERE {chosen} LIMIT 1", (integration,)):
            return []
        with self._writing() as database:
            rows = database.execute(
                "SELECT change_key, change_status, http_status, request_id, error FROM events"
                f" WHERE {chosen} ORDER BY id",
                (integration,),
            ).fetchall()
            database.execute(f"UPDATE events SET told = 1 WHERE {chosen}", (integration,))
        return [Refusal(*row) for row in rows]

    def refusal_told(self, event_id: int) -> None:
        """A task has reported the refusal of this event itself."""
        with self._writing() as database:
            database.execute("UPDATE events SET told = 1 WHERE id = ?", (event_id,))

    # Runs

    @_again_when_damaged
    def open_run(
        self, run: str, integration: str, process: Process, vanished_text: str, events: Iterable[ChangeEvent]
    ) -> None:
        """Record that a process has begun, or goes on, together with the events that say so.

        :param vanished_text: the description of the Canceled events, should the process vanish.
        """
        with self._writing() as database:
            database.execute(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, NULL, ?, ?, ?, NULL)",
                (run, integration, process.to_text(), vanished_text, self._now(), self._now()),
            )
            for event in events:
                self._insert(database, integration, event, run)

    @_again_when_damaged
    def close_run(self, run: str, integration: str, events: Iterable[ChangeEvent]) -> bool:
        """Record that a run has ended, together with the events that say so.

        Where somebody took the run for vanished meanwhile, it knows better: what differs corrects that.

        :param events: the last ones of its changes; before them those of which it is not known whether they were
            stored, which are stored unless they were.
        :param run: it may be unknown here, where the outbox in which it was opened can no longer be written.
        :returns: whether this call closed it; False where somebody else had.
        """
        with self._writing() as database:
            now = self._now()
            database.execute(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, '', NULL, '', ?, ?, NULL)", (run, integration, now, now)
            )
            closed = self._mark_closed(database, run)
            for event in events:
                if (closed and event.is_terminal) or not self._was_said(database, integration, event):
                    self._insert(database, integration, event, run)
            return closed

    def _was_said(self, database: sqlite3.Connection, integration: str, event: ChangeEvent) -> bool:
        last = database.execute(_LAST, (integration, event.change_key, self._now())).fetchone()
        return last is not None and bool(last["fingerprint"] == event.fingerprint())

    def close_vanished_run(self, run: str, event_time: float | None = None, text: str | None = None) -> int:
        """Cancel what a run that has gone without a word left open.

        :param event_time: when it was last known to be there, Unix seconds; None for the last sign of life in the
            outbox.
        :param text: the description of the Canceled events; None for the one given when the run was opened.
        :returns: how many changes were cancelled; 0 where somebody else had closed the run.
        """
        with self._writing() as database:
            rows = database.execute("SELECT integration FROM runs WHERE id = ?", (run,)).fetchall()
            canceled = self.canceled_events(run, event_time, text)
            if not rows or not self._mark_closed(database, run):
                return 0
            for event in canceled:
                self._insert(database, rows[0]["integration"], event, run)
            return len(canceled)

    def unsent_events(self, run: str) -> list[ChangeEvent]:
        """The events of a run that are not settled; writes nothing."""
        rows = self._rows(f"SELECT body FROM events WHERE run = ? AND {PENDING} ORDER BY id", (run,))
        return [ChangeEvent.from_json(row["body"]) for row in rows]

    def canceled_events(self, run: str, event_time: float | None = None, text: str | None = None) -> list[ChangeEvent]:
        """The events that :meth:`close_vanished_run` stores; writes nothing.

        Where hosts have a part in the run's change, these decide how it has ended.
        """
        if self.run_is_closed(run):
            return []
        parts = self._parts(run)
        rows = self._rows(
            "SELECT body, vanished_text, seen_at, event_time FROM events JOIN runs ON runs.id = events.run"
            " WHERE events.id IN (SELECT max(id) FROM events WHERE run = ? GROUP BY change_key)"
            " AND change_status NOT IN ('Done', 'Canceled') ORDER BY events.id",
            (run,),
        )
        canceled = []
        for row in rows:
            # It was there when it said something last, whatever its sign of life.
            moment = max(row["seen_at"], min(row["event_time"], self._now())) if event_time is None else event_time
            fields = ChangeEvent.from_json(row["body"]).to_dict()
            fields.update(change_status="Canceled", description=text or row["vanished_text"], event_time=int(moment))
            if parts:
                fields.update(_concluded(Conclusion.of(parts), ChangeEvent.from_json(row["body"]), moment))
            canceled.append(ChangeEvent.validated(fields, max(moment, self._now())))
        return canceled

    def _watching_run(
        self, database: sqlite3.Connection, integration: str, event: ChangeEvent, watch: Watch | None
    ) -> str | None:
        if watch is None:
            return None
        process = watch.process.to_text()
        row = database.execute(_WATCHING_RUN, (integration, process, integration, event.change_key)).fetchone()
        if row is not None:
            return str(row["id"])
        if watch.vanished_text is None or event.is_terminal:
            return None
        run, now = secrets.token_hex(16), self._now()
        database.execute(
            "INSERT INTO runs VALUES (?, ?, ?, NULL, ?, ?, ?, NULL)",
            (run, integration, process, watch.vanished_text, now, now),
        )
        return run

    def open_run_with(self, integration: str, process: Process, change_key: str) -> str | None:
        """The run of a process that has this one change open; None where none has."""
        rows = self._rows(_WATCHING_RUN, (integration, process.to_text(), integration, change_key))
        if not rows:
            return None
        (keys,) = self._rows("SELECT count(DISTINCT change_key) FROM events WHERE run = ?", (rows[0]["id"],))[0]
        return str(rows[0]["id"]) if keys == 1 else None

    def open_runs_of(self, process: Process, integration: str) -> list[str]:
        """The runs of a process that have not ended."""
        rows = self._rows(
            "SELECT id FROM runs WHERE integration = ? AND process = ? AND closed_at IS NULL",
            (integration, process.to_text()),
        )
        return [str(row["id"]) for row in rows]

    @_again_when_damaged
    def begin_part(self, event_id: int, host: str) -> None:
        """A host has a part in the change that the event belongs to."""
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO parts"
                " SELECT run, ?, 'begun', '', ? FROM events WHERE id = ? AND run IS NOT NULL",
                (host, self._now(), event_id),
            )

    @_again_when_damaged
    def end_part(self, integration: str, change_key: str, process: Process, part: Part, awaited: Set[str]) -> PartEnd:
        """A host is through; with the last one, the change is closed.

        :param awaited: hosts that may still do something: what they have begun is waited for, and that they begin.
        """
        with self._writing() as database:
            event = ChangeEvent("Processing", change_key, "")
            run = self._watching_run(database, integration, event, Watch(process))
            if run is None:
                return PartEnd(False, None)
            database.execute(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?)",
                (run, part.host, part.outcome, part.text, part.at),
            )
            through = {each.host for each in self._parts(run) if each.outcome != "begun"}
            if awaited - through:
                return PartEnd(True, None)
            ending = self.canceled_events(run, part.at)
            self._mark_closed(database, run)
            ids = [self._insert(database, integration, each, run) for each in ending]
            return PartEnd(True, ids[0] if ids else None)

    def _parts(self, run: str) -> list[Part]:
        rows = self._rows("SELECT host, outcome, text, at FROM parts WHERE run = ? ORDER BY at, host", (run,))
        return [Part(**row) for row in rows]

    def event(self, event_id: int) -> ChangeEvent | None:
        """A stored event; None where its text is no longer kept."""
        rows = self._rows("SELECT body FROM events WHERE id = ? AND body IS NOT NULL", (event_id,))
        return ChangeEvent.from_json(rows[0]["body"]) if rows else None

    def _mark_closed(self, database: sqlite3.Connection, run: str) -> bool:
        return (
            database.execute(
                "UPDATE runs SET closed_at = ? WHERE id = ? AND closed_at IS NULL", (self._now(), run)
            ).rowcount
            == 1
        )

    def run_is_closed(self, run: str) -> bool:
        """Whether the run has ended, by what this outbox knows."""
        return bool(self._rows("SELECT 1 FROM runs WHERE id = ? AND closed_at IS NOT NULL", (run,)))

    def holds_end(self, run: str) -> bool:
        """Whether the run has ended, and the events that say so are in this outbox."""
        return bool(
            self._rows(
                "SELECT 1 FROM runs JOIN events ON events.run = runs.id WHERE runs.id = ? AND closed_at IS NOT NULL"
                " AND change_status IN ('Done', 'Canceled') LIMIT 1",
                (run,),
            )
        )

    def run_seen(self, run: str, courier: Process | None = None) -> bool:
        """The process of the run is there now.

        :param courier: who watches over it from now on.
        :returns: whether the outbox knows the run.
        """
        with self._writing() as database:
            cursor = database.execute(
                "UPDATE runs SET seen_at = ?, courier = coalesce(?, courier) WHERE id = ?",
                (self._now(), courier.to_text() if courier is not None else None, run),
            )
            return cursor.rowcount == 1

    def vanished_runs(self, integration: str) -> list[str]:
        """The runs that nobody will close: process and courier have gone, here, with an earlier boot of this machine,
        or with another container or machine, as far as a long silence can tell."""
        rows = self._rows("SELECT * FROM runs WHERE integration = ? AND closed_at IS NULL", (integration,))
        return [str(row["id"]) for row in rows if self._has_vanished(row)]

    def _has_vanished(self, run: sqlite3.Row) -> bool:
        process = Process.from_text(run["process"])
        if process.is_of_earlier_boot:
            return True
        if not process.is_local:
            return bool(run["seen_at"] < self._now() - _SILENT_AFTER)
        if process.is_alive():
            return False
        # Its courier knows the moment and the reason better; it may not have come up yet.
        if run["courier"] is None:
            return bool(run["opened_at"] < self._now() - _COURIER_STARTS_WITHIN)
        return not Process.from_text(run["courier"]).is_alive()


def _concluded(conclusion: Conclusion, event: ChangeEvent, moment: float) -> Mapping[str, Any]:
    moment = conclusion.at if conclusion.change_status == "Done" else moment
    text = described(conclusion.text, event.description)
    return {"change_status": conclusion.change_status, "description": text, "event_time": int(moment)}
