# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of a run's changes: title, description, link and labels at each moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    ChangeEvent,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import with_outcome
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Progress, host_counts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    HostStatus,
    Outcome,
    RunResult,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings

_TITLE_MAX = 256


class Reason(NamedTuple):
    """Why a run did not come to its end.

    :ivar result: the value of the label ``result``.
    :ivar text: the first line of the description.
    """

    result: str
    text: str


class Events:
    """Makes the events of the changes of one run.

    :param redact: keeps the run's keys out of them.
    """

    def __init__(self, settings: Settings, redact: Callable[[str], str], outcome: Outcome) -> None:
        self._settings = settings
        self._redact = redact
        self._outcome = outcome

    def started(self, change: Change, progress: Progress | None) -> ChangeEvent:
        """The change begins, or goes on with another play."""
        settings = self._settings
        hosts = [*{**change.hosts, **change.coming}]
        text = settings.messages.beginning(
            settings.scope, hosts, settings.subject, settings.where, progress if change.reported else None
        )
        return self._event(change, "Processing", text, time.time() if change.reported else change.began)

    def joined(self, change: Change) -> ChangeEvent:
        """What a task completes that reports to the change of its host."""
        return self._event(change, "Processing", "", time.time())

    def ended(self, change: Change, result: RunResult, ended_at: float, is_whole: bool = True) -> ChangeEvent:
        """The change ends with its truth.

        :param is_whole: whether a change of the scope ``run`` is the whole run; otherwise its own hosts decide.
        """
        settings = self._settings
        is_run = settings.scope == "run" and is_whole
        hosts = [*(result.hosts if is_run else change.hosts)]
        failed = result.failed if is_run else any(result.hosts[host] is not HostStatus.OK for host in hosts)
        text = settings.messages.end(
            settings.scope,
            result,
            hosts,
            change.came_in(hosts),
            self._outcome,
            change.seconds,
            settings.where,
        )
        if settings.with_progress and not failed:
            text = f"{settings.messages.said('complete')}\n{text}"
        labels = self._outcome_labels(failed, result, hosts)
        return self._event(change, "Canceled" if failed else "Done", text, ended_at, result, labels)

    def canceled(self, change: Change, reason: Reason) -> ChangeEvent:
        """The change ends because the run did not come to its end."""
        text = self._settings.described(reason.text)
        known = self._outcome_labels(True, self._outcome.so_far(change.hosts), change.hosts)
        return self._event(change, "Canceled", text, time.time(), labels={**known, "result": reason.result})

    def _outcome_labels(self, failed: bool, result: RunResult, hosts: Iterable[str]) -> dict[str, str]:
        # Late: the start of a run needs none.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome_labels import outcome_labels

        return outcome_labels(failed, result, hosts, self._outcome)

    def _event(
        self,
        change: Change,
        status: str,
        text: str,
        event_time: float,
        result: RunResult | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> ChangeEvent:
        """An event of a change.

        :param labels: those of the outcome, where the change ends.
        """
        settings, play = self._settings, change.play
        # A clock that was set back must put an event neither into the future nor before the change's beginning.
        now = max(time.time(), change.began)
        run = self._run_variable(change, status, text, result) if play.has_templates else {}
        title = play.rendered("title", run, change.variables) or settings.messages.title(
            settings.subject, settings.scope, change.target
        )
        title = settings.messages.said("check-mode", title=title) if settings.is_check else title
        description = play.rendered("description", run, change.variables) or text
        own = change.labels_now(settings.keeps_labels)
        all_labels = with_outcome(own, labels or {}) if settings.with_outcome else own
        return ChangeEvent.validated(
            {
                "change_status": status,
                "change_key": settings.key_of(change.target),
                "title": shortened(plain_text(self._redact(title)), _TITLE_MAX),
                "event_time": int(max(change.began, min(event_time, now))),
                "description": shortened(plain_text(self._redact(description), lines=True), DESCRIPTION_MAX),
                "link": play.rendered("link", run, change.variables) or settings.where.job_url,
                "labels": {key: self._redact(value) for key, value in all_labels.items()},
            },
            now,
        )

    def _run_variable(self, change: Change, status: str, text: str, result: RunResult | None) -> dict[str, Any]:
        """The variable ``flashduty_run`` of the templates."""
        settings, where, hosts = self._settings, self._settings.where, [*change.hosts]
        at_fault = (HostStatus.FAILED, HostStatus.UNREACHABLE)
        failed = [host for host in hosts if result is not None and result.hosts[host] in at_fault]
        return {
            "status": status,
            "change_key": settings.key_of(change.target),
            "scope": settings.scope,
            "target": change.target,
            "text": text,
            "duration": int(change.seconds),
            "hosts": hosts,
            "groups": change.groups,
            "counts": host_counts(result, hosts),
            "failed": [self._failed(host) for host in failed],
            "check_mode": settings.is_check,
            "play": change.play.name,
            "playbook": change.play.playbook,
            "actor": where.actor,
            "controller": where.controller,
            "system": where.system,
            "job": where.job_name or "",
            "job_url": where.job_url or "",
            "branch": where.branch or "",
            "revision": where.revision or "",
        }

    def _failed(self, host: str) -> Mapping[str, str]:
        task = self._outcome.failures.get(host) or FailedTask(None, "", "", "")
        found = {"host": host, "task": task.name or "", "module": task.module, "path": task.path}
        return {**found, "message": task.message} if self._settings.with_message else found
