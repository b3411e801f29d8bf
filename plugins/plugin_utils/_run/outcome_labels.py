# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a change ended, as labels: Flashduty shows those of the last event, and the texts of the first."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import joined, natural
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import HostStatus, Outcome, RunResult

# In place of the name of a task with no_log.
_NO_LOG = "no_log"
_TASK_MAX = 256
# The worst first.
_WORST = (HostStatus.FAILED, HostStatus.UNREACHABLE, HostStatus.STOPPED, HostStatus.NOT_REACHED)


def outcome_labels(failed: bool, result: RunResult, hosts: Iterable[str], outcome: Outcome) -> dict[str, str]:
    """The labels ``result``, ``failed_host``, ``failed_task`` and ``changed_hosts`` of a change that ends.

    :param failed: whether it ends as Canceled.
    :param hosts: those of the change.
    """
    hosts = [*hosts]
    found = {result.hosts[host] for host in hosts}
    worst = next((status for status in _WORST if status in found), HostStatus.STOPPED)
    at_fault = [host for host in hosts if result.hosts[host] in (HostStatus.FAILED, HostStatus.UNREACHABLE)]
    labels = {
        "result": worst.value if failed else HostStatus.OK.value,
        "failed_host": joined(sorted(at_fault, key=natural)) if failed else "",
        "failed_task": joined(_tasks(at_fault, outcome), _TASK_MAX) if failed else "",
        "changed_hosts": str(len(result.changed.intersection(hosts))),
    }
    return {key: value for key, value in labels.items() if value}


def _tasks(hosts: Iterable[str], outcome: Outcome) -> list[str]:
    tasks = [task for host in hosts if (task := outcome.failures.get(host)) is not None]
    return [*dict.fromkeys(_NO_LOG if task.name is None else task.name for task in tasks)]
