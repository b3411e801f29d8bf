# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What spans the integrations of an outbox: what lies there for keys that nobody uses any more, and what is pruned."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import GIVEN_UP, PENDING
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text, counted

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox

# What Flashduty refused only for the key: with another one it takes it.
_KEY_WAS_WRONG = "state = 'refused' AND error LIKE '%integration_key%'"
_LEFT = f"(({PENDING}) OR ({_KEY_WAS_WRONG}))"
_NAME_LENGTH = 8
_DAY = 86400.0
# How long, in seconds, and of how many events, the outbox remembers what was settled.
_KEEP_SETTLED = 7 * _DAY
_KEEP_LAST_STATE = 90 * _DAY
_KEEP_EVENTS = 20_000
_KEEP_WAITING = 100_000
_KEEP_BODIES = 2_000

# An event that may be forgotten: settled, and no longer needed to close its run.
_DISPENSABLE = "settled_at IS NOT NULL AND (run IS NULL OR run NOT IN (SELECT id FROM runs WHERE closed_at IS NULL))"


def name_of(integration: str) -> str:
    """A name of an integration for people, which shows nothing of its key."""
    return integration[:_NAME_LENGTH]


class LeftOver(NamedTuple):
    """What lies in the outbox for another integration.

    :ivar integration: how the outbox knows it.
    :ivar same_address: whether it has the API address of this one.
    :ivar events: how many wait, or were refused for their key.
    :ivar runs: how many runs have vanished with a change open.
    :ivar since: the oldest, Unix seconds.
    :ivar title: that of the oldest event, where its text is kept.
    """

    integration: str
    same_address: bool
    events: int
    runs: int
    since: float
    title: str

    @property
    def name(self) -> str:
        """The integration, for people: nothing of its key."""
        return name_of(self.integration)

    @property
    def text(self) -> Text:
        """How much of what, since when and from where."""
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.since))
        counts = [
            counted(count, what) for count, what in ((self.events, "event"), (self.runs, "vanished run")) if count
        ]
        title = Text(f" ({self.title})", f"（{self.title}）") if self.title else Text("", "")
        return Text(
            f"{' and '.join(count.en for count in counts)} since {since}{title.en}",
            f"自 {since} 起的 {'、'.join(count.zh for count in counts)}{title.zh}",
        )


class Integrations:
    """All integrations of an open outbox, beside the one that it is open for."""

    def __init__(self, outbox: AnyOutbox) -> None:
        self._outbox = outbox
        self._database = outbox.database

    def left_over(self, api_url: str = "", older_than: float = 0.0) -> list[LeftOver]:
        """What lies here for others.

        :param api_url: the address of this one.
        :param older_than: seconds; what began later may be on its way.
        """
        found = []
        others = self._database.rows(
            "SELECT DISTINCT integration FROM (SELECT integration FROM events WHERE"
            f" {PENDING} UNION SELECT integration FROM events WHERE {_KEY_WAS_WRONG}"
            " UNION SELECT integration FROM runs WHERE closed_at IS NULL) AS known WHERE integration != ?",
            (self._outbox.integration,),
        )
        for (other,) in others:
            row = self._database.rows(
                f"SELECT count(*) AS events, min(put_at) AS since FROM events WHERE integration = ? AND {_LEFT}",
                (other,),
            )[0]
            vanished = self._vanished(other)
            begun = [self._database.rows("SELECT opened_at FROM runs WHERE id = ?", (run,))[0][0] for run in vanished]
            times = [*([] if row["since"] is None else [row["since"]]), *begun]
            if times and min(times) <= self._database.now() - older_than:
                same = self._database.rows("SELECT 1 FROM integrations WHERE id = ? AND api_url = ?", (other, api_url))
                found.append(LeftOver(other, bool(same), row["events"], len(vanished), min(times), self._title(other)))
        return found

    def adopt(self, others: Iterable[LeftOver]) -> int:
        """Report what lies here for others as this integration's; returns how many events and runs that are."""
        adopted, own = 0, self._outbox.integration
        with self._database.writing() as transaction:
            for other in others:
                for run in self._vanished(other.integration):
                    adopted += transaction.execute("UPDATE runs SET integration = ? WHERE id = ?", (own, run)).rowcount
                    transaction.execute("UPDATE events SET integration = ? WHERE run = ?", (own, run))
                adopted += transaction.execute(
                    "UPDATE events SET integration = ?, state = 'waiting', claimed_by = NULL, next_try = 0, tries = 0,"
                    f" settled_at = NULL, error = NULL WHERE integration = ? AND {_LEFT} AND state != 'sending'",
                    (own, other.integration),
                ).rowcount
        return adopted

    def drop(self, others: Iterable[LeftOver]) -> int:
        """Give up what lies here for others; returns how many events and runs that are."""
        dropped, now = 0, self._database.now()
        with self._database.writing() as transaction:
            for other in others:
                for run in self._vanished(other.integration):
                    dropped += transaction.execute("UPDATE runs SET closed_at = ? WHERE id = ?", (now, run)).rowcount
                dropped += transaction.execute(
                    "UPDATE events SET state = 'expired', settled_at = ? WHERE integration = ?"
                    f" AND {_LEFT} AND state != 'sending'",
                    (now, other.integration),
                ).rowcount
        return dropped

    def _vanished(self, other: str) -> list[str]:
        return self._outbox.of(other).runs.vanished()

    def _title(self, other: str) -> str:
        rows = self._database.rows(
            f"SELECT body FROM events WHERE integration = ? AND ({_LEFT} OR run IN (SELECT id FROM runs"
            " WHERE closed_at IS NULL)) AND body IS NOT NULL ORDER BY id LIMIT 1",
            (other,),
        )
        return ChangeEvent.from_json(rows[0]["body"]).title if rows else ""

    def prune(self) -> None:
        """Forget of all what is settled and old, or more than enough, and make the file as small as what is left.

        Of a backlog beyond bounds, the oldest events are given up, those first that are not the last of their change.
        """
        now = self._database.now()
        last_of_key = "id IN (SELECT max(id) FROM events WHERE state = 'delivered' GROUP BY integration, change_key)"
        settled_beyond = "id <= (SELECT id FROM events WHERE settled_at IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?)"
        with self._database.writing() as transaction:
            waiting = transaction.execute("SELECT count(*) FROM events WHERE state = 'waiting'").fetchone()[0]
            if waiting > _KEEP_WAITING:
                transaction.execute(
                    "UPDATE events SET state = 'refused', settled_at = ?, error_code = ?, error = ? WHERE id IN"
                    " (SELECT id FROM events AS e WHERE state = 'waiting' ORDER BY id = (SELECT max(id) FROM events f"
                    " WHERE f.integration = e.integration AND f.change_key = e.change_key), id LIMIT ?)",
                    (now, GIVEN_UP, f"more than {_KEEP_WAITING} events were waiting", waiting - _KEEP_WAITING),
                )
            transaction.execute(
                f"DELETE FROM events WHERE {_DISPENSABLE} AND state != 'refused' AND settled_at < ?"
                f" AND NOT ({last_of_key})",
                (now - _KEEP_SETTLED,),
            )
            transaction.execute(
                f"DELETE FROM events WHERE {_DISPENSABLE} AND settled_at < ?", (now - _KEEP_LAST_STATE,)
            )
            transaction.execute(f"DELETE FROM events WHERE {_DISPENSABLE} AND {settled_beyond}", (_KEEP_EVENTS,))
            self._database.strip(f"{_DISPENSABLE} AND body IS NOT NULL AND {settled_beyond}", (_KEEP_BODIES,))
            transaction.execute("DELETE FROM runs WHERE closed_at < ?", (now - _KEEP_SETTLED,))
            transaction.execute("DELETE FROM parts WHERE run NOT IN (SELECT id FROM runs)")
        self._database.vacuum()
