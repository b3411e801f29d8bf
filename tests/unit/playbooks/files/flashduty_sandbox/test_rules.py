# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A push keeps to the letter of the specification, or is refused as it says."""

from __future__ import annotations

import contextlib
import json
import re
import time
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_client import (
    APP,
    EVENT,
    KEY,
    ask,
    raw_ask,
    taken,
)

from flashduty_sandbox import rules
from flashduty_sandbox.receiver import Receiver

NO_STRINGS: list[Any] = [None, 1, True, ["x"], {"x": "y"}]
NO_OBJECTS: list[Any] = [None, "a=b", ["a"], 1, False]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in EVENT.items() if key != name}


def raw_event(**texts: str) -> bytes:
    """A body whose field values are given as JSON text."""
    fields = {key: json.dumps(value) for key, value in EVENT.items()} | texts
    return ("{" + ", ".join(f'"{key}": {text}' for key, text in fields.items()) + "}").encode()


def test_an_event_as_in_the_specification_is_taken(receiver: Receiver) -> None:
    body = {
        "change_status": "Done",
        "change_key": "CHANGE-002",
        "description": "进度100%",
        "title": "双12活动",
        "labels": {"service": "flashcat", "cluster": "nj"},
        "link": "http://jira.flashcat.cloud/CHANGE-001",
    }
    before = int(time.time())
    reply = ask(receiver.push_url(KEY), body)
    assert reply.status == 200
    assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
    assert reply.headers["Content-Type"] == "application/json"
    (event,) = receiver.events()
    assert event["body"] == body
    assert event["request_id"] == reply.json["request_id"]
    assert before <= event["event_time"] <= time.time()


@pytest.mark.parametrize(
    ("body", "about"),
    [
        *[(without(name), f"{name} is required") for name in rules.REQUIRED_FIELDS],
        *[({**EVENT, name: ""}, f"{name} must not be empty") for name in rules.REQUIRED_FIELDS],
        *[
            ({**EVENT, name: value}, f"{name} must be a string")
            for name in (*rules.REQUIRED_FIELDS, "description", "link")
            for value in NO_STRINGS
        ],
        *[
            ({**EVENT, "change_status": status}, "change_status must be one of")
            for status in ("done", "DONE", " Done", "Cancelled", "Failed")
        ],
        *[
            ({**EVENT, "event_time": value}, "event_time must be an integer")
            for value in (None, "1700000000", 1.5, True, False, [1])
        ],
        (raw_event(event_time="1700000000.0"), "event_time must be an integer"),
        (raw_event(event_time="17e8"), "event_time must be an integer"),
        *[({**EVENT, "event_time": value}, "event_time must be between") for value in (0, -1, 2**63)],
        ({**EVENT, "event_time": 1_700_000_000_000}, "lies in the future"),
        ({**EVENT, "change_status": "Planned", "event_time": 4_000_000_000}, "lies in the future"),
        ({**EVENT, "description": "x" * 2049}, "2049 characters"),
        ({**EVENT, "description": "\U0001f600" * 2049}, "2049 characters"),
        *[({**EVENT, "labels": value}, "labels must be an object") for value in NO_OBJECTS],
        *[({**EVENT, "labels": {"a": value}}, "the value of label 'a' must be a string") for value in NO_STRINGS],
        ({**EVENT, "labels": {str(number): "x" for number in range(51)}}, "51 entries"),
        ({**EVENT, "labels": {"": "x"}}, "0 characters"),
        ({**EVENT, "labels": {"k" * 129: "x"}}, "129 characters"),
        ({**EVENT, "labels": {"键" * 129: "x"}}, "129 characters"),
        ({**EVENT, "severity": "x"}, "'severity' is not a known parameter"),
        ({**EVENT, "integration_key": KEY}, "'integration_key' is not a known parameter"),
        (raw_event(title=r'"\ud800"'), "title is not valid Unicode"),
        (raw_event(change_key=r'"a\udfffb"'), "change_key is not valid Unicode"),
        (raw_event(labels=r'{"\ud800": "x"}'), "a label key is not valid Unicode"),
        (raw_event(labels=r'{"a": "\udc00\ud800"}'), "the value of label 'a' is not valid Unicode"),
        (raw_event(event_time="NaN"), "not valid JSON"),
        (raw_event(event_time="-Infinity"), "not valid JSON"),
        (raw_event(event_time="9" * 5000), "must be between|not valid JSON"),
        (b'{"title": "a", "title": "a"}', "more than once"),
        (raw_event(labels='{"a": "1", "a": "1"}'), "more than once"),
        (raw_event(title='"a\nb"'), "not valid JSON"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"{'title': 'x'}", "not valid JSON"),
        (b"\xef\xbb\xbf" + raw_event(), "not valid JSON"),
        (raw_event(title='"\xff"').decode().encode("latin-1"), "not UTF-8"),
        (json.dumps(EVENT).encode("utf-16"), "not UTF-8"),
        *[(text, "must be a JSON object") for text in (b"[]", b"null", b'"x"', b"1", b"true")],
    ],
)
def test_a_body_against_the_rules_is_an_invalid_parameter(receiver: Receiver, body: object, about: str) -> None:
    reply = ask(receiver.push_url(KEY), body)
    assert reply.verdict == (400, "InvalidParameter")
    assert re.search(about, reply.message), reply.message
    assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
    assert receiver.events() == []
    (request,) = receiver.requests()
    assert (request["verdict"], request["request_id"]) == ("InvalidParameter", reply.json["request_id"])


@pytest.mark.parametrize(
    "fields",
    [
        *[{"change_status": status} for status in rules.CHANGE_STATUSES],
        {"event_time": 1},
        {"change_status": "Ready", "event_time": 4_000_000_000},
        {"change_status": "Ready", "event_time": 2**63 - 1},
        {"description": "x" * 2048},
        {"description": "\U0001f600" * 2048},
        {"description": "", "link": "", "labels": {}},
        {"labels": {str(number): "x" for number in range(50)}},
        {"labels": {"k" * 128: "x"}},
        {"labels": {"键" * 128: "值" * 5000, "empty": ""}},
        {"title": "a\u0000b\n\u2028\U0001f600", "change_key": " "},
        {"link": "not an address"},
    ],
)
def test_a_body_at_the_limits_is_taken_as_it_is(receiver: Receiver, fields: dict[str, Any]) -> None:
    taken(receiver, **fields)
    assert receiver.events()[0]["body"] == {**EVENT, **fields}


@pytest.mark.parametrize(("event_time", "refused"), [(1001, False), (1002, True), (1_000_000, True)])
def test_the_clock_may_be_one_second_ahead(event_time: int, refused: bool) -> None:
    body = json.dumps({**EVENT, "event_time": event_time}).encode()
    headers = Message()
    headers["Content-Type"] = "application/json"
    request = rules.Request("POST", rules.PUSH_PATH, headers=headers, body=body)
    with pytest.raises(rules.Refused) if refused else contextlib.nullcontext():
        rules.judge_push(request, now=1000.0)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", 'application/json;Charset="UTF-8"'],
)
def test_json_content_types_are_taken(receiver: Receiver, content_type: str) -> None:
    assert ask(receiver.push_url(KEY), EVENT, headers={"Content-Type": content_type}).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json-patch+json",
        "application/json; charset=gbk",
    ],
)
def test_other_content_types_are_refused(receiver: Receiver, content_type: str) -> None:
    reply = ask(receiver.push_url(KEY), EVENT, headers={"Content-Type": content_type})
    assert reply.verdict == (400, "InvalidContentType")
    assert receiver.events() == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "integration_key is required"),
        ("integration_key=", "integration_key is required"),
        ("app_key=app-1", "integration_key is required"),
        ("integration_key=KEY-1", "integration_key KEY-1 is not a valid one"),
        ("integration_key=s3cret", "integration_key s3cret is not a valid one"),
        ("integration_key=key-1&integration_key=key-1", "integration_key is given more than once"),
        ("integration_key=%ff", "the query string is not valid"),
    ],
)
def test_a_wrong_integration_key_is_an_invalid_parameter(receiver: Receiver, query: str, message: str) -> None:
    reply = ask(f"{receiver.url}{rules.PUSH_PATH}?{query}", EVENT)
    assert reply.verdict == (400, "InvalidParameter")
    assert reply.message == message
    assert receiver.events() == []


def test_no_key_is_kept(receiver: Receiver, tmp_path: Path) -> None:
    taken(receiver)
    ask(f"{receiver.url}{rules.PUSH_PATH}?integration_key=s3cret", EVENT)
    ask(f"{receiver.url}{rules.LIST_PATH}?app_key=s3cret", {})
    ask(receiver.list_url(APP), {})
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("r.db*"))
    for key in (b"s3cret", KEY.encode(), APP.encode()):
        assert key not in stored
    assert [request["verdict"] for request in receiver.requests()] == [
        "accepted",
        "InvalidParameter",
        "Unauthorized",
        "accepted",
    ]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", [rules.PUSH_PATH, rules.LIST_PATH])
def test_other_methods_are_refused(receiver: Receiver, method: str, path: str) -> None:
    reply = ask(f"{receiver.url}{path}?integration_key={KEY}&app_key={APP}", EVENT, method=method)
    assert reply.verdict == (400, "MethodNotAllowed")


@pytest.mark.parametrize(
    "path", ["/", "/event/push/change/standard/", "//event/push/change/standard", "/event/push/alert/standard", "/x"]
)
def test_other_paths_are_refused(receiver: Receiver, path: str) -> None:
    head = f"POST {path}?integration_key={KEY} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"
    reply = raw_ask(receiver, f"{head}{{}}".encode())
    answered, _separator, body = reply.partition(b"\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 404 ")
    assert json.loads(body)["error"]["code"] == "RouteNotFound"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.dictionaries(
            st.sampled_from([*rules.REQUIRED_FIELDS, *rules.OPTIONAL_FIELDS, "x"]),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.text()
                | st.sampled_from(["Done", "Ready"]),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                max_leaves=5,
            ),
        ).map(lambda fields: json.dumps(fields).encode()),
    )
)
def test_whatever_arrives_gets_an_answer_of_the_specification(receiver: Receiver, body: bytes) -> None:
    reply = ask(receiver.push_url(KEY), body)
    assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
    assert reply.status == 200 or reply.verdict == (400, "InvalidParameter")
