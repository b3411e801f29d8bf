# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the path of an inventory says."""

from __future__ import annotations

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.inventory_path import labels_of


@pytest.mark.parametrize(
    ("source", "inventory", "env"),
    [
        ("hosts", None, None),
        ("/etc/ansible/hosts", None, None),
        ("web1,web2,", None, None),
        ("inventory", None, None),
        ("prod.ini", "prod", "prod"),
        ("inventories/prod/hosts", "prod", "prod"),
        ("environments/production/", "production", "production"),
        ("environments/eu/staging/inventory.yml", "eu/staging", "staging"),
        ("inventory/mycluster/hosts.yaml", "mycluster", None),
        ("aws_ec2.yml", "aws_ec2", None),
        ("/srv/deploy/inventories/qa/hosts.ini", "qa", "qa"),
        ("../staging/hosts", "staging", "staging"),
        ("../tmp.Xy12/hosts", None, None),
        ("production/a/b/c.yml", "b/c", "production"),
        ("inventories/reproduction/hosts", "reproduction", None),
    ],
)
def test_what_tells_an_inventory_from_others(source: str, inventory: str | None, env: str | None) -> None:
    expected = {"inventory": inventory, "env": env}
    assert labels_of([source], "/home/alice/infra") == {key: (text,) for key, text in expected.items() if text}


def test_several_inventories_have_all_their_labels() -> None:
    found = labels_of(["inventories/prod", "inventories/common/hosts", "inventories/dev/hosts"], "/work")
    assert found == {"inventory": ("common", "dev", "prod"), "env": ("dev", "prod")}
