# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes that Flashduty shows as in progress long after their run can have ended, and that no outbox knows."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent, InvalidValue
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    LIMIT_MAX,
    ChangeQuery,
    Find,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, MissingAppKey
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import with_outcome

# What every change of the callback carries.
_OURS = {"source": "ansible"}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# Seconds. A run that is busy with one task for minutes says nothing meanwhile.
_AFTER_LEAST = 600
_AFTER_MOST = 29 * 86400
_WINDOW = 30 * 86400


@dataclass(frozen=True)
class StaleRule:
    """Which changes are taken for abandoned.

    :ivar after: seconds since the last event of the change.
    :ivar integration_id: Flashduty's number of the integration: another one may have changes of the same keys.
    :ivar labels: labels that the change has.
    :ivar outcome_labels: whether it then says in labels that its outcome is unknown.
    """

    after: int
    integration_id: int
    labels: Mapping[str, str] = field(default_factory=dict)
    outcome_labels: bool = True

    @classmethod
    def from_options(cls, options: Mapping[str, Any], connection: Connection) -> StaleRule | None:
        """The rule that the options of a task describe; None where they ask for none.

        :raises InvalidValue: naming the option and what is wrong with it.
        :raises MissingAppKey: where Flashduty cannot be read.
        """
        after = duration(options.get("stale_after"))
        if not after:
            return None
        if not _AFTER_LEAST <= after <= _AFTER_MOST:
            raise InvalidValue("stale_after", f"must be between 10 minutes and 29 days, got {after} seconds")
        if connection.app_key is None:
            raise MissingAppKey
        number = options.get("stale_integration_id")
        if not number:
            raise InvalidValue(
                "stale_integration_id",
                "is needed with stale_after: the number of the integration that the key belongs to, as Flashduty's "
                "console and flashduty_change_info show it. Changes of other integrations are left alone",
            )
        asked = ChangeQuery.from_options({"labels": options.get("stale_labels")}, time.time())
        return cls(after, int(number), {**asked.labels, **_OURS}, bool(options.get("outcome_labels", True)))


def duration(value: Any) -> int:
    """Seconds of ``90``, ``90s``, ``15m``, ``6h`` or ``2d``; 0 where there is no value.

    :raises InvalidValue: where it is something else.
    """
    text = str(value if value is not None else "").strip().lower()
    if not text:
        return 0
    match = re.fullmatch(r"(\d{1,9})\s*([smhd]?)", text)
    if match is None:
        raise InvalidValue("stale_after", f"must be seconds or a number with s, m, h or d, such as 6h, got {text!r}")
    return int(match.group(1)) * _UNITS[match.group(2)]


def stale_events(
    rule: StaleRule, find: Find, now: float, in_use: Collection[str], notices: Notices
) -> list[ChangeEvent]:
    """The events that close what Flashduty shows as abandoned.

    :param now: Unix seconds.
    :param in_use: keys of changes that are in progress here, or wait to be delivered.
    :param notices: say why they are closed.
    :raises ApiError: where Flashduty could not be asked.
    """
    query = ChangeQuery(
        start_time=int(now) - _WINDOW,
        end_time=int(now),
        change_status=("Processing",),
        labels=rule.labels,
        integration_ids=(rule.integration_id,),
        limit=LIMIT_MAX,
        orderby="last_time",
        asc=True,
    )
    events = []
    for change in find(query).changes:
        last_time = change.get("last_time")
        ours = change.get("integration_id") == rule.integration_id and change.get("change_key") not in in_use
        if ours and isinstance(last_time, int) and 0 < last_time <= now - rule.after:
            try:
                events.append(_canceled(rule, change, last_time, now, notices))
            except InvalidValue:  # it was not made by this collection then
                continue
    return events


def _canceled(rule: StaleRule, change: Mapping[str, Any], last_time: int, now: float, notices: Notices) -> ChangeEvent:
    heard = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(last_time))
    silent = int(now) - last_time
    fields = {name: change.get(name) for name in ("change_key", "title", "link")}
    fields["labels"] = with_outcome(change.get("labels") or {}, {"result": "unknown"} if rule.outcome_labels else {})
    text = notices.said("stale", heard=heard, hours=silent // 3600, minutes=silent % 3600 // 60)
    return ChangeEvent.validated(
        {**fields, "change_status": "Canceled", "event_time": last_time, "description": text}, now
    )
