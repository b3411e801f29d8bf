# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback's changes say in English.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.context import RunContext
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.base import (
    SHOWN_NAMES,
    Messages,
    Progress,
    short_revision,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import FailedTask, HostStatus
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject


class English(Messages):
    """Messages in English."""

    def title(self, subject: Subject, scope: str, target: str) -> str:
        title = f"{subject.play} · {subject.playbook}" if subject.play else subject.playbook
        if not target:
            return f"{title} on {subject.target}" if subject.target else title
        return f"group {target}: {title}" if scope == "group" else f"{target}: {title}"

    def check_mode(self, title: str) -> str:
        return f"[check mode] {title}"

    def progress(self, progress: Progress) -> str:
        book = f"playbook {progress.playbook}/{progress.playbooks}, " if progress.playbooks > 1 else ""
        name = f" ({progress.name})" if progress.name else ""
        return f"Progress {progress.percent}%, {book}play {progress.play}/{progress.plays}{name}."

    def complete(self) -> str:
        return "Progress 100%."

    def what(self, subject: Subject) -> str:
        plays = f", {'plays' if len(subject.plays) > 1 else 'play'}: {self._names(subject.plays)}"
        return f"Playbook {subject.playbook}{plays if subject.plays else ''}."

    def on_hosts(self, hosts: Sequence[str]) -> str:
        return f"{_number(len(hosts), 'host')} at the start: {self._names(hosts)}."

    def came_in(self, hosts: Sequence[str]) -> str:
        return f"Came in during the run: {self._names(hosts)}."

    def narrowed(self, subject: Subject) -> str:
        parts = (("Limit", subject.limit), ("Tags", subject.tags), ("Skipped tags", subject.skip_tags))
        return " ".join(f"{name}: {value}." for name, value in parts if value)

    def origin(self, where: RunContext) -> str:
        job = f", job {where.job_name}" if where.job_name else ""
        branch = f" ({where.branch})" if where.branch else ""
        revision = f", revision {short_revision(where)}{branch}" if where.revision else ""
        return f"Started by {where.actor} on {where.controller}{job}{revision}."

    def part_of(self, title: str, change_key: str) -> str:
        return f"Part of the change {change_key} ({title})."

    def vanished(self) -> str:
        return "ansible-playbook was killed before it could finish."

    def interrupted(self, seconds: float | None = None) -> str:
        after = "" if seconds is None else f" after {self._duration(seconds)}"
        return f"Interrupted by Ctrl-C{after}."

    def stopped_between(self, playbooks: int) -> str:
        return f"Stopped after {_number(playbooks, 'playbook')}, before the next could start."

    def stopped_early(self, seconds: float) -> str:
        return f"Stopped after {self._duration(seconds)}, before all plays were through."

    def output_broke(self, reason: str) -> str:
        return f"Stopped before all tasks had run, the output could no longer be written: {reason}."

    def failed_at(self, status: HostStatus, hosts: Sequence[str], task: FailedTask | None) -> str:
        verb = "Unreachable" if status is HostStatus.UNREACHABLE else "Failed"
        if task is None:
            return f"{verb}: {self._names(hosts)}."
        name = "a task with no_log" if task.name is None else f"task '{task.name}'"
        source = f", {task.path}" if task.path else ""
        message = f": {task.message}" if task.message else "."
        return f"{verb}: {self._names(hosts)} at {name} ({task.module}{source}){message}"

    def stopped(self, hosts: Sequence[str]) -> str:
        return f"Stopped because other hosts failed: {self._names(hosts)}."

    def not_reached(self, hosts: Sequence[str], play: str | None) -> str:
        if play is None:
            return f"Not reached, no task ran: {self._names(hosts)}."
        return f"Not reached by {f'play {play!r}' if play else 'a play'}: {self._names(hosts)}."

    def incomplete(self) -> str:
        return "Stopped before all hosts were through."

    def more(self, lines: int) -> str:
        return f"And {lines} more of this kind."

    def counts(self, hosts: Mapping[str, int], seconds: float) -> str:
        parts = [f"{hosts['ok']} of {_number(hosts['hosts'], 'host')} ok", f"{hosts['changed']} changed"]
        words = {"failed": "failed", "unreachable": "unreachable", "stopped": "stopped", "not_reached": "not reached"}
        parts += [f"{hosts[end]} {word}" for end, word in words.items() if hosts[end]]
        return f"{', '.join(parts)}, {self._duration(seconds)}."

    def tasks(self, tasks: Mapping[str, int], seconds: float) -> str:
        parts = [f"{_number(tasks['ok'], 'task')} ok", f"{tasks['changed']} changed"]
        parts += [f"{tasks['failures']} failed"] if tasks["failures"] else []
        return f"{', '.join(parts)}, {self._duration(seconds)}."

    def nothing_ran(self, seconds: float) -> str:
        return f"No task ran, {self._duration(seconds)}."

    @staticmethod
    def _names(hosts: Sequence[str]) -> str:
        more = len(hosts) - SHOWN_NAMES
        return ", ".join(hosts[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")

    @staticmethod
    def _duration(seconds: float) -> str:
        minutes, rest = divmod(int(seconds), 60)
        if minutes >= 60:
            return f"{minutes // 60} h {minutes % 60} min"
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
