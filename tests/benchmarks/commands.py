# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands, timed from outside: wall time, and the processor time of everything that they start."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_PR_SET_CHILD_SUBREAPER = 36

Variant = TypeVar("Variant")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Timing:
    """What one command took.

    :ivar started: ``time.monotonic()`` at its start.
    :ivar wall: seconds from its start to its end.
    :ivar cpu: processor seconds, of the command and of all that it waited for.
    :ivar cpu_beside: processor seconds of what it left behind, such as a courier.
    :ivar code: exit code; None where it was stopped for taking too long.
    """

    started: float
    wall: float
    cpu: float
    cpu_beside: float
    code: int | None


def adopt_orphans() -> None:
    """Become the parent of what finished commands leave behind, so that its processor time can be told. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def timed(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, most: float, linger: float = 5.0
) -> Timing:
    """Run a command in a folder; what it prints goes to the file ``output`` there.

    :param most: seconds after which it is stopped.
    :param linger: seconds that what it leaves behind may then take to end by itself.
    """
    others = _children()
    with (folder / "output").open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stop = threading.Timer(most, os.kill, (process.pid, signal.SIGKILL))
        stop.start()
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        stop.cancel()
    # It was waited for here, Popen must not.
    process.returncode = os.waitstatus_to_exitcode(status)
    stopped = wall >= most and process.returncode == -signal.SIGKILL
    beside = _cpu_of_orphans(_children() - others, 0.0 if stopped else linger)
    return Timing(started, wall, usage.ru_utime + usage.ru_stime, beside, None if stopped else process.returncode)


def _children() -> set[int]:
    try:
        return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
    except OSError:
        return set()


def _cpu_of_orphans(pids: set[int], linger: float) -> float:
    until = time.monotonic() + linger
    seconds = 0.0
    for pid in pids:
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= until:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        _pid, _status, usage = os.wait4(pid, 0)
        seconds += usage.ru_utime + usage.ru_stime
    return seconds


def in_turn(
    variants: Sequence[Variant], rounds: int, run: Callable[[Variant], Result], warm_up: bool = True
) -> dict[Variant, list[Result]]:
    """Run each variant once, then each again, so that what slows the machine slows all of them.

    Each round has another order, the same in every call, so that none profits from what runs before it.

    :param warm_up: run each once before, without counting it, so that caches are filled alike.
    """
    results: dict[Variant, list[Result]] = {variant: [] for variant in variants}
    order, shuffled = list(variants), random.Random(0)
    for number in range(rounds + warm_up):
        for variant in order:
            result = run(variant)
            if number >= warm_up:
                results[variant].append(result)
        shuffled.shuffle(order)
    return results
