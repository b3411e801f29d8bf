# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback's changes say in Chinese.

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


class Chinese(Messages):
    """Messages in Chinese."""

    def title(self, subject: Subject, scope: str, target: str) -> str:
        title = f"{subject.play} · {subject.playbook}" if subject.play else subject.playbook
        if not target:
            return f"{title}（{subject.target}）" if subject.target else title
        return f"主机组 {target}：{title}" if scope == "group" else f"{target}：{title}"

    def check_mode(self, title: str) -> str:
        return f"[检查模式] {title}"

    def progress(self, progress: Progress) -> str:
        book = f"playbook {progress.playbook}/{progress.playbooks}，" if progress.playbooks > 1 else ""
        name = f"（{progress.name}）" if progress.name else ""
        return f"进度 {progress.percent}%，{book}play {progress.play}/{progress.plays}{name}。"

    def complete(self) -> str:
        return "进度 100%。"

    def what(self, subject: Subject) -> str:
        plays = f"，play：{self._names(subject.plays)}" if subject.plays else ""
        return f"Playbook {subject.playbook}{plays}。"

    def on_hosts(self, hosts: Sequence[str]) -> str:
        return f"开始时共 {len(hosts)} 台主机：{self._names(hosts)}。"

    def came_in(self, hosts: Sequence[str]) -> str:
        return f"运行中加入的主机：{self._names(hosts)}。"

    def narrowed(self, subject: Subject) -> str:
        parts = (("限定", subject.limit), ("tags", subject.tags), ("跳过的 tags", subject.skip_tags))
        return "".join(f"{name}：{value}。" for name, value in parts if value)

    def origin(self, where: RunContext) -> str:
        job = f"，作业：{where.job_name}" if where.job_name else ""
        branch = f"（{where.branch}）" if where.branch else ""
        revision = f"，代码版本：{short_revision(where)}{branch}" if where.revision else ""
        return f"由 {where.actor} 在 {where.controller} 上发起{job}{revision}。"

    def part_of(self, title: str, change_key: str) -> str:
        return f"属于变更 {change_key}（{title}）。"

    def vanished(self) -> str:
        return "ansible-playbook 被强制终止，未能执行完成。"

    def interrupted(self, seconds: float | None = None) -> str:
        after = "" if seconds is None else f"执行 {self._duration(seconds)}后"
        return f"{after}被 Ctrl-C 中断。"

    def stopped_between(self, playbooks: int) -> str:
        return f"执行完 {playbooks} 个 playbook 后停止，下一个未能开始。"

    def stopped_early(self, seconds: float) -> str:
        return f"执行 {self._duration(seconds)}后提前停止，部分 play 未执行完。"

    def output_broke(self, reason: str) -> str:
        return f"输出无法写入（{reason}），部分任务未执行就停止。"

    def failed_at(self, status: HostStatus, hosts: Sequence[str], task: FailedTask | None) -> str:
        verb = "不可达" if status is HostStatus.UNREACHABLE else "失败"
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
        return f"{f'play「{play}」' if play else '有 play '}尚未在以下主机执行：{self._names(hosts)}。"

    def incomplete(self) -> str:
        return "在所有主机执行完之前停止。"

    def more(self, lines: int) -> str:
        return f"另有 {lines} 条同类情况。"

    def counts(self, hosts: Mapping[str, int], seconds: float) -> str:
        words = {"failed": "失败", "unreachable": "不可达", "stopped": "中止", "not_reached": "未执行"}
        parts = [f"{hosts['ok']} 台成功", *(f"{hosts[end]} 台{word}" for end, word in words.items() if hosts[end])]
        changed = f"其中 {hosts['changed']} 台有变更"
        return f"共 {hosts['hosts']} 台主机：{'，'.join(parts)}；{changed}；耗时 {self._duration(seconds)}。"

    def tasks(self, tasks: Mapping[str, int], seconds: float) -> str:
        parts = [f"{tasks['ok']} 个任务成功", f"{tasks['changed']} 个有变更"]
        parts += [f"{tasks['failures']} 个失败"] if tasks["failures"] else []
        return f"{'，'.join(parts)}；耗时 {self._duration(seconds)}。"

    def nothing_ran(self, seconds: float) -> str:
        return f"没有执行任何任务，耗时 {self._duration(seconds)}。"

    @staticmethod
    def _names(hosts: Sequence[str]) -> str:
        return "、".join(hosts[:SHOWN_NAMES]) + (f" 等 {len(hosts)} 台" if len(hosts) > SHOWN_NAMES else "")

    @staticmethod
    def _duration(seconds: float) -> str:
        minutes, rest = divmod(int(seconds), 60)
        if minutes >= 60:
            return f"{minutes // 60} 小时 {minutes % 60} 分"
        return f"{minutes} 分 {rest} 秒" if minutes else f"{rest} 秒"
