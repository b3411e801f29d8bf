# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of a run's changes: title, description, link and labels at each moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    ChangeEvent,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import with_outcome
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Progress
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import Outcome, RunResult
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings

_TITLE_MAX = 256


class Events:
    """Makes the events of the changes of one run; how its last ones differ is in :mod:`.ending`.

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
        settings = self.settings
        # A clock that was set back must put an event neither into the future nor before the change's beginning.
        now = max(time.time(), change.began)
        texts: Mapping[str, str] = {}
        if change.texts is not None:
            texts = change.texts.of_event(settings, self.outcome, change, status, text, result)
        title = texts.get("title") or settings.messages.title(settings.subject, settings.scope, change.target)
        title = settings.messages.said("check-mode", title=title) if settings.is_check else title
        description = texts.get("description") or text
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
                "link": texts.get("link") or settings.where.job_url,
                "labels": {key: self._redact(value) for key, value in all_labels.items()},
            },
            now,
        )
