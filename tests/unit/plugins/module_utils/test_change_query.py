# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading changes back from the receiver, in this process and in one of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils import _change_query
from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent, InvalidValue
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    ChangeQuery,
    Found,
    changes_found,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from flashduty_sandbox.receiver import Receiver

KEY, APP_KEY = "k3y-of-the-integration", "app/k3y+of a 'user'"
APP_KEY = APP_KEY.replace(" ", "-")
PATIENCE = 20.0
NOW = 1_790_000_000
DAY = 86400

Finder = Callable[[Connection, ChangeQuery], Found]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver.db", [KEY, "other"], [APP_KEY], per_second=None) as running:
        yield running


@pytest.fixture
def connection(receiver: Receiver) -> Connection:
    return Connection(receiver.url, KEY, timeout=PATIENCE, app_key=APP_KEY)


def report(connection: Connection, key: str, **fields: Any) -> None:
    values = {"change_key": key, "change_status": "Processing", "title": f"title of {key}", **fields}
    api = Api(connection)
    api.push(ChangeEvent.validated(values, time.time()).to_json(), PATIENCE)
    api.close()


def asked(options: dict[str, Any], now: float = NOW) -> ChangeQuery:
    return ChangeQuery.from_options(options, now)


def found(connection: Connection, options: dict[str, Any]) -> list[str]:
    return [
        item["change_key"]
        for item in _change_query.find_changes(connection, asked(options, time.time()), PATIENCE).changes
    ]


# ---- what is asked


def test_the_window_is_the_last_hour_and_of_a_key_the_last_month() -> None:
    assert asked({}).body(1) == {
        "start_time": NOW - 3600,
        "end_time": NOW,
        "p": 1,
        "limit": 100,
        "orderby": "start_time",
        "asc": False,
    }
    by_key = asked({"change_key": "a"})
    assert (by_key.start_time, by_key.end_time) == (NOW - 29 * DAY, NOW + DAY)
    assert asked({"start_time": NOW - 5}).end_time == NOW
    assert asked({"end_time": "2026-01-31T08:00:00+08:00"}).start_time == 1_769_817_600 - 3600


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"start_time": "yesterday"}, "start_time: must be Unix seconds or ISO 8601"),
        ({"end_time": "2026-01-31T08:00:00"}, "end_time: has no time zone"),
        ({"start_time": NOW * 1000}, "start_time: must be in seconds"),
        ({"start_time": NOW, "end_time": NOW}, "start_time: must be before end_time"),
        ({"start_time": NOW - 31 * DAY, "end_time": NOW}, "less than 31 days"),
        ({"limit": 10_001}, "limit: must be between 1 and 10000, got 10001"),
        ({"limit": 0}, "limit: must be between 1 and 10000, got 0"),
        ({"change_key": "a", "query": "b"}, "query: cannot be used with change_key"),
        ({"labels": {"a": {"b": "c"}}}, r"labels\[a\]: a map is not a label value"),
        ({"channel_ids": [0]}, "channel_ids: must be numbers above 0"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_before_the_network(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidValue, match=expected):
        asked(options)


def test_a_question_survives_the_pipe() -> None:
    query = asked({"change_status": ["Done"], "labels": {"a": 1}, "integration_ids": [3], "limit": 7})
    assert ChangeQuery(**json.loads(json.dumps(asdict(query)))) == query
    assert asked(query.to_options(), 0.0) == query


# ---- what is found


@pytest.mark.parametrize("key", ["CHANGE-1", "a+b", "v1.2", "x(y", "a|b", "[", "back\\slash", "发布 $1^2{3}?*"])
def test_a_key_is_found_exactly_whatever_it_holds(connection: Connection, key: str) -> None:
    report(connection, key)
    report(connection, f"{key}0")
    report(connection, "another", description=f"after {key}")
    assert found(connection, {"change_key": key}) == [key]


def test_pages_are_followed_up_to_the_limit(connection: Connection) -> None:
    for number in range(205):
        report(connection, f"c{number:03}", event_time=int(time.time()) - 300 + number)
    every = _change_query.find_changes(connection, asked({"limit": 1000, "asc": True}, time.time()), PATIENCE)
    assert [item["change_key"] for item in every.changes] == [f"c{number:03}" for number in range(205)]
    assert (every.total, every.truncated) == (205, False)
    some = _change_query.find_changes(connection, asked({"limit": 3}, time.time()), PATIENCE)
    assert [item["change_key"] for item in some.changes] == ["c204", "c203", "c202"]
    assert (some.total, some.truncated) == (205, True)


def test_status_labels_integrations_and_events(connection: Connection, receiver: Receiver) -> None:
    report(connection, "a", labels={"service": "shop", "host": "w1"})
    report(connection, "b", labels={"service": "shop"}, change_status="Done")
    report(Connection(receiver.url, "other", timeout=PATIENCE), "a", labels={"service": "other"})
    assert sorted(found(connection, {"labels": {"service": "shop"}})) == ["a", "b"]
    assert found(connection, {"change_status": ["Done", "Canceled"]}) == ["b"]
    assert len(found(connection, {"change_key": "a"})) == 2
    ours = receiver.integration_id(KEY)
    result = changes_found(
        {"change_key": "a", "integration_ids": [ours], "include_events": True},
        lambda query: _change_query.find_changes(connection, query, PATIENCE),
    )
    (change,) = result["changes"]
    assert change["integration_id"] == ours
    assert [event["change_status"] for event in change["events"]] == ["Processing"]


# ---- what goes wrong


@pytest.fixture(params=["here", "in a process of its own"])
def find(request: pytest.FixtureRequest) -> Finder:
    if request.param == "here":
        return lambda connection, query: _change_query.find_changes(connection, query, connection.timeout)
    return reader.find_changes


def test_both_ways_find_the_same(connection: Connection, find: Finder) -> None:
    report(connection, "a", labels={"service": "shop"})
    answer = find(connection, asked({"change_key": "a"}, time.time()))
    assert [item["labels"] for item in answer.changes] == [{"service": "shop"}]


def test_a_wrong_app_key_is_named_and_not_shown(receiver: Receiver, find: Finder) -> None:
    wrong = Connection(receiver.url, KEY, timeout=PATIENCE, app_key="wr0ng/app+key")
    with pytest.raises(ApiError) as caught:
        find(wrong, asked({}))
    assert (caught.value.code, caught.value.status) == ("Unauthorized", 401)
    assert caught.value.request_id
    assert "wr0ng" not in str(caught.value)
    assert "********" in str(caught.value)


def test_what_passes_is_tried_again(connection: Connection, receiver: Receiver, find: Finder) -> None:
    report(connection, "a")
    receiver.faults.set("status", status=500, times=1, endpoint="list")
    assert len(find(connection, asked({}, time.time())).changes) == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_the_budget_holds(receiver: Receiver, find: Finder, fault: str) -> None:
    receiver.faults.set(fault, endpoint="list")
    begun = time.monotonic()
    with pytest.raises(ApiError, match="no answer within"):
        find(Connection(receiver.url, KEY, timeout=1.0, app_key=APP_KEY), asked({}))
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize("fault", ["portal", "html", "empty"])
def test_an_answer_that_is_not_flashdutys(receiver: Receiver, fault: str) -> None:
    receiver.faults.set(fault, endpoint="list")
    with pytest.raises(ApiError, match="not Flashduty's"):
        _change_query.find_changes(Connection(receiver.url, KEY, app_key=APP_KEY), asked({}), 1.0)


def test_our_keys_are_not_shown_even_where_somebody_wrote_them_into_a_change(connection: Connection) -> None:
    report(connection, "a", description=f"see ?integration_key={KEY} and {APP_KEY}")
    (change,) = _change_query.find_changes(connection, asked({}, time.time()), PATIENCE).changes
    assert change["description"] == "see ?integration_key=******** and ********"
