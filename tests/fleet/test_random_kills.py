# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs, couriers, whole nodes and PostgreSQL are killed at random: nothing stays open, nothing comes twice.

The environment variable FLEET_RUNS says how many runs there are, SEED which of them end how.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from queue import SimpleQueue
from typing import Any

from control_node import unbroken, wait_until
from fleet import FLUSH, Node, is_terminal, of_change
from postgresql import Database

from flashduty_sandbox.receiver import Receiver

NODES = 20
RUNS = int(os.environ.get("FLEET_RUNS", "24"))
SEED = os.environ.get("SEED", "1")
AT_ONCE = 6
# Seconds after which a run that is not heard of counts as vanished.
SILENT = 45.0
SITE = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.raw: sleep 0.5
    - flashcat.flashduty.flashduty_change: {change_key: "own-{{ flashduty_change_key }}", change_status: Done, title: t}
      run_once: true
    - ansible.builtin.raw: sleep 0.5
"""
ENDINGS = {
    "by itself": 3,
    "the run is killed": 2,
    "its courier is killed": 2,
    "run and courier are killed": 2,
    "the node vanishes": 2,
}


class Fleet:
    """Twenty nodes, and who kills what on them."""

    def __init__(self, nodes: list[Node], database: Database, receiver: Receiver) -> None:
        self.nodes: SimpleQueue[Node] = SimpleQueue()
        for node in nodes:
            self.nodes.put(node)
        self.database = database
        self.receiver = receiver
        self.killed_couriers = 0
        self.kills = 0
        self.problems: list[str] = []
        self.endings: dict[str, str] = {}
        self.ran_on: dict[str, Node] = {}
        self._vanishing = 0
        self._state = threading.Condition()

    def run(self, number: int, new_node: Callable[[str], Node]) -> None:
        """One run, ended as chance has it."""
        chance = random.Random(f"{SEED} {number}")
        ending = chance.choices(list(ENDINGS), list(ENDINGS.values()))[0]
        self.endings[f"run-{number}"] = ending
        node = self.nodes.get()
        self.ran_on[f"run-{number}"] = self.ran_on[f"own-run-{number}"] = node
        with self._no_outage() if ending == "the node vanishes" else nullcontext():
            if ending == "the node vanishes":
                # So has what ended during one, and was not entered before its courier was killed.
                code, output = node.run(FLUSH)
                if code != 0:
                    self.problems.append(f"a flush before run {number} exits with {code}: {unbroken(output)}")
            process = node.start("-e", f"flashduty_change_key=run-{number}", node.write("site.yml", SITE))
            with process:
                if ending != "by itself":
                    self._kill(node, process.pid, ending, number, chance)
                output, _none = process.communicate(timeout=120)
        if ending in ("by itself", "its courier is killed") and process.returncode != 0:
            self.problems.append(f"run {number} ({ending}) exits with {process.returncode}: {unbroken(output)}")
        if self.database.password in output:
            self.problems.append(f"run {number} shows a password")
        if ending == "the node vanishes":
            node = new_node(f"after-{number}")
        self.nodes.put(node)

    def _kill(self, node: Node, pid: int, ending: str, number: int, chance: random.Random) -> None:
        if chance.random() < 0.5:
            wait_until(lambda: of_change(self.receiver, f"run-{number}"))
            time.sleep(chance.uniform(0, 1))
        else:
            time.sleep(chance.uniform(1, 6))
        if ending == "the run is killed":
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        elif ending == "its courier is killed":
            killed = node.kill_couriers()
            with self._state:
                self.killed_couriers += killed
        else:
            with self._state:
                self.killed_couriers += len(node.couriers())
            if ending == "the node vanishes":
                node.vanish()
            else:
                node.kill()

    def open_changes(self) -> list[str]:
        """The keys of the changes that are open now."""
        changes = self.receiver.changes()
        return [change["change_key"] for change in changes if change["change_status"] == "Processing"]

    @contextmanager
    def _no_outage(self) -> Iterator[None]:
        # What began while PostgreSQL was down is known to its node alone, and with it goes what knew of it.
        with self._state:
            self._vanishing += 1
        try:
            yield
        finally:
            with self._state:
                self._vanishing -= 1
                self._state.notify_all()

    def break_postgresql(self, over: threading.Event) -> None:
        """Kill PostgreSQL again and again until all is over."""
        chance = random.Random(SEED)
        while not over.wait(chance.uniform(5, 12)):
            with self._state:
                if not self._state.wait_for(lambda: self._vanishing == 0 or over.is_set(), 60) or over.is_set():
                    continue
                self.database.server.kill()
                self.kills += 1
                time.sleep(chance.uniform(0.2, 3))
                self.database.server.start()


def without_date_of(receiver: Receiver, change_key: str = "") -> list[dict[str, Any]]:
    """The bodies that arrived, of a change or of all, with no date that could tell two of them apart."""
    bodies = [{**event["body"], "event_time": 0} for event in receiver.events()]
    return [body for body in bodies if change_key in ("", body["change_key"])]


def test_whatever_is_killed_nothing_stays_open(
    new_node: Callable[[str], Node], database: Database, receiver: Receiver
) -> None:
    fleet = Fleet([new_node(f"node-{number}") for number in range(NODES)], database, receiver)
    over = threading.Event()
    breaker = threading.Thread(target=fleet.break_postgresql, args=[over])
    breaker.start()
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(fleet.run, number, new_node) for number in range(RUNS)]:
                done.result()
    finally:
        over.set()
        breaker.join()
    assert fleet.kills > 0
    time.sleep(SILENT)
    code, output = fleet.nodes.get().run(FLUSH)
    assert code == 0, output
    for key in fleet.open_changes():
        # It began while PostgreSQL was down, and its courier was killed before it could be entered.
        assert database.rows(f"SELECT count(*) FROM flashduty.events WHERE change_key = '{key}'") == [(0,)], key
        code, output = fleet.ran_on[key].run(FLUSH)
        assert code == 0, output
    assert fleet.problems == []
    without_date = without_date_of(receiver)
    # What came twice because its answer was lost may be dated a second later.
    once = {str(body): body for body in without_date}.values()
    corrected = 0
    for change in receiver.changes():
        key = change["change_key"]
        story = f"{key} ({fleet.endings.get(key)}): {of_change(receiver, key)}"
        told = [is_terminal(body) for body in of_change(receiver, key)]
        assert told[-1], f"open: {story}"
        assert told == sorted(told), f"out of order: {story}"
        ends = [body for body in once if body["change_key"] == key and is_terminal(body)]
        if len(ends) != 1:
            corrected += 1
            # Its end was sent while PostgreSQL could not be used, and its courier killed before it could enter that, so
            # others took it for vanished: the node's next courier says again how it ended.
            assert [(body.get("labels") or {}).get("result") == "killed" for body in ends] == [False, True], (
                f"ended twice: {story}"
            )
            if without_date_of(receiver, key)[-1] != ends[0]:
                assert fleet.ran_on[key].run(FLUSH)[0] == 0
            assert without_date_of(receiver, key)[-1] == ends[0], f"not corrected: {story}"
    assert corrected <= max(2, RUNS // 20)
    twice = len(without_date) - len(once)
    found = f"{len(receiver.changes())} changes, {twice} events twice, {corrected} changes ended twice"
    print(f"{found}; {fleet.kills} times without PostgreSQL")
    assert twice <= fleet.killed_couriers
    assert database.rows("SELECT count(*) FROM flashduty.runs WHERE closed_at IS NULL") == [(0,)]
