# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integrations that the hosts of an inventory name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from outboxes import outbox_in
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import name_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.inventory import (
    HostsAlike,
    Inventory,
    integration_of,
    names_of,
)

WEB_KEY, DB_KEY = "8f3c0ad5e1b24c67", "c41d9e7720ab5f83"
HOSTS = "[web]\nweb1\nweb2\n[db]\ndb1\ndb2\n[prod:children]\nweb\ndb\n"
PLAY = [{"hosts": "localhost", "gather_facts": False, "vars": {"flashduty_integration_key": "of the playbook"}}]


def _inventory(folder: Path, text: str, **given: Any) -> Inventory:
    play = Loaded(folder, PLAY, text).play
    action: Any = SimpleNamespace(_task=SimpleNamespace(get_play=lambda: play), notices=Notices())
    return Inventory(action, given)


def _keys(inventory: Inventory) -> dict[tuple[str, ...], str | None]:
    return {each.hosts: each.connection and each.connection.integration_key for each in inventory.alike}


def test_hosts_with_the_same_settings_stand_together(tmp_path: Path) -> None:
    inventory = _inventory(
        tmp_path,
        f"{HOSTS}[web:vars]\nflashduty_integration_key={WEB_KEY}\n[db:vars]\nflashduty_integration_key={DB_KEY}\n",
    )
    # What the playbook of the task has is none of the hosts'.
    assert _keys(inventory) == {("web1", "web2"): WEB_KEY, ("db1", "db2"): DB_KEY}
    assert {each.integration_key for each in inventory.connections} == {WEB_KEY, DB_KEY}


def test_an_option_of_the_task_counts_for_every_host(tmp_path: Path) -> None:
    inventory = _inventory(
        tmp_path, f"{HOSTS}[web:vars]\nflashduty_integration_key={WEB_KEY}\n", integration_key=DB_KEY
    )
    assert {each.integration_key for each in inventory.connections} == {DB_KEY}


def test_where_no_host_has_a_setting_there_is_nothing_to_say(tmp_path: Path) -> None:
    inventory = _inventory(tmp_path, HOSTS)
    assert (inventory.alike, inventory.connections, [*inventory.groups()]) == ([], [], [])


def test_hosts_that_are_not_reported_or_cannot_be_are_told_apart(tmp_path: Path) -> None:
    text = f"[all]\noff flashduty_enabled=no flashduty_integration_key={WEB_KEY}\nbad flashduty_integration_key='a b'\n"
    inventory = _inventory(tmp_path, f"{text}none\n")
    found = {each.hosts[0]: each for each in inventory.alike}
    assert (found["off"].enabled, found["off"].problem) == (False, "")
    assert found["bad"].connection is None
    assert found["bad"].problem.startswith("integration_key")
    assert "a b" not in found["bad"].problem
    assert found["none"] == HostsAlike(("none",), None)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (f"[all:vars]\nflashduty_integration_key={WEB_KEY}\n", [("all", [(WEB_KEY, 4)])]),
        (
            f"[web:vars]\nflashduty_integration_key={WEB_KEY}\n[db:vars]\nflashduty_integration_key={DB_KEY}\n",
            [("db", [(DB_KEY, 2)]), ("web", [(WEB_KEY, 2)])],
        ),
        # Only within a group that has no groups of its own hosts are told apart.
        (
            f"[web]\nweb1 flashduty_integration_key={WEB_KEY}\nweb2 flashduty_integration_key={DB_KEY}\n",
            [("web", [(WEB_KEY, 1), (DB_KEY, 1)])],
        ),
    ],
)
def test_the_outermost_group_that_reports_to_one_integration_is_named(
    tmp_path: Path, variables: str, expected: list[Any]
) -> None:
    groups = _inventory(tmp_path, HOSTS + variables).groups()
    assert [(name, [(each and each.integration_key, count) for each, count in parts]) for name, parts in groups] == (
        expected
    )


def test_integrations_have_numbers_until_there_is_an_outbox(tmp_path: Path) -> None:
    connections = [Connection("https://flashduty.example", key) for key in (WEB_KEY, DB_KEY)]
    state_dir = str(tmp_path / "state")
    assert [*names_of(state_dir, connections).values()] == ["#1", "#2"]
    outbox_in(state_dir, connection=connections[0]).close()
    names = names_of(state_dir, connections)
    with outbox_in(state_dir, connection=connections[0]) as outbox:
        known = [name_of(each.integration_id(outbox.salt)) for each in connections]
    assert [names[integration_of(each)] for each in connections] == known
    assert len({*known}) == 2
