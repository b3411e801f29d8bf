# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on the other host: it sends what it is given, once, and returns what Flashduty answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from deliveries import KEY

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.modules import flashduty_change
from flashduty_sandbox.receiver import Receiver

Sends = Callable[..., dict[str, Any]]


@pytest.fixture
def sent(ran: Callable[..., dict[str, Any]], receiver: Receiver) -> Sends:
    """What the module returns for an event with these fields."""

    def send(**fields: Any) -> dict[str, Any]:
        event = {"change_status": "Done", "change_key": "a", "title": "t", "event_time": str(int(time.time()) - 60)}
        to = {"api_url": receiver.url, "integration_key": KEY, "timeout": 20}
        return ran(flashduty_change.main, **{**event, **to, **fields})

    return send


def test_the_event_arrives_as_it_was_given(sent: Sends, receiver: Receiver) -> None:
    result = sent(labels={"service": "shop"}, description="why")
    (arrived,) = receiver.events()
    assert (result["changed"], result["request_id"]) == (True, arrived["request_id"])
    body = arrived["body"]
    assert (body["labels"], body["description"], type(body["event_time"])) == ({"service": "shop"}, "why", int)
    assert "link" not in body


@pytest.mark.parametrize(("status", "retry"), [(400, False), (500, True)])
def test_what_flashduty_answered_goes_back_whole_and_nothing_is_tried_again(
    sent: Sends, receiver: Receiver, status: int, retry: bool
) -> None:
    receiver.faults.set("status", status=status, message="no such field")
    result = sent()
    (request,) = receiver.requests()
    error = ApiError.from_dict(result["answer"])
    assert (error.status, error.retry, error.request_id) == (status, retry, request["request_id"])
    assert result["msg"] == error.message


def test_no_answer_is_an_answer_that_may_be_tried_again(sent: Sends, receiver: Receiver) -> None:
    receiver.faults.set("reset")
    error = ApiError.from_dict(sent()["answer"])
    assert (error.status, error.retry, len(receiver.requests())) == (None, True, 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"integration_key": None, "integration_key_file": "/no/such/file"}, "integration_key_file: "),
        ({"ca_path": "/no/such/file"}, "ca_path: "),
        ({"timeout": -1}, "timeout: "),
    ],
)
def test_what_this_host_cannot_use_is_no_answer_of_flashduty(
    sent: Sends, receiver: Receiver, options: dict[str, Any], told: str
) -> None:
    result = sent(**options)
    assert result["msg"].startswith(told)
    assert "answer" not in result
    assert receiver.requests() == []


def test_without_requests_it_says_what_is_missing(sent: Sends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashduty_change, "IMPORT_ERROR", "Traceback")
    assert "requests" in sent()["msg"]
