# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task shows of the outbox of this control node and of the shared one, and what it does to refused events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import FLUSH, Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    Database,
    OutboxError,
    require_sqlite,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import own_folder
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.listing import STATES, ListedEvent, Listing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import SqlDatabase


def listing(
    state_dir: str, options: Mapping[str, Any], only_look: bool, connection: Connection, notices: Notices
) -> dict[str, Any]:
    """What the task returns.

    :param options: the task's options.
    :param only_look: whether nothing may be changed.
    :param connection: tells where the shared outbox is.
    :param notices: say the lines, and get the warnings.
    :raises OutboxError: where the outbox cannot be read.
    """
    require_sqlite()
    state_dir = own_folder(state_dir)
    asked = {name: [str(uid) for uid in options.get(name) or ()] for name in ("resend", "drop")}
    found: dict[str, dict[str, None]] = {"resend": {}, "drop": {}}
    listed: dict[str, ListedEvent] = {}

    def look_into(database: SqlDatabase) -> None:
        events_there = Listing(database)
        for name, change in (("resend", events_there.resend), ("drop", events_there.drop)):
            refused = events_there.refused(asked[name])
            found[name].update(dict.fromkeys(refused))
            if refused and not only_look:
                change(refused)
        for event in events_there.latest(options["limit"], options.get("state") or STATES, options.get("change_key")):
            listed.setdefault(event.id, event)

    if connection.outbox_url is not None:
        # First: it knows of each event what this node's outbox knows, and more.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared_schema import open_database

        try:
            with closing(open_database(connection.outbox_url)) as shared:
                look_into(shared)
        except OutboxError as error:
            notices.warning("outbox-not-shared", problem=error)
    for folder in (state_dir, *Outbox.spools(state_dir)):
        if Outbox.exists(folder):
            with closing(Database(folder, create=False)) as database:
                look_into(database)
    events = sorted(listed.values(), key=lambda event: event.stored_at, reverse=True)[: options["limit"]]
    lines = [_line(event, notices) for event in events] or [notices.said("outbox-none", folder=state_dir)]
    if found["resend"]:
        lines.append(notices.said("outbox-resent", count=len(found["resend"]), flush=FLUSH))
    result = {
        "changed": bool(found["resend"] or found["drop"]),
        "resent": [*found["resend"]],
        "dropped": [*found["drop"]],
        "events": [event._asdict() for event in events],
        "lines": lines,
    }
    missing = [uid for name in asked for uid in asked[name] if uid not in found[name]]
    if missing:
        result["failed"] = True
        result["msg"] = notices.said("outbox-unknown-id", folder=state_dir, ids=", ".join(missing))
    return result


def _line(event: ListedEvent, notices: Notices) -> str:
    request = f", request_id {event.request_id}" if event.request_id else ""
    return notices.said(
        "outbox-line",
        when=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(event.event_time)),
        state=STATES[event.state],
        change_status=event.change_status,
        change_key=event.change_key,
        title=f" {event.title}" if event.title else "",
        known=f"{event.id}{request}{f', node {event.node}' if event.node else ''}",
        error=notices.said("outbox-error", reason=event.error) if event.error and event.state != "delivered" else "",
    )
