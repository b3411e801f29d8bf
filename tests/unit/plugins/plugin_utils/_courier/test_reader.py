# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to Flashduty that a process of its own asks."""

from __future__ import annotations

import sys
import time

import pytest
from deliveries import APP_KEY, KEY

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import ChangeQuery
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from flashduty_sandbox.receiver import Receiver


@pytest.fixture
def connection(receiver: Receiver) -> Connection:
    return Connection(receiver.url, KEY, timeout=20.0, app_key=APP_KEY)


def test_what_flashduty_shows_is_found(connection: Connection) -> None:
    now = time.time()
    api = Api(connection)
    for key in ("发布-1", "发布-2"):
        event = ChangeEvent.validated({"change_key": key, "change_status": "Processing", "title": "部署"}, now)
        api.push(event.at(now).to_json(), connection.timeout)
    api.close()
    found = reader.find_changes(connection, ChangeQuery.by_key("发布-1", now))
    assert [(change["change_key"], change["title"]) for change in found.changes] == [("发布-1", "部署")]
    assert found.truncated is False


def test_what_flashduty_refuses_comes_with_its_reason_and_without_the_key(connection: Connection) -> None:
    wrong = connection._replace(app_key="wrong-app-key")
    with pytest.raises(ApiError) as caught:
        reader.find_changes(wrong, ChangeQuery.by_key("a", time.time()))
    assert (caught.value.status, caught.value.code) == (401, "Unauthorized")
    assert caught.value.request_id
    assert "wrong-app-key" not in str(caught.value)


def test_the_budget_is_that_of_the_connection(receiver: Receiver, connection: Connection) -> None:
    receiver.faults.set("hang")
    with pytest.raises(ApiError, match=r"no answer within 0\.\d+ s") as caught:
        reader.find_changes(connection._replace(timeout=0.2), ChangeQuery.by_key("a", time.time()))
    assert caught.value.status is None


def test_a_probe_is_asked_the_same_way(connection: Connection) -> None:
    answer = reader.ask("probe", connection, {})
    assert answer["own"]["code"] == "InvalidParameter"
    assert answer["app"]["status"] == 200


def test_a_process_that_fails_says_nothing_of_what_it_was_given(connection: Connection) -> None:
    with pytest.raises(ApiError) as caught:
        reader.ask("no such question", connection, {})
    assert "the process that asks Flashduty failed" in str(caught.value)
    assert KEY not in str(caught.value)


def test_without_requests_no_process_is_started(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Python itself keeps for a package that it could not import.
    monkeypatch.setitem(sys.modules, "requests", None)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ApiError, match="/no/such/python -m pip install requests"):
        reader.find_changes(connection, ChangeQuery.by_key("a", time.time()))


def test_an_interpreter_that_cannot_be_started_is_told(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ApiError, match="FileNotFoundError"):
        reader.ask("probe", connection, {})
