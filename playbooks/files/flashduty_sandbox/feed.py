# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page is told while it is open: server-sent events, each with the changes that are new or have moved on.

A reader gets everything first and then what is new, at most four times a second however much arrives. Who comes back
with the id of a message gets the rest only. Each reader has a thread of its own and no lock while it is written to, so
one that does not read delays nobody.
"""

from __future__ import annotations

import json
import time
from typing import Any

from flashduty_sandbox.answer import Answer
from flashduty_sandbox.http_server import Connection
from flashduty_sandbox.store import Store

STRAYS = 100
PAUSE_SECONDS = 0.25
LOOK_SECONDS = 0.5
RETRY_MILLISECONDS = 2000

_HEAD = Answer(200, b"", "text/event-stream; charset=utf-8", (("Cache-Control", "no-store"),))


def serve(store: Store, connection: Connection, last_event_id: str) -> None:
    """Stream to a reader from that id on, until it goes or the connection is shut down. Raises OSError."""
    connection.send(_HEAD, sized=False)
    connection.wfile.write(b"retry: %d\n\n" % RETRY_MILLISECONDS)
    generation, _dash, text = last_event_id.partition("-")
    number = int(text) if text.isdecimal() else 0
    known_strays = None
    while True:
        writes = store.writes
        current, last, changes = store.since(number)
        reset = current != generation
        if reset:
            # What the reader knows was forgotten, or it knows nothing.
            current, last, changes = store.since(0)
            known_strays = None
        generation, number = current, last
        message: dict[str, Any] = {"now": time.time(), "reset": reset, "changes": changes}
        strays = store.strays(STRAYS)
        if strays != known_strays:
            known_strays = strays
            count, probes, latest = strays
            message |= {"strays": latest, "stray_count": count - probes, "probe_count": probes}
        if reset or changes or "strays" in message:
            data = json.dumps(message, separators=(",", ":"))
            connection.wfile.write(f"id: {generation}-{number}\nevent: changes\ndata: {data}\n\n".encode("ascii"))
        # Whatever a reader says is good-bye.
        if connection.speaks(PAUSE_SECONDS):
            return
        while writes == store.writes:
            store.wait_for_write(writes, LOOK_SECONDS)
            if connection.speaks(0):
                return
