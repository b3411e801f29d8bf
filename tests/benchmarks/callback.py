# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback adds to a run, beside other callbacks that report runs, with an API in good and in bad health."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands import in_turn
from peers import AGAIN, NONE, OURS, REPORTERS, Reporter
from report import Finding, Target, all_of, keeps
from stub import Stub

from playbooks import DEBUG, Folder, Run, added, median, shorter_than, uncertain_by

# Seconds. The first is what `wait: auto` means where the courier outlives the run.
_WAIT = 2.0
_ENOUGH = 45.0
_VERY_LONG = 600.0
_SMALLEST = 0.06
# Two runs of the same differ by as much.
_SLACK = 0.3
PHASES = ("start", "tasks", "end")
OUTAGES = {"1": "after 1 s", "10": "after 10 s", "hang": "never", "refuse": "connection refused", "429": "with 429"}


@dataclass(frozen=True)
class Sizes:
    """How much is run: hosts and tasks with an API in good health, then with one in bad health."""

    hosts: int
    tasks: int
    rounds: int
    outage_hosts: int
    outage_tasks: int
    outage_rounds: int
    outages: Sequence[str]


def _here() -> list[Reporter]:
    return [reporter for reporter in REPORTERS if reporter.is_here]


def _absent(columns: int) -> list[list[str]]:
    return [[peer.name, "not installed", *[""] * (columns - 2)] for peer in REPORTERS if not peer.is_here]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:+.0f} ms"


def _seconds(seconds: float) -> str:
    return f"{seconds:+.2f} s" if seconds != float("inf") else f"over {_ENOUGH:.0f} s"


def _in_good_health(
    reporters: Sequence[Reporter], folder: Folder, playbook: str, rounds: int
) -> dict[Reporter, list[tuple[Run, int]]]:
    warm_up = folder.playbook("warm_up", DEBUG)
    with Stub("now") as stub:

        def run(reporter: Reporter, playbook: str = playbook) -> tuple[Run, int]:
            before = stub.requests()
            found = folder.run(playbook, reporter.callback, reporter.settings(stub.url, folder.path), _VERY_LONG)
            return found, stub.requests() - before

        for reporter in reporters:
            run(reporter, warm_up)
        return in_turn(reporters, rounds, run, warm_up=False)


def _in_bad_health(
    reporters: Sequence[Reporter], folder: Folder, playbook: str, rounds: int, answer: str
) -> dict[Reporter, list[Run]]:
    state = 0
    with Stub(answer) as stub:

        def run(reporter: Reporter) -> Run:
            nonlocal state
            state += 1
            # A folder of its own for each run, and nothing that lives on: what waits there would be tried again.
            settings = reporter.settings(stub.url, folder.path / f"{answer}-{state}")
            return folder.run(playbook, reporter.callback, settings, _ENOUGH, linger=0.0)

        found = in_turn(reporters, 1, run, warm_up=False)
        again = in_turn([NONE, OURS], rounds - 1, run, warm_up=False)
    return {reporter: runs + again.get(reporter, []) for reporter, runs in found.items()}


def in_good_health(path: Path, sizes: Sizes) -> Finding:
    """An API that answers at once."""
    base, *others = _here()
    reporters = [base, AGAIN, *others]
    folder = Folder(path, sizes.hosts)
    playbook = folder.playbook("site", DEBUG, sizes.tasks)
    results = _in_good_health(reporters, folder, playbook, sizes.rounds)
    found = {reporter: [run for run, _requests in runs] for reporter, runs in results.items()}
    whole, processor = (median(found[base], operator.attrgetter(figure)) for figure in ("wall", "cpu"))
    rows = [[base.name, f"{whole:.2f} s", "", "", f"{processor:.2f} s", "", "", "", "0"]]
    numbers = {}
    for reporter in reporters[1:]:
        runs = found[reporter], found[base]
        row = {figure: added(*runs, operator.attrgetter(figure)) for figure in ("wall", "cpu", *PHASES)}
        error = uncertain_by(*runs, operator.attrgetter("wall"))
        requests = results[reporter][-1][1]
        numbers[reporter.name] = {**row, "wall_error": error, "requests": requests}
        wall, *shown = (_milliseconds(seconds) for seconds in row.values())
        share = f"{100 * row['wall'] / whole:+.1f} %"
        rows.append([reporter.name, wall, f"± {1000 * error:.0f} ms", share, *shown, str(requests)])
    ours, error = numbers[OURS.name]["wall"], numbers[OURS.name]["wall_error"]
    peers = [reporter for reporter in others if reporter != OURS]
    most = max(_SMALLEST, whole / 100)
    return Finding(
        f"Callbacks: {sizes.hosts} local hosts × {sizes.tasks} tasks, the API answers at once",
        ["callback", "wall", "", "", "processor", "start", "tasks", "end", "requests"],
        rows + _absent(9),
        [
            Target(
                f"at most {1000 * most:.0f} ms of wall time added",
                f"{_milliseconds(ours)} ± {1000 * error:.0f} ms",
                keeps(ours, most, error),
            ),
            shorter_than(found[OURS], {peer.name: found[peer] for peer in peers}),
        ],
        [
            f"Medians of {sizes.rounds} runs each, in turn; added is the median of the differences, round by round.",
            "±: the standard error of that median, which the row without a reporter shows too.",
            "Reached or missed is said only of what is more than two such errors from its limit.",
            "start: until the first task. tasks: until the last result. end: until the process has gone.",
            "Processor time includes that of what outlives the run.",
            *(f"{reporter.name}: {reporter.cannot}." for reporter in reporters if reporter.cannot),
        ],
        {"whole run": whole, **numbers},
    )


def in_bad_health(path: Path, sizes: Sizes) -> Finding:
    """An API that answers late, never or with refusals."""
    reporters = _here()
    folder = Folder(path, sizes.outage_hosts)
    playbook = folder.playbook("site", DEBUG, sizes.outage_tasks)
    rows: list[list[str]] = []
    targets, numbers = [], {}
    for answer in sizes.outages:
        found = _in_bad_health(reporters, folder, playbook, sizes.outage_rounds, answer)
        for reporter in reporters[1:]:
            runs = found[reporter]
            base = found[NONE][: len(runs)]
            row = {phase: added(runs, base, operator.attrgetter(phase)) for phase in PHASES}
            errors = {phase: uncertain_by(runs, base, operator.attrgetter(phase)) for phase in PHASES}
            if reporter == OURS:
                targets.append(_outage_target(answer, row, errors))
            numbers[f"{OUTAGES[answer]}: {reporter.name}"] = row
            rows.append([OUTAGES[answer], reporter.name, *(_seconds(row[phase]) for phase in PHASES)])
    return Finding(
        f"Callbacks: {sizes.outage_hosts} local hosts × {sizes.outage_tasks} tasks, the API is slow or broken",
        ["API answers", "callback", *(f"{phase} added" for phase in PHASES)],
        rows + _absent(5),
        targets,
        [
            f"{OURS.name}: medians of {sizes.outage_rounds} runs; the others: one run, stopped after {_ENOUGH:.0f} s.",
            f"{OURS.name} leaves what was not delivered in the outbox, for its courier, the next run or a flush.",
            *(f"{reporter.name}: {reporter.cannot}." for reporter in reporters if reporter.cannot),
        ],
        numbers,
    )


def _outage_target(answer: str, found: Mapping[str, float], errors: Mapping[str, float]) -> Target:
    """At the end one answer is waited for."""
    end = min(_WAIT, {"1": 1.0, "10": 10.0, "hang": _WAIT}.get(answer, 0.0)) + _SLACK
    limits = {"start": _SMALLEST + _SLACK, "tasks": _SLACK, "end": end}
    return Target(
        f"{OUTAGES[answer]}: nothing added before the end, and there at most {end:.1f} s",
        ", ".join(f"{phase} {_seconds(found[phase])} ± {errors[phase]:.2f} s" for phase in PHASES),
        all_of(keeps(found[phase], limits[phase], errors[phase]) for phase in PHASES),
    )
