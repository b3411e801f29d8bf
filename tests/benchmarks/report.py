# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a measure found: a table for people, the numbers for programs, and whether what was to be reached was."""

from __future__ import annotations

import json
import os
import platform
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Target:
    """What is to be reached, and what was found.

    :ivar reached: None where it could not be told here.
    """

    wanted: str
    found: str
    reached: bool | None


def keeps(found: float, limit: float, error: float) -> bool | None:
    """Whether a figure is below a limit; None where twice its standard error could turn that round."""
    return None if abs(found - limit) <= 2 * error else found < limit


def all_of(verdicts: Iterable[bool | None]) -> bool | None:
    """One verdict of several: missed where one was missed, else not told where one was not told."""
    seen = set(verdicts)
    return False if False in seen else None if None in seen else True


@dataclass
class Finding:
    """One measure's result.

    :ivar numbers: everything that was measured, for the JSON file.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Sequence[Target]
    notes: Sequence[str] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_markdown(self) -> str:
        """A table that reads well as it is and as Markdown."""
        widths = [max(_width(row[column]) for row in (self.columns, *self.rows)) for column in range(len(self.columns))]
        lines = [f"## {self.title}", "", _line(self.columns, widths)]
        lines.append("| " + " | ".join("-" * width for width in widths) + " |")
        lines += [_line(row, widths) for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)]
        for target in self.targets:
            verdict = {True: "reached", False: "missed", None: "not told by this run"}[target.reached]
            lines.append(f"- To reach: {target.wanted}. Found: {target.found}: {verdict}.")
        return "\n".join(lines) + "\n"

    def write(self, file: Path, about: Mapping[str, Any]) -> None:
        """Write everything as JSON."""
        content = {
            "title": self.title,
            **about,
            "targets": [vars(target) for target in self.targets],
            "notes": list(self.notes),
            "numbers": self.numbers,
        }
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def machine() -> dict[str, Any]:
    """On what the figures were taken, and when."""
    from ansible.release import __version__ as core

    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "ansible_core": core,
        "load_before": round(os.getloadavg()[0], 2),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
