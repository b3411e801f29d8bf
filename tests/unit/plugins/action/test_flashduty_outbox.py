# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that lists the outbox, without a key; and what it says where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from outboxes import event
from workers import Worker

from ansible_collections.flashcat.flashduty.plugins.action.flashduty_outbox import ActionModule
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store


def ran(folder: Path, variables: dict[str, Any], **options: Any) -> dict[str, Any]:
    worker = Worker(folder, "flashcat.flashduty.flashduty_outbox", options, {}, extra=variables)
    return worker.action(ActionModule).run(None, worker.variables)


def test_events_of_any_integration_are_listed_without_a_key(tmp_path: Path, store: Store) -> None:
    store.do(lambda outbox: outbox.put(event()))
    (listed,) = ran(tmp_path, {}, state_dir=store.configured)["events"]
    assert (listed["change_key"], listed["state"]) == ("a", "waiting")


@pytest.mark.parametrize(
    ("variables", "options", "told"),
    [({"flashduty_scope": "hosts"}, {}, "scope: "), ({}, {"outbox_url": "mysql://db/flashduty"}, "outbox_url: ")],
)
def test_a_setting_that_cannot_be_used_fails_the_task_with_its_name(
    tmp_path: Path, store: Store, variables: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    result = ran(tmp_path, variables, state_dir=store.configured, **options)
    assert result["failed"]
    assert result["msg"].startswith(told)
