# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often the callback has variables read, beside how often ansible-core reads them itself."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from control_node import ControlNode

PLUGIN = """
import os

from ansible.plugins.{kind} import {base}

DOCUMENTATION = "name: counted\\nshort_description: counts\\nversion_added: '1'\\ndescription: counts"


class {name}({base}):
    def {method}:
        with open(os.environ["COUNTS"], "a") as file:
            file.write({entry} + "\\n")
        return {answer}
"""
VARS = PLUGIN.format(
    kind="vars",
    base="BaseVarsPlugin",
    name="VarsModule",
    method="get_vars(self, loader, path, entities, cache=True)",
    entry='",".join(entity.name for entity in entities)',
    answer='{"team": "checkout"}',
)
LOOKUP = PLUGIN.format(
    kind="lookup",
    base="LookupBase",
    name="LookupModule",
    method="run(self, terms, variables=None, **options)",
    entry='"lookup"',
    answer="terms",
)
INVENTORY = """
[web]
web1
web2
[db]
db1
[all:vars]
ansible_connection=local
ansible_python_interpreter={python}
"""
PLAY = """
- hosts: {hosts}
  gather_facts: false
  vars_files: ["{{{{ lookup('counted', 'file.yml') }}}}"]
  tasks:
    - ansible.builtin.debug: {{msg: fine}}
"""


class Counting(ControlNode):
    """Counts what a run reads of variables."""

    def read(self) -> Counter[str]:
        """:returns: how often what is read in a run."""
        counts = self.folder / "counts"
        counts.write_text("")
        code, output = self.run(str(self.folder / "site.yml"))
        assert code == 0, output
        return Counter(counts.read_text().splitlines())


@pytest.fixture
def counting(control: ControlNode) -> Counting:
    counting = Counting(control.folder, control.receiver)
    for folder, plugin in (("vars_plugins", VARS), ("lookup_plugins", LOOKUP)):
        Path(control.folder, folder).mkdir()
        counting.write(f"{folder}/counted.py", plugin)
        counting.environment[f"ANSIBLE_{folder.upper()}"] = str(control.folder / folder)
    counting.environment["COUNTS"] = str(control.folder / "counts")
    counting.write("inventory", INVENTORY.format(python=sys.executable))
    counting.write("file.yml", "service: storefront")
    return counting


def test_a_vars_plugin_is_asked_once_in_a_run_for_each_host_and_its_groups_or_only_for_the_settings(
    counting: Counting,
) -> None:
    plays = ("web", "db", "web", "web:db")
    counting.write("site.yml", "".join(PLAY.format(hosts=hosts) for hosts in plays))
    callback = counting.environment.pop("ANSIBLE_CALLBACKS_ENABLED")
    without = counting.read()
    counting.environment["ANSIBLE_CALLBACKS_ENABLED"] = callback
    more = counting.read() - without
    lookups = more.pop("lookup")
    # In one folder, for that of the inventory is that of the playbook.
    assert more == {"all": 1, "web": 1, "db": 1, "web1": 1, "web2": 1, "db1": 1}
    # Two for each play, one for each that is still to come when the first one starts, one for the hosts new there.
    assert lookups == 4 * 2 + 3 + 1
    labels = counting.only_change()["labels"]
    assert (labels["team"], labels["service"]) == ("checkout", "storefront")

    # Without label_vars, but for the labels that the operator writes.
    counting.environment["FLASHDUTY_LABEL_VARS"] = ""
    Path(counting.folder, "host_vars").mkdir()
    counting.write("host_vars/web2.yml", "flashduty_labels: {tier: edge}")
    more = counting.read() - without
    more.pop("lookup")
    assert more == {"all": 1, "web": 1, "web1": 1, "db": 1, "db1": 1}
    labels = counting.receiver.events()[-1]["body"]["labels"]
    assert not {"team", "service"} & labels.keys()
    assert labels["tier"] == "edge"
