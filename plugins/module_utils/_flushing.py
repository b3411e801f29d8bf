# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flushing an outbox: closing the runs that vanished and delivering what waits.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import Find, ReadingFailed
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_sending import SendingOutbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._reporting import Wait
from ansible_collections.flashcat.flashduty.plugins.module_utils._spare_outbox import (
    close_vanished_runs,
    folders,
    store,
    vanished_runs,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._stale_changes import (
    STALE_OPTIONS,
    StaleRule,
    stale_events,
)

FLUSH_OPTIONS: dict[str, dict[str, Any]] = {"wait": {"type": "float", "default": 60.0}, **STALE_OPTIONS}


class Flush:
    """One flush.

    :param options: the task's options.
    :param connection: where to deliver to.
    :param folder: the outbox's folder.
    :param find: asks Flashduty.
    :raises InvalidQuery: naming the option and what is wrong with it.
    """

    def __init__(self, options: Mapping[str, Any], connection: Connection, folder: str, find: Find) -> None:
        self._connection = connection
        self._folder = folder
        self._find = find
        self._wait = float(options["wait"])
        self._stale = StaleRule.from_options(options, connection)

    def preview(self) -> dict[str, Any]:
        """What :meth:`flush` would find; writes and sends nothing."""
        vanished = len(vanished_runs(self._folder, self._connection))
        stale, problem = self._stale_events()
        waiting = sum(self._pending().values())
        result = self._result(bool(vanished or stale or waiting), vanished, stale, 0, waiting, [])
        return {**result, "failed": True, "msg": problem} if problem else result

    def flush(self, wait: Wait) -> dict[str, Any]:
        """Close, deliver, and tell what has become of it."""
        end = time.monotonic() + self._wait
        vanished = close_vanished_runs(self._folder, self._connection)
        stale, problem = self._stale_events()
        for event in stale:
            store(self._folder, self._connection, partial(_put, event))
        before = self._pending()
        for folder in before:
            with SendingOutbox(folder) as outbox:
                integration = self._connection.integration_id(outbox.salt)
                outbox.release_dead_claims(integration)
                outbox.clear_pause(integration)
        for folder, count in before.items():
            if count:
                wait(folder, self._is_empty, max(0.0, end - time.monotonic()))
        refused: list[dict[str, Any]] = []
        waiting, reason = 0, None
        for folder in before:
            with Outbox(folder) as outbox:
                integration = self._connection.integration_id(outbox.salt)
                left = outbox.pending(integration)
                waiting += left
                reason = reason or (outbox.last_error(integration) if left else None)
                refused += [refusal._asdict() for refusal in outbox.tell_refusals(integration)]
        started = sum(before.values())
        delivered = max(0, started - waiting - len(refused))
        result = self._result(bool(started), vanished, stale, delivered, waiting, refused)
        if waiting:
            problem = f"{waiting} events still wait in {self._folder}: {reason or 'no answer yet'}. Flush again later"
        return {**result, "failed": True, "msg": problem} if problem else result

    def _stale_events(self) -> tuple[list[ChangeEvent], str | None]:
        """The events that close what was abandoned elsewhere, and why that cannot be known."""
        if self._stale is None:
            return [], None
        in_use: set[str] = set()
        for folder in folders(self._folder):
            with Outbox(folder) as outbox:
                in_use |= outbox.keys_in_use(self._connection.integration_id(outbox.salt))
        try:
            return stale_events(self._stale, self._find, time.time(), in_use), None
        except ReadingFailed as error:
            return [], f"Flashduty cannot be asked for stale changes: {error}"

    def _is_empty(self, outbox: Outbox) -> bool:
        return not outbox.pending(self._connection.integration_id(outbox.salt))

    def _pending(self) -> dict[str, int]:
        """How many events wait, by the folder of the outbox."""
        found = {}
        for folder in folders(self._folder):
            with Outbox(folder) as outbox:
                found[folder] = outbox.pending(self._connection.integration_id(outbox.salt))
        return found

    @staticmethod
    def _result(
        changed: bool,
        vanished: int,
        stale: list[ChangeEvent],
        delivered: int,
        waiting: int,
        refused: list[dict[str, Any]],
    ) -> dict[str, Any]:
        return {
            "changed": changed,
            "closed": vanished + len(stale),
            "stale": [event.change_key for event in stale],
            "delivered": delivered,
            "waiting": waiting,
            "refused": refused,
        }


def _put(event: ChangeEvent, outbox: Outbox, integration: str) -> None:
    outbox.put(integration, event)
