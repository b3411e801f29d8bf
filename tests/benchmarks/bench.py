# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the collection beside its peers: ``python tests/benchmarks/bench.py [MEASURE ...]``.

Tables go to the standard output, all numbers to a JSON file for each measure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from commands import adopt_orphans
from report import Finding, Target, machine

_ROOT = Path(__file__).resolve().parents[2]
_COLLECTIONS = _ROOT / ".build" / "collections"
_SETTINGS = ("ANSIBLE_", "ARA_", "FLASHDUTY_", "GRAFANA_", "OTEL_", "SLACK_")
_TABLES_BEGIN = "<!-- tables: written by make bench -->\n"
_TABLES_END = "<!-- end of tables -->\n"
_LABELS_LIMIT = 0.5
_LABELS_HOSTS = 10_000
# How much more than ten times as long ten times the hosts may take.
_LABELS_BEND = 1.3
# With a file of host_vars for every host.
_FILES_LIMIT = 2.0
_FILES_MEMORY = 60


def _use_the_installed_collection() -> None:
    """In this process too, where the package ``ansible`` would hide it."""
    plugins = _COLLECTIONS / "ansible_collections" / "flashcat" / "flashduty" / "plugins"
    spec = importlib.util.spec_from_file_location("entry", plugins / "plugin_utils" / "_courier" / "entry.py")
    if spec is None or spec.loader is None or not plugins.is_dir():
        raise SystemExit("the collection is not installed in .build: run make install-collection")
    entry = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(entry)
    entry.make_importable(str(_COLLECTIONS / "ansible_collections"))
    sys.path.append(str(plugins.parent / "playbooks" / "files"))


def _forget_settings() -> None:
    """Those of the person who runs this must not decide what is measured."""
    for name in list(os.environ):
        if name.startswith(_SETTINGS):
            del os.environ[name]
    config = str(_COLLECTIONS.parent / "ansible.cfg")
    os.environ.update(ANSIBLE_COLLECTIONS_PATH=str(_COLLECTIONS), ANSIBLE_CONFIG=config)


def _write_into(page: Path, tables: str) -> None:
    text = page.read_text(encoding="utf-8")
    above, begin, rest = text.partition(_TABLES_BEGIN)
    _old, end, below = rest.partition(_TABLES_END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for tables, between {_TABLES_BEGIN} and {_TABLES_END}")
    page.write_text(f"{above}{begin}\n{tables}{end}{below}", encoding="utf-8")


def _callback(folder: Path, options: argparse.Namespace) -> list[Finding]:
    import callback

    sizes = callback.Sizes(100, 10, 11, 15, 10, 5, tuple(callback.OUTAGES))
    if options.smoke:
        sizes = callback.Sizes(2, 1, 1, 2, 1, 1, ("refuse",))
    return [callback.in_good_health(folder / "good", sizes), callback.in_bad_health(folder / "bad", sizes)]


def _start(folder: Path, options: argparse.Namespace) -> list[Finding]:
    import start

    rounds = 1 if options.smoke else 15
    return [
        start.measure(folder / "start", rounds),
        start.files(folder / "files", rounds),
        start.a_second(folder / "second", rounds),
    ]


def _tasks(folder: Path, options: argparse.Namespace) -> list[Finding]:
    import tasks

    hosts, rounds, many = (2, 1, 3) if options.smoke else (50, 3, 500)
    return [tasks.measure(folder / "tasks", hosts, rounds, many)]


def _labels(folder: Path, options: argparse.Namespace) -> list[Finding]:
    numbers = folder / "labels.json"
    command = [sys.executable, str(Path(__file__).parent / "labels.py"), "--json", str(numbers)]
    small = ("--sizes", "10", "100", "--with-files", "100") if options.smoke else ()
    subprocess.run([*command, *small], check=True, stdout=subprocess.DEVNULL)
    report = json.loads(numbers.read_text(encoding="utf-8"))
    sizes, with_files = report["sizes"], report["with_files"]
    seconds = {size["hosts"]: size["labels_cpu_seconds"] for size in sizes}
    largest = max(seconds)
    targets = []
    if largest > _LABELS_HOSTS:
        found = seconds[_LABELS_HOSTS]
        wanted = f"under {_LABELS_LIMIT} s at {_LABELS_HOSTS:,} hosts"
        targets.append(Target(wanted, f"{found:.3f} s", found < _LABELS_LIMIT))
        bend = seconds[largest] / found / (largest / _LABELS_HOSTS)
        wanted = f"linear: from {_LABELS_HOSTS:,} to {largest:,} hosts at most {_LABELS_BEND} times the time per host"
        targets.append(Target(wanted, f"{bend:.2f}", bend <= _LABELS_BEND))
        seconds_of_files, memory = with_files["labels_cpu_seconds"], with_files["memory_peak_bytes"] / 1e6
        wanted = f"under {_FILES_LIMIT} s and {_FILES_MEMORY} MB at {with_files['hosts']:,} hosts with a file each"
        is_reached = seconds_of_files < _FILES_LIMIT and memory < _FILES_MEMORY
        targets.append(Target(wanted, f"{seconds_of_files:.3f} s, {memory:.1f} MB", is_reached))
    return [
        Finding(
            "Labels: collected at the start of a play",
            ["hosts", "groups", "processor", "asking ansible-core for each host", "memory at the peak"],
            [
                [
                    f"{size['hosts']:,}{' with a file each' if size is with_files else ''}",
                    str(size["groups"]),
                    f"{size['labels_cpu_seconds']:.3f} s",
                    f"{size['get_vars_cpu_seconds']:.1f} s",
                    f"{size['memory_peak_bytes'] / 1e6:.1f} MB",
                ]
                for size in [*sizes, with_files]
            ],
            targets,
            ["What ansible-core takes is multiplied from 200 hosts where there are more."],
            {"sizes": sizes, "with_files": with_files},
        )
    ]


def _scope(folder: Path, options: argparse.Namespace) -> list[Finding]:
    import scope

    return [scope.measure(folder / "scope", 3 if options.smoke else 1000)]


def _outbox(folder: Path, options: argparse.Namespace) -> list[Finding]:
    import outbox

    return [outbox.measure(folder / "outbox", *((1, 50, 100) if options.smoke else (3, 2000, 100_000)))]


def _courier(folder: Path, options: argparse.Namespace) -> list[Finding]:
    import courier

    return [courier.measure(folder / "courier", 1 if options.smoke else options.idle)]


def _fleet(folder: Path, options: argparse.Namespace) -> list[Finding]:
    import shared_outbox

    return shared_outbox.measure(folder / "fleet", *((2, 20, 1) if options.smoke else (20, 10_000, 15)))


MEASURES: dict[str, Callable[[Path, argparse.Namespace], list[Finding]]] = {
    "callback": _callback,
    "start": _start,
    "tasks": _tasks,
    "labels": _labels,
    "scope": _scope,
    "outbox": _outbox,
    "courier": _courier,
    "fleet": _fleet,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"which ones: {', '.join(MEASURES)}")
    parser.add_argument("--json", type=Path, default=_ROOT / ".build" / "bench", help="folder for the numbers")
    parser.add_argument("--idle", type=float, default=60, help="seconds for which the idle courier is watched")
    parser.add_argument("--page", type=Path, help="a page of the documentation, whose tables are replaced by these")
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes: shows that all of it runs, no more")
    options = parser.parse_args()
    unknown = set(options.measures) - set(MEASURES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(MEASURES)}")
    _use_the_installed_collection()
    _forget_settings()
    adopt_orphans()
    options.json.mkdir(parents=True, exist_ok=True)
    about = machine()
    pages = ["\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in about.items()) + "\n"]
    print(pages[0], flush=True)
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="flashduty-bench-") as folder:
        for name in options.measures or MEASURES:
            began = time.monotonic()
            findings = MEASURES[name](Path(folder), options)
            for number, finding in enumerate(findings):
                if options.smoke:  # sizes this small say nothing about what is reached
                    finding.targets = [replace(target, reached=None) for target in finding.targets]
                pages.append(finding.to_markdown())
                print(pages[-1], flush=True)
                suffix = f"-{number + 1}" if len(findings) > 1 else ""
                finding.write(options.json / f"{name}{suffix}.json", about)
                missed += [f"{name}: {target.wanted}" for target in finding.targets if target.reached is False]
            print(f"({name}: {time.monotonic() - began:.0f} s)\n", flush=True)
    if options.page is not None:
        _write_into(options.page, "\n".join(pages))
    if missed:
        print("Missed:", *missed, sep="\n- ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
