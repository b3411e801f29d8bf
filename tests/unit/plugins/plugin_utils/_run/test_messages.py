# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the changes say."""

from __future__ import annotations

import re
import string
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import DESCRIPTION_MAX
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.context import RunContext
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import TEXTS, Messages, Progress
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    HostStatus,
    Outcome,
    RunResult,
)

WHERE = RunContext(
    "gitlab", "alice", "deploy01", job_name="deploy-prod", branch="main", revision="3f9a2c41d0c8e7b6a5948372615049"
)
MIGRATE = FailedTask("Migrate", "ansible.builtin.command", "site.yml:12", "")
HOSTS = {
    "web1": HostStatus.OK,
    "web2": HostStatus.FAILED,
    "web3": HostStatus.FAILED,
    "web10": HostStatus.UNREACHABLE,
    "web4": HostStatus.STOPPED,
    "web5": HostStatus.NOT_REACHED,
    "web6": HostStatus.NOT_REACHED,
}
FAILURES = {
    "web2": MIGRATE,
    "web3": MIGRATE,
    "web10": FailedTask(None, "ansible.builtin.setup", "", "refused"),
}
RESULT = RunResult(True, HOSTS, frozenset({"web1"}), frozenset(HOSTS) - {"web5"})


def _outcome(failures: Any = None) -> Outcome:
    outcome = Outcome()
    outcome.failures.update(FAILURES if failures is None else failures)
    outcome.pending_hosts["web5"] = "Deploy"
    return outcome


def _end(messages: Messages, result: RunResult = RESULT, failures: Any = None) -> list[str]:
    return messages.end("run", result, result.hosts, (), _outcome(failures), 134, WHERE).splitlines()


def test_the_end_in_english() -> None:
    assert _end(Messages("en")) == [
        "Failed: web2, web3 at task 'Migrate' (ansible.builtin.command, site.yml:12).",
        "Unreachable: web10 at a task with no_log (ansible.builtin.setup): refused",
        "Stopped because other hosts failed: web4.",
        "Not reached by play 'Deploy': web5.",
        "Not reached, no task ran: web6.",
        "1 of 7 hosts ok, 1 changed, 2 failed, 1 unreachable, 1 stopped, 2 not reached, 2 min 14 s.",
        "Started by alice on deploy01, job deploy-prod, revision 3f9a2c41d0c8 (main).",
    ]


def test_the_end_in_chinese() -> None:
    assert _end(Messages("zh")) == [
        "失败：web2、web3，任务「Migrate」（ansible.builtin.command，site.yml:12）。",
        "不可达：web10，启用了 no_log 的任务（ansible.builtin.setup）：refused",
        "因其他主机失败而中止：web4。",
        "play「Deploy」尚未在以下主机执行：web5。",
        "未执行任何任务：web6。",
        "共 7 台主机：1 台成功，2 台失败，1 台不可达，1 台中止，2 台未执行；其中 1 台有变更；耗时 2 分 14 秒。",
        "由 alice 在 deploy01 上发起，作业：deploy-prod，代码版本：3f9a2c41d0c8（main）。",
    ]


@pytest.mark.parametrize("messages", [Messages("en"), Messages("zh")])
def test_counts_and_duration_stay_however_much_failed(messages: Messages) -> None:
    hosts = {f"host{number}": HostStatus.FAILED for number in range(500)}
    result = RunResult(True, hosts, frozenset(), frozenset(hosts))
    failures = {host: FailedTask(f"Task of {host}", "ansible.builtin.command", "site.yml:1", "") for host in hosts}
    lines = _end(messages, result, failures)
    assert len("\n".join(lines)) <= DESCRIPTION_MAX
    assert "Task of host0" in lines[0]
    assert re.search(r"\d+", lines[-3])
    assert "500" in lines[-2]
    shown_failures = len(lines) - 3
    assert str(500 - shown_failures) in lines[-3]


@pytest.mark.parametrize("name", TEXTS)
def test_both_languages_say_what_there_is_to_say(name: str) -> None:
    english, chinese = ({part[1] for part in string.Formatter().parse(text) if part[1]} for text in TEXTS[name])
    assert english ^ chinese <= {"more", "count"}


def test_many_hosts_that_failed_alike_are_one_line() -> None:
    hosts = {f"host{number}": HostStatus.FAILED for number in range(30)}
    result = RunResult(True, hosts, frozenset(), frozenset(hosts))
    english, chinese = (
        _end(messages, result, dict.fromkeys(hosts, MIGRATE))[0] for messages in (Messages("en"), Messages("zh"))
    )
    assert english.startswith("Failed: host0, host1, host2, ")
    assert "host9 and 20 more at task 'Migrate'" in english
    assert "host9 等 30 台，任务「Migrate」" in chinese


def test_one_host_tells_of_its_tasks() -> None:
    statistics = SimpleNamespace(summarize=lambda host: {"ok": 12, "changed": 3, "failures": 0})
    result = RunResult(False, {"web1": HostStatus.OK}, frozenset({"web1"}), frozenset({"web1"}), statistics)
    english = Messages("en").end("host", result, ["web1"], (), _outcome({}), 3700, WHERE)
    chinese = Messages("zh").end("host", result, ["web1"], (), _outcome({}), 3700, WHERE)
    assert english.splitlines()[0] == "12 tasks ok, 3 changed, 1 h 1 min."
    assert chinese.splitlines()[0] == "12 个任务成功，3 个有变更；耗时 1 小时 1 分。"


@pytest.mark.parametrize(
    ("progress", "percent"),
    [
        ((1, 5, 1, 1), 0),
        ((3, 5, 1, 1), 40),
        ((1, 2, 2, 2), 50),
        ((2, 2, 2, 2), 75),
        ((1, 0, 1, 1), 0),
        ((4, 3, 3, 2), 91),
    ],
)
def test_progress_counts_plays_and_playbooks(progress: tuple[int, int, int, int], percent: int) -> None:
    assert Progress(*progress, "").percent == percent


def test_progress_with_several_playbooks() -> None:
    progress = Progress(2, 4, 2, 2, "发布")
    assert Messages("en").progress(progress) == "Progress 62%, playbook 2/2, play 2/4 (发布)."
    assert Messages("zh").progress(progress) == "进度 62%，playbook 2/2，play 2/4（发布）。"
