# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's part in a change: where it is kept, and for which hosts the end waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from deliveries import KEY, PATIENCE, statuses
from workers import Worker

from ansible_collections.flashcat.flashduty.plugins.action.flashduty_change_part import ActionModule
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from flashduty_sandbox.receiver import Receiver

Runs = Callable[..., dict[str, Any]]


@pytest.fixture
def ran(tmp_path: Path, receiver: Receiver, store: Store) -> Runs:
    """What a task of web1 with these options returns.

    :param task: what else the task has.
    :param variables: variables of the task.
    """

    def run(
        state: str, task: Mapping[str, Any] | None = None, variables: Mapping[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        below = {
            "state": state,
            "change_key": "a",
            "integration_key": KEY,
            "api_url": receiver.url,
            "timeout": PATIENCE,
        }
        given = {**below, "state_dir": store.configured, **options}
        worker = Worker(tmp_path, "flashcat.flashduty.flashduty_change_part", given, task or {})
        return worker.action(ActionModule).run(None, {**worker.variables, **(variables or {})})

    return run


def test_the_end_waits_for_the_hosts_that_can_still_run_tasks(
    ran: Runs, receiver: Receiver, couriers: list[int]
) -> None:
    assert ran("started", title="t")["changed"]
    both = {"ansible_play_hosts_all": ["web1", "web2"], "ansible_play_hosts": ["web1", "web2"]}
    assert ran("done", variables=both) == {
        "changed": False,
        "change_key": "a",
        "change_status": "Processing",
        "warnings": [],
    }
    # The other one has failed and runs no task any more.
    last = ran("done", variables={**both, "ansible_play_hosts": ["web1"]})
    assert (last["change_status"], statuses(receiver), len(couriers)) == ("Done", ["Processing", "Done"], 1)


def test_hosts_of_the_task_go_before_those_of_the_play(ran: Runs, receiver: Receiver, couriers: list[int]) -> None:
    both = {"ansible_play_hosts_all": ["web1", "web2"], "ansible_play_hosts": ["web1", "web2"]}
    ran("started", title="t")
    assert ran("failed", variables=both, hosts=["web1"], reason="no room")["change_status"] == "Canceled"
    assert "no room" in receiver.events()[-1]["body"]["description"]


def test_the_end_of_what_nobody_has_started_fails(ran: Runs) -> None:
    result = ran("done")
    assert result["failed"]
    assert "change a is not open" in result["msg"]


def test_another_host_cannot_keep_account(ran: Runs, store: Store) -> None:
    result = ran("started", {"delegate_to": "bastion"}, title="t")
    assert result["failed"]
    assert result["msg"].startswith("delegate_to: ")
    assert not store.exists


@pytest.mark.parametrize(("state", "changed"), [("started", True), ("done", False), ("failed", False)])
def test_a_check_stores_nothing(ran: Runs, store: Store, state: str, changed: bool) -> None:
    assert ran(state, {"check_mode": True}, title="t")["changed"] is changed
    assert not store.exists
