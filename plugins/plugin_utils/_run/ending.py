# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run ends, and each of its changes: as what, and what is waited for. The start of a run does not load this.

A run ends at the exit of ansible-playbook, for until then its exit code can still become another one. Of a change,
Flashduty shows the labels of the last event, and the texts of the first.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible import context

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import received
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import joined, natural
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import set_current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.events import Events
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Messages
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    HostStatus,
    Outcome,
    RunResult,
    executor_frame,
    manager_of,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.reporting import Reporting
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.wait import automatic_seconds

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.run import Run

# Seconds that the end of an interrupted run waits for its delivery.
_WAIT_INTERRUPTED = 2.0
# In place of the name of a task with no_log.
_NO_LOG = "no_log"
_TASK_MAX = 256
# The worst first.
_WORST = (HostStatus.FAILED, HostStatus.UNREACHABLE, HostStatus.STOPPED, HostStatus.NOT_REACHED)


class End(NamedTuple):
    """What was known when the last playbook came to its statistics.

    :ivar at: Unix seconds.
    :ivar interrupts: how many SIGINTs there had been.
    :ivar broken_output: why the output could no longer be written; empty where it could.
    """

    result: RunResult
    at: float
    interrupts: int
    broken_output: str


class Reason(NamedTuple):
    """Why a run did not come to its end.

    :ivar result: the value of the label ``result``.
    :ivar text: the first line of the description.
    """

    result: str
    text: str


def playbook_ends(run: Run, stats: Any) -> None:
    """A playbook of the command line has come to its statistics."""
    result = result_of(run.outcome, stats)
    run.ended_well += not result.failed
    playbooks = context.CLIARGS.get("args") or ()
    if not result.failed and run.ended_well < len(playbooks):
        # After one that fails, ansible-playbook starts no other.
        return
    run.end = End(result, time.time(), _interrupts(run), _broken_output())
    if not playbooks:
        # Not the command but another program runs the playbook, and may go on for long.
        close(run)


def close(run: Run) -> None:
    """Store the last event of each change that is open, and wait for the delivery.

    :raises OutboxError: where an event cannot be stored anywhere.
    """
    settings, reportings = run.settings, [each for each in run.integrations if each.is_open]
    if settings is None or not reportings:
        return
    set_current_runs(())
    run.awaits_change = False
    end = run.end if run.end is not None and _interrupts(run) <= run.end.interrupts else None
    # Of this, ansible-playbook makes the exit code 120, and has skipped each task that it could not print.
    broken_output = "" if end is None or end.result.failed else end.broken_output or _broken_output()
    last_event: Callable[[Events, Change], ChangeEvent]
    if end is None:
        last_event = functools.partial(canceled, reason=_why_it_stopped(run, settings.messages))
    elif broken_output:
        text = settings.messages.said("output-broke", reason=broken_output)
        last_event = functools.partial(canceled, reason=Reason("stopped", text))
    else:
        is_whole = not run.integrations.are_parted
        last_event = functools.partial(ended, result=end.result, ended_at=end.at, is_whole=is_whole)
    problem: OutboxError | None = None
    for reporting in reportings:
        try:
            reporting.close(last_event)
        except OutboxError as error:  # the others shall be closed all the same
            problem = problem or error
    left = automatic_seconds(settings.where.system, os.environ) if run.wait is None else run.wait
    left = min(left, _WAIT_INTERRUPTED) if end is None else left
    for reporting in reportings:
        began = time.monotonic()
        reporting.sink.wait(left, run.integrations)
        left = max(0.0, left - (time.monotonic() - began))
    if problem is not None:
        raise problem
    if run.is_followed:
        _tell(run, reportings)


def _tell(run: Run, reportings: Iterable[Reporting]) -> None:
    """Say how many of the events were delivered."""
    states: list[str] = []
    try:
        for reporting in reportings:
            if reporting.sink.store is not None:
                with reporting.sink.store.opened() as outbox:
                    states += outbox.events.states_of(reporting.run)
    except OutboxError:  # of which the sink has told
        return
    if states:
        run.tell(run.notices.said("taken", taken=states.count("delivered"), count=len(states)))


def _interrupts(run: Run) -> int:
    return 0 if run.signals is None else received(run.signals.reader).count(signal.SIGINT)


def _why_it_stopped(run: Run, messages: Messages) -> Reason:
    """Why the run did not come to its end."""
    seconds = time.monotonic() - run.started_monotonic
    if _interrupts(run):
        return Reason("interrupted", messages.interrupted(seconds))
    if run.ended_well:
        return Reason("stopped", messages.stopped_between(run.ended_well))
    return Reason("stopped", messages.stopped_early(seconds))


def _broken_output() -> str:
    """Why the standard output or error can no longer be written; empty where they can."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is None:
                return "it is closed"
            stream.flush()
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)
    return ""


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
    of_fault = (HostStatus.FAILED, HostStatus.UNREACHABLE)
    at_fault = sorted((host for host in hosts if result.hosts[host] in of_fault), key=natural)
    tasks = [task for host in at_fault if (task := outcome.failures.get(host)) is not None]
    names = dict.fromkeys(_NO_LOG if task.name is None else task.name for task in tasks)
    labels = {
        "result": worst.value if failed else HostStatus.OK.value,
        "failed_host": joined(at_fault) if failed else "",
        "failed_task": joined(names, _TASK_MAX) if failed else "",
        "changed_hosts": str(len(result.changed.intersection(hosts))),
    }
    return {key: value for key, value in labels.items() if value}
