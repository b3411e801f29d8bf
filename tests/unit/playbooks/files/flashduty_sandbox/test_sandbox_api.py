# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sandbox serves beside the API."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from sandbox_client import (
    APP,
    EVENT,
    KEY,
    OTHER_KEY,
    Stream,
    ask,
    call,
    push,
    taken,
)

from flashduty_sandbox import history, sandbox_api
from flashduty_sandbox.receiver import INTEGRATIONS, Receiver

DENIED = (403, "AccessDenied")


def test_what_it_holds_over_http(receiver: Receiver, tmp_path: Path) -> None:
    taken(receiver)
    push(receiver, title="")
    for name, held in [
        ("changes", receiver.changes()),
        ("events", receiver.events()),
        ("requests", receiver.requests()),
    ]:
        reply = ask(f"{receiver.url}/sandbox/{name}", method="GET")
        assert reply.status == 200
        assert reply.json == held
    assert len(receiver.requests()) == 2
    status = ask(f"{receiver.url}/sandbox/status", method="GET").json
    assert (status["pid"], status["database"]) == (os.getpid(), str(tmp_path / "r.db"))
    assert ask(f"{receiver.url}/sandbox/changes", method="DELETE").status == 200
    assert (receiver.changes(), receiver.events(), receiver.requests()) == ([], [], [])
    assert ask(f"{receiver.url}/sandbox/nothing", method="GET").verdict == (404, "RouteNotFound")
    assert ask(f"{receiver.url}/sandbox/stop", {}).verdict == (404, "RouteNotFound")
    assert ask(f"{receiver.url}/sandbox/status", {}).verdict == (400, "MethodNotAllowed")


HOSTS = ("evil.example", "127.0.0.1.evil.example:1", "localhost@evil.example", "[", "", "127.0.0.2", "0.0.0.0")
PATHS = ("/sandbox/", "/sandbox/changes", "/sandbox/stream", "/sandbox/settings", "/", "/nowhere")


@pytest.mark.parametrize("host", HOSTS)
def test_a_name_that_only_resolves_to_this_machine_reads_and_changes_nothing(receiver: Receiver, host: str) -> None:
    """DNS rebinding: a page of another site that its name server has pointed at 127.0.0.1."""
    for path in PATHS:
        assert ask(f"{receiver.url}{path}", method="GET", headers={"Host": host or " "}).verdict == DENIED
    assert ask(f"{receiver.url}/sandbox/changes", method="DELETE", headers={"Host": host or " "}).verdict == DENIED
    for url in (receiver.push_url(KEY), receiver.list_url(APP)):
        assert ask(url, EVENT, headers={"Host": host or " "}).verdict == DENIED
    assert (receiver.requests(), receiver.events()) == ([], [])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_can_ask_for_nothing(receiver: Receiver, headers: dict[str, str]) -> None:
    tries = [("POST", f"/sandbox/{name}") for name in ("faults", "reset", "integrations", "native", "correlate")]
    for method, path in [
        *tries,
        ("DELETE", "/sandbox/changes"),
        ("DELETE", "/sandbox/faults"),
        ("GET", "/sandbox/settings"),
    ]:
        assert ask(f"{receiver.url}{path}", {}, method=method, headers=headers).verdict == DENIED
    assert ask(receiver.push_url(KEY), EVENT, headers=headers).verdict == DENIED
    own = {"Origin": receiver.url, "Sec-Fetch-Site": "same-origin"}
    assert ask(f"{receiver.url}/sandbox/changes", method="DELETE", headers=own).status == 200
    for host in ("localhost", "LOCALHOST", "[::1]"):
        own = {"Host": f"{host}:{receiver.port}", "Origin": f"http://{host}:{receiver.port}"}
        assert ask(receiver.push_url(KEY), EVENT, headers=own).status == 200


def test_what_changes_something_wants_json(receiver: Receiver) -> None:
    """A form of another site cannot send it without being asked about first."""
    for name in ("faults", "reset", "integrations", "native"):
        reply = ask(f"{receiver.url}/sandbox/{name}", {"kind": "hang"}, headers={"Content-Type": "text/plain"})
        assert reply.verdict == (400, "InvalidContentType")


def test_a_second_integration_has_a_key_of_its_own(receiver: Receiver) -> None:
    before = call(receiver, "GET", "/sandbox/settings").json
    assert [found["push_url"] for found in before["integrations"]] == [
        receiver.push_url(key) for key in (KEY, OTHER_KEY)
    ]
    assert before["app_key"] == APP
    after = call(receiver, "POST", "/sandbox/integrations", {}).json
    assert after["integrations"][:2] == before["integrations"]
    (added,) = after["integrations"][2:]
    assert re.search(r"=[0-9a-f]{32}$", added["push_url"])
    assert ask(added["push_url"], EVENT).status == 200
    taken(receiver)
    assert sorted(change["integration_id"] for change in receiver.changes()) == [
        before["integrations"][0]["integration_id"],
        added["integration_id"],
    ]


def test_integrations_are_bounded(receiver: Receiver) -> None:
    replies = [call(receiver, "POST", "/sandbox/integrations", {}).status for _number in range(INTEGRATIONS)]
    assert replies == [200] * (INTEGRATIONS - 2) + [400] * 2


def test_a_reset_forgets_and_renews(receiver: Receiver) -> None:
    taken(receiver)
    assert call(receiver, "POST", "/sandbox/reset", {}).status == 200
    assert (receiver.changes(), receiver.requests()) == ([], [])
    assert push(receiver).verdict == (400, "InvalidParameter")
    assert "a reset of the sandbox replaced it" in receiver.requests()[0]["message"]
    assert ask(receiver.push_url(), EVENT).status == 200
    assert "a reset" not in push(receiver, "wrong").message
    assert ask(receiver.list_url(APP), {}).status == 200


def details(receiver: Receiver, key: str = "CHANGE-1") -> Any:
    (change,) = [change for change in receiver.changes() if change["change_key"] == key]
    reply = call(receiver, "GET", f"/sandbox/change?change_id={change['change_id']}")
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
        assert sorted(change["refused_count"] for change in receiver._store.since(0)[2]) == [0, 1]


def test_a_refused_request_without_a_change_can_be_read(receiver: Receiver) -> None:
    push(receiver, change_key="", title="é")
    call(receiver, "POST", "/nowhere?integration_key=secret", {"change_key": "\ud800"})
    with Stream(receiver) as stream:
        strays = stream.settled()[1][-1]["strays"]
    assert [(stray["path"], stray["verdict"]) for stray in strays] == [
        ("/nowhere", "RouteNotFound"),
        ("/event/push/change/standard", "InvalidParameter"),
    ]
    assert json.loads(strays[1]["body"])["title"] == "é"
    assert "secret" not in json.dumps(strays)


@pytest.mark.parametrize("target", ["change?change_id=none", "change"])
def test_what_is_not_there_is_not_found(receiver: Receiver, target: str) -> None:
    assert call(receiver, "GET", f"/sandbox/{target}").status == 404


def test_a_long_body_and_a_long_history_are_cut_and_said_so(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BODY_CHARACTERS", 30)
    monkeypatch.setattr(sandbox_api, "ARRIVALS", 2)
    for _attempt in range(3):
        push(receiver)
    shown = details(receiver)
    assert (len(shown["arrivals"]), shown["omitted"]) == (2, 1)
    assert (len(shown["arrivals"][0]["body"]), shown["arrivals"][0]["body_characters"]) == (30, len(json.dumps(EVENT)))
