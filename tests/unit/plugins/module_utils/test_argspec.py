# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules, as ansible-core reads them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import (
    CHANGE_OPTIONS,
    CONNECTION_OPTIONS,
    FLUSH_OPTIONS,
    PART_OPTIONS,
    QUERY_OPTIONS,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import FIELDS, STATUSES

SPECS = {"change": CHANGE_OPTIONS, "part": PART_OPTIONS, "query": QUERY_OPTIONS, "flush": FLUSH_OPTIONS}
CHANGE = {"change_status": "Done"}


def validated(spec: dict[str, dict[str, Any]], **given: Any) -> dict[str, Any]:
    result = ArgumentSpecValidator({**spec, **CONNECTION_OPTIONS}).validate(given)
    assert result.error_messages == []
    return dict(result.validated_parameters)


def test_a_connection_option_that_is_not_given_leaves_it_to_the_callbacks() -> None:
    assert set(validated({}).values()) == {None}


@pytest.mark.parametrize("name", SPECS)
def test_no_option_stands_for_two_things(name: str) -> None:
    assert SPECS[name].keys().isdisjoint(CONNECTION_OPTIONS)


def test_ansible_hides_what_is_secret_and_shows_what_is_not() -> None:
    secrets = {name: f"secret-{name}" for name in ("push_url", "integration_key", "app_key")}
    shown = {"change_key": "CHG-7", "integration_key_file": "/etc/key", "client_key": "/etc/pki/key"}
    spec = {**CHANGE_OPTIONS, **CONNECTION_OPTIONS}
    result = ArgumentSpecValidator(spec).validate({**CHANGE, **secrets, **shown})
    assert set(result._no_log_values) == set(secrets.values())


def test_a_task_can_give_each_field_of_an_event() -> None:
    assert set(FIELDS) <= set(CHANGE_OPTIONS)
    for status in STATUSES:
        assert validated(CHANGE_OPTIONS, change_status=status)["change_status"] == status


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        (CHANGE_OPTIONS, {}),
        (CHANGE_OPTIONS, {"change_status": "done"}),
        (CHANGE_OPTIONS, {**CHANGE, "on_delivery_failure": "ignore"}),
        (CHANGE_OPTIONS, {**CHANGE, "labels": "no map"}),
        (PART_OPTIONS, {"state": "started"}),
        (PART_OPTIONS, {"change_key": "CHG-7", "state": "stopped"}),
        (QUERY_OPTIONS, {"change_status": ["Open"]}),
        (QUERY_OPTIONS, {"integration_ids": ["first"]}),
        (FLUSH_OPTIONS, {"wait": "long"}),
    ],
)
def test_what_makes_no_sense_is_refused_by_ansible(spec: dict[str, dict[str, Any]], given: dict[str, Any]) -> None:
    assert ArgumentSpecValidator(spec).validate(given).error_messages


def test_a_failed_delivery_fails_a_report_but_not_a_hosts_part() -> None:
    assert validated(CHANGE_OPTIONS, **CHANGE)["on_delivery_failure"] == "fail"
    assert validated(PART_OPTIONS, state="done", change_key="CHG-7")["on_delivery_failure"] == "queue"


def test_a_moment_stays_as_it_was_written() -> None:
    # ISO 8601 is told apart from seconds later; a number must not become a float on the way.
    assert validated(CHANGE_OPTIONS, **CHANGE, event_time=1_800_000_000)["event_time"] == "1800000000"
