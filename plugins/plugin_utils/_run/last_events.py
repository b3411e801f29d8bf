# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last events of a run's changes: how each host ended, and with it each change.

Flashduty shows the labels of the last event, and the texts of the first. The start of a run does not load this.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import joined, natural
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.events import Events
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    HostStatus,
    Outcome,
    RunResult,
    executor_frame,
    manager_of,
)

# In place of the name of a task with no_log.
_NO_LOG = "no_log"
_TASK_MAX = 256
# The worst first.
_WORST = (HostStatus.FAILED, HostStatus.UNREACHABLE, HostStatus.STOPPED, HostStatus.NOT_REACHED)


class Reason(NamedTuple):
    """Why a run did not come to its end.

    :ivar result: the value of the label ``result``.
    :ivar text: the first line of the description.
    """

    result: str
    text: str


def result_of(outcome: Outcome, stats: Any) -> RunResult:
    """How the run has ended for each host, as ``v2_playbook_on_stats`` tells it."""
    ran = frozenset(stats.processed)
    at_fault = set(stats.failures) | set(stats.dark)
    # The executor's own account, where it can be asked. The statistics still count what ``meta: clear_host_errors`` has
    # forgiven and do not count hosts that ``any_errors_fatal`` stopped.
    frame = executor_frame()
    code = None if frame is None else frame.f_locals.get("result")
    failed = bool(code) if isinstance(code, int) else bool(at_fault)
    lists: list[Any] = [getattr(manager_of(frame), name, None) for name in ("_failed_hosts", "_unreachable_hosts")]
    given_up = at_fault if None in lists else {*lists[0], *lists[1]}
    statuses = {}
    for host in ran | outcome.targeted:
        if host in given_up and host in at_fault:
            statuses[host] = HostStatus.UNREACHABLE if host in stats.dark else HostStatus.FAILED
        elif host in given_up:
            statuses[host] = HostStatus.STOPPED
        elif failed and (host in outcome.pending_hosts or host not in ran):
            statuses[host] = HostStatus.NOT_REACHED
        else:
            # Where the run did not fail, a host without a task had none to run: tags, end_play, run_once.
            statuses[host] = HostStatus.OK
    return RunResult(failed, statuses, frozenset(stats.changed), ran, stats)


def ended(events: Events, change: Change, result: RunResult, ended_at: float, is_whole: bool = True) -> ChangeEvent:
    """The change ends with its truth.

    :param ended_at: Unix seconds.
    :param is_whole: whether a change of the scope ``run`` is the whole run; otherwise its own hosts decide.
    """
    settings = events.settings
    is_run = settings.scope == "run" and is_whole
    hosts = [*(result.hosts if is_run else change.hosts)]
    failed = result.failed if is_run else any(result.hosts[host] is not HostStatus.OK for host in hosts)
    text = settings.messages.end(
        settings.scope, result, hosts, change.came_in(hosts), events.outcome, change.seconds, settings.where
    )
    if settings.options["progress"] == "play" and not failed:
        text = f"{settings.messages.said('complete')}\n{text}"
    labels = outcome_labels(failed, result, hosts, events.outcome)
    return events.event(change, "Canceled" if failed else "Done", text, ended_at, result, labels)


def canceled(events: Events, change: Change, reason: Reason) -> ChangeEvent:
    """The change ends because the run did not come to its end."""
    # What is known of its hosts so far.
    manager = events.outcome.manager
    failed, unreachable, stats = (
        getattr(manager, name, ()) for name in ("_failed_hosts", "_unreachable_hosts", "_stats")
    )
    statuses = dict.fromkeys(change.hosts, HostStatus.STOPPED)
    statuses.update((host, HostStatus.FAILED) for host in change.hosts if host in failed)
    statuses.update((host, HostStatus.UNREACHABLE) for host in change.hosts if host in unreachable)
    known = RunResult(True, statuses, frozenset(getattr(stats, "changed", ())), frozenset())
    labels = {**outcome_labels(True, known, change.hosts, events.outcome), "result": reason.result}
    return events.event(change, "Canceled", events.settings.described(reason.text), time.time(), labels=labels)


def outcome_labels(failed: bool, result: RunResult, hosts: Iterable[str], outcome: Outcome) -> dict[str, str]:
    """The labels ``result``, ``failed_host``, ``failed_task`` and ``changed_hosts`` of a change that ends.

    :param failed: whether it ends as Canceled.
    :param hosts: those of the change.
    """
    hosts = [*hosts]
    found = {result.hosts[host] for host in hosts}
    worst = next((status for status in _WORST if status in found), HostStatus.STOPPED)
    at_fault = [host for host in hosts if result.hosts[host] in (HostStatus.FAILED, HostStatus.UNREACHABLE)]
    tasks = [task for host in at_fault if (task := outcome.failures.get(host)) is not None]
    names = dict.fromkeys(_NO_LOG if task.name is None else task.name for task in tasks)
    labels = {
        "result": worst.value if failed else HostStatus.OK.value,
        "failed_host": joined(sorted(at_fault, key=natural)) if failed else "",
        "failed_task": joined(names, _TASK_MAX) if failed else "",
        "changed_hosts": str(len(result.changed.intersection(hosts))),
    }
    return {key: value for key, value in labels.items() if value}
