# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task that reports a change on many hosts: our action on the control node, and modules that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commands import in_turn
from peers import KEY, flashduty, is_installed
from report import Finding, Target
from stub import Stub

from playbooks import DEBUG, Folder, Run, median

_LONG = 900.0
_OF_PAGERDUTY = 0.35
_OF_URI = 0.1


@dataclass(frozen=True)
class Task:
    """A task that is compared.

    :ivar text: as in a playbook, with the stub's address as ``{url}``.
    :ivar collection: where it comes from.
    """

    name: str
    text: str
    collection: str = ""


BASE = Task("debug", DEBUG)
SAME = Task(
    "flashduty_change, one change",
    "flashcat.flashduty.flashduty_change: {{change_key: DEPLOY-1, change_status: Processing, title: Deploy,"
    " labels: {{service: storefront}}}}",
)
EACH = Task(
    "flashduty_change, a change for each host",
    "flashcat.flashduty.flashduty_change: {{change_key: 'DEPLOY-{{{{ inventory_hostname }}}}',"
    " change_status: Processing, title: Deploy, labels: {{service: storefront}}}}",
)
PAGERDUTY = Task(
    "pagerduty_change",
    f"community.general.pagerduty_change: {{{{integration_key: {KEY}, summary: Deploy,"
    " url: '{url}/v2/change/enqueue'}}",
    "community.general",
)
URI = Task(
    "uri",
    "ansible.builtin.uri: {{url: '{url}/event', method: POST, body_format: json, body: {{title: Deploy}}}}",
)


def _measured(
    path: Path, hosts: int, tasks: Sequence[Task], rounds: int
) -> tuple[list[list[str]], dict[str, dict[str, float]]]:
    folder = Folder(path, hosts)
    state = 0
    with Stub("now") as stub:

        def run(task: Task) -> tuple[Run, int]:
            nonlocal state
            state += 1
            playbook = folder.playbook("site", task.text.format(url=stub.url) if task is not BASE else task.text)
            before = stub.requests()
            # An outbox of its own for each run: what an earlier one has reported would not be sent again.
            settings = flashduty(stub.url, folder.path / f"state{state}")
            return folder.run(playbook, "", settings, _LONG), stub.requests() - before

        found = in_turn(tasks, rounds, run, warm_up=False)
    base = [one for one, _requests in found[BASE]]
    rows, numbers = [], {}
    for task in tasks:
        runs = [one for one, _requests in found[task]]
        row = {
            "wall": median(runs, lambda one: one.wall),
            "tasks": median(runs, lambda one: one.tasks) / hosts,
            "cpu": (median(runs, lambda one: one.cpu) - median(base, lambda one: one.cpu)) / hosts,
            "requests": float(found[task][-1][1]),
        }
        numbers[task.name] = row
        rows.append(
            [
                str(hosts),
                task.name,
                f"{row['wall']:.2f} s",
                f"{1000 * row['tasks']:.1f} ms",
                f"{1000 * row['cpu']:+.1f} ms",
                f"{row['requests']:.0f}",
            ]
        )
    return rows, numbers


def measure(path: Path, hosts: int, rounds: int, many: int) -> Finding:
    """Some hosts with every task, then many hosts with ours and ``uri``."""
    tasks = (BASE, SAME, EACH, PAGERDUTY, URI)
    known = [task for task in tasks if not task.collection or is_installed(task.collection)]
    rows, few = _measured(path / "few", hosts, known, rounds)
    more_rows, lots = _measured(path / "many", many, (BASE, SAME, URI), 1)
    targets = []
    if PAGERDUTY in known:
        ratio = max(few[SAME.name]["tasks"], few[EACH.name]["tasks"]) / few[PAGERDUTY.name]["tasks"]
        wanted = f"at most {_OF_PAGERDUTY} of {PAGERDUTY.name}'s time per task"
        targets.append(Target(wanted, f"{ratio:.2f}", ratio <= _OF_PAGERDUTY))
    ratio = lots[SAME.name]["tasks"] / lots[URI.name]["tasks"]
    floor = lots[BASE.name]["tasks"] / lots[URI.name]["tasks"]
    wanted = f"{many} hosts, one task: at most {_OF_URI} of {URI.name}'s time"
    shown = f"{ratio:.3f}; debug, a task that does nothing, takes {floor:.3f}"
    targets.append(Target(wanted, shown, ratio <= _OF_URI))
    return Finding(
        "Tasks: a change reported from many local hosts, the API answers at once",
        ["hosts", "task", "whole run", "per host", "processor per host over debug", "requests"],
        rows + more_rows,
        targets,
        [
            f"Medians of {rounds} runs each, in turn; with {many} hosts one run each. Five forks, the default.",
            "pagerduty_change and uri know no state: each host sends; pagerduty_change does so in check mode too.",
        ],
        {str(hosts): few, str(many): lots},
    )
