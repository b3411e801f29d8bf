# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback's changes say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text, counted

# How many names of hosts a line shows.
_SHOWN_NAMES = 10
_REVISION_SHOWN = 12

TEXTS: Mapping[str, Text] = {
    # The title
    "title": Text("{title} on {target}", "{title}（{target}）"),
    "title-host": Text("{target}: {title}", "{target}：{title}"),
    "title-group": Text("group {target}: {title}", "主机组 {target}：{title}"),
    "check-mode": Text("[check mode] {title}", "[检查模式] {title}"),
    # The beginning
    "progress": Text(
        "Progress {percent}%, {book}play {play}/{plays}{name}.", "进度 {percent}%，{book}play {play}/{plays}{name}。"
    ),
    "of-playbook": Text("playbook {playbook}/{playbooks}, ", "playbook {playbook}/{playbooks}，"),
    "in-brackets": Text(" ({text})", "（{text}）"),
    "complete": Text("Progress 100%.", "进度 100%。"),
    "what": Text("Playbook {playbook}{plays}.", "Playbook {playbook}{plays}。"),
    "with-play": Text(", play: {names}", "，play：{names}"),
    "with-plays": Text(", plays: {names}", "，play：{names}"),
    "at-the-start": Text("{hosts} at the start: {names}.", "开始时共 {hosts}：{names}。"),
    "limit": Text("Limit: {value}.", "限定：{value}。"),
    "tags": Text("Tags: {value}.", "tags：{value}。"),
    "skip-tags": Text("Skipped tags: {value}.", "跳过的 tags：{value}。"),
    "between-sentences": Text(" ", ""),
    "origin": Text(
        "Started by {actor} on {controller}{job}{revision}.", "由 {actor} 在 {controller} 上发起{job}{revision}。"
    ),
    "of-job": Text(", job {job}", "，作业：{job}"),
    "of-revision": Text(", revision {revision}{branch}", "，代码版本：{revision}{branch}"),
    # What kept a run from its end
    "vanished": Text(
        "ansible-playbook was killed before it could finish.", "ansible-playbook 被强制终止，未能执行完成。"
    ),
    "interrupted": Text("Interrupted by Ctrl-C.", "被 Ctrl-C 中断。"),
    "interrupted-after": Text("Interrupted by Ctrl-C after {duration}.", "执行 {duration}后被 Ctrl-C 中断。"),
    "stopped-between": Text(
        "Stopped after {playbooks}, before the next could start.", "执行完 {playbooks} 后停止，下一个未能开始。"
    ),
    "stopped-early": Text(
        "Stopped after {duration}, before all plays were through.", "执行 {duration}后提前停止，部分 play 未执行完。"
    ),
    "output-broke": Text(
        "Stopped before all tasks had run, the output could no longer be written: {reason}.",
        "输出无法写入（{reason}），部分任务未执行就停止。",
    ),
    # The end
    "failed": Text("Failed: {names}{at}", "失败：{names}{at}"),
    "unreachable": Text("Unreachable: {names}{at}", "不可达：{names}{at}"),
    "at-task": Text(" at task '{task}' ({module}{source}){message}", "，任务「{task}」（{module}{source}）{message}"),
    "at-no-log": Text(
        " at a task with no_log ({module}{source}){message}", "，启用了 no_log 的任务（{module}{source}）{message}"
    ),
    "source": Text(", {path}", "，{path}"),
    "message": Text(": {message}", "：{message}"),
    "full-stop": Text(".", "。"),
    "stopped": Text("Stopped because other hosts failed: {names}.", "因其他主机失败而中止：{names}。"),
    "no-task": Text("Not reached, no task ran: {names}.", "未执行任何任务：{names}。"),
    "not-reached": Text("Not reached by a play: {names}.", "有 play 尚未在以下主机执行：{names}。"),
    "not-reached-by": Text("Not reached by play {play!r}: {names}.", "play「{play}」尚未在以下主机执行：{names}。"),
    "incomplete": Text("Stopped before all hosts were through.", "在所有主机执行完之前停止。"),
    "more-lines": Text("And {lines} more of this kind.", "另有 {lines} 条同类情况。"),
    "came-in": Text("Came in during the run: {names}.", "运行中加入的主机：{names}。"),
    "nothing-ran": Text("No task ran, {duration}.", "没有执行任何任务，耗时 {duration}。"),
    "host-counts": Text(
        "{ok} of {hosts} ok, {changed} changed{others}, {duration}.",
        "共 {hosts}：{ok} 台成功{others}；其中 {changed} 台有变更；耗时 {duration}。",
    ),
    "count-failed": Text(", {count} failed", "，{count} 台失败"),
    "count-unreachable": Text(", {count} unreachable", "，{count} 台不可达"),
    "count-stopped": Text(", {count} stopped", "，{count} 台中止"),
    "count-not_reached": Text(", {count} not reached", "，{count} 台未执行"),
    "task-counts": Text(
        "{tasks} ok, {changed} changed{failed}, {duration}.",
        "{tasks}成功，{changed} 个有变更{failed}；耗时 {duration}。",
    ),
    "tasks-failed": Text(", {count} failed", "，{count} 个失败"),
    # Parts of these
    "between-names": Text(", ", "、"),
    "more-names": Text(" and {more} more", " 等 {count} 台"),
    "hours": Text("{hours} h {minutes} min", "{hours} 小时 {minutes} 分"),
    "minutes": Text("{minutes} min {seconds} s", "{minutes} 分 {seconds} 秒"),
    "seconds": Text("{seconds} s", "{seconds} 秒"),
}


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


class Messages:
    """What the changes of a run say.

    :param language: en or zh.
    """

    def __init__(self, language: str) -> None:
        self.language = language

    def said(self, name: str, /, **values: Any) -> str:
        """A text with these values.

        :param name: one of :data:`TEXTS`.
        """
        return TEXTS[name].said(self.language, values)

    def title(self, subject: Subject, scope: str, target: str) -> str:
        """Of the change of a run, or of a group's or host's part of it."""
        title = f"{subject.play} · {subject.playbook}" if subject.play else subject.playbook
        if target:
            return self.said("title-group" if scope == "group" else "title-host", title=title, target=target)
        return self.said("title", title=title, target=subject.target) if subject.target else title

    def progress(self, progress: Progress) -> str:
        """A play begins."""
        book = self.said("of-playbook", **progress._asdict()) if progress.playbooks > 1 else ""
        name = self._in_brackets(progress.name)
        values = {**progress._asdict(), "percent": progress.percent, "book": book, "name": name}
        return self.said("progress", **values)

    def what(self, subject: Subject) -> str:
        """What runs: playbook and plays."""
        name = "with-plays" if len(subject.plays) > 1 else "with-play"
        plays = self.said(name, names=self._names(subject.plays)) if subject.plays else ""
        return self.said("what", playbook=subject.playbook, plays=plays)

    def on_hosts(self, hosts: Sequence[str]) -> str:
        """How many hosts the change has at its start, and which."""
        return self.said("at-the-start", hosts=counted(len(hosts), "host"), names=self._names(hosts))

    def narrowed(self, subject: Subject) -> str:
        """By which limit and tags; empty where there are none."""
        parts = (("limit", subject.limit), ("tags", subject.tags), ("skip-tags", subject.skip_tags))
        return self.said("between-sentences").join(self.said(name, value=value) for name, value in parts if value)

    def origin(self, where: RunContext) -> str:
        """Who, where, which job, which revision."""
        job = self.said("of-job", job=where.job_name) if where.job_name else ""
        revision, branch = (where.revision or "")[:_REVISION_SHOWN], self._in_brackets(where.branch)
        revision = self.said("of-revision", revision=revision, branch=branch) if revision else ""
        return self.said("origin", actor=where.actor, controller=where.controller, job=job, revision=revision)

    def interrupted(self, seconds: float) -> str:
        """Ctrl-C, after so many seconds."""
        return self.said("interrupted-after", duration=self._duration(seconds))

    def stopped_between(self, playbooks: int) -> str:
        """A playbook of the command line could not start."""
        return self.said("stopped-between", playbooks=counted(playbooks, "playbook"))

    def stopped_early(self, seconds: float) -> str:
        """An error of ansible-playbook itself, or a way to leave it such as the debugger's."""
        return self.said("stopped-early", duration=self._duration(seconds))

    def beginning(
        self, scope: str, hosts: Sequence[str], subject: Subject, where: RunContext, progress: Progress | None
    ) -> str:
        """The description of a change that begins or goes on.

        :param progress: None at the beginning, whose description stays.
        """
        lines = [self.progress(progress)] if progress is not None else []
        lines += [self.what(subject)]
        lines += [self.on_hosts(hosts)] if scope != "host" else []
        lines += [self.narrowed(subject), self.origin(where)]
        return "\n".join(line for line in lines if line)

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
        last = [self.said("came-in", names=self._names(came_in)), *last] if came_in else last
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
        lines = [self._failed_at(status, several, task) for (status, task), several in at_task.items()]
        lines += [self.said("stopped", names=self._names(stopped))] if stopped else []
        lines += [self._not_reached(several, play) for play, several in unreached.items()]
        return lines or ([self.said("incomplete")] if result.failed and len(hosts) == len(result.hosts) else [])

    def _count_line(self, scope: str, result: RunResult, hosts: Sequence[str], seconds: float) -> str:
        duration = self._duration(seconds)
        if not result.ran.intersection(hosts):
            return self.said("nothing-ran", duration=duration)
        if scope == "host":
            return self._task_counts(result.tasks_of(hosts[0]), duration)
        return self._counts(host_counts(result, hosts), duration)

    def _fitted(self, lines: list[str], last: list[str]) -> str:
        for kept in range(len(lines), -1, -1):
            more = [self.said("more-lines", lines=len(lines) - kept)] if kept < len(lines) else []
            text = "\n".join([*lines[:kept], *more, *last])
            if len(text) <= DESCRIPTION_MAX:
                return text
        return "\n".join(last)

    def _failed_at(self, status: HostStatus, hosts: Sequence[str], task: FailedTask | None) -> str:
        """Hosts failed, or were unreachable, at a task."""
        at = self.said("full-stop")
        if task is not None:
            source = self.said("source", path=task.path) if task.path else ""
            message = self.said("message", message=task.message) if task.message else at
            name = "at-no-log" if task.name is None else "at-task"
            at = self.said(name, task=task.name, module=task.module, source=source, message=message)
        return self.said(status.value, names=self._names(hosts), at=at)

    def _not_reached(self, hosts: Sequence[str], play: str | None) -> str:
        """A play never came to hosts, or no task ran on them."""
        name = "no-task" if play is None else "not-reached-by" if play else "not-reached"
        return self.said(name, play=play, names=self._names(hosts))

    def _counts(self, hosts: Mapping[str, int], duration: str) -> str:
        """How many hosts ended how, and after which time."""
        ends = ("failed", "unreachable", "stopped", "not_reached")
        others = "".join(self.said(f"count-{end}", count=hosts[end]) for end in ends if hosts[end])
        values = {**hosts, "hosts": counted(hosts["hosts"], "host")}
        return self.said("host-counts", **values, others=others, duration=duration)

    def _task_counts(self, tasks: Mapping[str, int], duration: str) -> str:
        """How many tasks of the one host ended how, and after which time."""
        failed = self.said("tasks-failed", count=tasks["failures"]) if tasks["failures"] else ""
        ok = counted(tasks["ok"], "task")
        return self.said("task-counts", tasks=ok, changed=tasks["changed"], failed=failed, duration=duration)

    def _in_brackets(self, name: str | None) -> str:
        return self.said("in-brackets", text=name) if name else ""

    def _names(self, names: Sequence[str]) -> str:
        more = len(names) - _SHOWN_NAMES
        shown = self.said("between-names").join(names[:_SHOWN_NAMES])
        return shown + (self.said("more-names", more=more, count=len(names)) if more > 0 else "")

    def _duration(self, seconds: float) -> str:
        minutes, rest = divmod(int(seconds), 60)
        if minutes >= 60:
            return self.said("hours", hours=minutes // 60, minutes=minutes % 60)
        return self.said("minutes" if minutes else "seconds", minutes=minutes, seconds=rest)


def host_counts(result: RunResult | None, hosts: Sequence[str]) -> dict[str, int]:
    """How many of the hosts ended how: hosts, changed, and each of :class:`HostStatus` by its value.

    :param result: None while the run goes on.
    """
    found = Counter(result.hosts[host] for host in hosts) if result is not None else Counter()
    changed = len(result.changed.intersection(hosts)) if result is not None else 0
    return {"hosts": len(hosts), "changed": changed, **{status.value: found[status] for status in HostStatus}}
