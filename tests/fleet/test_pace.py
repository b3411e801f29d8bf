# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Couriers of many nodes keep one pace: together they stay below Flashduty's limits, and a 429 slows them all."""

from __future__ import annotations

import os
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

import pytest
from control_node import KEY, PATIENCE, wait_until
from fleet import Node
from postgresql import Database

from flashduty_sandbox.receiver import Receiver

NODES = 20
# More than a minute's share, so that both limits are met, and that there is still a backlog when a minute is over.
EVENTS = 1500
PER_SECOND, PER_MINUTE = 100, 1000
WRITER = """
import os, sys, time
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import CourierClient
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

folder, url, key, outbox_url, name, count = sys.argv[1:]
connection = Connection(url, key, outbox_url=outbox_url)
store = Store(folder, connection)


def put(outbox):
    for number in range(int(count)):
        fields = dict(change_key=f"{name}/{number}", change_status="Done", title="t")
        outbox.put(ChangeEvent.validated(fields, time.time()))


store.do(put)
sys.stdin.read()
client = CourierClient(store, Process.of(os.getpid()))
client.wake()
is_done = client.wait(lambda outbox: not outbox.events.pending(), 200)
sys.exit(not is_done)
"""


@pytest.fixture
def start_writers(
    new_node: Callable[[str], Node], receiver: Receiver, database: Database
) -> Callable[[int, int], list[subprocess.Popen[str]]]:
    """Starts a process on each node whose courier delivers so many events, once all of them have stored theirs."""

    def started(nodes: int, count: int) -> list[subprocess.Popen[str]]:
        writers = []
        for number in range(nodes):
            node = new_node(f"node-{number}")
            command = [
                sys.executable,
                node.write("writer.py", WRITER),
                str(node.state),
                receiver.url,
                KEY,
                database.url,
            ]
            environment = {**node.environment, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
            writers.append(
                subprocess.Popen(
                    [*command, f"n{number}", str(count // nodes)], env=environment, text=True, stdin=subprocess.PIPE
                )
            )
        return writers

    return started


def begin(writers: list[subprocess.Popen[str]]) -> None:
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()


def most_within(seconds: float, moments: list[float]) -> int:
    """How many of the moments, in order, lie at most within any such time."""
    return max(bisect_left(moments, moment + seconds) - number for number, moment in enumerate(moments))


@pytest.mark.alone
def test_twenty_couriers_stay_below_the_limits_of_the_integration_and_reach_nine_tenths_of_them(
    start_writers: Callable[[int, int], list[subprocess.Popen[str]]], receiver: Receiver
) -> None:
    writers = start_writers(NODES, EVENTS)
    begin(writers)
    for writer in writers:
        assert writer.wait(4 * PATIENCE) == 0
    requests = receiver.requests()
    answers = Counter(request["status"] for request in requests)
    assert len(receiver.changes()) == EVENTS
    assert EVENTS <= answers[200] <= 1.01 * EVENTS
    # A busy machine squeezes what has left evenly spaced. Twenty couriers with a pace each would be refused most.
    assert answers[429] < 0.05 * EVENTS
    assert set(answers) <= {200, 429}
    moments = sorted(float(request["received"]) for request in requests if request["status"] == 200)
    print(f"{EVENTS} events in {moments[-1] - moments[0]:.1f} s, {most_within(60, moments)} in a minute, {answers}")
    assert most_within(1, moments) <= PER_SECOND
    assert 0.9 * PER_MINUTE <= most_within(60, moments) <= PER_MINUTE


@pytest.mark.alone
def test_a_429_on_one_node_slows_all(
    start_writers: Callable[[int, int], list[subprocess.Popen[str]]], database: Database, receiver: Receiver
) -> None:
    writers = start_writers(8, 640)
    begin(writers)
    # Who has not reached the shared outbox in its first seconds delivers by itself.
    wait_until(lambda: database.rows("SELECT count(DISTINCT node) FROM flashduty.events") == [(8,)])
    receiver.faults.set("status", status=429, retry_after=4, times=1)
    wait_until(lambda: len(receiver.changes()) == 640)
    for writer in writers:
        assert writer.wait(PATIENCE) == 0
    requests = receiver.requests()
    slowed = next(float(request["received"]) for request in requests if request["status"] == 429)
    # What was under way when the answer came went out before anybody could know of it.
    meanwhile = [request for request in requests if slowed + 1 < float(request["received"]) < slowed + 4]
    assert meanwhile == []
