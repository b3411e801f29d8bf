# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies in the outbox for other integrations: nobody delivers it once their key is no longer used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import PENDING
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text, counted

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import SqlDatabase

# What Flashduty refused only for the key: with another one it takes it.
_KEY_WAS_WRONG = "state = 'refused' AND error LIKE '%integration_key%'"
_LEFT = f"(({PENDING}) OR ({_KEY_WAS_WRONG}))"
_NAME_LENGTH = 8


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
    """The integrations of an open outbox."""

    def __init__(self, database: SqlDatabase, runs: Runs, now: Callable[[], float]) -> None:
        self._database = database
        self._runs = runs
        self._now = now

    def left_over(self, integration: str, api_url: str = "", older_than: float = 0.0) -> list[LeftOver]:
        """What lies here for other integrations.

        :param api_url: the address of this one.
        :param older_than: seconds; what began later may be on its way.
        """
        found = []
        others = self._database.rows(
            "SELECT DISTINCT integration FROM (SELECT integration FROM events WHERE"
            f" {PENDING} UNION SELECT integration FROM events WHERE {_KEY_WAS_WRONG}"
            " UNION SELECT integration FROM runs WHERE closed_at IS NULL) AS known WHERE integration != ?",
            (integration,),
        )
        for (other,) in others:
            row = self._database.rows(
                f"SELECT count(*) AS events, min(put_at) AS since FROM events WHERE integration = ? AND {_LEFT}",
                (other,),
            )[0]
            vanished = self._runs.vanished(other)
            begun = [self._database.rows("SELECT opened_at FROM runs WHERE id = ?", (run,))[0][0] for run in vanished]
            times = [*([] if row["since"] is None else [row["since"]]), *begun]
            if times and min(times) <= self._now() - older_than:
                same = self._database.rows("SELECT 1 FROM integrations WHERE id = ? AND api_url = ?", (other, api_url))
                found.append(LeftOver(other, bool(same), row["events"], len(vanished), min(times), self._title(other)))
        return found

    def adopt(self, integration: str, others: Iterable[LeftOver]) -> int:
        """Report what lies here for others as this integration's; returns how many events and runs that are."""
        adopted = 0
        with self._database.writing() as transaction:
            for other in others:
                for run in self._runs.vanished(other.integration):
                    adopted += transaction.execute(
                        "UPDATE runs SET integration = ? WHERE id = ?", (integration, run)
                    ).rowcount
                    transaction.execute("UPDATE events SET integration = ? WHERE run = ?", (integration, run))
                adopted += transaction.execute(
                    "UPDATE events SET integration = ?, state = 'waiting', claimed_by = NULL, next_try = 0, tries = 0,"
                    f" settled_at = NULL, error = NULL WHERE integration = ? AND {_LEFT} AND state != 'sending'",
                    (integration, other.integration),
                ).rowcount
        return adopted

    def drop(self, others: Iterable[LeftOver]) -> int:
        """Give up what lies here for others; returns how many events and runs that are."""
        dropped = 0
        with self._database.writing() as transaction:
            for other in others:
                for run in self._runs.vanished(other.integration):
                    dropped += transaction.execute(
                        "UPDATE runs SET closed_at = ? WHERE id = ?", (self._now(), run)
                    ).rowcount
                dropped += transaction.execute(
                    "UPDATE events SET state = 'expired', settled_at = ? WHERE integration = ?"
                    f" AND {_LEFT} AND state != 'sending'",
                    (self._now(), other.integration),
                ).rowcount
        return dropped

    def _title(self, integration: str) -> str:
        rows = self._database.rows(
            f"SELECT body FROM events WHERE integration = ? AND ({_LEFT} OR run IN (SELECT id FROM runs"
            " WHERE closed_at IS NULL)) AND body IS NOT NULL ORDER BY id LIMIT 1",
            (integration,),
        )
        return ChangeEvent.from_json(rows[0]["body"]).title if rows else ""
