# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task reports and what it returns, the same for the action on the control node and the module elsewhere.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Callable

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import FIELDS, STATUSES, ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_parts import Part
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Known, Outbox, Outcome, Put, Watch
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.module_utils._shown_state import ShownState
from ansible_collections.flashcat.flashduty.plugins.module_utils._spare_outbox import (
    Opened,
    Stored,
    folders,
    opened_in,
    store,
    unsent_events,
)

# Waits until its second argument says so of the outbox in the folder, at most so many seconds.
Wait = Callable[[str, Callable[[Outbox], bool], float], bool]

CONNECTION_OPTIONS: dict[str, dict[str, Any]] = {
    "push_url": {"type": "str", "no_log": True},
    "integration_key": {"type": "str", "no_log": True},
    "integration_key_file": {"type": "path", "no_log": False},
    "app_key": {"type": "str", "no_log": True},
    "api_url": {"type": "str"},
    "plain_http_hosts": {"type": "list", "elements": "str"},
    "validate_certs": {"type": "bool"},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "timeout": {"type": "float"},
    "state_dir": {"type": "path"},
}
# The folder of the outbox on a host that a task is delegated to.
STATE_DIR = os.path.expanduser("~/.ansible/flashduty")
CHANGE_OPTIONS: dict[str, dict[str, Any]] = {
    "change_status": {"type": "str", "required": True, "choices": list(STATUSES)},
    "change_key": {"type": "str", "no_log": False},
    "title": {"type": "str"},
    "event_time": {"type": "str"},
    "description": {"type": "str"},
    "link": {"type": "str"},
    "labels": {"type": "dict"},
    "force": {"type": "bool", "default": False},
    "cancel_on_exit": {"type": "bool", "default": False},
    "on_delivery_failure": {"type": "str", "choices": ["fail", "queue"], "default": "fail"},
}
PART_OPTIONS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "required": True, "choices": ["begun", "done", "failed"]},
    "change_key": {"type": "str", "required": True, "no_log": False},
    "title": {"type": "str"},
    "description": {"type": "str"},
    "link": {"type": "str"},
    "labels": {"type": "dict"},
    "reason": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
    "on_delivery_failure": {"type": "str", "choices": ["fail", "queue"], "default": "queue"},
}
LEFT_OPEN = "ansible-playbook ended before this change was reported as finished."


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
    :param run: the run that the event belongs to.
    :param process: the ansible-playbook after whose end the change may have to be closed.
    :param shown: what Flashduty shows of the change; None leaves the comparison to the outbox.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        connection: Connection,
        folder: str,
        run: str | None = None,
        shown: ShownState | None = None,
        process: Process | None = None,
    ) -> None:
        fields = {name: options[name] for name in FIELDS if options.get(name) is not None}
        self._event = ChangeEvent.validated(fields, time.time())
        self._connection = connection
        self._folder = folder
        self._run = run
        self._force = bool(options.get("force"))
        self._queue = options.get("on_delivery_failure") == "queue"
        cancel_on_exit = bool(options.get("cancel_on_exit")) and not self._event.is_terminal
        self._process = process
        self._watch = None if process is None else Watch(process, LEFT_OPEN if cancel_on_exit else None)
        # What is to be closed from here has to be opened from here.
        self._shown = None if self._force or cancel_on_exit else shown
        self.warnings: list[str] = []

    def preview(self) -> dict[str, Any]:
        """What :meth:`send` would change; writes and sends nothing."""
        with self._alone():
            known = self._known()
            changed, before = (not known.says_the_same, known.event) if known is not None else (True, None)
            if self._shown is not None:
                changed, before = self._compared(self._shown, known) or (changed, before)
        return self._result(changed or self._force, before, self._event, delivered=False, queued=False)

    def send(self, wait: Wait) -> dict[str, Any]:
        """Store the event and see it delivered.

        :raises ReportFailed: where the task is to fail.
        """
        return self._sent(wait)[0]

    def begin(self, host: str, wait: Wait) -> dict[str, Any]:
        """The same, and a host has a part in the change."""
        result, event_id = self._sent(wait)
        with Outbox(self._folder) as outbox:
            outbox.begin_part(event_id, host)
        return result

    def end(self, part: Part, awaited: Set[str], wait: Wait) -> dict[str, Any]:
        """A host is through; the last one closes the change.

        :param awaited: hosts that may still do something.
        :raises ReportFailed: where the change is not open, or its end was not delivered.
        """
        key, process = self._event.change_key, self._process
        if process is None:
            raise ReportFailed("it is not known which ansible-playbook has opened the change", {})
        opened = self._opened_in_one_of_several()
        stored = store(
            self._folder,
            self._connection,
            lambda outbox, integration: outbox.end_part(integration, key, process, part, awaited),
            first=None if opened is None else opened.folder,
        )
        if not stored.answer.known:
            raise ReportFailed(
                f"change {key} is not open in this run of ansible-playbook: no host has begun it, or it was closed", {}
            )
        event_id = stored.answer.event_id
        if event_id is None:
            return {"changed": False, "change_key": key, "change_status": "Processing"}
        self._folder = stored.folder
        with Outbox(self._folder) as outbox:
            self._event = outbox.event(event_id) or self._event
            outcome = outbox.outcome(event_id)
        put = Put(event_id, True, None)
        return self._delivered(put, outcome, stored.integration, put.before, self._event, wait)

    def _sent(self, wait: Wait) -> tuple[dict[str, Any], int]:
        with self._alone():
            differs, before = None, None
            if self._shown is not None:
                differs, before = self._compared(self._shown, self._known()) or (None, None)
            if differs is False:
                return self._result(False, before, self._event, delivered=True, queued=False), 0
            now = time.time()
            stored = self._stored(now, self._force or differs is True)
        self._folder, (put, outcome) = stored.folder, stored.answer
        if stored.notice is not None:
            self.warnings.append(stored.notice)
        result = self._delivered(put, outcome, stored.integration, before or put.before, self._event.at(now), wait)
        return result, put.event_id

    def _delivered(
        self,
        put: Put,
        outcome: Outcome,
        integration: str,
        before: ChangeEvent | None,
        event: ChangeEvent,
        wait: Wait,
    ) -> dict[str, Any]:
        """What the task returns, once the event is delivered or the budget is used up."""
        reason = ""
        # Usually there is nothing left to wait for: an equal event has been delivered before.
        if outcome.state != "delivered":
            outcome, reason = self._awaited(put.event_id, outcome, integration, wait)
        delivered = outcome.state == "delivered"
        queued = outcome.state in ("waiting", "sending")
        result = self._result(put.changed, before, event, delivered, queued)
        result["request_id"] = outcome.request_id
        if not delivered:
            self._not_delivered(outcome, result, reason, queued)
        return result

    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext() if self._shown is None else self._shown.alone(self._event)

    def _known(self) -> Known | None:
        """What the outbox knows; one that cannot be used knows nothing."""
        if not Outbox.exists(self._folder):
            return None
        try:
            with Outbox(self._folder) as outbox:
                return outbox.last_known(self._connection.integration_id(outbox.salt), self._event)
        except OutboxError:
            return None

    def _compared(self, shown: ShownState, known: Known | None) -> tuple[bool, ChangeEvent | None] | None:
        compared = shown.compare(self._event, known)
        self.warnings += shown.warnings
        return compared

    def _stored(self, now: float, force: bool) -> Stored[tuple[Put, Outcome]]:
        # What opens or updates a change is not worth sending after its task has failed: nobody would close it.
        expires_at = None if self._queue or self._event.is_terminal else now + self._connection.timeout

        opened = self._opened_in_one_of_several()

        def put(outbox: Outbox, integration: str) -> tuple[Put, Outcome]:
            left = None
            if self._event.is_terminal and outbox.folder != (self._folder if opened is None else opened.folder):
                left = opened or self._opened()
            if left is None:
                done = outbox.put(integration, self._event, self._run, force, expires_at, self._watch)
            else:
                # Whoever looks into the outbox where the change began must find that it has ended here.
                event = self._event.at(now)
                outbox.close_run(left.run, integration, [*unsent_events(left.folder, left.run), event])
                done = outbox.put(integration, event)._replace(changed=True, before=None)
            return done, outbox.outcome(done.event_id)

        return store(self._folder, self._connection, put, first=None if opened is None else opened.folder)

    def _opened(self) -> Opened | None:
        if self._process is None:
            return None
        return opened_in(self._folder, self._connection, self._process, self._event.change_key)

    def _opened_in_one_of_several(self) -> Opened | None:
        return self._opened() if len(folders(self._folder)) > 1 else None

    def _awaited(self, event_id: int, outcome: Outcome, integration: str, wait: Wait) -> tuple[Outcome, str]:
        """What has become of the event within the budget, and why it was not delivered."""
        problem = ""
        if not outcome.is_settled:
            try:
                wait(self._folder, lambda outbox: outbox.outcome(event_id).is_settled, self._connection.timeout)
            except (OSError, OutboxError, NotImplementedError) as error:
                problem = f"nobody can deliver it now: {error}"
        with Outbox(self._folder) as outbox:
            if problem:
                outbox.expire(event_id)
            outcome = outbox.outcome(event_id)
            if outcome.state == "refused":
                outbox.refusal_told(event_id)
            return outcome, problem or outbox.last_error(integration) or outcome.error or "no answer"

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
