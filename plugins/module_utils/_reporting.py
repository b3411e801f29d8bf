# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task reports and what it returns, the same for the action on the control node and the module elsewhere.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import FIELDS, STATUSES, ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox, Outcome

CONNECTION_OPTIONS: dict[str, dict[str, Any]] = {
    "push_url": {"type": "str", "no_log": True},
    "integration_key": {"type": "str", "no_log": True},
    "integration_key_file": {"type": "path", "no_log": False},
    "api_url": {"type": "str"},
    "plain_http_hosts": {"type": "list", "elements": "str"},
    "validate_certs": {"type": "bool"},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "timeout": {"type": "float"},
    "state_dir": {"type": "path"},
}
CHANGE_OPTIONS: dict[str, dict[str, Any]] = {
    "change_status": {"type": "str", "required": True, "choices": list(STATUSES)},
    "change_key": {"type": "str", "no_log": False},
    "title": {"type": "str"},
    "event_time": {"type": "str"},
    "description": {"type": "str"},
    "link": {"type": "str"},
    "labels": {"type": "dict"},
    "force": {"type": "bool", "default": False},
    "on_delivery_failure": {"type": "str", "choices": ["fail", "queue"], "default": "fail"},
}


class ReportFailed(Exception):
    """The event was not delivered, or not taken.

    :ivar result: what the task returns beside the message.
    """

    def __init__(self, message: str, result: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.result = dict(result)


class Report:
    """One task's event on its way.

    :param options: the task's options, checked and completed.
    :param connection: where to deliver to.
    :param folder: the outbox's folder.
    """

    def __init__(self, options: Mapping[str, Any], connection: Connection, folder: str, run: str | None = None) -> None:
        fields = {name: options[name] for name in FIELDS if options.get(name) is not None}
        self._event = ChangeEvent.validated(fields, time.time())
        self._connection = connection
        self._folder = folder
        self._run = run
        self._force = bool(options.get("force"))
        self._queue = options.get("on_delivery_failure") == "queue"
        self.warnings: list[str] = []

    def preview(self) -> dict[str, Any]:
        """What :meth:`send` would change; writes and sends nothing."""
        changed, before = True, None
        if Outbox.exists(self._folder):
            with Outbox(self._folder) as outbox:
                changed, before = outbox.compare(self._connection.integration_id(outbox.salt), self._event)
        changed = changed or self._force
        return self._result(changed, before, self._event, delivered=False, queued=False)

    def send(self, wait: Callable[[Callable[[Outbox], bool], float], bool]) -> dict[str, Any]:
        """Store the event and see it delivered.

        :param wait: waits for delivery until its first argument says so, at most so many seconds.
        :raises ReportFailed: where the task is to fail.
        """
        budget = self._connection.timeout
        now = time.time()
        # What opens or updates a change is not worth sending after its task has failed: nobody would close it.
        expires_at = None if self._queue or self._event.is_terminal else now + budget
        event = self._event.at(now)
        with Outbox(self._folder) as outbox:
            integration = self._connection.integration_id(outbox.salt)
            put = outbox.put(integration, self._event, self._run, self._force, expires_at)
            outcome = outbox.outcome(put.event_id)
        if not outcome.is_settled:
            wait(lambda outbox: outbox.outcome(put.event_id).is_settled, budget)
        with Outbox(self._folder) as outbox:
            outcome = outbox.outcome(put.event_id)
            reason = outbox.last_error(integration) or outcome.error or "no answer"
            if outcome.state == "refused":
                outbox.refusal_told(put.event_id)
        delivered = outcome.state == "delivered"
        queued = outcome.state in ("waiting", "sending")
        result = self._result(put.changed, put.before, event, delivered, queued)
        result["request_id"] = outcome.request_id
        if not delivered:
            self._not_delivered(outcome, result, reason, queued)
        return result

    def _not_delivered(self, outcome: Outcome, result: dict[str, Any], reason: str, queued: bool) -> None:
        if outcome.state == "refused":
            result["error"] = {
                "code": outcome.error_code,
                "http_status": outcome.http_status,
                "message": outcome.error,
            }
            text = (
                f"Flashduty refused the event of change {self._event.change_key} for good: {outcome.error}"
                f" (HTTP {outcome.http_status}, request_id {outcome.request_id or 'none'})."
                " Check the integration key and the event's fields"
            )
        elif queued and (self._queue or self._event.is_terminal):
            text = (
                f"not delivered within {self._connection.timeout:g} s ({reason}). The event of change"
                f" {self._event.change_key} stays in {self._folder} and goes out with the next run,"
                " or with: ansible-playbook flashcat.flashduty.flush"
            )
        else:
            text = (
                f"not delivered within {self._connection.timeout:g} s ({reason}). The event of change"
                f" {self._event.change_key} will not be sent any more. Repeat the task when Flashduty can be reached,"
                " or set on_delivery_failure to queue"
            )
        if not self._queue:
            raise ReportFailed(text, result)
        self.warnings.append(text)

    @staticmethod
    def _result(
        changed: bool, before: ChangeEvent | None, event: ChangeEvent, delivered: bool, queued: bool
    ) -> dict[str, Any]:
        shown = event.to_dict()
        earlier = before.to_dict() if before is not None else {}
        later = shown if changed else earlier or shown
        return {
            "changed": changed,
            "change_key": event.change_key,
            "change_status": event.change_status,
            "event": shown,
            "delivered": delivered,
            "queued": queued,
            "request_id": None,
            "diff": {"before": earlier, "after": later},
        }
