# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the outbox share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Outcome
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox, Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

CONNECTION = Connection("http://127.0.0.1:1", "the key of an integration")
# How an outbox knows another integration.
TWO = "integration-2"
START = 1_800_000_000.0
DAY = 86400.0
LEASE = 15.0
ME = Process.of(os.getpid())


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


def outbox_in(folder: object, clock: Callable[[], float] = time.time, connection: Connection = CONNECTION) -> Outbox:
    """The outbox in a folder, with a clock of its own."""
    outbox = Outbox(str(folder), connection, durable=False)
    outbox.database.now = clock  # type: ignore[method-assign]
    return outbox


def acting_as(process: Process) -> AbstractContextManager[object]:
    """Whoever claims or watches is that process."""
    return patch.object(Process, "of", return_value=process)


def counts(outbox: AnyOutbox) -> dict[str, int]:
    """How many events there are in each state."""
    return {row[0]: row[1] for row in outbox.database.rows("SELECT state, count(*) FROM events GROUP BY state")}


def event(key: str = "a", status: str = "Processing", **fields: Any) -> ChangeEvent:
    values: dict[str, Any] = {"change_key": key, "change_status": status, "title": "deploy", **fields}
    return ChangeEvent.validated(values, START + 100 * DAY)


def claimed(outbox: AnyOutbox) -> Claim:
    claim = outbox.claims.claim(LEASE)
    assert isinstance(claim, Claim), claim
    return claim


def claimed_by(owner: Process, outbox: AnyOutbox) -> Claim:
    with acting_as(owner):
        return claimed(outbox.of(outbox.integration))


def deliver_all(outbox: AnyOutbox) -> list[str]:
    keys = []
    while isinstance(claim := outbox.claims.claim(LEASE), Claim):
        outbox.claims.delivered(claim, "request")
        keys.append(claim.change_key)
    return keys


def status_of(claim: Claim) -> str:
    return ChangeEvent.from_json(claim.body).change_status


def outcome(outbox: AnyOutbox, uid: str) -> Outcome:
    found = outbox.events.outcome(uid)
    assert found is not None
    return found


def warnings_of(store: Store) -> list[str]:
    """What there is to say of what has happened to the outbox."""
    notices = Notices()
    for which, values in store.take_notices():
        notices.warning(which, **values)
    return notices.warnings()
