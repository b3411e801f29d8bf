# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a courier costs while it has nothing to do: memory and processor time."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from peers import CALLBACK, flashduty
from report import Finding, Target
from stub import Stub

from playbooks import ANSIBLE_PLAYBOOK, Folder

_LARGEST = 40e6
_BUSIEST = 0.001
# Seconds: until it has started and delivered the first event, and until it is taken for missing.
_SETTLE = 5.0
_STARTS_WITHIN = 30.0


def _courier_of(process: subprocess.Popen[bytes]) -> int:
    """The courier's PID."""
    until = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if b"_courier.process" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return int(pid)
        time.sleep(0.05)
    raise SystemExit("no courier was started")


def _processor_seconds(pid: int) -> float:
    """All threads together, exact to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _memory(pid: int) -> dict[str, int]:
    """Bytes: resident, and the share that is the process's own when pages are shared with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    return {name: 1024 * int(values[name]) for name in ("Rss", "Pss")}


def measure(path: Path, idle: float) -> Finding:
    """A run that does nothing but wait."""
    title = "Courier"
    if not Path("/proc/self/smaps_rollup").exists():
        return Finding(title, ["what", "found"], [["everything", "told by Linux only"]], [])
    folder = Folder(path, 1)
    playbook = folder.playbook("site", f"ansible.builtin.command: sleep {idle + 2 * _SETTLE + _STARTS_WITHIN}")
    with Stub("now") as stub:
        process = subprocess.Popen(
            [ANSIBLE_PLAYBOOK, "-i", "hosts", playbook],
            env={
                **os.environ,
                "ANSIBLE_HOME": str(path / "home"),
                "ANSIBLE_CALLBACKS_ENABLED": CALLBACK,
                **flashduty(stub.url, path),
            },
            cwd=path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            pid = _courier_of(process)
            while not stub.requests():
                time.sleep(0.05)
            time.sleep(_SETTLE)
            before, started = _processor_seconds(pid), time.monotonic()
            time.sleep(idle)
            used, seconds = _processor_seconds(pid) - before, time.monotonic() - started
            memory = _memory(pid)
        finally:
            process.terminate()
            process.wait()
    share = used / seconds
    return Finding(
        title,
        ["what", "found"],
        [
            ["memory, resident", f"{memory['Rss'] / 1e6:.1f} MB"],
            ["memory, shared pages divided among those who share them", f"{memory['Pss'] / 1e6:.1f} MB"],
            [f"processor while idle for {seconds:.0f} s", f"{100 * share:.4f} %, {1000 * used:.1f} ms"],
        ],
        [
            Target(f"under {_LARGEST / 1e6:.0f} MB", f"{memory['Rss'] / 1e6:.1f} MB", memory["Rss"] < _LARGEST),
            Target(f"under {100 * _BUSIEST:g} % while idle", f"{100 * share:.4f} %", share < _BUSIEST),
        ],
        [],
        {"seconds": seconds, "processor_seconds": used, **memory},
    )
