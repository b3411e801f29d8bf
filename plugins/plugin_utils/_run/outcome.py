# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has become of each host of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text, shortened

_MESSAGE_MAX = 300
# It runs the tasks of others, whose names need not begin with its own.
_OUR_ROLE = "flashcat.flashduty.tracked_change : "


class HostStatus(Enum):
    """How a run ended for one host."""

    OK = "ok"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    #: It had no error of its own: those of others ended its play.
    STOPPED = "stopped"
    #: Of a run that failed: its batch of a play never began, or no task ever ran there.
    NOT_REACHED = "not_reached"


def part_of(result: Any, name: str) -> Any:
    """The ``host``, ``task`` or ``result`` of what a callback gets.

    Before ansible-core 2.19, the names start with an underscore; those go from 2.23 on.
    """
    return getattr(result, name if hasattr(result, name) else f"_{name}")


class FailedTask(NamedTuple):
    """The task at which a host failed.

    :ivar name: as the playbook has it, templates and all; None for a task with ``no_log``.
    :ivar module: the module's name as the playbook has it.
    :ivar path: file name and line, without folders.
    :ivar message: what the task said, in one line; empty unless it was asked for.
    """

    name: str | None
    module: str
    path: str
    message: str

    @classmethod
    def of(cls, result: Any, with_message: bool) -> FailedTask:
        """From what ``v2_runner_on_failed`` and ``v2_runner_on_unreachable`` get.

        Nothing else of the result is looked at: even where it is censored, its ``exception`` can hold secrets.
        """
        task = part_of(result, "task")
        # A template that nobody has worked out counts as true.
        hidden = bool(task.no_log)
        message = "" if hidden or not with_message else _message(part_of(result, "result"))
        return cls(
            None if hidden else _raw_name(task),
            plain_text(str(task.action)),
            plain_text(os.path.basename(str(task.get_path() or ""))),
            message,
        )


def answers_a_failure(task: Any) -> bool:
    """Whether a task stands in the ``rescue`` section of a block: something else broke before it."""
    child, parent = task, task._parent
    while parent is not None:
        if any(each._uuid == child._uuid for each in getattr(parent, "rescue", ())):
            return True
        child, parent = parent, parent._parent
    return False


def _raw_name(task: Any) -> str:
    """The task's name with its templates as they stand: worked out, they could hold secrets, and speak of one host."""
    name, worked_out = str(task.get_name()), str(task.name or "")
    written = task.get_ds()
    raw = written.get("name") if isinstance(written, Mapping) else None
    if isinstance(raw, str) and worked_out:
        name = name.removesuffix(worked_out) + raw
    return plain_text(name.removeprefix(_OUR_ROLE)).strip()


def _message(result: Mapping[str, Any]) -> str:
    if "censored" in result:
        return ""
    # That of a loop only says that one of its items failed.
    items = result.get("results")
    failed = [item for item in items if _is_failed(item)] if isinstance(items, list) else []
    told = failed[0] if failed else result
    text = told.get("msg")
    if not isinstance(text, str) or "censored" in told or told.get("_ansible_no_log"):
        return ""
    return shortened(" ".join(plain_text(text).split()), _MESSAGE_MAX)


def _is_failed(item: Any) -> bool:
    # ansible-core 2.21 leaves `failed` out of the items.
    return isinstance(item, Mapping) and bool(item.get("failed") or item.get("unreachable") or "exception" in item)


class RunResult(NamedTuple):
    """How a run ended, by ansible-playbook's own account.

    :ivar failed: whether its exit code says so.
    :ivar hosts: the status of each host that a play targeted, or that a task ran on.
    :ivar changed: the hosts on which a task changed something.
    :ivar ran: the hosts on which a task ran.
    :ivar statistics: what ansible-core counted.
    """

    failed: bool
    hosts: Mapping[str, HostStatus]
    changed: frozenset[str]
    ran: frozenset[str]
    statistics: Any = None

    def tasks_of(self, host: str) -> Mapping[str, int]:
        """How many tasks of a host were ok, changed, failures, unreachable, skipped, rescued, ignored."""
        counts: Mapping[str, int] = self.statistics.summarize(host)
        return counts


class Outcome:
    """Follows the hosts of a run through its plays.

    :ivar failures: at which task a host failed last, whether or not that counts in the end; what fails in a ``rescue``
        section, be it on purpose, does not take the place of what broke.
    :ivar pending_hosts: each host that a play targets whose batch with it has not begun, with that play's name.
    """

    def __init__(self) -> None:
        self.failures: dict[str, FailedTask] = {}
        self.pending_hosts: dict[str, str] = {}
        self._plays: list[frozenset[str]] = []
        self._manager: Any = None

    def play_starts(self, name: str, hosts: Iterable[str]) -> None:
        """A play that targets these hosts begins; its batches are still to come."""
        self._manager = _manager_of(_executor_frame())
        targeted = frozenset(hosts)
        self._plays.append(targeted)
        self.pending_hosts.update(dict.fromkeys(targeted, name))

    def batch_starts(self, hosts: Iterable[str]) -> None:
        """A play, or a batch of it, begins on these hosts."""
        for host in hosts:
            self.pending_hosts.pop(host, None)

    def so_far(self, hosts: Iterable[str]) -> RunResult:
        """What is known of these hosts where the run does not come to its end."""
        failed, unreachable, stats = (
            getattr(self._manager, name, ()) for name in ("_failed_hosts", "_unreachable_hosts", "_stats")
        )
        statuses = {
            host: HostStatus.UNREACHABLE
            if host in unreachable
            else HostStatus.FAILED
            if host in failed
            else HostStatus.STOPPED
            for host in hosts
        }
        return RunResult(True, statuses, frozenset(getattr(stats, "changed", ())), frozenset())

    def result(self, stats: Any) -> RunResult:
        """How the run has ended for each host, as ``v2_playbook_on_stats`` tells it."""
        ran = frozenset(stats.processed)
        at_fault = set(stats.failures) | set(stats.dark)
        # The executor's own account, where it can be asked. The statistics still count what ``meta: clear_host_errors``
        # has forgiven and do not count hosts that ``any_errors_fatal`` stopped.
        frame = _executor_frame()
        code = None if frame is None else frame.f_locals.get("result")
        failed = bool(code) if isinstance(code, int) else bool(at_fault)
        lists: list[Any] = [getattr(_manager_of(frame), name, None) for name in ("_failed_hosts", "_unreachable_hosts")]
        given_up = at_fault if None in lists else {*lists[0], *lists[1]}
        statuses = {}
        for host in ran.union(*self._plays):
            if host in given_up and host in at_fault:
                statuses[host] = HostStatus.UNREACHABLE if host in stats.dark else HostStatus.FAILED
            elif host in given_up:
                statuses[host] = HostStatus.STOPPED
            elif failed and (host in self.pending_hosts or host not in ran):
                statuses[host] = HostStatus.NOT_REACHED
            else:
                # Where the run did not fail, a host without a task had none to run: tags, end_play, run_once.
                statuses[host] = HostStatus.OK
        return RunResult(failed, statuses, frozenset(stats.changed), ran, stats)


def _executor_frame() -> Any:
    """Where the executor runs the playbook; None where it is not to be found."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "run" and type(frame.f_locals.get("self")).__name__ == "PlaybookExecutor":
            return frame
        frame = frame.f_back
    return None


def _manager_of(frame: Any) -> Any:
    """The task queue manager of the executor; None where it cannot be asked."""
    return None if frame is None else getattr(frame.f_locals["self"], "_tqm", None)
