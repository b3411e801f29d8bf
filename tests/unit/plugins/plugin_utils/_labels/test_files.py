# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What vars plugins and host_vars give, compared with what ansible-core itself says for each host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible.vars.plugins import get_vars_from_path
from inventories import NAMES, PLAY, Run, inventory_of, write

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import files


def test_every_place_of_inventory_variables_counts(tmp_path: Path) -> None:
    groups: dict[str, Any] = {
        "web": {"hosts": {"web1": {}, "web2": {}}, "vars": {"service": "shop", "size": "inventory"}},
        "prod": {"children": {"web": {}}, "vars": {"region": "nj", "team": "prod", "size": "prod"}},
    }
    write(
        tmp_path,
        site=PLAY,
        inventory__hosts=inventory_of({"web1": {"cluster": "c1"}, "db1": {}}, groups),
        inventory__group_vars__all={"team": "all", "cluster": "c0"},
        inventory__group_vars__web={"cluster": "c-web"},
        group_vars__web={"owner": "beside playbook"},
        inventory__host_vars__db1={"cluster": "c-db"},
        host_vars__web2={"service": "beside playbook"},
    )
    run = Run(tmp_path, ("inventory/hosts.yml",))
    names = (*NAMES, "owner", "size")
    # The file of the group all beats what the inventory itself says of a narrower group: that is Ansible's order.
    of_web = {"team": "all", "region": "nj", "size": "inventory", "owner": "beside playbook"}
    assert run.values(names) == {
        "web1": {**of_web, "service": "shop", "cluster": "c1"},
        "web2": {**of_web, "service": "beside playbook", "cluster": "c-web"},
        "db1": {"team": "all", "cluster": "c-db"},
    }
    assert run.values(names) == run.core_values(names)
    assert run.notices.take() == []


def test_two_inventories_override_each_other_in_their_order(tmp_path: Path) -> None:
    groups: dict[str, Any] = {"a": {"children": {"b": {"hosts": {"web1": {}}}}}}
    write(
        tmp_path,
        site=PLAY,
        one__hosts=inventory_of({}, groups),
        two__hosts=inventory_of({"web1": {}}),
        one__group_vars__b={"service": "one b", "team": "one b"},
        two__group_vars__a={"service": "two a"},
    )
    run = Run(tmp_path, ("one/hosts.yml", "two/hosts.yml"))
    assert run.values() == run.core_values() == {"web1": {"service": "two a", "team": "one b"}}


def test_group_priority_and_configured_precedence_are_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: dict[str, Any] = {
        "a": {"hosts": {"web1": {}}, "vars": {"ansible_group_priority": 10, "service": "a", "team": "inventory"}},
        "b": {"hosts": {"web1": {}}, "vars": {"service": "b"}},
    }
    write(tmp_path, site=PLAY, hosts=inventory_of({}, groups), group_vars__all={"team": "file of all"})
    assert Run(tmp_path).values() == {"web1": {"service": "a", "team": "file of all"}}
    monkeypatch.setattr(C, "VARIABLE_PRECEDENCE", ["all_plugins_play", "groups_inventory"])
    run = Run(tmp_path)
    assert run.values() == run.core_values() == {"web1": {"service": "a", "team": "inventory"}}


@pytest.mark.parametrize("merge", [False, True])
def test_a_manager_that_reads_once_has_the_variables_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: bool
) -> None:
    monkeypatch.setattr(C, "DEFAULT_HASH_BEHAVIOUR", "merge" if merge else "replace")
    places = ("all", "a", "b", "host", "host_file", "extra")

    def numbered(place: str) -> dict[str, Any]:
        rank = places.index(place)
        return {f"from_{name}": place for name in places[: rank + 1]} | {
            "merged": {place: rank},
            "magic": "{{ hostvars }}",
        }

    groups: dict[str, Any] = {"a": {"hosts": {"web1": {}}, "vars": {"of_group": 1}}, "b": {"hosts": {"web1": {}}}}
    write(
        tmp_path,
        site=[{**PLAY[0], "vars": {"of_play": "{{ from_b }}"}, "vars_files": ["{{ from_a }}.yml"]}],
        b={"in_vars_file": True},
        inventory__hosts=inventory_of(
            {"web1": numbered("host"), "web2": {"inventory_hostname_short": "other"}}, groups
        ),
        inventory__group_vars__all=numbered("all"),
        inventory__group_vars__a=numbered("a"),
        group_vars__b=numbered("b"),
        host_vars__web1={**numbered("host_file"), "group_names": ["mine"]},
    )
    run = Run(tmp_path, sources=("inventory/hosts.yml",), extra=numbered("extra"))
    once = files.ReadOnce(run.manager, run.notices)
    for host in run.inventory.get_hosts():
        found, expected = once.get_vars(play=run.play, host=host), run.manager.get_vars(play=run.play, host=host)
        for variables_of in (found, expected):
            del variables_of["hostvars"], variables_of["vars"]
        assert found == expected
    assert once.get_vars(play=run.play).keys() == run.manager.get_vars(play=run.play).keys()


HOST_FILES = {
    "plain": "port: 80\nservice: shop\nregion: 7\n",
    "nothing": "port: 80\n",
    "template": "service: '{{ port }}'\nport: 80\n",
    "input": "zone: b\n",
    "input_template": "zone: '{{ port }}'\nport: 80\n",
    "alias": "port: &a 80\nservice: *a\n",
    "merged": "base: &a {service: shop}\n<<: *a\n",
    "escaped": '{"\\u0073ervice": "shop"}',
    "list": "service:\n- a\n- b\n",
    "date": "service: 2026-11-24\nteam: yes\n",
    "unsafe": "service: !unsafe '{{ port }}'\n",
    "labels": "flashduty_labels:\n  tier: edge\n",
}


@pytest.mark.parametrize("written_in", ["one file", "a folder", "two places"])
def test_what_host_vars_hold_counts_however_it_is_written(tmp_path: Path, written_in: str) -> None:
    hosts: dict[str, Any] = {name: {} for name in HOST_FILES}
    hosts["input"] = {"team": "{{ deeper }}"}
    write(
        tmp_path,
        site=PLAY,
        inventory__hosts=inventory_of(hosts),
        group_vars__all={"cluster": "{{ zone }}-1", "zone": "a", "deeper": "{{ zone }}", "region": "nj"},
    )
    for name, text in HOST_FILES.items():
        if written_in == "two places":
            write(tmp_path, **{f"host_vars__{name}": text, f"inventory__host_vars__{name}": "team: below\nregion: x\n"})
        else:
            write(tmp_path, **{f"host_vars__{name}__all" if written_in == "a folder" else f"host_vars__{name}": text})
    run = Run(tmp_path, sources=("inventory/hosts.yml",))
    assert run.values() == run.core_values()
    assert run.values()["plain"]["service"] == "shop"
    assert run.values(("zone", "service")) == run.core_values(("zone", "service"))


def test_a_file_of_host_vars_without_a_wanted_variable_is_not_loaded(tmp_path: Path) -> None:
    hosts: dict[str, Any] = {f"h{number}": {} for number in range(5)}
    of_hosts = {f"host_vars__{name}": "port: 80\nzone: b\n" if name == "h3" else "port: 80\n" for name in hosts}
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of(hosts),
        group_vars__all={"cluster": "{{ zone }}", "zone": "a"},
        **of_hosts,
    )
    run = Run(tmp_path)
    clusters = [values["cluster"] for values in run.values().values()]
    assert clusters == ["a", "a", "a", "b", "a"]
    assert not [path for path in run.loader._FILE_CACHE if "/host_vars/" in str(path)]


def test_another_vars_plugin_is_asked_for_the_groups_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: dict[str, Any] = {"a": {"hosts": {"web1": {}}}, "b": {"hosts": {"web1": {}}}}
    write(tmp_path, site=PLAY, hosts=inventory_of({}, groups), group_vars__a={"team": "a"}, group_vars__b={"team": "b"})
    monkeypatch.setattr(files, "_OWN_PLUGIN", frozenset())
    run = Run(tmp_path)
    assert run.values() == run.core_values() == {"web1": {"team": "b"}}


def test_where_maps_are_merged_files_are_merged_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(C, "DEFAULT_HASH_BEHAVIOUR", "merge")
    groups: dict[str, Any] = {"a": {"hosts": {"web1": {}}}, "b": {"hosts": {"web1": {}}}}
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({}, groups),
        group_vars__a={"team": {"x": 1}},
        group_vars__b__one={"team": "text"},
        group_vars__b__two={"team": {"y": 2}},
    )
    run = Run(tmp_path)
    assert run.values() == run.core_values() == {"web1": {"team": {"y": 2}}}


def test_core_is_asked_once_for_the_play_and_never_for_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: list[dict[str, Any]] = [{f"h{number}": {} for number in range(group, 300, 10)} for group in range(10)]
    groups = {f"g{group}": {"hosts": hosts[group]} for group in range(10)}
    of_groups: dict[str, Any] = {f"group_vars__g{group}": {"service": f"s{group}", "dc": group} for group in range(10)}
    write(tmp_path, site=PLAY, hosts=inventory_of({}, groups), group_vars__all={"cluster": "{{ dc }}-1"}, **of_groups)
    run = Run(tmp_path)
    asked, read = [], []
    get_vars = run.manager.get_vars

    def counted(*arguments: Any, **named: Any) -> Any:
        asked.append(named.get("host"))
        return get_vars(*arguments, **named)

    def counted_load(*arguments: Any) -> Any:
        read.append(arguments)
        return get_vars_from_path(*arguments)

    monkeypatch.setattr(run.manager, "get_vars", counted)
    monkeypatch.setattr(files, "get_vars_from_path", counted_load)
    assert run.values()["h297"] == {"service": "s7", "cluster": "7-1"}
    assert asked == [None]
    assert len(read) == len(groups) + 1
