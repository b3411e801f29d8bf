# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that flushes: it only looks where it is to, and fails with the option's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from deliveries import KEY, PATIENCE, statuses
from outboxes import event
from workers import Worker

from ansible_collections.flashcat.flashduty.plugins.action.flashduty_flush import ActionModule
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from flashduty_sandbox.receiver import Receiver

Runs = Callable[..., dict[str, Any]]


@pytest.fixture
def ran(tmp_path: Path, receiver: Receiver, store: Store) -> Runs:
    """What a task with these options returns, while an event waits.

    :param task: what else the task has.
    :param variables: extra variables.
    """
    store.do(lambda outbox: outbox.put(event()))

    def run(
        task: Mapping[str, Any] | None = None, variables: Mapping[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        given = {
            "integration_key": KEY,
            "api_url": receiver.url,
            "timeout": PATIENCE,
            "state_dir": store.configured,
            **options,
        }
        worker = Worker(tmp_path, "flashcat.flashduty.flashduty_flush", given, task or {}, extra=variables or {})
        return worker.action(ActionModule).run(None, worker.variables)

    return run


def test_what_waits_is_delivered_by_a_courier(ran: Runs, receiver: Receiver, couriers: list[int]) -> None:
    result = ran()
    assert (result["changed"], result["delivered"], result["waiting"]) == (True, 1, 0)
    assert (statuses(receiver), len(couriers)) == (["Processing"], 1)


@pytest.mark.parametrize(("task", "variables"), [({"check_mode": True}, {}), ({}, {"flashduty_preview": True})])
def test_a_check_and_a_preview_only_look(
    ran: Runs, receiver: Receiver, task: dict[str, Any], variables: dict[str, Any]
) -> None:
    result = ran(task, variables)
    assert (result["changed"], result["delivered"], result["waiting"]) == (True, 0, 1)
    assert receiver.requests() == []


@pytest.mark.parametrize(
    ("options", "told"),
    [({"stale_after": "5m"}, "stale_after: "), ({"stale_after": "6h"}, "app_key: "), ({"timeout": -1}, "timeout: ")],
)
def test_what_cannot_be_used_fails_with_the_options_name(ran: Runs, options: dict[str, Any], told: str) -> None:
    result = ran(**options)
    assert result["failed"]
    assert result["msg"].startswith(told)


def test_who_turned_reports_off_can_still_flush(ran: Runs, couriers: list[int]) -> None:
    assert ran(variables={"flashduty_enabled": False})["delivered"] == 1
