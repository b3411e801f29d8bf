# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The vars_files of a play, whichever of them a host gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inventories import NAMES, PLAY, Run, inventory_of, write

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import variables


def test_vars_files_that_all_hosts_share_count(tmp_path: Path) -> None:
    play = [
        {
            **PLAY[0],
            "vars": {"name_of_file": "common", "service": "play"},
            "vars_files": ["{{ playbook_dir }}/{{ name_of_file }}.yml"],
        }
    ]
    write(
        tmp_path,
        site=play,
        common={"service": "file", "cluster": "{{ region }}"},
        hosts=inventory_of({"web1": {"service": "host", "region": "nj"}}),
    )
    run = Run(tmp_path)
    assert run.values() == run.core_values() == {"web1": {"service": "file", "cluster": "nj", "region": "nj"}}
    assert run.notices.take() == []


def test_a_file_of_the_play_that_repeats_a_role_default_is_above_the_inventory_all_the_same(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=[{**PLAY[0], "roles": ["app"], "vars_files": ["common.yml"], "vars": {"region": "play"}}],
        common={"service": "b", "region": "b"},
        roles__app__defaults__main={"service": "b", "team": "b", "region": "b"},
        roles__app__tasks__main=[{"ansible.builtin.meta": "noop"}],
        hosts=inventory_of({"web1": {"service": "a", "team": "a", "region": "a"}}),
    )
    run = Run(tmp_path)
    assert run.values() == run.core_values() == {"web1": {"service": "b", "team": "a", "region": "b"}}


def test_files_that_differ_by_what_hosts_have_part_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        "vars/{{ ansible_distribution }}.yml",
        "vars/{{ runtime_env | default('staging') }}.yml",
        ["vars/{{ zone }}.yml", "vars/usual.yml"],
    ]
    groups: dict[str, Any] = {"a": {"hosts": {"web1": {}, "web2": {}}, "vars": {"zone": "{{ dc }}", "dc": "nj"}}}
    write(
        tmp_path,
        site=[{**PLAY[0], "vars_files": files, "vars": {"owner": "play"}}],
        hosts=inventory_of({f"db{number}": {} for number in range(5)} | {"db5": {"runtime_env": "prod"}}, groups),
        host_vars__db4={"team": "of db4"},
        vars__Debian={"service": "debian", "owner": "file"},
        vars__RedHat={"service": "redhat", "ansible_distribution": "RedHat"},
        vars__staging={"cluster": "staging"},
        vars__prod={"cluster": "prod {{ service | default('none') }}"},
        vars__nj={"region": "nj"},
        vars__usual={"region": "usual"},
    )
    names = (*NAMES, "owner", "ansible_distribution", "runtime_env", "zone")
    run = Run(tmp_path)
    monkeypatch.setattr(variables, "PER_HOST_LIMIT", 0)
    assert run.values(names, limit=0) == run.core_values(names)
    run.manager.set_host_facts("web1", {"ansible_distribution": "Debian", "module_setup": True})
    run.manager.set_host_facts("db5", {"ansible_distribution": "RedHat", "module_setup": True})
    found = run.values(names, limit=0)
    assert found == run.core_values(names)
    assert (found["web1"]["service"], found["db5"]["service"], found["db4"]["team"]) == ("debian", "redhat", "of db4")
    assert (found["db5"]["cluster"], found["web2"]["region"]) == ("prod redhat", "nj")
    assert "service" not in found["db1"]
    assert run.notices.take() == []
