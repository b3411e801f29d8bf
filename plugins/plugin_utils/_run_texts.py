# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback's changes say, in English and in Chinese.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import DESCRIPTION_MAX
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import natural
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run_context import RunContext
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run_outcome import Ends, FailedTask, HostEnd

_SHOWN_NAMES = 10
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


def texts(language: str, environ: Mapping[str, str]) -> Texts:
    """The texts in a language.

    :param language: ``en``, ``zh``, or ``auto`` for that of the terminal.
    :param environ: the environment, where the first of LC_ALL, LC_MESSAGES and LANG that is set tells that.
    """
    if language == "auto":
        locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environ.get(name))), "")
        language = "zh" if locale.lower().startswith("zh") else "en"
    return Chinese() if language == "zh" else English()


class Texts(ABC):
    """The words of one language, and what is said in each."""

    @abstractmethod
    def title(self, play: str, playbook: str, scope: str, target: str) -> str:
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
    def started(self, scope: str, hosts: Sequence[str]) -> str:
        """The first line of a change that begins."""

    @abstractmethod
    def origin(self, where: RunContext) -> str:
        """Who, where, which job, which revision."""

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
    def failed_at(self, end: HostEnd, hosts: Sequence[str], task: FailedTask | None) -> str:
        """Hosts failed, or were unreachable, at a task."""

    @abstractmethod
    def stopped(self, hosts: Sequence[str]) -> str:
        """Hosts were stopped by the failures of others."""

    @abstractmethod
    def not_reached(self, hosts: Sequence[str], play: str | None) -> str:
        """A play never came to hosts, or no task ran on them."""

    @abstractmethod
    def incomplete(self) -> str:
        """The run failed, and no host tells why."""

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

    def beginning(self, scope: str, hosts: Sequence[str], where: RunContext, progress: Progress | None) -> str:
        """The description of a change that begins or goes on."""
        lines = [self.progress(progress)] if progress is not None else []
        return "\n".join([*lines, self.started(scope, hosts), self.origin(where)])

    def end(
        self,
        scope: str,
        ends: Ends,
        hosts: Iterable[str],
        failures: Mapping[str, FailedTask],
        awaited: Mapping[str, str],
        seconds: float,
        where: RunContext,
    ) -> str:
        """The description of a change that ends: what failed and where, then counts and duration.

        :param hosts: those of the change.
        :param failures: at which task a host failed.
        :param awaited: the play that never came to a host.
        """
        hosts = [*hosts]
        last = [self._count_line(scope, ends, hosts, seconds), self.origin(where)]
        return self._fitted(self._what_failed(ends, hosts, failures, awaited), last)

    def _what_failed(
        self, ends: Ends, hosts: Sequence[str], failures: Mapping[str, FailedTask], awaited: Mapping[str, str]
    ) -> list[str]:
        at_task: dict[tuple[HostEnd, FailedTask | None], list[str]] = {}
        stopped: list[str] = []
        unreached: dict[str | None, list[str]] = {}
        for host in sorted((host for host in hosts if ends.of[host] is not HostEnd.OK), key=natural):
            end = ends.of[host]
            if end in (HostEnd.FAILED, HostEnd.UNREACHABLE):
                at_task.setdefault((end, failures.get(host)), []).append(host)
            elif end is HostEnd.STOPPED:
                stopped.append(host)
            elif end is HostEnd.NOT_REACHED:
                unreached.setdefault(awaited.get(host), []).append(host)
        lines = [self.failed_at(end, several, task) for (end, task), several in at_task.items()]
        lines += [self.stopped(stopped)] if stopped else []
        lines += [self.not_reached(several, play) for play, several in unreached.items()]
        return lines or ([self.incomplete()] if ends.failed and len(hosts) == len(ends.of) else [])

    def _count_line(self, scope: str, ends: Ends, hosts: Sequence[str], seconds: float) -> str:
        if not ends.ran.intersection(hosts):
            return self.nothing_ran(seconds)
        if scope == "host":
            return self.tasks(ends.tasks_of(hosts[0]), seconds)
        return self.counts(host_counts(ends, hosts), seconds)

    def _fitted(self, lines: list[str], last: list[str]) -> str:
        for kept in range(len(lines), -1, -1):
            more = [self.more(len(lines) - kept)] if kept < len(lines) else []
            text = "\n".join([*lines[:kept], *more, *last])
            if len(text) <= DESCRIPTION_MAX:
                return text
        return "\n".join(last)


def host_counts(ends: Ends | None, hosts: Sequence[str]) -> dict[str, int]:
    """How many of the hosts ended how: hosts, changed, and each of :class:`HostEnd` by its value.

    :param ends: None while the run goes on.
    """
    found = Counter(ends.of[host] for host in hosts) if ends is not None else Counter()
    changed = len(ends.changed.intersection(hosts)) if ends is not None else 0
    return {"hosts": len(hosts), "changed": changed, **{end.value: found[end] for end in HostEnd}}


def _revision(where: RunContext) -> str:
    return (where.revision or "")[:_REVISION_SHOWN]


class English(Texts):
    """Texts in English."""

    def title(self, play: str, playbook: str, scope: str, target: str) -> str:
        title = f"{play} ({playbook})" if play else playbook
        if not target:
            return title
        return f"group {target}: {title}" if scope == "group" else f"{target}: {title}"

    def check_mode(self, title: str) -> str:
        return f"[check mode] {title}"

    def progress(self, progress: Progress) -> str:
        book = f"playbook {progress.playbook}/{progress.playbooks}, " if progress.playbooks > 1 else ""
        name = f" ({progress.name})" if progress.name else ""
        return f"Progress {progress.percent}%, {book}play {progress.play}/{progress.plays}{name}."

    def complete(self) -> str:
        return "Progress 100%."

    def started(self, scope: str, hosts: Sequence[str]) -> str:
        if scope == "host":
            return "In progress."
        if not hosts:
            return "In progress: no host matches."
        return f"In progress on {_number(len(hosts), 'host')}: {self._names(hosts)}."

    def origin(self, where: RunContext) -> str:
        job = f", job {where.job_name}" if where.job_name else ""
        branch = f" ({where.branch})" if where.branch else ""
        revision = f", revision {_revision(where)}{branch}" if where.revision else ""
        return f"Started by {where.user} on {where.controller}{job}{revision}."

    def vanished(self) -> str:
        return "ansible-playbook was killed before it could finish."

    def interrupted(self, seconds: float | None = None) -> str:
        after = "" if seconds is None else f" after {self._duration(seconds)}"
        return f"Interrupted by Ctrl-C{after}."

    def stopped_between(self, playbooks: int) -> str:
        return f"Stopped after {_number(playbooks, 'playbook')}, before the next could start."

    def stopped_early(self, seconds: float) -> str:
        return f"Stopped after {self._duration(seconds)}, before all plays were through."

    def failed_at(self, end: HostEnd, hosts: Sequence[str], task: FailedTask | None) -> str:
        verb = "Unreachable" if end is HostEnd.UNREACHABLE else "Failed"
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
        more = len(hosts) - _SHOWN_NAMES
        return ", ".join(hosts[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")

    @staticmethod
    def _duration(seconds: float) -> str:
        minutes, rest = divmod(int(seconds), 60)
        if minutes >= 60:
            return f"{minutes // 60} h {minutes % 60} min"
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Chinese(Texts):
    """Texts in Chinese."""

    def title(self, play: str, playbook: str, scope: str, target: str) -> str:
        title = f"{play}（{playbook}）" if play else playbook
        if not target:
            return title
        return f"主机组 {target}：{title}" if scope == "group" else f"{target}：{title}"

    def check_mode(self, title: str) -> str:
        return f"[检查模式] {title}"

    def progress(self, progress: Progress) -> str:
        book = f"playbook {progress.playbook}/{progress.playbooks}，" if progress.playbooks > 1 else ""
        name = f"（{progress.name}）" if progress.name else ""
        return f"进度{progress.percent}%，{book}play {progress.play}/{progress.plays}{name}。"

    def complete(self) -> str:
        return "进度100%。"

    def started(self, scope: str, hosts: Sequence[str]) -> str:
        if scope == "host":
            return "变更进行中。"
        if not hosts:
            return "变更进行中，没有匹配的主机。"
        return f"变更进行中，涉及 {len(hosts)} 台主机：{self._names(hosts)}。"

    def origin(self, where: RunContext) -> str:
        job = f"，作业：{where.job_name}" if where.job_name else ""
        branch = f"（{where.branch}）" if where.branch else ""
        revision = f"，代码版本：{_revision(where)}{branch}" if where.revision else ""
        return f"由 {where.user} 在 {where.controller} 上发起{job}{revision}。"

    def vanished(self) -> str:
        return "ansible-playbook 被强制终止，未能执行完成。"

    def interrupted(self, seconds: float | None = None) -> str:
        after = "" if seconds is None else f"执行 {self._duration(seconds)}后"
        return f"{after}被 Ctrl-C 中断。"

    def stopped_between(self, playbooks: int) -> str:
        return f"执行完 {playbooks} 个 playbook 后停止，下一个未能开始。"

    def stopped_early(self, seconds: float) -> str:
        return f"执行 {self._duration(seconds)}后提前停止，部分 play 未执行完。"

    def failed_at(self, end: HostEnd, hosts: Sequence[str], task: FailedTask | None) -> str:
        verb = "不可达" if end is HostEnd.UNREACHABLE else "失败"
        if task is None:
            return f"{verb}：{self._names(hosts)}。"
        name = "启用了 no_log 的任务" if task.name is None else f"任务「{task.name}」"
        source = f"，{task.path}" if task.path else ""
        message = f"：{task.message}" if task.message else "。"
        return f"{verb}：{self._names(hosts)}，{name}（{task.module}{source}）{message}"

    def stopped(self, hosts: Sequence[str]) -> str:
        return f"因其他主机失败而中止：{self._names(hosts)}。"

    def not_reached(self, hosts: Sequence[str], play: str | None) -> str:
        if play is None:
            return f"未执行任何任务：{self._names(hosts)}。"
        return f"{f'play「{play}」' if play else '有 play '}未执行到：{self._names(hosts)}。"

    def incomplete(self) -> str:
        return "在所有主机执行完之前停止。"

    def more(self, lines: int) -> str:
        return f"另有 {lines} 条同类情况。"

    def counts(self, hosts: Mapping[str, int], seconds: float) -> str:
        words = {"failed": "失败", "unreachable": "不可达", "stopped": "中止", "not_reached": "未执行"}
        parts = [f"{hosts['ok']} 台成功", f"{hosts['changed']} 台有变更"]
        parts += [f"{hosts[end]} 台{word}" for end, word in words.items() if hosts[end]]
        return f"共 {hosts['hosts']} 台主机：{'，'.join(parts)}；耗时 {self._duration(seconds)}。"

    def tasks(self, tasks: Mapping[str, int], seconds: float) -> str:
        parts = [f"{tasks['ok']} 个任务成功", f"{tasks['changed']} 个有变更"]
        parts += [f"{tasks['failures']} 个失败"] if tasks["failures"] else []
        return f"{'，'.join(parts)}；耗时 {self._duration(seconds)}。"

    def nothing_ran(self, seconds: float) -> str:
        return f"没有执行任何任务，耗时 {self._duration(seconds)}。"

    @staticmethod
    def _names(hosts: Sequence[str]) -> str:
        return "、".join(hosts[:_SHOWN_NAMES]) + (f" 等 {len(hosts)} 台" if len(hosts) > _SHOWN_NAMES else "")

    @staticmethod
    def _duration(seconds: float) -> str:
        minutes, rest = divmod(int(seconds), 60)
        if minutes >= 60:
            return f"{minutes // 60} 小时 {minutes % 60} 分"
        return f"{minutes} 分 {rest} 秒" if minutes else f"{rest} 秒"


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
