# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cannot be read costs labels, never the change: ansible-core may never need it."""

from __future__ import annotations

import pytest
from control_node import ControlNode

VAULT = """$ANSIBLE_VAULT;1.1;AES256
36623033326238646230646138343463316131363264373231306538333234343435633737303838
3932356234336266343335653032643837643337653035380a636139313533653935366333613134
66363837376339333966346361656366633866393938326164363637396235376664636133393035
3332353034316263390a356636363865653864333634376335626631303639333361373037376537
3762
"""
SITE = """
- hosts: db
  gather_facts: false
  tags: db
  vars_files: [{vars_file}]
  tasks:
    - ansible.builtin.raw: "true"
- hosts: web
  gather_facts: false
  tags: web
  tasks:
    - ansible.builtin.raw: "true"
"""


@pytest.mark.alike
@pytest.mark.parametrize("key_in", ["environment", "group_vars/all.yml"])
@pytest.mark.parametrize("what", ["vault", "broken", "host", "vars_files", "plugin"])
def test_a_play_that_cannot_be_read_is_reported_all_the_same(control: ControlNode, what: str, key_in: str) -> None:
    for folder in ("group_vars", "host_vars", "vars_plugins"):
        (control.folder / folder).mkdir()
    control.write("nothing.yml", "{}")
    if what == "vault":
        control.write("group_vars/db.yml", VAULT)
    elif what == "broken":
        control.write("group_vars/db.yml", "a: [1\nb: }")
    elif what == "host":
        control.write("host_vars/db1.yml", VAULT)
    elif what == "plugin":
        control.write(
            "vars_plugins/angry.py",
            "from ansible.plugins.vars import BaseVarsPlugin\n\n\n"
            "class VarsModule(BaseVarsPlugin):\n    REQUIRES_ENABLED = False\n\n"
            "    def get_vars(self, loader, path, entities, cache=True):\n"
            "        names = [entity.name for entity in entities]\n"
            "        if 'db' in names or 'db1' in names:\n            raise RuntimeError('angry')\n        return {}\n",
        )
        control.environment["ANSIBLE_VARS_PLUGINS"] = str(control.folder / "vars_plugins")
    if key_in != "environment":
        push_url = control.environment.pop("FLASHDUTY_PUSH_URL")
        control.write("group_vars/all.yml", f"flashduty_push_url: {push_url}")
    path = control.write("site.yml", SITE.format(vars_file="missing.yml" if what == "vars_files" else "nothing.yml"))
    code, output = control.run(path, "--tags", "web")
    assert code == 0, output
    assert control.statuses() == ["Processing", "Done"]
    change = control.only_change()
    assert change["labels"]["host"] == "db1,web1,web2"
    assert change["labels"]["service"] == "storefront"
    told = " ".join(output.split())
    # A missing file in vars_files is no error of ansible-core's own.
    assert told.count("cannot be read, labels and settings in them are missing") == (what != "vars_files")


def test_a_run_that_fails_for_it_is_canceled(control: ControlNode) -> None:
    (control.folder / "group_vars").mkdir()
    control.write("group_vars/db.yml", VAULT)
    code, _output = control.run(control.write("site.yml", SITE.format(vars_file="[]")))
    assert code != 0
    assert control.statuses() == ["Processing", "Canceled"]
