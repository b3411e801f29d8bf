# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that reports a change: what it joins, when it reports nothing, and what it leaves undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deliveries import KEY, PATIENCE, statuses
from workers import Worker

from ansible_collections.flashcat.flashduty.plugins.action.flashduty_change import ActionModule
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun, set_current_runs
from flashduty_sandbox.receiver import Receiver

OF_THE_RUN = ChangeEvent(
    "Processing", "CHG-7/web1", "of the run", link="https://job/1", labels={"service": "shop", "team": "a"}
)
Runs = Callable[..., dict[str, Any]]


@pytest.fixture
def ran(tmp_path: Path, receiver: Receiver, store: Store) -> Runs:
    """What a task with these options returns.

    :param task: what else the task has.
    :param variables: extra variables.
    """

    def run(
        task: Mapping[str, Any] | None = None, variables: Mapping[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        below = {"change_status": "Processing", "integration_key": KEY, "api_url": receiver.url, "timeout": PATIENCE}
        given = {**below, "state_dir": store.configured, **options}
        worker = Worker(tmp_path, "flashcat.flashduty.flashduty_change", given, task or {}, extra=variables or {})
        action = worker.action(ActionModule)
        action._display = SimpleNamespace(display=lambda text, **_where: shown.append(text))
        return action.run(None, worker.variables)

    shown: list[str] = []
    run.shown = shown  # type: ignore[attr-defined]
    return run


@pytest.fixture
def join(store: Store) -> Iterator[Callable[..., None]]:
    """Lets the task's process be one of a run that has this change open for web1."""

    def current(change: ChangeEvent | None = OF_THE_RUN, store: Store = store) -> None:
        store.do(lambda outbox: None)
        set_current_runs([CurrentRun("run", store, {"web1": change}.get)])

    yield current
    set_current_runs(())


def test_an_event_is_delivered_by_a_courier(ran: Runs, receiver: Receiver, couriers: list[int]) -> None:
    result = ran(change_key="a", title="t")
    assert (result["changed"], result["delivered"], result["warnings"]) == (True, True, [])
    assert (statuses(receiver), len(couriers)) == (["Processing"], 1)
    assert "diff" not in result


def test_a_check_shows_the_difference_and_stores_nothing(ran: Runs, store: Store, receiver: Receiver) -> None:
    result = ran({"check_mode": True, "diff": True}, change_key="a", title="t")
    assert (result["changed"], result["delivered"]) == (True, False)
    assert result["diff"] == {"before": {}, "after": result["event"]}
    assert (store.exists, receiver.requests()) == (False, [])


def test_a_preview_prints_the_event(ran: Runs, store: Store) -> None:
    assert ran(variables={"flashduty_preview": True}, change_key="CHG-9", title="t")["changed"]
    (shown,) = ran.shown  # type: ignore[attr-defined]
    assert "CHG-9" in shown
    assert not store.exists


@pytest.mark.parametrize(
    ("task", "options", "told"),
    [
        ({}, {"title": "t"}, "change_key: "),
        ({}, {"change_key": "a"}, "title: "),
        ({}, {"change_key": "a", "title": "t", "timeout": -1}, "timeout: "),
        ({"delegate_to": "bastion"}, {"change_key": "a", "title": "t", "cancel_on_exit": True}, "cancel_on_exit: "),
    ],
)
def test_what_cannot_be_reported_fails_with_the_options_name(
    ran: Runs, task: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    result = ran(task, **options)
    assert result["failed"]
    assert result["msg"].startswith(told)


def test_where_reports_are_turned_off_the_task_says_so(ran: Runs, receiver: Receiver) -> None:
    result = ran(variables={"flashduty_enabled": False}, change_key="a", title="t")
    assert (result["changed"], result["msg"]) == (False, "not reported: flashduty_enabled is false")
    assert receiver.requests() == []


def test_without_a_key_the_task_joins_the_change_of_its_host(ran: Runs, join: Callable[..., None]) -> None:
    join()
    event = ran({"check_mode": True}, labels={"team": "b", "step": "2"})["event"]
    assert (event["change_key"], event["title"], event["link"]) == ("CHG-7/web1", "of the run", "https://job/1")
    # What the change was begun with stays.
    assert event["labels"] == {"service": "shop", "team": "a", "step": "2"}
    event = ran({"check_mode": True}, title="its own", link="https://ticket")["event"]
    assert (event["title"], event["link"]) == ("its own", "https://ticket")


def test_a_key_of_its_own_makes_a_change_of_its_own(ran: Runs, join: Callable[..., None]) -> None:
    join()
    event = ran({"check_mode": True}, change_key="a", title="t")["event"]
    assert (event["change_key"], event.get("labels") or {}) == ("a", {})


def test_while_the_change_has_not_begun_the_task_says_so(ran: Runs, join: Callable[..., None]) -> None:
    join(None)
    result = ran()
    assert not result["changed"]
    assert "nothing has changed yet" in result["msg"]


def test_the_change_of_another_integration_is_not_joined(
    ran: Runs, join: Callable[..., None], store: Store, connection: Connection
) -> None:
    join(store=Store(store.configured, connection._replace(integration_key="another")))
    assert ran({"check_mode": True})["msg"].startswith("change_key: ")
