# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that examines: where options come from, whether all is well, and that no key is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from deliveries import APP_KEY, KEY, PATIENCE
from workers import Worker

from ansible_collections.flashcat.flashduty.plugins.action.flashduty_doctor import ActionModule
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.probe import probe
from flashduty_sandbox.receiver import Receiver

Runs = Callable[..., dict[str, Any]]


@pytest.fixture
def ran(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """What a task with these options returns; the API is asked from this process, not from one of its own.

    :param variables: extra variables.
    """
    monkeypatch.setattr(reader, "ask", lambda _question, connection, _values: probe(connection))

    def run(variables: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        given = {"api_url": receiver.url, "timeout": PATIENCE, "state_dir": str(tmp_path / "state"), **options}
        worker = Worker(tmp_path, "flashcat.flashduty.flashduty_doctor", given, {}, extra=variables or {})
        return worker.action(ActionModule).run(None, worker.variables)

    return run


def text_of(result: Mapping[str, Any], check: str) -> str:
    return next(str(finding["text"]) for finding in result["findings"] if finding["check"] == check)


def test_where_the_key_comes_from_is_told(ran: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASHDUTY_INTEGRATION_KEY", KEY)
    assert "the environment variable FLASHDUTY_INTEGRATION_KEY" in text_of(ran(), "integration key")
    variables = {"flashduty_integration_key": KEY}
    assert "the variable flashduty_integration_key" in text_of(ran(variables), "integration key")
    assert "the task" in text_of(ran(variables, integration_key=KEY), "integration key")


@pytest.mark.parametrize(("key", "healthy"), [(KEY, True), ("wrong-key-of-ours", False)])
def test_one_failure_is_enough_not_to_be_healthy_and_keys_are_not_shown(ran: Runs, key: str, healthy: bool) -> None:
    result = ran(integration_key=key, app_key=APP_KEY)
    assert (result["changed"], result["healthy"]) == (False, healthy)
    assert len(result["lines"]) == len(result["findings"])
    assert key not in str(result)
    assert APP_KEY not in str(result)


def test_without_a_key_it_says_so_and_does_not_fail(ran: Runs) -> None:
    result = ran()
    assert (result["healthy"], "failed" in result) == (False, False)
    assert "FLASHDUTY_PUSH_URL" in text_of(result, "integration key")


def test_a_setting_that_cannot_be_used_is_told_with_what_it_may_be(ran: Runs) -> None:
    result = ran({"flashduty_scope": "hosts"})
    (found,) = result["findings"]
    assert (result["healthy"], found["check"]) == (False, "settings")
    assert "scope" in found["text"]
    assert "run, group, host" in found["text"]


def test_a_variable_that_nothing_reads_is_told(ran: Runs) -> None:
    assert "flashduty_pushurl" in text_of(ran({"flashduty_pushurl": "x"}), "settings")
