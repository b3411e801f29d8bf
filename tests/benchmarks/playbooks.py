# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of ansible-playbook, with the moments at which their tasks started and ended."""

from __future__ import annotations

import json
import math
import operator
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import Timing, timed
from report import Target, all_of, keeps

ANSIBLE_PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")
# Of a normal distribution: the standard deviation by the median distance, and a median's error by a mean's.
_DEVIATION = 1.4826
_OF_MEDIAN = math.sqrt(math.pi / 2)
DEBUG = "ansible.builtin.debug: {msg: hello}"


@dataclass(frozen=True)
class Run:
    """One run of ansible-playbook; durations in seconds.

    :ivar start: until its first task starts.
    :ivar tasks: from there until the last result.
    :ivar end: from there until the process has gone.
    """

    timing: Timing
    start: float
    tasks: float
    end: float
    requests_imported: bool

    @property
    def wall(self) -> float:
        """From beginning to end."""
        return self.timing.wall

    @property
    def cpu(self) -> float:
        """Processor time, what outlived the run included."""
        return self.timing.cpu + self.timing.cpu_beside


class Folder:
    """A folder with an inventory of local hosts and playbooks."""

    def __init__(self, path: Path, hosts: int, python: str = sys.executable) -> None:
        self.path = path
        path.mkdir(parents=True)
        names = "".join(f"host{number:05}\n" for number in range(hosts))
        settings = f"[all:vars]\nansible_connection=local\nansible_python_interpreter={python}\n"
        (path / "hosts").write_text(f"[app]\n{names}{settings}", encoding="utf-8")

    def playbook(self, name: str, task: str, tasks: int = 1) -> str:
        """Write a playbook that runs one task so many times; returns its file name."""
        text = "- hosts: all\n  gather_facts: false\n  tasks:\n" + f"    - {task}\n" * tasks
        (self.path / f"{name}.yml").write_text(text, encoding="utf-8")
        return f"{name}.yml"

    def run(
        self, playbook: str, callbacks: str, environment: Mapping[str, str], most: float, linger: float = 5.0
    ) -> Run:
        """Run a playbook.

        :raises SystemExit: where it fails, with what it printed.
        """
        moments = self.path / "moments.json"
        moments.unlink(missing_ok=True)
        timing = timed(
            [ANSIBLE_PLAYBOOK, "-i", "hosts", playbook],
            {
                "ANSIBLE_HOME": str(self.path / "home"),
                "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"),
                "ANSIBLE_CALLBACKS_ENABLED": ",".join(name for name in (callbacks, "stopwatch") if name),
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "BENCH_STOPWATCH": str(moments),
                **environment,
            },
            self.path,
            most,
            linger,
        )
        if timing.code not in (0, None):
            raise SystemExit(f"{playbook} ended with exit code {timing.code}:\n{(self.path / 'output').read_text()}")
        if not moments.exists():
            never = float("inf")
            return Run(timing, never, never, never, False)
        noted: dict[str, Any] = json.loads(moments.read_text(encoding="utf-8"))
        return Run(
            timing,
            noted["first_task"] - timing.started,
            noted["last_result"] - noted["first_task"],
            timing.started + timing.wall - noted["last_result"],
            noted["requests_imported"],
        )


def median(runs: Iterable[Run], value: Callable[[Run], float]) -> float:
    """The median of one figure of several runs."""
    return statistics.median(value(run) for run in runs)


def added(runs: Iterable[Run], base: Iterable[Run], value: Callable[[Run], float]) -> float:
    """By how much a figure is above the base's: the median of the differences, pair by pair."""
    return statistics.median(_differences(runs, base, value))


def uncertain_by(runs: Iterable[Run], base: Iterable[Run], value: Callable[[Run], float]) -> float:
    """By how much :func:`added` may be off, as a standard error: from the median distance of the differences to it."""
    differences = _differences(runs, base, value)
    middle = statistics.median(differences)
    deviation = _DEVIATION * statistics.median(abs(each - middle) for each in differences)
    return _OF_MEDIAN * deviation / math.sqrt(len(differences))


def shorter_than(ours: Sequence[Run], peers: Mapping[str, Sequence[Run]]) -> Target:
    """Whether our runs are shorter than those of each peer, round by round."""
    differences, verdicts = [], []
    for name, runs in peers.items():
        difference, error = (of(ours, runs, operator.attrgetter("wall")) for of in (added, uncertain_by))
        differences.append(f"{name} {1000 * difference:+.0f} ms ± {1000 * error:.0f} ms")
        verdicts.append(keeps(difference, 0.0, error))
    return Target(
        "a shorter run than with every peer",
        ", ".join(differences) or "no peer is installed",
        all_of(verdicts) if peers else None,
    )


def _differences(runs: Iterable[Run], base: Iterable[Run], value: Callable[[Run], float]) -> list[float]:
    return [value(one) - value(other) for one, other in zip(runs, base, strict=True)]
