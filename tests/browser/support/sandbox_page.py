# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the page share: the receiver with a client, and how they wait."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Page

from flashduty_sandbox import rules
from flashduty_sandbox.receiver import Receiver

PATIENCE = 20.0
KEY = "1f2e3d4c5b6a79880a1b2c3d4e5f6071"
SECOND_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
LABELS = {"service": "storefront", "cluster": "nj", "env": "prod", "host": "web01,web02"}
OpenPage = Callable[..., Page]


@dataclass
class Sandbox:
    """The receiver under test and a client of it."""

    receiver: Receiver

    def ask(self, target: str, body: object, **headers: str) -> int:
        """POST this body; the HTTP status."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.receiver.port, timeout=PATIENCE)) as connection:
            connection.request("POST", target, json.dumps(body), {"Content-Type": "application/json", **headers})
            return connection.getresponse().status

    def push(self, change_key: str, change_status: str = "Done", key: str = KEY, **fields: Any) -> int:
        """Push an event `ago` seconds old; the HTTP status."""
        ago = fields.pop("ago", 0)
        event = {"change_key": change_key, "change_status": change_status, "title": change_key, **fields}
        event.setdefault("event_time", int(time.time() - ago))
        return self.ask(f"{rules.PUSH_PATH}?integration_key={quote(key)}", event)

    def native(self, change_key: str, change_status: str, **fields: Any) -> int:
        """Put in an event of a native integration; the HTTP status."""
        event = {"change_key": change_key, "change_status": change_status, "title": change_key, **fields}
        return self.ask("/sandbox/native", event)

    def run(self, change_key: str, status: str = "Done", *, ago: int, took: int, **fields: Any) -> None:
        """Push a change that began `ago` seconds ago and came to `status` `took` seconds later."""
        assert self.push(change_key, "Processing", ago=ago, **fields) == 200
        assert self.push(change_key, status, ago=ago - took, **fields) == 200


@dataclass
class Opened:
    """What happened on the pages of a test."""

    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    """Returns once the condition holds. The page's policy forbids Playwright's own way of waiting for one."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.05)


def fill(sandbox: Sandbox) -> None:
    """One change of each status that can be pushed."""
    sandbox.push("PLAN-1", "Planned", ago=500, title="Move the database", labels={**LABELS, "service": "orders"})
    sandbox.push("READY-1", "Ready", ago=-300, title="New kernel", labels={"cluster": "nj"})
    sandbox.push("RUN-1", "Processing", ago=120, title="Warm the caches", labels=LABELS, link="https://t.example/RUN-1")
    sandbox.run("DONE-1", ago=400, took=200, title="Deploy storefront", labels=LABELS, description="All 2 hosts ok")
    sandbox.run("STOP-1", "Canceled", ago=300, took=60, title="Change the schema", labels={"service": "orders"})
