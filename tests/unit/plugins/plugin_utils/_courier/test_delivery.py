# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery against the receiver, through what networks, servers and clocks do to it."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from outboxes import claimed_by, outcome

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import delivery, exchange
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.delivery import Delivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.exchange import back_off
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import FILE_NAME
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from flashduty_sandbox.receiver import Receiver

KEY = "k3y/of+this 'one'\"ü"
PATIENCE = 20.0


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver.db", [KEY]) as running:
        yield running


@pytest.fixture
def connection(receiver: Receiver) -> Connection:
    return Connection(receiver.url, KEY, timeout=PATIENCE)


def event(key: str = "a", status: str = "Processing") -> ChangeEvent:
    values = {"change_key": key, "change_status": status, "title": "部署", "labels": {"host": "web1"}}
    return ChangeEvent.validated(values, time.time())


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@pytest.fixture
def store(folder: str, connection: Connection) -> Store:
    return Store(folder, connection)


def put(store: Store, *events: ChangeEvent) -> list[str]:
    return store.do(lambda outbox: [outbox.put(each).uid for each in events])


def waited(store: Store, done: Callable[[Outbox], bool], deadline: float) -> bool:
    """Wait until ``done`` says so of the outbox, or the deadline by ``time.monotonic()``."""
    with store.opened() as outbox:
        while not done(outbox):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def drain(store: Store, connection: Connection) -> None:
    with Delivery(store):
        deadline = time.monotonic() + PATIENCE
        assert waited(store, lambda outbox: outbox.events.pending() == 0, deadline)


def arrived(receiver: Receiver, key: str) -> list[str]:
    return [each["change_status"] for each in receiver.events() if each["change_key"] == key]


def test_back_off_grows_to_a_minute() -> None:
    for failures, least in ((1, 1), (2, 2), (5, 16), (7, 60), (1000, 60)):
        assert least <= back_off(failures) <= least * 1.25


def test_each_change_arrives_in_order_and_once(receiver: Receiver, connection: Connection, store: Store) -> None:
    steps = ["Planned", "Ready", "Processing", "Done"]
    keys = [f"change {number}" for number in range(10)]
    put(store, *(event(key, status) for status in steps for key in keys))
    drain(store, connection)
    assert {key: arrived(receiver, key) for key in keys} == dict.fromkeys(keys, steps)


def test_what_is_put_later_goes_when_woken(receiver: Receiver, connection: Connection, store: Store) -> None:
    Outbox(store.configured, connection).close()
    with Delivery(store) as running:
        for status in ("Processing", "Done"):
            (uid,) = put(store, event(status=status))
            running.wake()
            assert waited(
                store,
                lambda outbox, uid=uid: outcome(outbox, uid).state == "delivered",  # type: ignore[misc]
                time.monotonic() + PATIENCE,
            )
    assert arrived(receiver, "a") == ["Processing", "Done"]


def test_what_is_put_while_an_answer_is_awaited_does_not_wait_for_it(
    receiver: Receiver, connection: Connection, store: Store
) -> None:
    receiver.faults.set("hang", key="slow")
    put(store, event("slow"))
    with Delivery(store) as running:
        end = time.monotonic() + PATIENCE
        while not receiver.requests() and time.monotonic() < end:
            time.sleep(0.01)
        for key in ("b", "c"):
            (uid,) = put(store, event(key))
            running.wake()
            assert waited(
                store,
                lambda outbox, uid=uid: outcome(outbox, uid).state == "delivered",  # type: ignore[misc]
                end,
            )
        receiver.faults.clear()


def test_a_lost_answer_is_sent_again_before_what_follows(
    receiver: Receiver, connection: Connection, store: Store
) -> None:
    receiver.faults.set("lost_answer", times=1)
    put(store, event(), event(status="Done"))
    drain(store, connection)
    assert arrived(receiver, "a") == ["Processing", "Processing", "Done"]
    assert len(receiver.changes()) == 1


def test_a_refused_event_does_not_hold_up_the_others(receiver: Receiver, connection: Connection, store: Store) -> None:
    receiver.faults.set("status", status=400, key="bad", times=1)
    first, second, other = put(store, event("bad"), event("bad", "Done"), event("good"))
    drain(store, connection)
    with Outbox(store.configured, connection) as outbox:
        refused = outcome(outbox, first)
        assert (refused.state, refused.http_status, refused.error_code) == ("refused", 400, "InvalidParameter")
        assert [outcome(outbox, uid).state for uid in (second, other)] == ["delivered", "delivered"]


def test_an_event_that_flashduty_cannot_take_now_lets_the_others_pass(
    receiver: Receiver, connection: Connection, store: Store
) -> None:
    receiver.faults.set("status", status=500, key="bad", times=1)
    put(store, event("bad"), event("good"))
    drain(store, connection)
    assert [each["change_key"] for each in receiver.events()] == ["good", "bad"]


def test_retry_after_is_kept_for_the_whole_integration(
    receiver: Receiver, connection: Connection, store: Store
) -> None:
    receiver.faults.set("status", status=429, retry_after=2, times=1)
    put(store, event())
    drain(store, connection)
    first, second = receiver.requests()
    assert second["received"] - first["received"] >= 2


def test_a_dead_receiver_leaves_everything_in_the_outbox(
    receiver: Receiver, connection: Connection, store: Store
) -> None:
    receiver.faults.set("refuse", seconds=60)
    (uid,) = put(store, event())
    with Delivery(store):
        assert waited(store, lambda box: box.claims.pause.error is not None, time.monotonic() + PATIENCE)
        assert not waited(store, lambda box: box.events.pending() == 0, time.monotonic())
    with Outbox(store.configured, connection) as outbox:
        assert (outbox.events.pending(), outbox.claims.pause.error) == (
            1,
            "the connection was refused",
        )
        outbox.claims.clear_pause()
    receiver.faults.clear()
    drain(store, connection)
    with Outbox(store.configured, connection) as outbox:
        assert outcome(outbox, uid).state == "delivered"
        assert outbox.claims.pause.error is None


def test_whoever_failed_lets_others_try_first(
    receiver: Receiver, connection: Connection, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_PRECEDENCE", PATIENCE)
    mistyped = connection._replace(api_url="http://127.0.0.1:1")
    (uid,) = put(store, event())
    end = time.monotonic() + PATIENCE
    with Delivery(Store(store.configured, mistyped)):
        assert waited(store, lambda box: box.claims.pause.error is not None, end)
        with Delivery(store):
            assert waited(store, lambda box: outcome(box, uid).state == "delivered", end)
    with closing(sqlite3.connect(Path(store.configured) / FILE_NAME)) as database:
        assert database.execute("SELECT tries FROM events").fetchall() == [(2,)]


def test_an_expiring_event_ends_its_own_try(receiver: Receiver, connection: Connection, store: Store) -> None:
    receiver.faults.set("hang")
    with Outbox(store.configured, connection) as outbox:
        uid = outbox.put(event(), expires_at=time.time() + 0.5).uid
    begun = time.monotonic()
    with Delivery(store):
        assert waited(store, lambda box: outcome(box, uid).state == "expired", begun + PATIENCE)
    assert time.monotonic() - begun < connection.timeout


def test_the_outbox_file_never_holds_the_key(receiver: Receiver, connection: Connection, store: Store) -> None:
    receiver.faults.set("status", status=500, message=f"no {KEY}", times=1)
    secrets = [KEY.encode(), quote(KEY, safe="").encode()]
    # As long as the file is open, SQLite keeps its log, with all that was ever written.
    with Outbox(store.configured, connection):
        put(store, event())
        drain(store, connection)
        kept = {path.name: path.read_bytes() for path in Path(store.configured).iterdir()}
        assert "部署".encode() in kept[f"{FILE_NAME}-wal"]
    assert [name for name, content in kept.items() if any(secret in content for secret in secrets)] == []


def test_a_sender_that_holds_a_claim_is_not_waited_for_beyond_its_death(
    receiver: Receiver, connection: Connection, store: Store
) -> None:
    put(store, event())
    with Outbox(store.configured, connection) as outbox:
        # Linux gives no such PID.
        gone = Process.of(1)._replace(pid=2**22 + 1)
        claimed_by(gone, outbox)
    drain(store, connection)
    assert arrived(receiver, "a") == ["Processing"]


def test_a_fast_clock_is_corrected_by_the_servers(receiver: Receiver, connection: Connection, store: Store) -> None:
    ahead = time.time() + 3600
    fields = {"change_key": "a", "title": "t", "change_status": "Processing"}
    plans = {"change_key": "b", "title": "t", "change_status": "Ready", "event_time": int(ahead)}
    put(
        store,
        ChangeEvent.validated({**fields, "event_time": int(ahead)}, ahead),
        ChangeEvent.validated({**fields, "change_status": "Done", "event_time": int(ahead) + 5}, ahead + 5),
        ChangeEvent.validated(plans, ahead),
    )
    drain(store, connection)
    assert arrived(receiver, "a") == ["Processing", "Done"]
    times = {each["change_key"]: each["event_time"] for each in receiver.events()}
    assert abs(times["a"] - time.time()) < 60
    assert times["b"] == int(ahead)


OUTAGES: list[tuple[str, dict[str, Any]]] = [
    ("refuse", {"seconds": 0.3}),
    ("reset", {}),
    ("hang", {}),
    ("delay", {"seconds": 0.2}),
    ("drip", {"seconds": 0.4}),
    ("lost_answer", {}),
    ("status", {"status": 500}),
    ("status", {"status": 503}),
    ("status", {"status": 429}),
    ("status", {"status": 429, "retry_after": 0}),
    ("html", {}),
    ("portal", {}),
    ("empty", {}),
    ("redirect", {"location": "http://elsewhere.example/"}),
]


def test_nothing_is_lost_while_faults_come_and_go(
    receiver: Receiver, connection: Connection, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_BACK_OFF_FIRST", 0.05)
    monkeypatch.setattr(exchange, "_BACK_OFF_MOST", 0.4)
    chance = random.Random(3)
    hasty = connection._replace(timeout=0.5)
    begun = int(time.time()) - 10_000
    steps = ["Planned", "Ready", "Processing", "Done"]
    sent: dict[str, list[tuple[str, int]]] = {f"change {number}": [] for number in range(20)}
    left = [key for key in sent for _step in steps]
    chance.shuffle(left)
    deadline = time.monotonic() + 120
    Outbox(store.configured, connection).close()
    with Delivery(Store(store.configured, hasty)) as running:
        for number, key in enumerate(left):
            status = steps[len(sent[key])]
            fields = {"change_key": key, "change_status": status, "title": "t", "event_time": begun + number}
            put(store, ChangeEvent.validated(fields, time.time()))
            sent[key].append((status, begun + number))
            running.wake()
            if number % 8 == 0:
                receiver.faults.clear()
                kind, options = chance.choice(OUTAGES)
                receiver.faults.set(kind, **options)
            time.sleep(0.05)
        receiver.faults.clear()
        assert waited(store, lambda outbox: outbox.events.pending() == 0, deadline)
    received: dict[str, list[tuple[str, int]]] = {key: [] for key in sent}
    for each in receiver.events():
        moment = (each["change_status"], each["event_time"])
        # An event whose answer was lost comes again, before anything that follows it.
        if received[each["change_key"]][-1:] != [moment]:
            received[each["change_key"]].append(moment)
    assert received == sent
