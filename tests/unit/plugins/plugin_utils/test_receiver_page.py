# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind the receiver's page: its policy, its stream, the details of a change, and the ranking."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver import feed, server
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.correlation import Alert, rank
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.server import Receiver

PATIENCE = 20.0
EVENT = {"change_status": "Processing", "change_key": "C-1", "title": "deploy", "event_time": 1_700_000_000}


class Reply:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = dict(answer.headers)
        self.body = answer.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(receiver: Receiver, method: str, target: str, body: object = None, **headers: str) -> Reply:
    with closing(http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=PATIENCE)) as connection:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection.request(method, target, None if body is None else json.dumps(body), sent)
        return Reply(connection.getresponse())


def push(receiver: Receiver, key: str = "sandbox", **fields: Any) -> Reply:
    return ask(receiver, "POST", f"/event/push/change/standard?integration_key={key}", {**EVENT, **fields})


class Stream:
    """A page's stream, message by message."""

    def __init__(self, receiver: Receiver, last_event_id: str = "", after: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE)
        head = (
            f"GET /sandbox/stream?after={after} HTTP/1.1\r\nHost: 127.0.0.1\r\nLast-Event-ID: {last_event_id}\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self.reader = self.socket.makefile("rb")
        self.status = int(self.reader.readline().split()[1])
        self.headers = http.client.parse_headers(self.reader)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.reader.close()
        self.socket.close()

    def message(self) -> tuple[str, dict[str, Any]]:
        """The next message and its id, "" where it has none."""
        identity = ""
        for line in self.reader:
            name, _separator, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                identity = value
            if name == "data":
                return identity, json.loads(value)
        raise EOFError

    def settled(self) -> tuple[str, list[dict[str, Any]]]:
        """Everything up to the next message with an id: that id, and the messages."""
        messages = []
        while True:
            identity, message = self.message()
            messages.append(message)
            if identity:
                return identity, messages


def keys(messages: list[dict[str, Any]]) -> list[str]:
    return [change["change_key"] for message in messages for change in message["changes"]]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "r.db", per_second=None, per_minute=None) as running:
        yield running


# ---- the page


def test_the_page_may_run_its_own_script_and_style_and_nothing_else(receiver: Receiver) -> None:
    reply = ask(receiver, "GET", "/sandbox/?q=x")
    html = reply.body.decode()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; "))
    for name, element in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{element}[^>]*>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[name] == f"'sha256-{digest}'"
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert (policy["connect-src"], policy["require-trusted-types-for"]) == ("'self'", "'script'")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert receiver.requests() == []


def test_the_page_is_one_file_that_names_no_outside_address(receiver: Receiver) -> None:
    html = ask(receiver, "GET", "/sandbox/").body.decode()
    assert set(re.findall(r"https?://[^\s'\"`)]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "https://www.gnu.org/licenses/gpl-3.0.txt",
    }
    assert not re.search(r"<(link(?! rel=\"icon\" href=\"data:)|img|iframe|object|embed|script[^>]* src|base)\b", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function| on[a-z]+=\"", html)


def test_a_browser_at_the_root_is_led_to_the_page_and_a_client_is_not(receiver: Receiver) -> None:
    reply = ask(receiver, "GET", "/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (reply.status, reply.headers["Location"]) == (302, "/sandbox/")
    assert receiver.requests() == []
    assert ask(receiver, "GET", "/", Accept="*/*").status == 404
    assert ask(receiver, "POST", "/", {}, Accept="text/html").status == 404
    assert len(receiver.requests()) == 2


@pytest.mark.parametrize("target", ["/sandbox/", "/sandbox/stream", "/sandbox/change?change_id=x"])
def test_other_names_for_this_machine_see_nothing(receiver: Receiver, target: str) -> None:
    assert ask(receiver, "GET", target, Host="evil.example").status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_link_here_and_no_more(receiver: Receiver, site: str) -> None:
    assert ask(receiver, "GET", "/sandbox/", Sec_Fetch_Site=site).status == 200
    for method, target in (("GET", "stream"), ("GET", "changes"), ("DELETE", "changes"), ("POST", "correlate")):
        assert ask(receiver, method, f"/sandbox/{target}", {}, Sec_Fetch_Site=site).status == 403
    assert ask(receiver, "GET", "/sandbox/changes", Sec_Fetch_Site="none").status == 200


# ---- the stream


def test_a_reader_gets_everything_first_and_then_what_is_new(receiver: Receiver) -> None:
    push(receiver, change_key="old")
    push(receiver, change_key="young", event_time=EVENT["event_time"] + 1)  # type: ignore[operator]
    with Stream(receiver) as stream:
        assert (stream.status, stream.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        _identity, messages = stream.settled()
        assert messages[0]["reset"] is True
        assert keys(messages) == ["young", "old"]
        assert messages[-1]["complete"] is True
        push(receiver, change_key="old", change_status="Done")
        _identity, messages = stream.settled()
        assert keys(messages) == ["old"]
        assert messages[0]["changes"][0]["change_status"] == "Done"
        assert "events" not in messages[0]["changes"][0]
        assert messages[0]["reset"] is False


@pytest.mark.parametrize("way", ["last_event_id", "after"])
def test_a_reader_that_comes_back_gets_the_rest_only(receiver: Receiver, way: str) -> None:
    push(receiver, change_key="before")
    with Stream(receiver) as stream:
        identity, _messages = stream.settled()
    push(receiver, change_key="meanwhile")
    with Stream(receiver, **{way: identity}) as stream:
        later, messages = stream.settled()
        assert keys(messages) == ["meanwhile"]
    assert later != identity


@pytest.mark.parametrize("identity", ["nonsense", "-1", "0-", "gone-7", "é-1", "a-\u0662"])
def test_a_reader_with_an_id_that_means_nothing_starts_anew(receiver: Receiver, identity: str) -> None:
    push(receiver)
    with Stream(receiver, last_event_id=identity) as stream:
        messages = stream.settled()[1]
        assert [message["reset"] for message in messages].count(True) == 1
        assert set(keys(messages)) == {"C-1"}


def test_a_reader_hears_when_everything_is_forgotten(receiver: Receiver) -> None:
    push(receiver)
    with Stream(receiver) as stream:
        stream.settled()
        receiver.reset()
        messages = stream.settled()[1]
        assert messages[0]["reset"] is True
        assert keys(messages) == []
        push(receiver, change_key="next")
        assert keys(stream.settled()[1]) == ["next"]


def test_many_changes_come_in_pieces_and_none_is_missing(receiver: Receiver) -> None:
    # The same second for all: pages must not lose a change at their edges.
    count = feed.FIRST_PIECE + feed.PIECE + 7
    for number in range(count):
        push(receiver, change_key=f"C-{number}")
    with Stream(receiver) as stream:
        identity, messages = stream.settled()
        assert len(messages[0]["changes"]) == feed.FIRST_PIECE
        assert sorted(keys(messages)) == sorted(f"C-{number}" for number in range(count))
        assert [message["complete"] for message in messages if message["changes"]].count(True) == 1
    generation, _dash, _number = identity.partition("-")
    with Stream(receiver, last_event_id=f"{generation}-0") as stream:
        messages = stream.settled()[1]
        assert keys(messages) == [f"C-{number}" for number in range(count)]


def test_a_burst_is_told_in_few_messages(receiver: Receiver) -> None:
    with Stream(receiver) as stream:
        stream.settled()
        began = time.monotonic()
        for number in range(200):
            push(receiver, change_key=f"C-{number}")
        told: list[str] = []
        count = 0
        while len(set(told)) < 200:
            told += keys([stream.message()[1]])
            count += 1
        assert count <= (time.monotonic() - began) / feed.PAUSE_SECONDS + 2


def test_a_reader_that_does_not_read_delays_nobody(receiver: Receiver) -> None:
    for number in range(40):
        push(receiver, change_key=f"C-{number}", labels={f"l{index}": "x" * 2000 for index in range(50)})
    with Stream(receiver) as idle, Stream(receiver) as other:
        idle.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        other.settled()
        began = time.monotonic()
        for _attempt in range(20):
            assert push(receiver, change_key="next").status == 200
        assert time.monotonic() - began < PATIENCE / 2
        assert "next" in keys(other.settled()[1])


def test_streams_are_bounded_and_one_that_ends_makes_room(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "READERS", 2)
    with ExitStack() as stack:
        first, second = (stack.enter_context(Stream(receiver)) for _number in range(2))
        first.settled()
        second.settled()
        with Stream(receiver) as third:
            assert third.status == 503
        first.__exit__()
        deadline = time.monotonic() + PATIENCE
        while True:
            with Stream(receiver) as again:
                if again.status == 200:
                    break
            assert time.monotonic() < deadline


def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLOSE_SECONDS", 3 * PATIENCE)
    receiver = Receiver(tmp_path / "r.db").start()
    with Stream(receiver) as stream:
        stream.settled()
        began = time.monotonic()
        receiver.close()
        assert time.monotonic() - began < PATIENCE
        with pytest.raises(EOFError):
            stream.message()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("receiver-")]


def test_a_quiet_stream_says_that_it_is_alive(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "KEEPALIVE_SECONDS", 0.05)
    with Stream(receiver) as stream:
        stream.settled()
        stream.reader.readline()
        assert stream.reader.readline().startswith(b":")


# ---- what is shown of a change


def details(receiver: Receiver, key: str = "C-1") -> Any:
    (change,) = [change for change in receiver.changes() if change["change_key"] == key]
    reply = ask(receiver, "GET", f"/sandbox/change?change_id={change['change_id']}")
    assert reply.status == 200
    return reply.json


def test_a_change_shows_its_events_and_refusals_in_order_of_arrival(receiver: Receiver) -> None:
    taken = push(receiver).json["request_id"]
    refused = push(receiver, title="").json["request_id"]
    receiver.faults.set("status", status=500, times=1)
    push(receiver)
    push(receiver, change_status="Done", event_time=1_700_000_009)
    shown = details(receiver)
    assert [(arrival["verdict"], arrival["status"]) for arrival in shown["arrivals"]] == [
        ("accepted", 200),
        ("InvalidParameter", 400),
        ("fault", 500),
        ("accepted", 200),
    ]
    first, second = shown["arrivals"][:2]
    assert (first["request_id"], second["request_id"]) == (taken, refused)
    assert json.loads(first["body"]) == EVENT
    assert (first["event_time"], second["event_time"]) == (1_700_000_000, None)
    assert second["message"] == "title must not be empty"
    assert (shown["change"]["event_count"], shown["change"]["refused_count"], shown["omitted"]) == (2, 2, 0)


def test_a_refusal_that_came_before_the_change_belongs_to_it_too(receiver: Receiver) -> None:
    push(receiver, title="")
    push(receiver, key="wrong")
    with Stream(receiver) as stream:
        assert stream.settled()[1][-1]["stray_count"] == 2
        push(receiver)
        message = stream.settled()[1][-1]
        assert (message["stray_count"], message["strays"]) == (0, [])
        assert message["changes"][0]["refused_count"] == 2
    assert [arrival["status"] for arrival in details(receiver)["arrivals"]] == [400, 400, 200]


def test_a_refusal_of_another_integration_belongs_to_no_change_of_this_one(tmp_path: Path) -> None:
    with Receiver(tmp_path / "r.db", ["a", "b"]) as receiver:
        push(receiver, "a")
        push(receiver, "b", title="")
        assert details(receiver)["change"]["refused_count"] == 0
        push(receiver, "b")
        assert sorted(change["refused_count"] for change in receiver._store.newest(None, 9)) == [0, 1]


def test_a_refused_request_without_a_change_can_be_read(receiver: Receiver) -> None:
    push(receiver, change_key="", title="é")
    ask(receiver, "POST", "/nowhere?integration_key=secret", {"change_key": "\ud800"})
    with Stream(receiver) as stream:
        strays = stream.settled()[1][-1]["strays"]
    assert [(stray["path"], stray["verdict"], stray["body"]) for stray in strays] == [
        ("/nowhere", "RouteNotFound", ""),
        ("/event/push/change/standard", "InvalidParameter", ""),
    ]
    found = ask(receiver, "GET", f"/sandbox/request?number={strays[1]['number']}").json
    assert json.loads(found["body"])["title"] == "é"
    assert "secret" not in json.dumps(strays)


@pytest.mark.parametrize(
    "target", ["change?change_id=none", "change", "request?number=9", "request?number=x", "request"]
)
def test_what_is_not_there_is_not_found(receiver: Receiver, target: str) -> None:
    assert ask(receiver, "GET", f"/sandbox/{target}").status == 404


def test_a_long_body_and_a_long_history_are_cut_and_said_so(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = "ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.server"
    monkeypatch.setattr(f"{server}.BODY_CHARACTERS", 30)
    monkeypatch.setattr(f"{server}.ARRIVALS", 2)
    for _attempt in range(3):
        push(receiver)
    shown = details(receiver)
    assert (len(shown["arrivals"]), shown["omitted"]) == (2, 1)
    assert (len(shown["arrivals"][0]["body"]), shown["arrivals"][0]["body_characters"]) == (30, len(json.dumps(EVENT)))


# ---- try correlation


def change(
    key: str, labels: dict[str, str], start: int = 1000, last: int = 1000, status: str = "Done"
) -> dict[str, Any]:
    return {"change_key": key, "labels": labels, "start_time": start, "last_time": last, "change_status": status}


def ranked(changes: list[dict[str, Any]], labels: dict[str, str], time: int = 1000, window: int = 10**6) -> list[str]:
    return [match.change["change_key"] for match in rank(changes, Alert(labels, time), window).matches]


def test_more_shared_labels_come_first_then_the_closer_change() -> None:
    both, one = {"service": "a", "env": "prod"}, {"service": "a", "env": "test"}
    changes = [
        change("far", both, 100, 200),
        change("one", one, 990, 1000),
        change("near", both, 800, 900),
        change("none", {"service": "b"}, 1000, 1000),
        change("open long", both, 1, 500, "Processing"),
        change("just begun", both, 950, 950, "Processing"),
    ]
    assert ranked(changes, both) == ["just begun", "open long", "near", "far", "one"]


def test_a_change_after_the_alert_and_one_outside_the_window() -> None:
    labels = {"host": "a"}
    changes = [
        change("after", labels, 1100, 1200),
        change("before", labels, 700, 800),
        change("long ago", labels, 1, 2),
    ]
    ranking = rank(changes, Alert(labels, 1000), 500)
    assert [(match.change["change_key"], match.moment, match.gap) for match in ranking.matches] == [
        ("after", "after", 100),
        ("before", "before", 200),
    ]


def test_labels_are_shared_when_they_are_equal_to_the_letter() -> None:
    labels = {"host": "web1,web2", "env": "Prod", "team": "a", "region": "cn"}
    (match,) = rank(
        [change("c", labels)], Alert({"host": "web2", "env": "prod", "team": "b", "region": "cn", "x": "y"}, 1000), 9
    ).matches
    assert match.shared == ("region",)
    assert [(item.key, item.resemblance) for item in match.differences] == [
        ("env", "case"),
        ("host", "listed"),
        ("team", "other"),
    ]


def test_a_change_that_only_nearly_shares_a_label_is_told_apart() -> None:
    changes = [change("list", {"host": "a, b"}), change("case", {"host": "B "}), change("other", {"host": "bb"})]
    ranking = rank(changes, Alert({"host": "b"}, 1000), 9)
    assert ranking.matches == []
    assert sorted(match.change["change_key"] for match in ranking.near_misses) == ["case", "list"]


labels_of = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2", "1,2"]))


@given(
    st.lists(st.tuples(labels_of, st.integers(0, 100), st.integers(0, 100), st.sampled_from(["Done", "Processing"]))),
    labels_of,
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_the_ranking_keeps_its_promises(
    given_changes: list[tuple[dict[str, str], int, int, str]], labels: dict[str, str], time: int, window: int
) -> None:
    changes = [
        change(str(number), own, start, start + length, status)
        for number, (own, start, length, status) in enumerate(given_changes)
    ]
    ranking = rank(changes, Alert(labels, time), window)
    ranks = [(-len(match.shared), match.gap) for match in ranking.matches]
    assert ranks == sorted(ranks)
    assert all(match.gap <= window for match in (*ranking.matches, *ranking.near_misses))
    brought = {match.change["change_key"] for match in ranking.matches}
    for item in changes:
        shares = bool(item["labels"].items() & labels.items())
        in_reach = item["start_time"] - window <= time and (
            item["change_status"] == "Processing" or time <= item["last_time"] + window
        )
        assert (item["change_key"] in brought) == (shares and in_reach)


def test_correlation_over_http(receiver: Receiver) -> None:
    push(receiver, labels={"service": "a", "host": "x,y"}, change_status="Done")
    push(receiver, change_key="C-2", labels={"host": "x,y"}, event_time=1_700_000_100)
    push(receiver, change_key="C-3", labels={"service": "a"}, event_time=1_600_000_000, change_status="Done")
    alert = {"labels": {"service": "a", "host": "y"}, "time": 1_700_000_060, "window": 3600}
    found = ask(receiver, "POST", "/sandbox/correlate", alert).json
    assert found["considered"] == 2
    ((match,), (near,)) = found["matches"]["items"], found["near_misses"]["items"]
    assert (match["change"]["change_key"], match["shared"], match["moment"], match["gap"]) == (
        "C-1",
        ["service"],
        "before",
        60,
    )
    assert (near["change"]["change_key"], near["moment"]) == ("C-2", "after")
    assert ask(receiver, "POST", "/sandbox/correlate", {"labels": {}}).json["matches"]["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"labels": []},
        {"labels": {"a": 1}},
        {"labels": {}, "time": "now"},
        {"labels": {}, "window": -1},
        {"labels": {}, "x": 1},
    ],
)
def test_a_question_that_makes_no_sense_is_refused(receiver: Receiver, body: object) -> None:
    reply = ask(receiver, "POST", "/sandbox/correlate", body)
    assert (reply.status, reply.json["error"]["code"]) == (400, "InvalidParameter")
