# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of each host of a run; how that is worked out at the end is in :mod:`.ending`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple


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
    :ivar targeted: the hosts of all plays so far.
    :ivar manager: ansible-core's task queue manager; None where it cannot be asked.
    """

    def __init__(self) -> None:
        self.failures: dict[str, FailedTask] = {}
        self.pending_hosts: dict[str, str] = {}
        self.targeted: set[str] = set()
        self.manager: Any = None

    def play_starts(self, name: str, hosts: Sequence[str]) -> None:
        """A play that targets these hosts begins; its batches are still to come."""
        self.manager = manager_of(executor_frame())
        self.targeted.update(hosts)
        self.pending_hosts.update(dict.fromkeys(hosts, name))

    def batch_starts(self, hosts: Iterable[str]) -> None:
        """A play, or a batch of it, begins on these hosts."""
        for host in hosts:
            self.pending_hosts.pop(host, None)


def executor_frame() -> Any:
    """Where the executor runs the playbook; None where it is not to be found."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "run" and type(frame.f_locals.get("self")).__name__ == "PlaybookExecutor":
            return frame
        frame = frame.f_back
    return None


def manager_of(frame: Any) -> Any:
    """The task queue manager of the executor; None where it cannot be asked."""
    return None if frame is None else getattr(frame.f_locals["self"], "_tqm", None)
