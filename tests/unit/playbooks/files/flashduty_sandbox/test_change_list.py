# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""/change/list answers as its documentation says."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sandbox_client import (
    APP,
    KEY,
    OTHER_KEY,
    ask,
    keys,
    listed,
    push,
    taken,
)

from flashduty_sandbox import rules, search
from flashduty_sandbox.receiver import Receiver

NO_STRINGS: list[Any] = [None, 1, True, ["x"], {"x": "y"}]
NO_NUMBERS: list[Any] = [None, 1, "1", ["1"], [-1], [True]]


@pytest.mark.parametrize("query", ["", "app_key=", f"integration_key={KEY}", "app_key=wrong", f"app_key={KEY}"])
def test_listing_wants_an_app_key(receiver: Receiver, query: str) -> None:
    assert ask(f"{receiver.url}{rules.LIST_PATH}?{query}", {}).verdict == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({"start_time": 1}, "go together"),
        ({"end_time": 1}, "go together"),
        ({"start_time": 5, "end_time": 5}, "greater than"),
        ({"start_time": 1, "end_time": 1 + 31 * 86400}, "under 31 days"),
        ({"start_time": "1", "end_time": "2"}, "start_time must be an integer"),
        ({"start_time": 0, "end_time": 2}, "start_time must be between"),
        *[({"p": value}, "p must be") for value in (0, -1, "1", 1.5, True, None)],
        *[({"limit": value}, "limit must be") for value in (0, 101, "10", None, False)],
        *[({"asc": value}, "asc must be true or false") for value in (0, "true", None)],
        *[({"include_events": value}, "include_events must be true or false") for value in (1, "yes", None)],
        *[({"orderby": value}, "orderby must be") for value in ("end_time", "", None, 1)],
        *[({"query": value}, "query must be a string") for value in NO_STRINGS],
        *[({"integration_ids": value}, "integration_ids must be") for value in NO_NUMBERS],
        *[({"channel_ids": value}, "channel_ids must be") for value in NO_NUMBERS],
        ({"limit": 100, "p": 101}, "p times limit must be at most 10000, not 10100"),
        ({"p": 1001}, "p times limit must be at most 10000, not 10010"),
        ({"page": 1}, "'page' is not a known parameter"),
        ([], "must be a JSON object"),
        (b"", "not valid JSON"),
    ],
)
def test_a_question_against_the_rules_is_an_invalid_parameter(receiver: Receiver, body: object, about: str) -> None:
    reply = ask(receiver.list_url(APP), body)
    assert reply.verdict == (400, "InvalidParameter")
    assert about in reply.message


def test_a_question_needs_json(receiver: Receiver) -> None:
    reply = ask(receiver.list_url(APP), {}, headers={"Content-Type": "text/plain"})
    assert reply.verdict == (400, "InvalidContentType")


def test_a_question_at_the_limits(receiver: Receiver) -> None:
    for body in ({"start_time": 1, "end_time": 31 * 86400}, {"limit": 1}, {"limit": 100, "p": 100}, {}):
        assert ask(receiver.list_url("app-2"), body).json["data"] == {"items": [], "total": 0, "has_next_page": False}


def test_an_item_has_what_the_documentation_says(receiver: Receiver) -> None:
    taken(receiver, labels={"service": "shop"}, link="http://l", description="d")
    request_id = taken(receiver, change_status="Done", event_time=1_700_000_060)
    (item,) = listed(receiver)["items"]
    assert "events" not in item
    integration = receiver.integration_id(KEY)
    assert {name: item[name] for name in item if name not in ("change_id", "event_count")} == {
        "change_key": "CHANGE-1",
        "change_status": "Done",
        "title": "deploy",
        "description": "d",
        "link": "http://l",
        "labels": {"service": "shop"},
        "start_time": 1_700_000_000,
        "end_time": 1_700_000_060,
        "last_time": 1_700_000_060,
        "account_id": 1,
        "integration_id": integration,
        "integration_name": f"sandbox {integration}",
        "channel_id": 0,
        "channel_name": "",
        "channel_status": "active",
    }
    (item,) = listed(receiver, include_events=True)["items"]
    assert [event["change_status"] for event in item["events"]] == ["Processing", "Done"]
    assert item["events"][1]["request_id"] == request_id


def test_the_window(receiver: Receiver) -> None:
    for key, start, end in [("a", 1000, 1100), ("b", 1200, 1300), ("c", 1400, 1500)]:
        taken(receiver, change_key=key, event_time=start)
        taken(receiver, change_key=key, event_time=end, change_status="Done")
    for start, end, found in [
        (1100, 1199, "a"),
        (1101, 1200, "b"),
        (1050, 1450, "abc"),
        (1301, 1399, ""),
        (1, 999, ""),
    ]:
        assert keys(listed(receiver, start_time=start, end_time=end, asc=True)) == list(found)


def test_without_a_window_it_is_the_last_hour(receiver: Receiver) -> None:
    now = int(time.time())
    taken(receiver, change_key="new", event_time=now - 3500)
    taken(receiver, change_key="old", event_time=now - 3700)
    taken(receiver, change_key="later", event_time=now + 3600, change_status="Ready")
    assert keys(ask(receiver.list_url(APP), {}).json["data"]) == ["new"]


def test_order_and_pages(receiver: Receiver) -> None:
    for number in range(25):
        taken(receiver, change_key=f"{number:02}", event_time=1_700_000_000 + number)
    taken(receiver, change_key="03", event_time=1_700_001_000)
    every = [f"{number:02}" for number in range(25)]
    assert keys(listed(receiver)) == every[::-1][:10]
    assert keys(listed(receiver, asc=True, limit=100)) == every
    assert keys(listed(receiver, orderby="last_time", limit=2)) == ["03", "24"]
    pages = [listed(receiver, asc=True, limit=10, p=page) for page in (1, 2, 3, 4)]
    assert [keys(page) for page in pages] == [every[:10], every[10:20], every[20:], []]
    assert [page["has_next_page"] for page in pages] == [True, True, False, False]
    assert {page["total"] for page in pages} == {25}
    assert listed(receiver, asc=True, limit=25)["has_next_page"] is False
    assert listed(receiver, asc=True, limit=24)["has_next_page"] is True


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("deploy", ["a"]),
        ("^K-[0-9]+$", ["K-7"]),
        ("说明", ["K-7"]),
        ("(unclosed", ["x(unclosed"]),
        ("a|K", ["a", "K-7"]),
        ("DEPLOY", []),
        ("", ["a", "K-7", "x(unclosed"]),
    ],
)
def test_query_is_a_regular_expression_or_text(receiver: Receiver, query: str, found: list[str]) -> None:
    taken(receiver, change_key="a", title="deploy", event_time=1_700_000_001)
    taken(receiver, change_key="K-7", title="t", description="说明", event_time=1_700_000_002)
    taken(receiver, change_key="x(unclosed", title="t", event_time=1_700_000_003)
    assert keys(listed(receiver, query=query, asc=True)) == found


def test_integrations_and_channels_filter(receiver: Receiver) -> None:
    taken(receiver, KEY, change_key="a")
    taken(receiver, OTHER_KEY, change_key="b")
    one, two = receiver.integration_id(KEY), receiver.integration_id(OTHER_KEY)
    assert keys(listed(receiver, integration_ids=[two])) == ["b"]
    assert sorted(keys(listed(receiver, integration_ids=[one, two]))) == ["a", "b"]
    assert sorted(keys(listed(receiver, integration_ids=[]))) == ["a", "b"]
    assert keys(listed(receiver, integration_ids=[999])) == []
    assert keys(listed(receiver, channel_ids=[5])) == []


def test_the_total_is_capped_and_the_next_page_is_not(receiver: Receiver) -> None:
    for number in range(rules.LIST_TOTAL + 1):
        taken(receiver, change_key=f"{number}")
    for page, more in ((1, True), (10, True), (11, False)):
        data = listed(receiver, limit=100, p=page)
        assert (data["total"], data["has_next_page"]) == (1000, more)
    assert len(data["items"]) == 1


def test_the_account_has_limits_of_its_own(tmp_path: Path) -> None:
    with Receiver(tmp_path / "r.db", [KEY], [APP, "app-2"], reads_per_second=None, reads_per_minute=2) as running:
        for app_key in (APP, "app-2"):
            assert ask(running.list_url(app_key), {}).status == 200
        # A wrong key is nobody's.
        assert ask(running.list_url("wrong"), {}).status == 401
        for app_key in (APP, "app-2"):
            assert ask(running.list_url(app_key), {}).verdict == (429, "RequestTooFrequently")
        taken(running)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (r"x\(unclosed", ["x(unclosed"]),
        (r"a\.b", ["a.b"]),
        (r"a.b", ["axb", "a.b"]),
        (re.escape("1 (v1.2+3)-#"), ["1 (v1.2+3)-#"]),
        (r"\d", ["1 (v1.2+3)-#"]),
        ("(?i)AXB", ["axb"]),
        ("\\", []),
    ],
)
def test_escaped_text_is_text(receiver: Receiver, query: str, found: list[str]) -> None:
    for number, key in enumerate(("axb", "a.b", "x(unclosed", "1 (v1.2+3)-#")):
        taken(receiver, change_key=key, event_time=1_700_000_000 + number)
    assert keys(listed(receiver, query=query, asc=True)) == found


def test_an_expression_that_takes_for_ever_is_refused_and_holds_nobody_up(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken(receiver, title="a" * 60 + "!")
    # Only the expression ends it: others are answered meanwhile.
    monkeypatch.setattr(search, "SECONDS", 3.0)
    question = {"start_time": 1_699_000_000, "end_time": 1_701_000_000, "query": "(a+)+$"}
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, receiver.list_url(APP), question)
        while not slow.done():
            assert push(receiver, change_key="another").status == 200
        assert slow.result().verdict == (400, "InvalidParameter")
        assert "simpler regular expression" in slow.result().message
    assert len([request for request in receiver.requests() if request["verdict"] == "accepted"]) > 1
