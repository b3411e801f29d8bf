# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes between the outbox of a node and the shared one: events and runs there, what became of them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import PENDING
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox, Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import upsert

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import Row, Transaction

# The column ``shared`` of the node's outbox is empty until the shared outbox has the row; then it says `entered`, and
# once both say how it ended, `settled` of an event and `closed` of a run.
_MOST_AT_ONCE = 500
# Seconds before which what was settled here is of no interest to other nodes.
_HISTORY = 86400.0
# Seconds by which an event's moment differs at least from that of its storing where a user has given it.
_BACKDATED = 60.0
_SETTLED_STATES = "('delivered', 'refused')"
_IS_NEW = f"shared = '' AND body IS NOT NULL AND ({PENDING} OR (state IN {_SETTLED_STATES} AND put_at > :since))"
_NEW_EVENTS = (
    f"SELECT *, (SELECT closed_at FROM runs WHERE id = e.run) AS closed_at, (SELECT max(id) FROM events"
    f" WHERE run = e.run AND {_IS_NEW}) AS last_of_run FROM events AS e WHERE integration = :integration AND {_IS_NEW}"
)
# Closed runs of which the shared outbox has every event.
_CLOSED_RUNS = (
    "SELECT id FROM runs WHERE integration = :integration AND closed_at IS NOT NULL AND shared = 'entered'"
    f" AND NOT EXISTS (SELECT 1 FROM events WHERE run = runs.id AND {_IS_NEW})"
)
_RESULT = "state, settled_at, request_id, http_status, error_code, error"


def untold(outbox: Outbox) -> int:
    """How many events of a node's outbox the shared one does not know, or not how they ended."""
    return int(
        outbox.database.rows(
            "SELECT count(*) FROM events WHERE integration = ? AND body IS NOT NULL AND put_at > ?"
            f" AND state IN {_SETTLED_STATES} AND shared != 'settled'",
            (outbox.integration, outbox.database.now() - _HISTORY),
        )[0][0]
    )


class Relay:
    """Relays between an open outbox of this node and the shared one."""

    def __init__(self, outbox: Outbox, shared: SharedOutbox) -> None:
        self._outbox = outbox
        self._shared = shared

    def exchange(self) -> None:
        """Bring each outbox up to what the other knows.

        Whatever breaks off between the two is done again, which changes nothing.

        :raises OutboxError: where one of them cannot be used.
        """
        while self._enter(_NEW_EVENTS) >= _MOST_AT_ONCE:
            pass
        self._tell_settled()
        self._ask_settled()

    def enter(self) -> None:
        """Enter what waits here into the shared outbox.

        :raises OutboxError: where one of the two cannot be used.
        """
        while self._enter(f"{_NEW_EVENTS} AND {PENDING}") >= _MOST_AT_ONCE:
            pass

    def _enter(self, selection: str) -> int:
        local = self._outbox.database
        since = local.now() - _HISTORY
        values = {"integration": self._outbox.integration, "most": _MOST_AT_ONCE, "since": since}
        # In this order: what closes a run is stored before its end is.
        closed = [row["id"] for row in local.rows(_CLOSED_RUNS, values)]
        events = local.rows(f"{selection} ORDER BY id LIMIT :most", values)
        if not events and not closed:
            return 0
        known = dict.fromkeys(event["run"] for event in events if event["run"] is not None)
        runs = [row for run in known for row in local.rows("SELECT * FROM runs WHERE id = ?", (run,))]
        parts = [row for run in known for row in local.rows("SELECT * FROM parts WHERE run = ?", (run,))]
        skipped = []
        with self._shared.database.writing() as transaction:
            for run in runs:
                self._enter_run(transaction, run)
            for part in parts:
                upsert(transaction, "parts", "run, host", dict(part))
            for run in closed:
                self._shared.runs.mark_closed(transaction, run)
            for event in events:
                if not self._enter_event(transaction, event):
                    skipped.append(event["uid"])
                if event["closed_at"] is not None and event["id"] == event["last_of_run"]:
                    self._shared.runs.mark_closed(transaction, event["run"])
        with local.writing() as transaction:
            for event in events:
                # It may have been changed meanwhile, and is entered again then.
                done = "settled" if event["state"] in ("delivered", "refused") or event["uid"] in skipped else "entered"
                transaction.execute(
                    "UPDATE events SET shared = ? WHERE uid = ? AND put_at = ? AND expires_at IS ? AND run IS ?",
                    (done, event["uid"], event["put_at"], event["expires_at"], event["run"]),
                )
            for uid in skipped:
                transaction.execute(
                    "UPDATE events SET state = 'expired', settled_at = put_at WHERE uid = ? AND state = 'waiting'",
                    (uid,),
                )
            for run in known:
                transaction.execute("UPDATE runs SET shared = 'entered' WHERE id = ? AND shared = ''", (run,))
            for run in closed:
                transaction.execute("UPDATE runs SET shared = 'closed' WHERE id = ?", (run,))
        return len(events)

    def _enter_run(self, transaction: Transaction, run: Row) -> None:
        values = {name: run[name] for name in ("id", "process", "courier", "vanished_text", "vanished_result")}
        values.update(
            integration=self._shared.integration, opened_at=run["opened_at"], seen_at=self._shared.database.now()
        )
        upsert(transaction, "runs", "id", values)

    def _enter_event(self, transaction: Transaction, row: Row) -> bool:
        """Enter one event; returns False where the shared outbox knows better how its change has ended."""
        known = transaction.execute("SELECT state FROM events WHERE uid = ?", (row["uid"],)).fetchone()
        if known is not None:
            transaction.execute(
                "UPDATE events SET body = ?, fingerprint = ?, run = ?, expires_at = ?"
                " WHERE uid = ? AND state = 'waiting'",
                (row["body"], row["fingerprint"], row["run"], row["expires_at"], row["uid"]),
            )
            return True
        event = ChangeEvent.from_json(row["body"])
        ends = row["closed_at"] is not None and event.is_terminal
        if row["state"] in ("delivered", "refused"):
            was_closed_otherwise = (
                ends and self._shared.runs.is_closed(row["run"]) and not self._shared.events.was_said(event)
            )
            left_out = ("id", "closed_at", "last_of_run", "shared")
            values = {name: value for name, value in dict(row).items() if name not in left_out}
            values.update(integration=self._shared.integration, node=self._shared.node, claimed_by=None)
            upsert(transaction, "events", "uid", values)
            if row["state"] == "delivered" and was_closed_otherwise:
                # Others have taken the run for vanished, and said so, after this node had said how it ended.
                self._shared.events.insert(transaction, event, row["run"])
            return True
        is_backdated = row["asked_time"] < row["put_at"] - _BACKDATED
        entered = self._shared.runs.enter(transaction, event, row["run"], row["uid"], ends, is_backdated)
        transaction.execute(
            "UPDATE events SET node = ?, reserved_until = ?, expires_at = ? WHERE uid = ?",
            (self._shared.node, self._shared.reserved_until(), row["expires_at"], row["uid"]),
        )
        return entered

    def _tell_settled(self) -> None:
        """Tell the shared outbox what was delivered, refused or given up without it."""
        rows = self._outbox.database.rows(
            f"SELECT uid, {_RESULT} FROM events WHERE integration = ? AND shared = 'entered'"
            " AND state IN ('delivered', 'refused', 'expired') LIMIT 500",
            (self._outbox.integration,),
        )
        self._settle(self._shared, rows)

    def _ask_settled(self) -> None:
        """Learn what became of events of this node that others have taken over."""
        waiting = self._outbox.database.rows(
            "SELECT uid FROM events WHERE integration = ? AND shared = 'entered' AND state = 'waiting' LIMIT 500",
            (self._outbox.integration,),
        )
        if waiting:
            uids = [row["uid"] for row in waiting]
            found = self._shared.database.rows(
                f"SELECT uid, {_RESULT} FROM events WHERE uid IN ({', '.join('?' * len(uids))})"
                " AND state NOT IN ('waiting', 'sending')",
                uids,
            )
            self._settle(self._outbox, found)

    def _settle(self, outbox: AnyOutbox, rows: Sequence[Row]) -> None:
        """Let one of the two know how events have ended, which the other one says."""
        if not rows:
            return
        with outbox.database.writing() as transaction:
            for row in rows:
                # An end that is held goes out with that of another run.
                state = "expired" if row["state"] == "held" else row["state"]
                transaction.execute(
                    "UPDATE events SET state = ?, settled_at = ?, request_id = ?, http_status = ?, error_code = ?,"
                    " error = ?, claimed_by = NULL WHERE uid = ? AND state IN ('waiting', 'sending')",
                    (state, *(row[name] for name in _RESULT.split(", ")[1:]), row["uid"]),
                )
        with self._outbox.database.writing() as transaction:
            for row in rows:
                transaction.execute("UPDATE events SET shared = 'settled' WHERE uid = ?", (row["uid"],))
