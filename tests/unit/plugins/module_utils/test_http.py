# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API client against the receiver, through what networks and servers do to it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils import _http
from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api
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
    assert receiver.requests()[0]["user_agent"] == _http.USER_AGENT


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
    assert (error.message, error.retry) == ("the connection was closed before an answer arrived", True)
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


# ---- hostile peers


def served(answer: bytes, byte_by_byte: float = 0.0) -> Iterator[str]:
    """The address of a server that answers each connection this, a byte each so many seconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve() -> None:
            peer, _address = listener.accept()
            with peer, suppress(OSError):
                peer.recv(65536)
                for part in [answer[i : i + 1] for i in range(len(answer))] if byte_by_byte else [answer]:
                    peer.sendall(part)
                    time.sleep(byte_by_byte)

        pool.submit(serve)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def served_by() -> Iterator[Callable[..., str]]:
    with ExitStack() as running:
        yield lambda *arguments: running.enter_context(contextmanager(served)(*arguments))


def test_a_status_line_without_end_costs_next_to_nothing(served_by: Callable[..., str]) -> None:
    address = served_by(b"HTTP/1.1 " + b"x" * 60_000 + b"\r\n\r\n")
    api = Api(Connection(f"http://{address}", KEY))
    begun = time.process_time()
    error = failure(api)
    assert time.process_time() - begun < 3
    assert (error.retry, error.message.startswith("no answer: ")) == (True, True)
    api.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_drips_its_answer_gets_the_budget_and_no_more(
    served_by: Callable[..., str], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy = served_by(b"HTTP/1.1 200 OK" + b"x" * 10_000, 0.1)
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{proxy}")
    api = Api(Connection(f"{scheme}://fd.invalid", KEY, timeout=PATIENCE))
    begun = time.monotonic()
    error = failure(api, budget=1.0)
    assert time.monotonic() - begun < 10
    assert error.message == "no answer within 1 s"
    api.close()


def test_a_server_that_drips_its_handshake_gets_the_budget_and_no_more(served_by: Callable[..., str]) -> None:
    # A record that announces 16,000 bytes.
    address = served_by(b"\x16\x03\x03\x3e\x80\x02\x00\x3e\x7c" + b"\x00" * 10_000, 0.1)
    api = Api(Connection(f"https://{address}", KEY))
    begun = time.monotonic()
    error = failure(api, budget=1.0)
    assert time.monotonic() - begun < 10
    assert error.message == "no answer within 1 s"
    api.close()


def test_a_key_that_is_echoed_in_pieces_is_redacted(api: Api, receiver: Receiver) -> None:
    receiver.faults.set("status", status=400, error_code="InvalidParameter", message=f"{KEY[:4]}\u2028{KEY[4:]}")
    assert KEY[4:] not in failure(api).message


def test_without_a_thread_for_its_deadline_nothing_is_sent(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Timer, "start", start)
        error = failure(api)
    assert (error.retry, "no thread" in error.message) == (True, True)
    assert receiver.requests() == []
    assert api.push(BODY, PATIENCE)
