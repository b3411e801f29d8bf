# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task reports: its event is compared, stored, and seen delivered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import FIELDS, ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import FLUSH, Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import without_outcome
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import LastEvent, Outcome, PutResult
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import TaskDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.remote_state import RemoteState

_GONE = Outcome("expired", None, None, None, "the outbox was replaced meanwhile")


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
    :param connection: the integration that it is for.
    :param store: where it is stored.
    :param delivery: sees it delivered.
    :param run: the run that the event belongs to.
    :param remote: what Flashduty shows of the change; None leaves the comparison to the outbox.
    :param process: the ansible-playbook after whose end the change may have to be closed.
    :param outcome_labels: whether the change then says in labels that it was not finished.
    :param notices: get the warnings.
    :raises InvalidValue: naming the field, the limit and the value.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        connection: Connection,
        store: Store,
        delivery: TaskDelivery,
        process: Process,
        run: str | None,
        remote: RemoteState | None,
        outcome_labels: bool,
        notices: Notices,
    ) -> None:
        self._notices = notices
        fields = {name: options[name] for name in FIELDS if options.get(name) is not None}
        self._event = ChangeEvent.validated(fields, time.time())
        self._connection = connection
        self._store = store
        self._delivery = delivery
        self._force = bool(options.get("force"))
        self._queue = options.get("on_delivery_failure") == "queue"
        cancel_on_exit = bool(options.get("cancel_on_exit")) and not self._event.is_terminal
        self._process = process
        text, result = notices.said("left-open") if cancel_on_exit else None, "unfinished" if outcome_labels else ""
        self._run = Watch(process, text, result) if run is None else run
        # What is to be closed from here has to be opened from here.
        self._remote = None if self._force or cancel_on_exit else remote
        self._has_labels = options.get("labels") is not None

    def preview(self) -> dict[str, Any]:
        """What :meth:`send` would change; writes and sends nothing."""
        with self._alone():
            self._keep_labels()
            last = self._last()
            changed, before = (not last.is_equal, last.event) if last is not None else (True, None)
            if self._remote is not None:
                changed, before = self._remote.compare(self._event, last) or (changed, before)
        return self._result(changed or self._force, before, delivered=False, queued=False)

    def send(self) -> dict[str, Any]:
        """Store the event and see it delivered.

        :raises ReportFailed: where the task is to fail.
        :raises OutboxError: where it cannot be stored.
        """
        return self._sent()[0]

    def start(self, host: str) -> dict[str, Any]:
        """The same, and a host has a part in the change."""
        result, uid = self._sent()
        self._store.do(lambda outbox: outbox.runs.start_part(uid, host))
        return result

    def end(self, part: Part, pending_hosts: Set[str]) -> dict[str, Any]:
        """A host is through; the last one closes the change.

        :param pending_hosts: those that may still do something.
        :raises ReportFailed: where the change is not open, or its end was not delivered.
        """
        key = self._event.change_key
        ended = self._store.do(lambda outbox: outbox.runs.end_part(key, self._process, part, pending_hosts))
        if not ended.is_open:
            raise ReportFailed(self._notices.said("part-not-open", change_key=key), {})
        uid = ended.uid
        if uid is None:
            return {"changed": False, "change_key": key, "change_status": "Processing"}
        self._event = self._store.look(lambda outbox: outbox.events.get(uid)) or self._event
        return self._delivered(PutResult(uid, True), None)

    def _sent(self) -> tuple[dict[str, Any], str]:
        with self._alone():
            self._keep_labels()
            differs, before = None, None
            if self._remote is not None:
                differs, before = self._remote.compare(self._event, self._last()) or (None, None)
            if differs is False:
                return self._result(False, before, delivered=True, queued=False), ""
            now, force = time.time(), self._force or differs is True
            # What opens or updates a change is not worth sending after its task has failed: nobody would close it.
            expires_at = None if self._queue or self._event.is_terminal else now + self._connection.timeout
            put = self._store.do(
                lambda outbox: outbox.put(self._event, self._run, force, expires_at, self._delivery.lease)
            )
        for which, values in self._store.take_notices():
            self._notices.warning(which, **values)
        # As it was stored: that may have been in the next second.
        stored = self._store.look(lambda outbox: outbox.events.get(put.uid)) if put.changed else None
        self._event = stored or self._event.at(now)
        return self._delivered(put, before or put.before), put.uid

    def _delivered(self, put: PutResult, before: ChangeEvent | None) -> dict[str, Any]:
        """What the task returns, once the event is delivered or the budget is used up."""
        outcome, problem = self._outcome(put.uid), ""
        # Usually there is nothing left to wait for: an equal event has been delivered before.
        if not outcome.is_settled:
            try:
                key = self._event.change_key
                self._delivery.wait(self._is_settled(put.uid), self._connection.timeout, key, put.claim)
            except (OSError, OutboxError, NotImplementedError) as error:
                problem = self._notices.said("nobody-now", problem=error)
                self._store.do(lambda outbox: outbox.events.expire(put.uid))
            outcome = self._outcome(put.uid)
        self._tell_of_sharing()
        delivered, queued = outcome.state == "delivered", outcome.state in ("waiting", "sending")
        result = self._result(put.changed, before, delivered, queued)
        result["request_id"] = outcome.request_id
        if outcome.state == "refused":
            self._store.do(lambda outbox: outbox.events.refusal_shown(put.uid))
            self._refused(outcome, result)
        elif not delivered:
            last_error = self._store.look(lambda outbox: outbox.claims.pause.error)
            self._not_delivered(problem or last_error or outcome.error or self._notices.said("no-answer"), result)
        return result

    def _tell_of_sharing(self) -> None:
        if self._store.connection.outbox_url:
            problem = self._store.look(lambda outbox: outbox.claims.sharing_problem)
            if problem is not None:
                self._notices.warning("not-shared", problem=problem)

    def _outcome(self, uid: str) -> Outcome:
        return self._store.look(lambda outbox: outbox.events.outcome(uid)) or _GONE

    @staticmethod
    def _is_settled(uid: str) -> Callable[[Outbox], bool]:
        def is_settled(outbox: Outbox) -> bool:
            outcome = outbox.events.outcome(uid)
            return outcome is None or outcome.is_settled

        return is_settled

    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext() if self._remote is None else self._remote.alone(self._event)

    def _last(self) -> LastEvent | None:
        """The last event of the change that the outbox knows; one that cannot be used knows none."""
        if not self._store.exists:
            return None
        try:
            return self._store.look(lambda outbox: outbox.events.last(self._event))
        except OutboxError:
            return None

    def _keep_labels(self) -> None:
        """An event that is given no labels has those of its change, so that every route takes it the same way."""
        last = None if self._has_labels else self._last()
        if last is not None and last.event is not None:
            goes_on = last.event.change_status != self._event.change_status
            labels = without_outcome(last.event.labels) if goes_on else last.event.labels
            self._event = self._event._replace(labels=labels)

    def _refused(self, outcome: Outcome, result: dict[str, Any]) -> None:
        result["error"] = {"code": outcome.error_code, "http_status": outcome.http_status, "message": outcome.error}
        self._failed(
            result,
            "task-refused",
            change_key=self._event.change_key,
            reason=outcome.error,
            http_status=outcome.http_status,
            request_id=outcome.request_id or "none",
        )

    def _not_delivered(self, reason: str, result: dict[str, Any]) -> None:
        kept = result["queued"] and (self._queue or self._event.is_terminal)
        self._failed(
            result,
            "task-queued" if kept else "task-given-up",
            seconds=self._connection.timeout,
            reason=reason,
            change_key=self._event.change_key,
            folder=self._store.folder,
            flush=FLUSH,
        )

    def _failed(self, result: Mapping[str, Any], which: str, **values: Any) -> None:
        if not self._queue:
            raise ReportFailed(self._notices.said(which, **values), result)
        self._notices.warning(which, **values)

    def _result(self, changed: bool, before: ChangeEvent | None, delivered: bool, queued: bool) -> dict[str, Any]:
        shown = self._event.to_dict()
        earlier = before.to_dict() if before is not None else {}
        later = shown if changed else earlier or shown
        return {
            "changed": changed,
            "change_key": self._event.change_key,
            "change_status": self._event.change_status,
            "event": shown,
            "delivered": delivered,
            "queued": queued,
            "request_id": None,
            "diff": {"before": earlier, "after": later},
        }
