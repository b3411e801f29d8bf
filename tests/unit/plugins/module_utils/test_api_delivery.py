# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API client and the delivery against the receiver, through what networks and servers do to them."""

from __future__ import annotations

import random
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils import _api, _delivery
from ansible_collections.flashcat.flashduty.plugins.module_utils._api import Api, ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._delivery import Delivery, back_off
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import FILE_NAME
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_sending import Claim, SendingOutbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
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


@pytest.fixture
def api(connection: Connection) -> Iterator[Api]:
    opened = Api(connection)
    yield opened
    opened.close()


def event(key: str = "a", status: str = "Processing") -> ChangeEvent:
    values = {"change_key": key, "change_status": status, "title": "部署", "labels": {"host": "web1"}}
    return ChangeEvent.validated(values, time.time())


BODY = event().to_json()


def failure(api: Api, body: str = BODY, budget: float = PATIENCE) -> ApiError:
    with pytest.raises(ApiError) as caught:
        api.push(body, budget)
    assert KEY not in str(caught.value)
    assert quote(KEY, safe="") not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


# ---- the API


def test_an_event_arrives_as_it_was_sent(api: Api, receiver: Receiver) -> None:
    request_id = api.push(BODY, PATIENCE)
    (taken,) = receiver.events()
    assert (taken["request_id"], taken["body"]) == (request_id, event().to_dict())
    assert receiver.requests()[0]["user_agent"] == _api.USER_AGENT


def test_credentials_of_a_netrc_and_proxies_do_not_reach_this_machine(
    connection: Connection, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy")
    api = Api(connection)
    try:
        assert api.push(BODY, PATIENCE)
    finally:
        api.close()


def test_a_wrong_key_is_final_and_redacted(receiver: Receiver) -> None:
    wrong = "wr0ng/key'ü"
    api = Api(Connection(receiver.url, wrong))
    with pytest.raises(ApiError) as caught:
        api.push(BODY, PATIENCE)
    api.close()
    error = caught.value
    assert (error.retry, error.status, error.code) == (False, 400, "InvalidParameter")
    assert error.message == "InvalidParameter: integration_key ******** is not a valid one"
    assert error.request_id == receiver.requests()[0]["request_id"]


def test_a_refused_event_is_final(api: Api) -> None:
    error = failure(api, '{"change_status": "Done"}')
    assert (error.retry, error.status, error.code) == (False, 400, "InvalidParameter")
    assert "change_key is required" in error.message


def test_a_refused_connection_is_tried_again(api: Api, receiver: Receiver) -> None:
    receiver.faults.set("refuse", seconds=60)
    error = failure(api)
    assert (error.message, error.retry, error.status) == ("the connection was refused", True, None)
    receiver.faults.clear()
    assert api.push(BODY, PATIENCE)


@pytest.mark.parametrize(("kind", "taken"), [("hang", 0), ("drip", 1)])
@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "kept alive"])
def test_the_budget_ends_the_exchange_whatever_the_server_does(
    api: Api, receiver: Receiver, kind: str, taken: int, warm: bool
) -> None:
    if warm:
        api.push(BODY, PATIENCE)
        receiver.reset()
    # Each byte comes within the budget, the whole answer would take minutes.
    receiver.faults.set(kind, **({"seconds": 0.3} if kind == "drip" else {}))
    begun = time.monotonic()
    error = failure(api, budget=1.0)
    assert 0.95 < time.monotonic() - begun < 20
    assert (error.message, error.retry, error.status) == ("no answer within 1 s", True, None)
    receiver.wait_for(lambda: len(receiver.events()) == taken, PATIENCE)


def test_an_answer_that_cannot_be_read_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        api = Api(Connection(f"http://127.0.0.1:{listener.getsockname()[1]}", KEY))
        with ThreadPoolExecutor(1) as pool:
            pushed = pool.submit(failure, api)
            server, _address = listener.accept()
            with server:
                server.settimeout(PATIENCE)
                server.recv(65536)
                server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\nConnection: close\r\n\r\nhello")
                error = pushed.result(PATIENCE)
                while server.recv(65536):
                    pass
        api.close()
    assert error.retry


def test_the_deadline_of_one_exchange_does_not_end_the_next(api: Api, receiver: Receiver) -> None:
    receiver.faults.set("hang")
    failure(api, budget=0.2)
    receiver.faults.clear()
    receiver.faults.set("delay", seconds=0.4, times=1)
    assert api.push(BODY, PATIENCE)


@pytest.mark.parametrize(("kind", "taken"), [("lost_answer", 1), ("reset", 0)])
def test_a_lost_answer_is_tried_again(api: Api, receiver: Receiver, kind: str, taken: int) -> None:
    receiver.faults.set(kind, times=1)
    error = failure(api)
    assert (error.message, error.retry) == ("the connection broke before the answer came", True)
    assert len(receiver.events()) == taken
    assert len(receiver.requests()) == 1


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        (7, 7, 7),
        (None, None, None),
        ("soon", None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2065 07:28:00 GMT", 86400, 2e9),
    ],
)
def test_too_many_requests_tell_when_to_come_again(
    api: Api, receiver: Receiver, retry_after: int | str | None, least: float | None, most: float | None
) -> None:
    options = {} if retry_after is None else {"retry_after": retry_after}
    receiver.faults.set("status", status=429, **options)
    error = failure(api)
    assert (error.retry, error.status, error.code) == (True, 429, "RequestTooFrequently")
    if least is None or most is None:
        assert error.retry_after is None
    else:
        assert error.retry_after is not None
        assert least <= error.retry_after <= most


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (500, "InternalError", True),
        (503, "SomethingNew", True),
        (400, "SomethingNew", False),
        (400, "NoLicense", False),
        (401, "Unauthorized", False),
        (403, "AccessDenied", False),
        (404, "RouteNotFound", False),
        (429, "SomethingNew", True),
    ],
)
def test_what_flashduty_says_decides_about_trying_again(
    api: Api, receiver: Receiver, status: int, code: str, retry: bool
) -> None:
    receiver.faults.set("status", status=status, error_code=code, message=f"sorry {KEY}\n")
    error = failure(api)
    assert (error.retry, error.status, error.code) == (retry, status, code)
    assert error.message == f"{code}: sorry ********"
    assert error.request_id


@pytest.mark.parametrize(
    ("kind", "status"), [("html", 502), ("html", 404), ("portal", 200), ("empty", 200), ("redirect", 302)]
)
def test_an_answer_that_is_not_flashdutys_is_tried_again(api: Api, receiver: Receiver, kind: str, status: int) -> None:
    options: dict[str, int | str] = {"status": status} if kind == "html" else {}
    if kind == "redirect":
        options["location"] = f"https://user@portal.example/login?integration_key={quote(KEY)}"
    receiver.faults.set(kind, **options)
    error = failure(api)
    assert (error.retry, error.status, error.code) == (True, status, None)
    assert "check api_url" in error.message
    assert len(receiver.requests()) == 1
    assert ("portal.example" in error.message) == (kind == "redirect")


# ---- the delivery


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def put(folder: str, connection: Connection, *events: ChangeEvent) -> list[int]:
    with SendingOutbox(folder, durable=False) as outbox:
        integration = connection.integration_id(outbox.salt)
        return [outbox.put(integration, each).event_id for each in events]


def drain(folder: str, connection: Connection, patience: float = PATIENCE) -> None:
    with SendingOutbox(folder, durable=False) as outbox:
        integration = connection.integration_id(outbox.salt)
    with Delivery(folder, connection) as delivery:
        assert delivery.wait(lambda outbox: outbox.pending(integration) == 0, time.monotonic() + patience)


def arrived(receiver: Receiver, key: str) -> list[str]:
    return [each["change_status"] for each in receiver.events() if each["change_key"] == key]


def test_back_off_grows_to_a_minute() -> None:
    for failures, least in ((1, 1), (2, 2), (5, 16), (7, 60), (1000, 60)):
        assert least <= back_off(failures) <= least * 1.25


def test_each_change_arrives_in_order_and_once(receiver: Receiver, connection: Connection, folder: str) -> None:
    steps = ["Planned", "Ready", "Processing", "Done"]
    keys = [f"change {number}" for number in range(10)]
    put(folder, connection, *(event(key, status) for status in steps for key in keys))
    drain(folder, connection)
    assert {key: arrived(receiver, key) for key in keys} == dict.fromkeys(keys, steps)


def test_what_is_put_later_goes_when_woken(receiver: Receiver, connection: Connection, folder: str) -> None:
    SendingOutbox(folder).close()
    with Delivery(folder, connection) as delivery:
        for status in ("Processing", "Done"):
            (number,) = put(folder, connection, event(status=status))
            delivery.wake()
            assert delivery.wait(
                lambda outbox, number=number: outbox.outcome(number).state == "delivered",  # type: ignore[misc]
                time.monotonic() + PATIENCE,
            )
    assert arrived(receiver, "a") == ["Processing", "Done"]


def test_what_is_put_while_an_answer_is_awaited_does_not_wait_for_it(
    receiver: Receiver, connection: Connection, folder: str
) -> None:
    receiver.faults.set("hang", key="slow")
    put(folder, connection, event("slow"))
    with Delivery(folder, connection) as delivery:
        end = time.monotonic() + PATIENCE
        while not receiver.requests() and time.monotonic() < end:
            time.sleep(0.01)
        for key in ("b", "c"):
            (number,) = put(folder, connection, event(key))
            delivery.wake()
            assert delivery.wait(
                lambda outbox, number=number: outbox.outcome(number).state == "delivered",  # type: ignore[misc]
                end,
            )
        receiver.faults.clear()


def test_a_lost_answer_is_sent_again_before_what_follows(
    receiver: Receiver, connection: Connection, folder: str
) -> None:
    receiver.faults.set("lost_answer", times=1)
    put(folder, connection, event(), event(status="Done"))
    drain(folder, connection)
    assert arrived(receiver, "a") == ["Processing", "Processing", "Done"]
    assert len(receiver.changes()) == 1


def test_a_refused_event_does_not_hold_up_the_others(receiver: Receiver, connection: Connection, folder: str) -> None:
    receiver.faults.set("status", status=400, key="bad", times=1)
    first, second, other = put(folder, connection, event("bad"), event("bad", "Done"), event("good"))
    drain(folder, connection)
    with SendingOutbox(folder) as outbox:
        refused = outbox.outcome(first)
        assert (refused.state, refused.http_status, refused.error_code) == ("refused", 400, "InvalidParameter")
        assert [outbox.outcome(number).state for number in (second, other)] == ["delivered", "delivered"]


def test_an_event_that_flashduty_cannot_take_now_lets_the_others_pass(
    receiver: Receiver, connection: Connection, folder: str
) -> None:
    receiver.faults.set("status", status=500, key="bad", times=1)
    put(folder, connection, event("bad"), event("good"))
    drain(folder, connection)
    assert [each["change_key"] for each in receiver.events()] == ["good", "bad"]


def test_retry_after_is_kept_for_the_whole_integration(receiver: Receiver, connection: Connection, folder: str) -> None:
    receiver.faults.set("status", status=429, retry_after=2, times=1)
    put(folder, connection, event())
    drain(folder, connection)
    first, second = receiver.requests()
    assert second["received"] - first["received"] >= 2


def test_a_dead_receiver_leaves_everything_in_the_outbox(
    receiver: Receiver, connection: Connection, folder: str
) -> None:
    receiver.faults.set("refuse", seconds=60)
    (number,) = put(folder, connection, event())
    with SendingOutbox(folder) as outbox:
        integration = connection.integration_id(outbox.salt)
    with Delivery(folder, connection) as delivery:
        assert delivery.wait(lambda box: box.last_error(integration) is not None, time.monotonic() + PATIENCE)
        assert not delivery.wait(lambda box: box.pending(integration) == 0, time.monotonic())
    with SendingOutbox(folder) as outbox:
        assert (outbox.pending(integration), outbox.last_error(integration)) == (1, "the connection was refused")
        outbox.clear_pause(integration)
    receiver.faults.clear()
    drain(folder, connection)
    with SendingOutbox(folder) as outbox:
        assert outbox.outcome(number).state == "delivered"
        assert outbox.last_error(integration) is None


def test_whoever_failed_lets_others_try_first(
    receiver: Receiver, connection: Connection, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_delivery, "_PRECEDENCE", PATIENCE)
    mistyped = connection._replace(api_url="http://127.0.0.1:1")
    (number,) = put(folder, connection, event())
    with SendingOutbox(folder) as outbox:
        integration = connection.integration_id(outbox.salt)
    end = time.monotonic() + PATIENCE
    with Delivery(folder, mistyped) as failing:
        assert failing.wait(lambda box: box.last_error(integration) is not None, end)
        with Delivery(folder, connection) as delivery:
            assert delivery.wait(lambda box: box.outcome(number).state == "delivered", end)
    with closing(sqlite3.connect(Path(folder) / FILE_NAME)) as database:
        assert database.execute("SELECT tries FROM events").fetchall() == [(2,)]


def test_an_expiring_event_ends_its_own_try(receiver: Receiver, connection: Connection, folder: str) -> None:
    receiver.faults.set("hang")
    with SendingOutbox(folder) as outbox:
        integration = connection.integration_id(outbox.salt)
        number = outbox.put(integration, event(), expires_at=time.time() + 0.5).event_id
    begun = time.monotonic()
    with Delivery(folder, connection) as delivery:
        assert delivery.wait(lambda box: box.outcome(number).state == "expired", begun + PATIENCE)
    assert time.monotonic() - begun < connection.timeout


def test_the_outbox_file_never_holds_the_key(receiver: Receiver, connection: Connection, folder: str) -> None:
    receiver.faults.set("status", status=500, message=f"no {KEY}", times=1)
    secrets = [KEY.encode(), quote(KEY, safe="").encode()]
    # As long as the file is open, SQLite keeps its log, with all that was ever written.
    with SendingOutbox(folder):
        put(folder, connection, event())
        drain(folder, connection)
        kept = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        assert "部署".encode() in kept[f"{FILE_NAME}-wal"]
    assert [name for name, content in kept.items() if any(secret in content for secret in secrets)] == []


def test_a_sender_that_holds_a_claim_is_not_waited_for_beyond_its_death(
    receiver: Receiver, connection: Connection, folder: str
) -> None:
    put(folder, connection, event())
    with SendingOutbox(folder) as outbox:
        # Linux gives no such PID.
        gone = Process.of(1)._replace(pid=2**22 + 1)
        assert isinstance(outbox.claim(connection.integration_id(outbox.salt), gone, 3600), Claim)
    drain(folder, connection)
    assert arrived(receiver, "a") == ["Processing"]


def test_a_fast_clock_is_corrected_by_the_servers(receiver: Receiver, connection: Connection, folder: str) -> None:
    ahead = time.time() + 3600
    fields = {"change_key": "a", "title": "t", "change_status": "Processing"}
    plans = {"change_key": "b", "title": "t", "change_status": "Ready", "event_time": int(ahead)}
    put(
        folder,
        connection,
        ChangeEvent.validated({**fields, "event_time": int(ahead)}, ahead),
        ChangeEvent.validated({**fields, "change_status": "Done", "event_time": int(ahead) + 5}, ahead + 5),
        ChangeEvent.validated(plans, ahead),
    )
    drain(folder, connection)
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
    receiver: Receiver, connection: Connection, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_delivery, "_BACK_OFF_FIRST", 0.05)
    monkeypatch.setattr(_delivery, "_BACK_OFF_MOST", 0.4)
    chance = random.Random(3)
    hasty = connection._replace(timeout=0.5)
    begun = int(time.time()) - 10_000
    steps = ["Planned", "Ready", "Processing", "Done"]
    sent: dict[str, list[tuple[str, int]]] = {f"change {number}": [] for number in range(40)}
    left = [key for key in sent for _step in steps]
    chance.shuffle(left)
    deadline = time.monotonic() + 120
    SendingOutbox(folder).close()
    with Delivery(folder, hasty) as delivery:
        for number, key in enumerate(left):
            status = steps[len(sent[key])]
            fields = {"change_key": key, "change_status": status, "title": "t", "event_time": begun + number}
            put(folder, connection, ChangeEvent.validated(fields, time.time()))
            sent[key].append((status, begun + number))
            delivery.wake()
            if number % 8 == 0:
                receiver.faults.clear()
                kind, options = chance.choice(OUTAGES)
                receiver.faults.set(kind, **options)
            time.sleep(0.05)
        receiver.faults.clear()
        assert delivery.wait(lambda outbox: outbox.pending(connection.integration_id(outbox.salt)) == 0, deadline)
    received: dict[str, list[tuple[str, int]]] = {key: [] for key in sent}
    for each in receiver.events():
        moment = (each["change_status"], each["event_time"])
        # An event whose answer was lost comes again, before anything that follows it.
        if received[each["change_key"]][-1:] != [moment]:
            received[each["change_key"]].append(moment)
    assert received == sent
