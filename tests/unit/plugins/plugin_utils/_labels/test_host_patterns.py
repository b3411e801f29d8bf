# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host patterns, compared with what ansible-core itself makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_patterns import matcher, split

INVENTORY = """
[web]
web1
web2
[db]
db1
[eu-west]
web-eu1
"""


@pytest.fixture
def inventory(tmp_path: Path) -> InventoryManager:
    (tmp_path / "hosts").write_text(INVENTORY)
    return InventoryManager(loader=DataLoader(), sources=[str(tmp_path / "hosts")])


@pytest.mark.parametrize(
    ("patterns", "terms"),
    [
        (["web"], [("", "web")]),
        (["web:db"], [("", "web"), ("", "db")]),
        (["web,db", "eu-west"], [("", "web"), ("", "db"), ("", "eu-west")]),
        (["web:!web1:&db"], [("", "web"), ("!", "web1"), ("&", "db")]),
        (["web[0]", "db[1:]", "web[-1]", "web[0:2]", "web[1-2]"], [("", "web"), ("", "db"), *[("", "web")] * 3]),
        (["!web[0]"], [("!", "web")]),
        # A choice of letters is no subscript.
        (["web[ab]", "web[12]x"], [("", "web[ab]"), ("", "web[12]x")]),
        (["~web[12]+"], [("", "~web[12]+")]),
        (["::1", "[2001:db8::1]:22"], [("", "::1"), ("", "[2001:db8::1]:22")]),
        ([], []),
        ([""], []),
        ([" web , db "], [("", "web"), ("", "db")]),
    ],
)
def test_the_terms_of_patterns(patterns: list[str], terms: list[tuple[str, str]]) -> None:
    assert split(patterns) == terms


@pytest.mark.parametrize(
    "name", ["web1", "web", "w*", "*", "web?", "web[1a]", "~w.b\\d", "~db", "WEB1", "web-eu*", "none*"]
)
def test_a_name_matches_what_ansible_core_finds_by_it(inventory: InventoryManager, name: str) -> None:
    match = matcher(name)
    groups = {group for group in inventory.groups if match(group)}
    hosts = {host for host in inventory.hosts if match(host)}
    by_group = {host.name for group in groups for host in inventory.groups[group].get_hosts()}
    assert {host.name for host in inventory.get_hosts(name)} == hosts | by_group


def test_what_is_no_regular_expression_is_an_error_and_not_a_match() -> None:
    with pytest.raises(Exception, match="unterminated"):
        matcher("~web[")
