# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the shared outbox carries when many couriers use it, and what it adds to one run."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import threading
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from commands import in_turn
from outbox import _event
from peers import CALLBACK, KEY, flashduty
from report import Finding
from stub import Stub

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.delivery import Delivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.sharing import Sharing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import claims
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared_schema import migrate
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from playbooks import Folder, Run, added, median

if TYPE_CHECKING:
    from postgresql import Database

# Seconds until it is given up.
_LONG = 600.0
# Seconds between two signs of life of a courier.
_SIGN_OF_LIFE = 15.0
_TITLE = "Fleet: an outbox in PostgreSQL that many control nodes share"


def _deliver(folder: str, connection: Connection, count: int, barrier: multiprocessing.synchronize.Barrier) -> None:
    """A courier with so many events in an outbox of its own. None keeps to the API's limits."""
    claims._PACES = ((1.0, 10**9), (60.0, 10**9))
    store = Store(folder, connection)
    Outbox(folder, connection).close()
    with store.opened_for_sending() as outbox:
        for number in range(count):
            outbox.put(_event(f"{folder}/{number}"))
    barrier.wait(_LONG)
    shared = nullcontext() if connection.outbox_url is None else Sharing(store)
    with shared as sharing, Delivery(store, sharing), store.opened() as outbox:
        looked = time.monotonic()
        while outbox.events.pending():
            time.sleep(0.02)
            if sharing is not None and time.monotonic() - looked > _SIGN_OF_LIFE:
                # As each courier does; without it, others take its events, and it does not learn what became of them.
                sharing.keep(outbox, [])
                looked = time.monotonic()


def _seconds(path: Path, connection: Connection, nodes: int, events: int) -> tuple[float, float]:
    """Wall time and the couriers' processor time, until all is delivered."""
    forked = multiprocessing.get_context("fork")
    barrier = forked.Barrier(nodes + 1)
    path.mkdir()
    couriers = [
        forked.Process(target=_deliver, args=(str(path / str(number)), connection, events // nodes, barrier))
        for number in range(nodes)
    ]
    for courier in couriers:
        courier.start()
    barrier.wait(_LONG)
    began, used = time.monotonic(), _processor_of_children()
    for courier in couriers:
        courier.join()
        if courier.exitcode:
            raise SystemExit(f"a courier ended with exit code {courier.exitcode}")
    return time.monotonic() - began, _processor_of_children() - used


def _processor_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _through(path: Path, database: Database, nodes: int, events: int) -> Finding:
    path.mkdir()
    rows, numbers = [], {}
    with Stub("now") as stub:
        for name, couriers, url in (
            ("SQLite, one courier", 1, None),
            (f"PostgreSQL, {nodes} couriers", nodes, database.url),
        ):
            before = stub.requests()
            connection = Connection(stub.url, KEY, outbox_url=url)
            seconds, used = _seconds(path / str(couriers), connection, couriers, events)
            sent = stub.requests() - before
            numbers[name] = {"seconds": seconds, "processor_seconds": used, "events": events, "requests": sent}
            rows.append([name, f"{events / seconds:.0f}/s", f"{1000 * used / events:.1f} ms", str(sent)])
    return Finding(
        f"{_TITLE}: {events:,} events",
        ["outbox", "delivered", "couriers' processor time, an event", "requests"],
        rows,
        [],
        [
            "The whole way to a server that answers at once, without the pace that keeps to the API's limits, 16.7/s.",
            "Each courier of PostgreSQL has an outbox of its own besides, from which it enters its share.",
            "The processors are shared with PostgreSQL and with the server that answers.",
        ],
        numbers,
    )


def _one_run(path: Path, database: Database, rounds: int) -> Finding:
    folder = Folder(path, 1)
    playbook = folder.playbook("site", "ansible.builtin.command: sleep 1")
    most = [0]
    with Stub("now") as stub:

        def run(url: str) -> Run:
            environment = {**flashduty(stub.url, path), **({"FLASHDUTY_OUTBOX_URL": url} if url else {})}
            return folder.run(playbook, CALLBACK, environment, _LONG)

        found = in_turn(["", database.url], rounds, run)
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                most[0] = max(most[0], database.connections())

        watching = threading.Thread(target=watch)
        watching.start()
        run(database.url)
        over.set()
        watching.join()
    alone, shared = found.values()
    figures = {
        "until the first task": lambda run: run.start,
        "the tasks": lambda run: run.tasks,
        "the end": lambda run: run.end,
        "the whole run": lambda run: run.wall,
        "processor, the courier's included": lambda run: run.cpu,
    }
    numbers = {name: (median(alone, value), added(shared, alone, value)) for name, value in figures.items()}
    rows = [[name, f"{1000 * usual:.0f} ms", f"{1000 * more:+.0f} ms"] for name, (usual, more) in numbers.items()]
    return Finding(
        f"{_TITLE}: one host, one task that takes a second",
        ["what", "without outbox_url", "with it"],
        [*rows, ["connections to PostgreSQL", "0", str(most[0])]],
        [],
        [f"Medians of {rounds} runs each, in turn; added is the median of the differences, round by round."],
        numbers,
    )


def measure(path: Path, nodes: int, events: int, rounds: int) -> list[Finding]:
    """Many events from many nodes, then one run."""
    path.mkdir()
    sys.path.append(str(Path(__file__).parents[1] / "fleet" / "support"))
    try:
        import postgresql
    except ImportError as error:
        return [Finding(_TITLE, ["what", "found"], [["everything", f"not measured: {error}"]], [])]
    try:
        postgresql.find()
    except postgresql.NoPostgreSQL as error:
        return [Finding(_TITLE, ["what", "found"], [["everything", f"not measured: {error}"]], [])]
    with closing(postgresql.PostgreSQL()) as server:
        server.start()
        database = postgresql.Database(server)
        migrate(database.owner_url, [database.user])
        return [_through(path / "through", database, nodes, events), _one_run(path / "run", database, rounds)]
