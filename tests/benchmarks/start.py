# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an enabled callback adds to the start of ansible-playbook: one host, one task."""

from __future__ import annotations

import operator
from pathlib import Path

from commands import in_turn
from peers import AGAIN, NONE, OURS, REPORTERS, Reporter
from report import Finding, Target
from stub import Stub

from playbooks import DEBUG, Folder, Run, added, median

_MOST = 0.06
_LONG = 60.0
FIGURES = ("start", "wall", "cpu")


def measure(path: Path, rounds: int) -> Finding:
    """One host and one task, so that a run is little more than its start."""
    reporters = [NONE, AGAIN, *(reporter for reporter in REPORTERS if reporter.is_here and reporter != NONE)]
    folder = Folder(path, 1)
    playbook = folder.playbook("site", DEBUG)
    with Stub("now") as stub:

        def run(reporter: Reporter) -> Run:
            return folder.run(playbook, reporter.callback, reporter.settings(stub.url, folder.path), _LONG)

        found = in_turn(reporters, rounds, run)
    base = found[NONE]
    rows = [[NONE.name, *(f"{1000 * median(base, operator.attrgetter(figure)):.0f} ms" for figure in FIGURES), "no"]]
    numbers = {}
    for reporter in reporters[1:]:
        runs = found[reporter]
        row = {figure: added(runs, base, operator.attrgetter(figure)) for figure in FIGURES}
        imported = any(run.requests_imported for run in runs)
        numbers[reporter.name] = {**row, "requests_imported": imported}
        rows.append(
            [
                reporter.name,
                *(f"{1000 * row[figure]:+.0f} ms" for figure in FIGURES),
                "yes" if imported else "no",
            ]
        )
    ours = numbers[OURS.name]
    return Finding(
        "Start: one host, one task, the API answers at once",
        ["callback", "until the first task", "whole run", "processor", "requests imported in ansible-playbook"],
        rows,
        [
            Target(
                f"under {1000 * _MOST:.0f} ms added to the start",
                f"{1000 * ours['start']:+.0f} ms",
                ours["start"] < _MOST,
            ),
            Target(
                "requests is not imported in the main process",
                "imported" if ours["requests_imported"] else "not imported",
                not ours["requests_imported"],
            ),
        ],
        [
            f"Medians of {rounds} runs each, in turn.",
            f"Such a run ends when {OURS.name}'s courier has started, imported requests and delivered.",
        ],
        numbers,
    )
