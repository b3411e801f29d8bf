# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which integration gets which hosts, and what is told of hosts that none gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import FLUSH, Notice, Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.integrations import Integrations, operators_view
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.reporting import Reporting
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.wait import flush_command

PLAY = {"hosts": "all", "gather_facts": False, "tasks": []}
WEB_KEY, DB_KEY = "8f3c0ad5e1b24c67", "1b9d2e7f60a84c35"
TWO_TEAMS = f"""
[web]
web1
web2
[db]
db1
[web:vars]
flashduty_integration_key={WEB_KEY}
[db:vars]
flashduty_integration_key={DB_KEY}
"""


class Found:
    """The integrations of a run, and what the user sees of them."""

    def __init__(self, folder: Path, inventory: str, *plays: Mapping[str, Any], **arguments: Any) -> None:
        self.told: list[Notice] = []
        self.notices = Notices(self.told.append)
        self.loaded = Loaded(folder, plays or [PLAY], inventory, **arguments)
        self.integrations = Integrations(self.notices)

    @staticmethod
    def _begin(_options: Mapping[str, Any], connection: Connection) -> Reporting:
        nothing: Any = None
        return Reporting("run", connection, nothing, nothing, nothing)

    def members(self, number: int = 0, begins: bool = True) -> dict[str, list[str]]:
        """The hosts of a play by the key that they report to."""
        play = self.loaded.plays[number]
        hosts = self.loaded.hosts(play)
        found = targets(play, hosts, (), self.notices, compared=_options.INTEGRATION_VARIABLES)
        options = _options.resolved(*operators_view(play, hosts, self.notices)) if begins else None
        members = self.integrations.members(play, found, options, self._begin if begins else None)
        return {
            reporting.connection.integration_key: [host.name for host in of_part]
            for reporting, of_part in members.items()
        }


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLASHDUTY_PUSH_URL", "FLASHDUTY_INTEGRATION_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_each_host_goes_to_the_integration_that_its_variables_name(tmp_path: Path) -> None:
    found = Found(tmp_path, TWO_TEAMS)
    assert not found.integrations
    assert found.members() == {WEB_KEY: ["web1", "web2"], DB_KEY: ["db1"]}
    assert found.integrations.are_parted
    assert found.told == []
    assert found.integrations.redact(f"{WEB_KEY} {DB_KEY}") == "******** ********"


def test_hosts_of_one_integration_are_no_parts_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASHDUTY_INTEGRATION_KEY", WEB_KEY)
    found = Found(tmp_path, "web1\ndb1\n", PLAY, {**PLAY, "hosts": "db1"}, {**PLAY, "hosts": "nobody"})
    assert found.members() == {WEB_KEY: ["web1", "db1"]}
    assert found.members(1) == {WEB_KEY: ["db1"]}
    # A play without hosts is told to each.
    assert found.members(2) == {WEB_KEY: []}
    assert not found.integrations.are_parted
    assert flush_command(found.integrations) == FLUSH


def test_a_play_that_is_still_to_come_begins_nothing_and_tells_nothing(tmp_path: Path) -> None:
    inventory = TWO_TEAMS + "[lost]\nlost1 flashduty_integration_key='no key'\n"
    found = Found(tmp_path, inventory, {**PLAY, "hosts": "web"}, {**PLAY, "hosts": "all"})
    assert found.members() == {WEB_KEY: ["web1", "web2"]}
    assert found.members(1, begins=False) == {WEB_KEY: ["web1", "web2"]}
    assert len(list(found.integrations)) == 1
    assert found.told == []


@pytest.mark.parametrize(
    ("lost", "problem"),
    [("", "no integration key"), ("flashduty_integration_key='no key'", "integration_key: must contain one key")],
)
def test_hosts_without_a_usable_key_are_named_and_go_to_nobody_else(tmp_path: Path, lost: str, problem: str) -> None:
    names = [f"lost{number}" for number in range(1, 6)]
    found = Found(tmp_path, TWO_TEAMS + "[lost]\n" + "".join(f"{name} {lost}\n" for name in names))
    assert found.members() == {WEB_KEY: ["web1", "web2"], DB_KEY: ["db1"]}
    (notice,) = found.told
    assert "lost1, lost2, lost3 and 2 more" in notice.text
    assert problem in notice.text


def test_what_the_control_node_does_for_the_run_belongs_to_the_run(tmp_path: Path) -> None:
    inventory = TWO_TEAMS + "[control]\nlocalhost\n"
    found = Found(tmp_path, inventory, {**PLAY, "hosts": "db"}, {**PLAY, "hosts": "control"})
    assert found.members() == {DB_KEY: ["db1"]}
    assert found.members(1) == {DB_KEY: ["localhost"]}
    assert found.told == []


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ({}, " -i hosts"),
        ({"vault_ids": ["team@pass word"]}, " -i hosts --vault-id 'team@pass word'"),
        ({"ask_vault_pass": True, "extra_vars": ("@more.yml", "a=b")}, " -i hosts -e @more.yml --ask-vault-pass"),
    ],
)
def test_a_flush_finds_the_key_of_the_inventory_where_this_run_did(
    tmp_path: Path, arguments: Mapping[str, Any], needed: str
) -> None:
    found = Found(tmp_path, TWO_TEAMS)
    context.CLIARGS = ImmutableDict({**context.CLIARGS, "inventory": ("hosts",), **arguments})
    found.members()
    assert flush_command(found.integrations) == FLUSH + needed


def test_a_flush_is_told_a_key_that_only_the_play_sets(tmp_path: Path) -> None:
    found = Found(tmp_path, "web1\n", {**PLAY, "vars": {"flashduty_integration_key": WEB_KEY}})
    assert found.members() == {WEB_KEY: ["web1"]}
    assert flush_command(found.integrations) == f"{FLUSH} -e flashduty_push_url=PUSH_URL"
