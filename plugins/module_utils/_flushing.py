# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flushing an outbox: closing the runs that vanished and delivering what waits.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox

FLUSH_OPTIONS: dict[str, dict[str, Any]] = {"wait": {"type": "float", "default": 60.0}}


class Flush:
    """One flush.

    :param connection: where to deliver to.
    :param folder: the outbox's folder.
    """

    def __init__(self, connection: Connection, folder: str) -> None:
        self._connection = connection
        self._folder = folder

    def preview(self) -> dict[str, Any]:
        """What :meth:`flush` would find; writes and sends nothing."""
        if not Outbox.exists(self._folder):
            return self._result(False, 0, 0, 0, [])
        with Outbox(self._folder) as outbox:
            integration = self._connection.integration_id(outbox.salt)
            vanished = len(outbox.vanished_runs(integration))
            waiting = outbox.pending(integration)
        return self._result(bool(vanished or waiting), vanished, 0, waiting, [])

    def flush(self, wait: Callable[[Callable[[Outbox], bool], float], bool], seconds: float) -> dict[str, Any]:
        """Close, deliver, and tell what has become of it.

        :param wait: waits for delivery until its first argument says so, at most so many seconds.
        """
        if not Outbox.exists(self._folder):
            return self._result(False, 0, 0, 0, [])
        with Outbox(self._folder) as outbox:
            integration = self._connection.integration_id(outbox.salt)
            vanished = sum(outbox.close_vanished_run(run) for run in outbox.vanished_runs(integration))
            outbox.release_dead_claims(integration)
            outbox.clear_pause(integration)
            before = outbox.pending(integration)
        if before:
            wait(lambda outbox: not outbox.pending(integration), seconds)
        with Outbox(self._folder) as outbox:
            waiting = outbox.pending(integration)
            reason = outbox.last_error(integration)
            refused = [refusal._asdict() for refusal in outbox.tell_refusals(integration)]
        result = self._result(bool(before), vanished, max(0, before - waiting - len(refused)), waiting, refused)
        if waiting:
            result.update(
                failed=True,
                msg=f"{waiting} events still wait in {self._folder}: {reason or 'no answer yet'}. Flush again later",
            )
        return result

    @staticmethod
    def _result(
        changed: bool, closed: int, delivered: int, waiting: int, refused: list[dict[str, Any]]
    ) -> dict[str, Any]:
        return {
            "changed": changed,
            "closed": closed,
            "delivered": delivered,
            "waiting": waiting,
            "refused": refused,
        }
