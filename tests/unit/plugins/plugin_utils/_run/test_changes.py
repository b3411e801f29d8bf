# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which changes a run is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.utils.collection_loader import AnsibleCollectionConfig

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Changes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings

Makes = Callable[..., Settings]
INVENTORY = """
alone
[web]
web1
web2
web3
[db]
db1
[prod:children]
web
db
[canary]
web2
"""


@pytest.fixture(autouse=True, scope="module")
def _process_of_ansible() -> None:
    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader()


@pytest.fixture
def inventory(tmp_path: Path) -> InventoryManager:
    path = tmp_path / "hosts"
    path.write_text(INVENTORY)
    return InventoryManager(loader=DataLoader(), sources=[str(path)])


def _parts(made_settings: Makes, inventory: InventoryManager, scope: str, *plays: str) -> dict[str, list[str]]:
    changes = Changes(made_settings(scope=scope), Notices())
    for play in plays:
        hosts = inventory.get_hosts([play])
        groups = [tuple(g.name for g in host.get_groups() if g.name not in ("all", "ungrouped")) for host in hosts]
        targets = [TargetHost(host.name, of_host, {}, host=host) for host, of_host in zip(hosts, groups, strict=True)]
        changes.add_play([play], targets, "site.yml", None, 0.0)
    assert all(changes.of_host(host) for change in changes.all for host in change.hosts)
    return {change.target: sorted(change.hosts) for change in changes.all}


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("web", {"web": ["web1", "web2", "web3"]}),
        ("web:db", {"web": ["web1", "web2", "web3"], "db": ["db1"]}),
        ("prod", {"prod": ["db1", "web1", "web2", "web3"]}),
        ("web:&prod:!canary", {"web": ["web1", "web3"]}),
        ("w*", {"web": ["web1", "web2", "web3"]}),
        ("~w.b|d.", {"web": ["web1", "web2", "web3"], "db": ["db1"]}),
        ("web[0:1]", {"web": ["web1", "web2"]}),
        ("web1", {"web": ["web1"]}),
        ("web,db1", {"web": ["web1", "web2", "web3"], "db": ["db1"]}),
        (
            "all",
            {"ungrouped": ["alone"], "web": ["web1", "web2", "web3"], "canary": ["web2"], "db": ["db1"]},
        ),
        ("*:!web", {"ungrouped": ["alone"], "db": ["db1"]}),
    ],
)
def test_groups_are_those_that_the_pattern_names(
    made_settings: Makes, inventory: InventoryManager, pattern: str, parts: dict[str, list[str]]
) -> None:
    assert _parts(made_settings, inventory, "group", pattern) == parts


def test_hosts_and_run(made_settings: Makes, inventory: InventoryManager) -> None:
    assert _parts(made_settings, inventory, "host", "web", "prod") == {
        name: [name] for name in ("web1", "web2", "web3", "db1")
    }
    assert _parts(made_settings, inventory, "run", "web", "db") == {"": ["db1", "web1", "web2", "web3"]}
    assert _parts(made_settings, inventory, "run", "canary:!web2") == {"": []}
    assert _parts(made_settings, inventory, "host", "canary:!web2") == {}
