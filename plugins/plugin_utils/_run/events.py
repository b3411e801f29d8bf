# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of a run's changes: title, description, link and labels at each moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    ChangeEvent,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import with_outcome
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.changes import Progress, host_counts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    HostStatus,
    Outcome,
    RunResult,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings

_TITLE_MAX = 256


class Events:
    """Makes the events of the changes of one run; how its last ones differ is in :mod:`.last_events`.

    :param redact: keeps the run's keys out of them.
    """

    def __init__(self, settings: Settings, redact: Callable[[str], str], outcome: Outcome) -> None:
        self.settings = settings
        self.outcome = outcome
        self._redact = redact

    def started(self, change: Change, progress: Progress | None) -> ChangeEvent:
        """The change begins, or goes on with another play."""
        settings = self.settings
        hosts = [*{**change.hosts, **change.coming}]
        text = settings.messages.beginning(
            settings.scope, hosts, settings.subject, settings.where, progress if change.reported else None
        )
        return self.event(change, "Processing", text, time.time() if change.reported else change.began)

    def joined(self, change: Change) -> ChangeEvent:
        """What a task completes that reports to the change of its host."""
        return self.event(change, "Processing", "", time.time())

    def event(
        self,
        change: Change,
        status: str,
        text: str,
        event_time: float,
        result: RunResult | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> ChangeEvent:
        """An event of a change.

        :param text: the description where no template gives another.
        :param event_time: Unix seconds.
        :param result: how the run has ended, where it has come to its end.
        :param labels: those of the outcome, where the change ends.
        """
        settings, play = self.settings, change.play
        # A clock that was set back must put an event neither into the future nor before the change's beginning.
        now = max(time.time(), change.began)
        run = self._run_variable(change, status, text, result) if play.templates else {}
        title = play.rendered("title", run, change.variables) or settings.messages.title(
            settings.subject, settings.scope, change.target
        )
        title = settings.messages.said("check-mode", title=title) if settings.is_check else title
        description = play.rendered("description", run, change.variables) or text
        all_labels = change.labels_now(keep=settings.options["labels_at_end"] == "same")
        if labels and settings.options["outcome_labels"]:
            all_labels = with_outcome(all_labels, labels)
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
        settings, where, hosts = self.settings, self.settings.where, [*change.hosts]
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
        task = self.outcome.failures.get(host) or FailedTask(None, "", "", "")
        found = {"host": host, "task": task.name or "", "module": task.module, "path": task.path}
        with_message = self.settings.options["failure_detail"] == "message"
        return {**found, "message": task.message} if with_message else found
