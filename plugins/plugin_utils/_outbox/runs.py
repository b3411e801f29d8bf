# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runs in the outbox: who closes the changes that a process has left open, and when.

A run is what is closed together: the changes that the callback reports for an ansible-playbook, or one change that a
task has opened.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import (
    with_outcome,
    without_outcome,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Events
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import Row, SqlDatabase, Transaction

# A run of another machine or container is taken for vanished when its courier has not been heard of for so many
# seconds.
SILENT_AFTER = 180.0
_COURIER_STARTS_WITHIN = 5.0
_OF_CHANGE = (
    "SELECT id FROM runs WHERE integration = ? AND process = ? AND closed_at IS NULL"
    " AND id IN (SELECT run FROM events WHERE integration = ? AND change_key = ?) LIMIT 1"
)
_ARE_OTHERS = (
    "runs.integration = :integration AND runs.closed_at IS NULL"
    " AND runs.process NOT IN (SELECT process FROM runs WHERE id = :run)"
)
# Whose change may be that of a run, too.
_OTHERS = (
    f"SELECT 1 FROM runs WHERE {_ARE_OTHERS}"
    " UNION ALL SELECT 1 FROM events WHERE state = 'held' AND integration = :integration LIMIT 1"
)
_STORE_PART = (
    "INSERT INTO parts (run, host, outcome, text, task, at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, host)"
    " DO UPDATE SET outcome = excluded.outcome, text = excluded.text, task = excluded.task, at = excluded.at"
)
# The last events of a change that other processes have open.
_OF_OTHERS = (
    "SELECT runs.*, events.body FROM runs JOIN events ON events.id ="
    " (SELECT max(id) FROM events WHERE integration = :integration AND change_key = :key AND run = runs.id)"
    f" WHERE {_ARE_OTHERS} AND events.change_status NOT IN ('Done', 'Canceled') ORDER BY runs.opened_at"
)


class Watch(NamedTuple):
    """A process after whose end a change is closed that it left open.

    :ivar vanished_text: the description of the Canceled event; None where an event only joins a change that is watched.
    :ivar vanished_result: its label ``result``; empty where no label is to say how the change ended.
    """

    process: Process
    vanished_text: str | None = None
    vanished_result: str = ""


class PartResult(NamedTuple):
    """What :meth:`Runs.end_part` did.

    :ivar is_open: whether the process has that change open.
    :ivar uid: the event that closes the change; None where other hosts are not through.
    """

    is_open: bool
    uid: str | None


class Runs:
    """The runs of one integration in an open outbox.

    :param silent_after: seconds after which a run of another machine or container is taken for vanished.
    """

    def __init__(self, database: SqlDatabase, integration: str, silent_after: float) -> None:
        self._database = database
        self._integration = integration
        self._events = Events(database, integration)
        self._silent_after = silent_after

    def open(self, run: str, watch: Watch, events: Iterable[ChangeEvent]) -> None:
        """Record that a process has begun, or goes on, together with the events that say so."""
        with self._database.writing() as transaction:
            self._insert(transaction, run, watch)
            is_alone = self._is_alone(run)
            for event in events:
                self._events.insert(transaction, event if is_alone else self._joined(run, event), run)

    def _joined(self, run: str, event: ChangeEvent) -> ChangeEvent:
        """What several runs report is one change, which keeps the labels that it was begun with."""
        others = self._of_others(run, event.change_key) or self._events.held(event.change_key)
        return event._replace(labels=without_outcome(others[0].labels)) if others else event

    def close(self, run: str, events: Iterable[ChangeEvent]) -> bool:
        """Record that a run has ended, together with the events that say so.

        Where somebody took the run for vanished meanwhile, it knows better: what differs corrects that.

        :param events: the last ones of its changes; before them those of which it is not known whether they were
            stored, which are stored unless they were.
        :returns: whether this call closed it; False where somebody else had.
        """
        with self._database.writing() as transaction:
            self._insert(transaction, run, None)
            closed = self.mark_closed(transaction, run)
            store = self._events.insert if self._is_alone(run) else self._end
            for event in events:
                if (closed and event.is_terminal) or not self._events.was_said(event):
                    store(transaction, event, run)
            return closed

    def close_vanished(self, run: str, event_time: float | None = None, text: str | None = None) -> int:
        """Cancel what a run that ended without a final status left open.

        :param event_time: when it was last known to be there, Unix seconds; None for the last sign of life in the
            outbox.
        :param text: the description of the Canceled events of a run that was interrupted; None for the one given when
            the run was opened.
        :returns: how many changes were cancelled; 0 where somebody else had closed the run.
        """
        with self._database.writing() as transaction:
            canceled = self.canceled_events(run, event_time, text)
            if not self.mark_closed(transaction, run):
                return 0
            for event in canceled:
                self._end(transaction, event, run)
            return len(canceled)

    def close_all_vanished(self, but: str | None = None) -> int:
        """Cancel what the runs that have vanished left open, except this one; returns how many changes that are."""
        return sum(self.close_vanished(run) for run in self.vanished() if run != but)

    def _is_alone(self, run: str) -> bool:
        """Whether no other process can have a change of the run."""
        return not self._database.rows(_OTHERS, {"run": run, "integration": self._integration})

    def _end(self, transaction: Transaction, event: ChangeEvent, run: str, uid: str | None = None) -> None:
        """Store an end, or hold it while another process has the change open; the last of them tells the worst."""
        others = self._of_others(run, event.change_key) if event.is_terminal else []
        if others:
            labels = with_outcome(without_outcome(others[0].labels), event.labels)
            self._events.hold(transaction, event._replace(labels=labels), run, uid)
        else:
            whole = self._events.with_held(transaction, event) if event.is_terminal else event
            self._events.insert(transaction, whole, run, uid=uid)

    def enter(
        self, transaction: Transaction, event: ChangeEvent, run: str | None, uid: str, ends: bool, is_backdated: bool
    ) -> bool:
        """Store an event of a run that another outbox holds, by the rules for all runs that report here.

        Within a transaction of the caller.

        :param uid: how the other outbox knows it.
        :param ends: whether it ended its change together with the run.
        :param is_backdated: as in :meth:`Events.insert`.
        :returns: False where the change has ended here already, and says so.
        """
        if run is None:
            self._events.insert(transaction, event, None, None, is_backdated, uid)
        elif ends:
            if self.is_closed(run) and self._events.was_said(event):
                return False
            self._end(transaction, event, run, uid)
        else:
            # It is there, whoever has taken it for vanished.
            transaction.execute("UPDATE runs SET closed_at = NULL WHERE id = ?", (run,))
            own = event if event.is_terminal else self._joined(run, event)
            self._events.insert(transaction, own, run, None, is_backdated, uid)
        return True

    def _of_others(self, run: str, change_key: str) -> list[ChangeEvent]:
        """The last events of the runs of other processes that are there and have the same change open."""
        values = {"run": run, "integration": self._integration, "key": change_key}
        rows = [row for row in self._database.rows(_OF_OTHERS, values) if not self._has_vanished(row)]
        return [ChangeEvent.from_json(row["body"]) for row in rows if row["body"]]

    def canceled_events(self, run: str, event_time: float | None = None, text: str | None = None) -> list[ChangeEvent]:
        """The events that :meth:`close_vanished` stores; writes nothing.

        Where hosts have a part in the run's change, these decide how it has ended.
        """
        if self.is_closed(run):
            return []
        parts = self._parts(run)
        rows = self._database.rows(
            "SELECT body, vanished_text, vanished_result, seen_at, event_time FROM events"
            " JOIN runs ON runs.id = events.run"
            " WHERE events.id IN (SELECT max(id) FROM events WHERE run = ? GROUP BY change_key)"
            " AND change_status NOT IN ('Done', 'Canceled') ORDER BY events.id",
            (run,),
        )
        canceled, now = [], self._database.now()
        for row in rows:
            # It was there when it said something last, whatever its sign of life.
            moment = max(row["seen_at"], min(row["event_time"], now)) if event_time is None else event_time
            event = ChangeEvent.from_json(row["body"])
            fields = event.to_dict()
            fields.update(change_status="Canceled", description=text or row["vanished_text"], event_time=int(moment))
            outcome: Mapping[str, str] = {"result": "interrupted" if text else row["vanished_result"]}
            if parts:
                from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import concluded

                fields_of_parts, outcome = concluded(parts, event, moment, str(row["vanished_text"]))
                fields.update(fields_of_parts)
            if row["vanished_result"]:
                fields["labels"] = with_outcome(event.labels, outcome)
            canceled.append(ChangeEvent.validated(fields, max(moment, now)))
        return canceled

    def is_closed(self, run: str) -> bool:
        """Whether the run has ended."""
        return bool(self._database.rows("SELECT 1 FROM runs WHERE id = ? AND closed_at IS NOT NULL", (run,)))

    def open_of(self, process: Process) -> list[str]:
        """The runs of a process that have not ended."""
        rows = self._database.rows(
            "SELECT id FROM runs WHERE integration = ? AND process = ? AND closed_at IS NULL",
            (self._integration, process.to_text()),
        )
        return [str(row["id"]) for row in rows]

    def seen(self, *runs: str) -> int:
        """The process of these runs is there now, and this one, a courier, watches over it.

        :returns: how many of them the outbox knows.
        """
        courier, known = Process.of(os.getpid()).to_text(), 0
        with self._database.writing() as transaction:
            for run in runs:
                known += transaction.execute(
                    "UPDATE runs SET seen_at = ?, courier = ? WHERE id = ?", (self._database.now(), courier, run)
                ).rowcount
        return known

    def vanished(self) -> list[str]:
        """The runs that nobody will close: process and courier have gone, here, with an earlier boot of this machine,
        or with another container or machine, as far as a long silence shows.

        While the database has just come up, none: nobody could give a sign of life before.
        """
        if self._database.now() - self._database.up_since < self._silent_after:
            return []
        statement = "SELECT * FROM runs WHERE integration = ? AND closed_at IS NULL"
        return [
            str(row["id"]) for row in self._database.rows(statement, (self._integration,)) if self._has_vanished(row)
        ]

    def _has_vanished(self, run: Row) -> bool:
        process = Process.from_text(run["process"])
        if process.is_of_earlier_boot:
            return True
        if not process.is_local:
            # Ahead of the clock lies what a clock said that was fast.
            return bool(abs(run["seen_at"] - self._database.now()) > self._silent_after)
        if process.is_alive():
            return False
        # Its courier knows the moment and the reason better; it may not have come up yet.
        if run["courier"] is None:
            return bool(abs(run["opened_at"] - self._database.now()) > _COURIER_STARTS_WITHIN)
        return not Process.from_text(run["courier"]).is_alive()

    # Changes of tasks

    def of_event(self, transaction: Transaction, event: ChangeEvent, watch: Watch) -> str | None:
        """The run that an event of a task belongs to, opened where the task asks for that; None where there is none.

        Within a transaction of the caller.
        """
        values = (self._integration, watch.process.to_text(), self._integration, event.change_key)
        row = transaction.execute(_OF_CHANGE, values).fetchone()
        if row is not None:
            return str(row["id"])
        if watch.vanished_text is None or event.is_terminal:
            return None
        run = secrets.token_hex(16)
        self._insert(transaction, run, watch)
        return run

    def start_part(self, uid: str, host: str) -> None:
        """A host has a part in the change that the event belongs to."""
        with self._database.writing() as transaction:
            row = transaction.execute("SELECT run FROM events WHERE uid = ? AND run IS NOT NULL", (uid,)).fetchone()
            if row is not None:
                transaction.execute(_STORE_PART, (row["run"], host, "started", "", "", self._database.now()))

    def end_part(self, change_key: str, process: Process, part: Part, pending_hosts: Set[str]) -> PartResult:
        """A host is through; with the last one, the change is closed.

        :param pending_hosts: those that may still do something: what they have started is waited for, and that they
            start.
        """
        with self._database.writing() as transaction:
            event = ChangeEvent("Processing", change_key, "")
            run = self.of_event(transaction, event, Watch(process))
            if run is None:
                return PartResult(False, None)
            transaction.execute(_STORE_PART, (run, part.host, part.outcome, part.text, part.task, part.at))
            through = {each.host for each in self._parts(run) if each.outcome != "started"}
            if pending_hosts - through:
                return PartResult(True, None)
            ending = self.canceled_events(run, part.at)
            self.mark_closed(transaction, run)
            uids = [self._events.insert(transaction, each, run) for each in ending]
            return PartResult(True, uids[0] if uids else None)

    def _parts(self, run: str) -> list[Part]:
        rows = self._database.rows(
            "SELECT host, outcome, text, task, at FROM parts WHERE run = ? ORDER BY at, host", (run,)
        )
        if not rows:
            return []
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part

        return [Part(**row) for row in rows]

    def _insert(self, transaction: Transaction, run: str, watch: Watch | None) -> None:
        now = self._database.now()
        process, *vanished = ("", "", "") if watch is None else (watch.process.to_text(), *watch[1:])
        transaction.execute(
            "INSERT INTO runs (id, integration, process, vanished_text, vanished_result, opened_at, seen_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (run, self._integration, process, *vanished, now, now),
        )

    def mark_closed(self, transaction: Transaction, run: str) -> bool:
        """The run has ended; returns False where it had before. Within a transaction of the caller."""
        statement = "UPDATE runs SET closed_at = ? WHERE id = ? AND closed_at IS NULL"
        return bool(transaction.execute(statement, (self._database.now(), run)).rowcount)
