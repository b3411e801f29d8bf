# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast the outbox takes and gives events, and how large its file gets."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import statistics
import time
from pathlib import Path

from report import Finding, Target

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import claims
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import FILE_NAME
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox

_CONNECTION = Connection("http://127.0.0.1:1", "a key")
_LEAST_PUTS = 500
_LARGEST = 20e6
_LEASE = 60.0


def _event(change_key: str) -> ChangeEvent:
    """An event as a run with a dozen labels has it, about 900 bytes."""
    labels = {f"label_{number:02}": f"value-{number:02}-of-a-usual-length" for number in range(12)}
    return ChangeEvent.validated(
        {
            "change_status": "Processing",
            "change_key": change_key,
            "title": "Deploy the storefront (site.yml)",
            "event_time": 1_790_000_000,
            "description": "Started by deploy on controller01: 40 hosts.",
            "link": "https://ci.example.com/jobs/4711",
            "labels": labels,
        },
        time.time(),
    )


def _write(folder: str, writer: int, count: int, barrier: multiprocessing.synchronize.Barrier) -> None:
    barrier.wait()
    for number in range(count):
        # Opened and closed for each event, as a task does it.
        with Outbox(folder, _CONNECTION) as outbox:
            outbox.put(_event(f"{writer}-{number}"))


def _puts_per_second(folder: Path, writers: int, count: int) -> float:
    """All writers together, each in a process of its own, every event on disk before the next."""
    with Outbox(str(folder), _CONNECTION):
        pass
    forked = multiprocessing.get_context("fork")
    barrier = forked.Barrier(writers + 1)
    processes = [
        forked.Process(target=_write, args=(str(folder), writer, count // writers, barrier))
        for writer in range(writers)
    ]
    for process in processes:
        process.start()
    # As a courier has: SQLite tidies the log away whenever nobody has the file open any more.
    with Outbox(str(folder), _CONNECTION, durable=False) as outbox:
        outbox.events.pending()
        barrier.wait()
        started = time.monotonic()
        for process in processes:
            process.join()
        seconds = time.monotonic() - started
        waiting = outbox.events.pending()
    if waiting != count // writers * writers:
        raise SystemExit(f"{waiting} events are there, of {count} put by {writers} writers")
    return waiting / seconds


def _drained_per_second(folder: Path) -> float:
    """Claim and settle each event, without the network, and without the pace that the API's limits ask for."""
    pace = claims._PACES
    claims._PACES = ((1.0, 10**9), (60.0, 10**9))
    try:
        with Outbox(str(folder), _CONNECTION, durable=False) as outbox:
            count, started = 0, time.monotonic()
            while isinstance(claim := outbox.claims.claim(_LEASE), Claim):
                outbox.claims.delivered(claim, "0123456789abcdef")
                count += 1
            return count / (time.monotonic() - started)
    finally:
        claims._PACES = pace


def _sizes_after(folder: Path, count: int) -> tuple[int, int]:
    """Bytes of the file and its companions after so many delivered events: before and after pruning."""
    with Outbox(str(folder), _CONNECTION, durable=False) as outbox:
        for number in range(count):
            outbox.put(_event(str(number)))
    # At once: one by one they would take minutes, and leave the same rows.
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as database:
        database.execute(
            "UPDATE events SET state = 'delivered', tries = 1, request_id = '0123456789abcdef', settled_at = put_at"
        )
        database.commit()
    before = _size(folder)
    with Outbox(str(folder), _CONNECTION) as outbox:
        outbox.integrations.prune()
    return before, _size(folder)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob(f"{FILE_NAME}*"))


def _syncs_per_second(folder: Path) -> float:
    """What the disk does: append a page and sync, as a transaction that survives a power cut has to."""
    with (folder / "synced").open("wb") as file:
        count, started = 0, time.monotonic()
        while time.monotonic() < started + 1:
            file.write(bytes(4096))
            file.flush()
            (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(file.fileno())
            count += 1
        return count / (time.monotonic() - started)


def measure(path: Path, rounds: int, puts: int, many: int) -> Finding:
    """Puts by one writer and by 50 at once, draining, and the size after many events."""
    path.mkdir()
    rows, rates = [], {}
    for writers in (1, 50):
        found = [_puts_per_second(path / f"{writers}-{number}", writers, puts) for number in range(rounds)]
        rates[writers] = statistics.median(found)
        rows.append([f"puts, {writers} writer{'s' if writers > 1 else ''}", f"{rates[writers]:.0f}/s"])
    drained = statistics.median(_drained_per_second(path / f"50-{number}") for number in range(rounds))
    syncs = _syncs_per_second(path)
    before, after = _sizes_after(path / "many", many)
    rows += [
        ["drained (claimed and settled)", f"{drained:.0f}/s"],
        ["for comparison: a page appended and synced by one writer", f"{syncs:.0f}/s"],
        [f"file after {many:,} delivered events", f"{before / 1e6:.1f} MB"],
        ["file after pruning", f"{after / 1e6:.1f} MB"],
    ]
    return Finding(
        "Outbox",
        ["what", "found"],
        rows,
        [
            Target(f"at least {_LEAST_PUTS} puts/s with 50 writers", f"{rates[50]:.0f}/s", rates[50] >= _LEAST_PUTS),
            Target(
                f"under {_LARGEST / 1e6:.0f} MB after pruning {many:,} events",
                f"{after / 1e6:.1f} MB",
                after < _LARGEST,
            ),
        ],
        [
            f"Medians of {rounds} times {puts} events of {len(_event('x').to_json())} bytes.",
            "A writer is a process that opens the outbox for each event, as a task does; a courier has it open.",
            "Each event is on the disk before its writer goes on.",
            "Drained: without the network and without the pace that keeps to the API's limits.",
        ],
        {"puts": rates, "drained": drained, "syncs": syncs, "bytes": before, "bytes_pruned": after},
    )
