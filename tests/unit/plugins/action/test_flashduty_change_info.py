# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that asks for changes: from here, or from the host that it is delegated to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from deliveries import APP_KEY, PATIENCE
from outboxes import ME, event
from workers import Worker

from ansible_collections.flashcat.flashduty.plugins.action import flashduty_change_info
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun, set_current_runs
from flashduty_sandbox.receiver import Receiver


class ActionModule(flashduty_change_info.ActionModule):
    """What the module returns on the other host is played."""

    asked: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def _execute_module(self, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.asked.append((module_name, module_args))
        return {"changes": [{"change_key": "a"}], "total": 1, "truncated": False}


Runs = Callable[..., dict[str, Any]]


@pytest.fixture
def ran(tmp_path: Path, receiver: Receiver) -> Runs:
    """What a task with these options returns.

    :param task: what else the task has.
    """

    def run(task: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        given = {"api_url": receiver.url, "app_key": APP_KEY, "timeout": PATIENCE, **options}
        worker = Worker(tmp_path, "flashcat.flashduty.flashduty_change_info", given, task or {})
        return worker.action(ActionModule).run(None, worker.variables)

    return run


def test_without_an_integration_key_changes_can_be_read(ran: Runs) -> None:
    result = ran(start_time="2026-01-01T00:00:00Z", end_time="2026-01-02T00:00:00Z")
    assert (result["changed"], result["changes"], result["truncated"]) == (False, [], False)
    assert result["window"] == {"start_time": 1767225600, "end_time": 1767312000}


def test_what_flashduty_answers_to_a_bad_key_is_returned(ran: Runs, receiver: Receiver) -> None:
    result = ran(app_key="wrong-app-key")
    (request,) = receiver.requests()
    assert result["failed"]
    assert (result["request_id"], result["error"]["http_status"]) == (request["request_id"], request["status"])
    assert "wrong-app-key" not in str(result)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limit": 0}, "limit: "),
        ({"change_key": "a", "query": "b"}, "query: "),
        ({"app_key": ""}, "app_key: "),
        ({"timeout": -1}, "timeout: "),
    ],
)
def test_what_cannot_be_used_fails_with_the_options_name(
    ran: Runs, receiver: Receiver, options: dict[str, Any], told: str
) -> None:
    result = ran(**options)
    assert result["failed"]
    assert result["msg"].startswith(told)
    assert receiver.requests() == []


def test_another_host_gets_the_question_as_it_is_asked(ran: Runs, receiver: Receiver) -> None:
    result = ran({"delegate_to": "bastion"}, query="nginx", limit=5)
    name, arguments = ActionModule.asked.pop()
    assert (result["changes"], result["total"], ActionModule.asked) == ([{"change_key": "a"}], 1, [])
    assert name == "flashcat.flashduty.flashduty_change_info"
    assert (arguments["query"], arguments["limit"], arguments["app_key"]) == ("nginx", 5, APP_KEY)
    assert None not in arguments.values()
    assert receiver.requests() == []


def test_the_changes_of_the_run_itself_are_left_out_where_asked(
    ran: Runs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"changes": [{"change_key": key} for key in ("ours", "ours/web1", "of others")]}
    monkeypatch.setattr(flashduty_change_info, "changes_found", lambda _options, _find: found)
    events = [event("ours"), event("ours/web1")]
    store.do(lambda outbox: outbox.runs.open("run", Watch(ME, "killed", "killed"), events))
    set_current_runs([CurrentRun("run", store, lambda _host: None)])
    try:
        assert ran()["changes"] == found["changes"]
        assert ran(include_own=False)["changes"] == [{"change_key": "of others"}]
    finally:
        set_current_runs(())
    assert ran(include_own=False)["changes"] == found["changes"]
