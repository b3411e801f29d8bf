# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module that asks for changes from the other host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from deliveries import APP_KEY

from ansible_collections.flashcat.flashduty.plugins.modules import flashduty_change_info
from flashduty_sandbox.receiver import Receiver

Asks = Callable[..., dict[str, Any]]


@pytest.fixture
def asked(ran: Callable[..., dict[str, Any]], receiver: Receiver) -> Asks:
    """What the module returns with these options."""

    def ask(**options: Any) -> dict[str, Any]:
        to = {"api_url": receiver.url, "app_key": APP_KEY, "timeout": 20}
        return ran(flashduty_change_info.main, **{**to, **options})

    return ask


def test_it_needs_no_integration_key(asked: Asks) -> None:
    result = asked(start_time="1767225600", end_time="1767312000")
    assert (result["changed"], result["changes"], result["total"], result["truncated"]) == (False, [], 0, False)
    assert result["window"] == {"start_time": 1767225600, "end_time": 1767312000}


def test_what_flashduty_answers_to_a_bad_key_is_returned(asked: Asks, receiver: Receiver) -> None:
    result = asked(app_key="wrong-app-key")
    (request,) = receiver.requests()
    assert (result["request_id"], result["error"]["http_status"]) == (request["request_id"], request["status"])
    assert "wrong-app-key" not in result["msg"]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"limit": 0}, "limit: "), ({"app_key": None}, "app_key: "), ({"timeout": -1}, "timeout: ")],
)
def test_what_cannot_be_used_fails_with_the_options_name(
    asked: Asks, receiver: Receiver, options: dict[str, Any], told: str
) -> None:
    assert asked(**options)["msg"].startswith(told)
    assert receiver.requests() == []


def test_without_requests_it_says_what_is_missing(asked: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashduty_change_info, "IMPORT_ERROR", "Traceback")
    assert "requests" in asked()["msg"]
