# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a task, and the variables that set them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import DEFAULT_API_URL
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import (
    task_host,
    variables_of_task,
    with_task_options,
)

PUSH_URL = f"{DEFAULT_API_URL}/event/push/change/standard?integration_key=from-url"
TASKS = [{"hosts": "web", "gather_facts": False, "vars": {"of_play": "play"}, "tasks": [{"debug": {"msg": "x"}}]}]
NAMES = frozenset({"flashduty_title", "flashduty_enabled", "other"})


@pytest.fixture
def run(tmp_path: Path) -> Loaded:
    return Loaded(tmp_path, TASKS, extra={"of_command_line": "extra"})


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"timeout": 3.0}, {"timeout": 3.0, "integration_key": "k", "push_url": None}),
        ({"timeout": None, "api_url": ""}, {"timeout": 10.0, "api_url": "https://fd", "integration_key": "k"}),
        # One way to name the integration makes all others void.
        ({"push_url": PUSH_URL}, {"push_url": PUSH_URL, "integration_key": None}),
        ({"integration_key_file": "/key", "push_url": ""}, {"integration_key_file": "/key", "integration_key": None}),
        ({"validate_certs": False}, {"validate_certs": False}),
        ({"labels": {}}, {"labels": {}}),
    ],
)
def test_what_a_task_gives_goes_before_everything(task: dict[str, Any], expected: dict[str, Any]) -> None:
    below = {"timeout": 10.0, "api_url": "https://fd", "integration_key": "k", "push_url": None, "validate_certs": True}
    options = with_task_options(below, task)
    assert {name: options[name] for name in expected} == expected
    assert below["integration_key"] == "k"


def test_a_task_whose_variables_nobody_else_set_has_them_as_they_are(run: Loaded) -> None:
    run.write("group_vars/web.yml", "flashduty_title: written\nflashduty_enabled: false")
    run.answer("web1", unrelated="x")
    given = run.task_variables()
    assert variables_of_task(run.tasks[0], given, NAMES) is given


def test_a_task_is_not_misled_by_an_answer(run: Loaded) -> None:
    run.write("group_vars/web.yml", "flashduty_title: written")
    run.answer("web1", flashduty_title="answered")
    assert variables_of_task(run.tasks[0], run.task_variables(), NAMES)["flashduty_title"] == "written"
    # Another host's answers are not those of this one.
    given = run.task_variables("web2")
    assert variables_of_task(run.tasks[0], given, NAMES) is given


def test_a_template_of_a_task_does_not_bring_answers_in(run: Loaded) -> None:
    run.write("group_vars/web.yml", "flashduty_title: '{{ only_answered | default(\"none\") }}'")
    run.answer("web1", only_answered="x")
    found = variables_of_task(run.tasks[0], run.task_variables(), NAMES)
    assert "only_answered" not in found
    assert "flashduty_title" in found


def test_a_task_without_such_variables_is_asked_nothing() -> None:
    assert variables_of_task(None, {"inventory_hostname": "web1", "unrelated": 1}, NAMES) == {}


@pytest.mark.parametrize(("variables", "host"), [({"inventory_hostname": "web1"}, "web1"), ({}, "None")])
def test_outside_of_a_worker_the_host_is_the_one_that_the_variables_name(
    variables: Mapping[str, Any], host: str
) -> None:
    assert task_host(variables) == host
