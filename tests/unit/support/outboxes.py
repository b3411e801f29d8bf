# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the outbox share."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Outcome
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox, Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

ONE, TWO = "integration-1", "integration-2"
START = 1_800_000_000.0
DAY = 86400.0
LEASE = 15.0
ME = Process.of(os.getpid())


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


def counts(outbox: AnyOutbox) -> dict[str, int]:
    """How many events there are in each state."""
    return {row[0]: row[1] for row in outbox.database.rows("SELECT state, count(*) FROM events GROUP BY state")}


def event(key: str = "a", status: str = "Processing", **fields: Any) -> ChangeEvent:
    values: dict[str, Any] = {"change_key": key, "change_status": status, "title": "deploy", **fields}
    return ChangeEvent.validated(values, START + 100 * DAY)


def claimed(outbox: AnyOutbox, integration: str = ONE) -> Claim:
    claim = outbox.claims.claim(integration, ME, LEASE)
    assert isinstance(claim, Claim), claim
    return claim


def deliver_all(outbox: AnyOutbox, integration: str = ONE) -> list[str]:
    keys = []
    while isinstance(claim := outbox.claims.claim(integration, ME, LEASE), Claim):
        outbox.claims.delivered(claim, integration, "request")
        keys.append(claim.change_key)
    return keys


def status_of(claim: Claim) -> str:
    return ChangeEvent.from_json(claim.body).change_status


def outcome(outbox: Outbox, uid: str) -> Outcome:
    found = outbox.events.outcome(uid)
    assert found is not None
    return found


def warnings_of(store: Store) -> list[str]:
    """What there is to say of what has happened to the outbox."""
    notices = Notices()
    for which, values in store.take_notices():
        notices.warning(which, **values)
    return notices.warnings()
