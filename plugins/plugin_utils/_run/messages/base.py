# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback's changes say, whatever the language.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import DESCRIPTION_MAX
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import natural
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.context import RunContext
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    HostStatus,
    Outcome,
    RunResult,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject

# How many names of hosts a line shows.
SHOWN_NAMES = 10
_REVISION_SHOWN = 12


class Progress(NamedTuple):
    """How far a run has come: which play of which playbook begins.

    :ivar play: its number, from 1.
    :ivar plays: how many plays that playbook has.
    :ivar playbook: the playbook's number, from 1.
    :ivar playbooks: how many playbooks the command line names.
    """

    play: int
    plays: int
    playbook: int
    playbooks: int
    name: str

    @property
    def percent(self) -> int:
        """The part of the plays that is done, where all playbooks count alike."""
        done = (self.play - 1) / max(self.plays, self.play)
        return int(100 * (self.playbook - 1 + done) / max(self.playbooks, self.playbook))


class Messages(ABC):
    """The messages of one language, and how they are put together in each."""

    @abstractmethod
    def title(self, subject: Subject, scope: str, target: str) -> str:
        """Of the change of a run, or of a group's or host's part of it."""

    @abstractmethod
    def check_mode(self, title: str) -> str:
        """The title of a change that changes nothing."""

    @abstractmethod
    def progress(self, progress: Progress) -> str:
        """A play begins."""

    @abstractmethod
    def complete(self) -> str:
        """All plays are through."""

    @abstractmethod
    def what(self, subject: Subject) -> str:
        """What runs: playbook and plays."""

    @abstractmethod
    def on_hosts(self, hosts: Sequence[str]) -> str:
        """How many hosts the change has at its start, and which."""

    @abstractmethod
    def came_in(self, hosts: Sequence[str]) -> str:
        """Hosts that were not known at the start."""

    @abstractmethod
    def narrowed(self, subject: Subject) -> str:
        """By which limit and tags; empty where there are none."""

    @abstractmethod
    def origin(self, where: RunContext) -> str:
        """Who, where, which job, which revision."""

    @abstractmethod
    def part_of(self, title: str, change_key: str) -> str:
        """A change of a task belongs to that of the run."""

    @abstractmethod
    def vanished(self) -> str:
        """The process was killed."""

    @abstractmethod
    def interrupted(self, seconds: float | None = None) -> str:
        """Ctrl-C, after so many seconds as far as they are known."""

    @abstractmethod
    def stopped_between(self, playbooks: int) -> str:
        """A playbook of the command line could not start."""

    @abstractmethod
    def stopped_early(self, seconds: float) -> str:
        """An error of ansible-playbook itself, or a way to leave it such as the debugger's."""

    @abstractmethod
    def output_broke(self, reason: str) -> str:
        """The output could not be written any more, and tasks were skipped for that."""

    @abstractmethod
    def failed_at(self, status: HostStatus, hosts: Sequence[str], task: FailedTask | None) -> str:
        """Hosts failed, or were unreachable, at a task."""

    @abstractmethod
    def stopped(self, hosts: Sequence[str]) -> str:
        """Hosts were stopped by the failures of others."""

    @abstractmethod
    def not_reached(self, hosts: Sequence[str], play: str | None) -> str:
        """A play never came to hosts, or no task ran on them."""

    @abstractmethod
    def incomplete(self) -> str:
        """The run failed, and no host shows why."""

    @abstractmethod
    def more(self, lines: int) -> str:
        """In place of lines for which there is no room."""

    @abstractmethod
    def counts(self, hosts: Mapping[str, int], seconds: float) -> str:
        """How many hosts ended how, and after which time."""

    @abstractmethod
    def tasks(self, tasks: Mapping[str, int], seconds: float) -> str:
        """How many tasks of the one host ended how, and after which time."""

    @abstractmethod
    def nothing_ran(self, seconds: float) -> str:
        """No host ran a task."""

    def beginning(
        self, scope: str, hosts: Sequence[str], subject: Subject, where: RunContext, progress: Progress | None
    ) -> str:
        """The description of a change that begins or goes on.

        :param progress: None at the beginning, whose description stays.
        """
        lines = [self.progress(progress)] if progress is not None else []
        lines += [self.what(subject), *([self.on_hosts(hosts)] if scope != "host" else ()), self.narrowed(subject)]
        return "\n".join(line for line in [*lines, self.origin(where)] if line)

    def end(
        self,
        scope: str,
        result: RunResult,
        hosts: Iterable[str],
        came_in: Sequence[str],
        outcome: Outcome,
        seconds: float,
        where: RunContext,
    ) -> str:
        """The description of a change that ends: what failed and where, then counts and duration.

        :param hosts: those of the change.
        :param came_in: those of them that its beginning did not name.
        """
        hosts = [*hosts]
        last = [self._count_line(scope, result, hosts, seconds), self.origin(where)]
        last = [self.came_in(came_in), *last] if came_in else last
        return self._fitted(self._what_failed(result, hosts, outcome), last)

    def _what_failed(self, result: RunResult, hosts: Sequence[str], outcome: Outcome) -> list[str]:
        at_task: dict[tuple[HostStatus, FailedTask | None], list[str]] = {}
        stopped: list[str] = []
        unreached: dict[str | None, list[str]] = {}
        for host in sorted((host for host in hosts if result.hosts[host] is not HostStatus.OK), key=natural):
            status = result.hosts[host]
            if status in (HostStatus.FAILED, HostStatus.UNREACHABLE):
                at_task.setdefault((status, outcome.failures.get(host)), []).append(host)
            elif status is HostStatus.STOPPED:
                stopped.append(host)
            elif status is HostStatus.NOT_REACHED:
                unreached.setdefault(outcome.pending_hosts.get(host), []).append(host)
        lines = [self.failed_at(status, several, task) for (status, task), several in at_task.items()]
        lines += [self.stopped(stopped)] if stopped else []
        lines += [self.not_reached(several, play) for play, several in unreached.items()]
        return lines or ([self.incomplete()] if result.failed and len(hosts) == len(result.hosts) else [])

    def _count_line(self, scope: str, result: RunResult, hosts: Sequence[str], seconds: float) -> str:
        if not result.ran.intersection(hosts):
            return self.nothing_ran(seconds)
        if scope == "host":
            return self.tasks(result.tasks_of(hosts[0]), seconds)
        return self.counts(host_counts(result, hosts), seconds)

    def _fitted(self, lines: list[str], last: list[str]) -> str:
        for kept in range(len(lines), -1, -1):
            more = [self.more(len(lines) - kept)] if kept < len(lines) else []
            text = "\n".join([*lines[:kept], *more, *last])
            if len(text) <= DESCRIPTION_MAX:
                return text
        return "\n".join(last)


def host_counts(result: RunResult | None, hosts: Sequence[str]) -> dict[str, int]:
    """How many of the hosts ended how: hosts, changed, and each of :class:`HostStatus` by its value.

    :param result: None while the run goes on.
    """
    found = Counter(result.hosts[host] for host in hosts) if result is not None else Counter()
    changed = len(result.changed.intersection(hosts)) if result is not None else 0
    return {"hosts": len(hosts), "changed": changed, **{status.value: found[status] for status in HostStatus}}


def short_revision(where: RunContext) -> str:
    """As much of the revision as identifies it; empty where there is none."""
    return (where.revision or "")[:_REVISION_SHOWN]
