# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an enabled callback adds to ansible-playbook on one host: to its start, and to a run that takes a second."""

from __future__ import annotations

import operator
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from commands import in_turn
from peers import AGAIN, NONE, OURS, REPORTERS, Reporter
from report import Finding, Target, keeps
from stub import Stub

from playbooks import DEBUG, Folder, Run, added, median, shorter_than, uncertain_by

_MOST = 0.06
_LONG = 60.0
_PEERS = [reporter for reporter in REPORTERS if reporter.is_here and reporter not in (NONE, OURS)]
_OF_OURS = "ansible_collections.flashcat.flashduty.plugins."
_IMPORTED = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)
_A_SECOND = "ansible.builtin.pause: {seconds: 1}"


def measure(path: Path, rounds: int) -> Finding:
    """One host and one task, so that a run is little more than its start."""
    found = _runs(path, DEBUG, rounds)
    figures = ("start", "wall", "cpu")
    rows, numbers = _compared(found, figures)
    imported = {reporter: any(run.requests_imported for run in runs) for reporter, runs in found.items()}
    ours = numbers[OURS.name]["start"]
    error = uncertain_by(found[OURS], found[NONE], operator.attrgetter("start"))
    return Finding(
        "Start: one host, one task, the API answers at once",
        ["callback", "until the first task", "whole run", "processor", "requests imported in ansible-playbook"],
        [[*row, "yes" if imported[reporter] else "no"] for row, reporter in zip(rows, found, strict=True)],
        [
            Target(
                f"under {1000 * _MOST:.0f} ms added to the start",
                f"{1000 * ours:+.0f} ms ± {1000 * error:.0f} ms",
                keeps(ours, _MOST, error),
            ),
            Target(
                "requests is not imported in the main process",
                "imported" if imported[OURS] else "not imported",
                not imported[OURS],
            ),
        ],
        [
            f"Medians of {rounds} runs each, in turn.",
            f"Such a run ends when {OURS.name}'s courier has started, imported requests and delivered.",
        ],
        {**numbers, "requests imported": {reporter.name: seen for reporter, seen in imported.items()}},
    )


def a_second(path: Path, rounds: int) -> Finding:
    """A run in which a processor is free, and which is longer than a courier takes to come up."""
    found = _runs(path, _A_SECOND, rounds)
    rows, numbers = _compared(found, ("start", "tasks", "end", "wall", "cpu"))
    return Finding(
        "A second: one host, one task that takes a second, the API answers at once",
        ["callback", "start", "tasks", "end", "whole run", "processor"],
        rows,
        [shorter_than(found[OURS], {peer.name: found[peer] for peer in _PEERS})],
        [f"Medians of {rounds} runs each, in turn."],
        numbers,
    )


def files(path: Path, rounds: int) -> Finding:
    """What each file that the start loads costs to read, compile and execute, without what it imports."""
    folder = Folder(path, 1)
    playbook = folder.playbook("site", DEBUG)
    costs: dict[str, list[float]] = {}
    with Stub("now") as stub:
        for _round in range(rounds):
            found = []
            for reporter in (NONE, OURS):
                settings = {"PYTHONPROFILEIMPORTTIME": "1", "PYTHONUNBUFFERED": "1"}
                folder.run(playbook, reporter.callback, {**reporter.settings(stub.url, path), **settings}, _LONG)
                output = (path / "output").read_text(encoding="utf-8", errors="replace").partition("\nTASK [")[0]
                found.append({name: int(cost) / 1e6 for cost, name in reversed(_IMPORTED.findall(output))})
            for name, cost in found[1].items():
                if name not in found[0]:
                    shown = name.removeprefix(_OF_OURS) if name.startswith(_OF_OURS) else "the standard library"
                    costs.setdefault(shown, []).append(cost)
    # Of the standard library many modules make one row.
    seconds = {name: sum(of) / rounds if " " in name else statistics.median(of) for name, of in costs.items()}
    ordered = sorted(seconds.items(), key=operator.itemgetter(1), reverse=True)
    return Finding(
        "Start: the files that it loads",
        ["file", "cost"],
        [
            *([name.replace(".", "/"), f"{1000 * cost:.1f} ms"] for name, cost in ordered),
            ["all together", f"{1000 * sum(seconds.values()):.1f} ms"],
        ],
        [],
        [
            f"Medians of {rounds} runs, until the first task.",
            "The callback's own file is not among them: ansible-core loads it without an import.",
            "ansible-core compiles the files of a collection anew in each process; it keeps no bytecode of them.",
        ],
        seconds,
    )


def _runs(path: Path, task: str, rounds: int) -> dict[Reporter, list[Run]]:
    folder = Folder(path, 1)
    playbook = folder.playbook("site", task)
    with Stub("now") as stub:

        def run(reporter: Reporter) -> Run:
            return folder.run(playbook, reporter.callback, reporter.settings(stub.url, folder.path), _LONG)

        return in_turn([NONE, AGAIN, OURS, *_PEERS], rounds, run)


def _compared(
    found: Mapping[Reporter, Sequence[Run]], figures: Sequence[str]
) -> tuple[list[list[str]], dict[str, dict[str, float]]]:
    """A row for each reporter, and the seconds in it: what runs without one take, and what the others add to that."""
    rows, numbers = [], {}
    for reporter, runs in found.items():
        of = median if reporter == NONE else lambda runs, value: added(runs, found[NONE], value)
        numbers[reporter.name] = {figure: of(runs, operator.attrgetter(figure)) for figure in figures}
        sign = "" if reporter == NONE else "+"
        shown = (f"{1000 * seconds:{sign}.0f} ms" for seconds in numbers[reporter.name].values())
        rows.append([reporter.name, *shown])
    return rows, numbers
