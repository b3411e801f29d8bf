# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The values of variables, compared with what ansible-core itself says for each host."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible.parsing.vault import VaultLib, VaultSecret
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inventories import NAMES, PLAY, SECRET, Run, inventory_of, write

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import files
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets


def test_groups_are_all_but_those_of_every_host(tmp_path: Path) -> None:
    groups: dict[str, Any] = {"prod": {"children": {"web": {"hosts": {"web1": {}}}}}}
    write(tmp_path, site=PLAY, hosts=inventory_of({"db1": {}}, groups))
    found = Run(tmp_path).targets()
    assert set(found["web1"].groups) == {"web", "prod"}
    assert found["db1"].groups == ()


def test_hosts_that_differ_in_nothing_share_one_map(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"ansible_host": f"127.0.0.{number}"} for number in range(1, 4)}
    write(tmp_path, site=PLAY, hosts=inventory_of(hosts), group_vars__all={"service": "{{ region }}", "region": "nj"})
    found = Run(tmp_path).targets()
    assert found["web1"].variables == {"service": "nj", "region": "nj"}
    assert found["web1"].variables is found["web2"].variables is found["web3"].variables


@pytest.mark.parametrize("merge", [False, True])
def test_extra_play_and_cached_variables_take_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: bool
) -> None:
    monkeypatch.setattr(C, "DEFAULT_HASH_BEHAVIOUR", "merge" if merge else "replace")
    play = [{**PLAY[0], "vars": {"service": "play", "team": "play", "flashduty_labels": {"play": 1}}}]
    hosts = {"web1": {"service": "host", "region": "host", "flashduty_labels": {"host": 1}}, "web2": {}}
    write(tmp_path, site=play, hosts=inventory_of(hosts))
    run = Run(tmp_path, extra={"team": "extra", "flashduty_labels": {"extra": 1}})
    run.manager.set_nonpersistent_facts("web2", {"service": "set_fact", "team": "set_fact"})
    run.manager.set_host_variable("web1", "region", "include_vars")
    run.manager.set_host_facts("web1", {"cluster": "fact {{ team }}", "service": "fact"})
    found = run.values()
    assert found == run.core_values()
    assert found["web1"]["service"] == "play"
    assert found["web1"]["team"] == "extra"
    assert found["web1"]["region"] == "include_vars"
    assert found["web1"]["cluster"] == "fact {{ team }}"
    assert found["web2"]["service"] == "set_fact"
    assert found["web1"]["flashduty_labels"] == ({"play": 1, "host": 1, "extra": 1} if merge else {"extra": 1})


def test_ansibles_own_variables_can_be_labels(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=[{**PLAY[0], "name": "Deploy"}],
        hosts=inventory_of({"web1.example.com": {}, "db1": {}}),
        group_vars__all={"cluster": "of {{ inventory_hostname_short }}"},
    )
    names = ("inventory_hostname", "cluster", "ansible_play_name", "playbook_dir")
    run = Run(tmp_path)
    assert run.values(names)["web1.example.com"]["cluster"] == "of web1"
    assert run.values(names) == run.core_values(names)


def test_ansibles_own_variables_cannot_be_set(tmp_path: Path) -> None:
    hosts = inventory_of({"web1": {"group_names": "mine", "inventory_hostname_short": "mine"}})
    write(tmp_path, site=PLAY, hosts=hosts)
    run = Run(tmp_path, extra={"playbook_dir": "mine"})
    names = ("group_names", "inventory_hostname_short", "playbook_dir")
    assert "mine" not in run.values(names)["web1"].values()
    assert run.values(names) == run.core_values(names)


def test_odd_values_become_plain_ones(tmp_path: Path) -> None:
    vaulted = VaultLib([("default", SECRET)]).encrypt(b"safe").decode()
    text = "service: !unsafe '{{ not a template }}'\nregion: 2026-11-23\nteam: [1, true, null, 1.5, x]\n"
    text += "flashduty_labels: {a: {b: c}}\n"
    text += "cluster: !vault |\n  " + vaulted.strip().replace("\n", "\n  ") + "\n"
    write(tmp_path, site=PLAY, hosts=inventory_of({"web1": {}}), group_vars__all=text)
    run = Run(tmp_path)
    values = run.values()["web1"]
    assert (values, run.notices.take()) == (
        {
            "service": "{{ not a template }}",
            "region": "2026-11-23",
            "team": [1, True, None, 1.5, "x"],
            "flashduty_labels": {"a": {"b": "c"}},
            "cluster": "safe",
        },
        [],
    )
    assert type(values["service"]) is type(values["cluster"]) is str
    assert values == run.core_values()["web1"]


def test_a_vaulted_value_without_its_secret_drops_that_label_only(tmp_path: Path) -> None:
    vaulted = VaultLib([("default", VaultSecret(b"other"))]).encrypt(b"safe").decode()
    text = "service: shop\ncluster: !vault |\n  " + vaulted.strip().replace("\n", "\n  ") + "\n"
    write(tmp_path, site=PLAY, hosts=inventory_of({"web1": {}}), group_vars__all=text)
    run = Run(tmp_path)
    assert run.values() == {"web1": {"service": "shop"}}
    assert [notice.level for notice in run.notices.take()] == ["debug"]


def test_a_value_that_holds_itself_is_left_out(tmp_path: Path) -> None:
    hosts = inventory_of({"web1": {}})
    write(tmp_path, site=PLAY, hosts=hosts, group_vars__all="service: shop\n")
    run = Run(tmp_path)
    loop: list[Any] = ["{{ service }}"]
    loop.append(loop)
    run.inventory.get_host("web1").vars["team"] = loop
    assert run.values() == {"web1": {"service": "shop"}}


def test_role_defaults_are_below_and_role_variables_above_the_inventory(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=[{**PLAY[0], "roles": ["app"]}],
        roles__app__defaults__main={"service": "default", "team": "default"},
        roles__app__vars__main={"region": "role"},
        roles__app__tasks__main=[{"ansible.builtin.meta": "noop"}],
        hosts=inventory_of({"web1": {"service": "host", "region": "host"}}),
    )
    run = Run(tmp_path)
    assert run.values() == run.core_values() == {"web1": {"service": "host", "team": "default", "region": "role"}}


@pytest.mark.parametrize("breaks", [False, True])
def test_variables_that_are_only_compared_part_the_hosts_and_are_worked_out_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: bool
) -> None:
    ran = tmp_path / "ran"
    groups = {
        "web": {"hosts": {"web1": {}, "web2": {}}, "vars": {"key": "{{ teams[team] }}", "team": "a"}},
        "db": {"hosts": {"db1": {}, "db2": {"team": "c"}}, "vars": {"key": "{{ teams[team] }}", "team": "b"}},
        "vaulted": {"hosts": {"v1": {}, "v2": {}}},
        "piped": {"hosts": {"p1": {}, "p2": {}}, "vars": {"key": f"{{{{ lookup('pipe', 'touch {ran}') }}}}"}},
        "bare": {"hosts": {"bare1": {}, "bare2": {"service": "own"}}},
    }
    secret = VaultLib([("default", SECRET)]).encrypt("the key").decode().replace("\n", "\n  ")
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({}, groups),
        group_vars__all={"teams": {"a": "A", "b": "B", "c": "C"}},
        group_vars__vaulted=f"key: !vault |\n  {secret}\n",
    )
    if breaks:
        monkeypatch.setattr(files, "_import_error", ImportError("gone"))
    run = Run(tmp_path)
    hosts = run.inventory.get_hosts("all")
    parts: dict[object, list[str]] = {}
    for target in targets(run.play, hosts, ("service", "team"), run.notices, compared=("key", "nobody_has_it")):
        parts.setdefault(target.alike, []).append(target.name)
        assert "key" not in target.variables
    alike = [sorted(names) for names in parts.values()]
    assert ["bare1", "bare2"] in alike
    if breaks:
        # Where core is asked host by host, nobody is taken for like another who has such a variable.
        assert len(alike) == 1 + 8
    else:
        assert sorted(alike) == [["bare1", "bare2"], ["db1"], ["db2"], ["p1", "p2"], ["v1", "v2"], ["web1", "web2"]]
    assert not ran.exists()


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("slow", [False, True])
def test_what_roles_facts_and_tasks_give_does_not_count_for_written_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: bool, slow: bool
) -> None:
    monkeypatch.setattr(C, "DEFAULT_HASH_BEHAVIOUR", "merge" if merge else "replace")
    if slow:
        monkeypatch.setattr(files, "sort_groups", None)
    names = ("role_default", "role_var", "fact", "registered", "included")
    write(
        tmp_path,
        site=[{**PLAY[0], "roles": ["app"], "vars": {"of_play": "play", "read": "{{ fact }} {{ role_default }}"}}],
        roles__app__defaults__main={"role_default": "role", "own_default": "role", "of_host": "role"},
        roles__app__vars__main={"role_var": "role", "of_host": "role"},
        roles__app__tasks__main=[{"ansible.builtin.meta": "noop"}],
        hosts=inventory_of({"web1": dict.fromkeys((*names, "of_host"), "inventory"), "web2": {}}),
    )
    run = Run(tmp_path, extra={"of_extra": "extra"})
    for host in ("web1", "web2"):
        secrets = {"registered": {"stdout": "secret"}, "of_task": "secret", "of_play": "secret", "of_host": "secret"}
        run.manager.set_nonpersistent_facts(host, secrets)
        run.manager.set_host_variable(host, "included", "secret")
        run.manager.set_host_facts(host, {"fact": "answer"})
    asked = (*names, "own_default", "of_host", "of_play", "of_task", "of_extra", "read")
    hosts = run.inventory.get_hosts()
    found = {host.name: host.variables for host in targets(run.play, hosts, asked, run.notices, written=asked)}
    # What a template of the operator's reads, it reads as Ansible does.
    for_all = {"of_play": "play", "of_extra": "extra", "read": "answer role"}
    of_web1 = dict.fromkeys((*names, "of_host"), "inventory")
    assert found == {"web1": {**of_web1, **for_all, "read": "answer inventory"}, "web2": for_all}
    asked_for = run.values(asked)
    assert asked_for == run.core_values(asked)
    assert asked_for["web1"]["of_task"] == "secret"


def test_facts_that_are_not_injected_leave_those_of_the_host_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_INJECT_FACT_VARS", "false")
    monkeypatch.setattr(C, "INJECT_FACTS_AS_VARS", False)
    # Where ansible-core 2.21 and newer keep it.
    monkeypatch.setattr(sys.modules["ansible.vars.manager"], "_INJECT_FACTS", False, raising=False)
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {}, "web2": {}}),
        group_vars__all={
            "service": "{{ ansible_local.deploy.env | default('unknown') }}",
            "cluster": "{{ ansible_hostname | default('unknown') }}",
            "team": "{{ ansible_local | length }} facts",
        },
    )
    run = Run(tmp_path)
    run.manager.set_host_facts("web1", {"ansible_local": {"deploy": {"env": "prod"}}, "ansible_hostname": "w1"})
    assert run.values() == run.core_values()
    assert run.values()["web1"] == {"service": "prod", "cluster": "unknown", "team": "1 facts"}
    assert run.values()["web2"] == {"service": "unknown", "cluster": "unknown", "team": "0 facts"}


# Generated inventories.

_HOSTS = [f"h{number}" for number in range(6)]
_GROUPS = [f"g{number}" for number in range(5)]
_VALUES = st.sampled_from(
    [
        "a",
        "b",
        "10.0.0.1",
        7,
        True,
        None,
        "",
        ["x", "y"],
        {"k": "v"},
        {"k": "{{ region }}", "l": {"m": 1}},
        "{{ region }}-1",
        "{{ dc }}:9100",
        "{{ region }}",
        "#jinja2: variable_start_string: '[%', variable_end_string: '%]'\n[% dc | default('none') %] {{ region }}",
        "{{ team | default('none') }}",
        "{{ inventory_hostname }}/{{ dc }}",
        "{{ group_names | sort | join('+') }}",
        "{{ nope }}",
        "{{ hostvars[inventory_hostname].dc | default('?') }}",
        "{% if dc is defined %}{{ dc }}{% else %}no dc{% endif %}",
        "{# nothing #}c",
    ]
)
_VARIABLES = st.dictionaries(st.sampled_from([*NAMES, "dc"]), _VALUES, max_size=3)


@st.composite
def _inventories(draw: st.DrawFn) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for name in _GROUPS:
        variables = draw(_VARIABLES)
        if draw(st.booleans()):
            variables["ansible_group_priority"] = draw(st.integers(1, 3))
        groups[name] = {
            "hosts": {host: {} for host in draw(st.sets(st.sampled_from(_HOSTS), max_size=3))},
            # Only later groups, so that no group is its own ancestor.
            "children": {child: {} for child in draw(st.sets(st.sampled_from(_GROUPS), max_size=2)) if child > name},
            "vars": variables,
        }
    hosts = {host: draw(_VARIABLES) for host in _HOSTS}
    groups["ungrouped"] = {"vars": draw(_VARIABLES)}
    return {"all": {"hosts": hosts, "children": groups, "vars": draw(_VARIABLES)}}


_FILES = st.dictionaries(
    st.sampled_from(
        [f"group_vars__{name}" for name in ("all", "ungrouped", *_GROUPS)]
        + [f"group_vars__{name}__{part}" for name in ("g0", "g4") for part in ("one", "two")]
        + [f"host_vars__{name}" for name in (*_HOSTS[:3], "localhost")]
    ),
    _VARIABLES,
    max_size=5,
)


@pytest.fixture
def numbered_folders(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / str(number) for number in range(10**6))


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    one=_inventories(),
    two=st.none() | _inventories(),
    beside=st.tuples(_FILES, _FILES, _FILES),
    of_play=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("vars", "file", "role defaults", "role vars", "extra"), _VARIABLES)
    ),
    of_hosts=st.fixed_dictionaries({}, optional=dict.fromkeys(("include_vars", "set_fact", "facts"), _VARIABLES)),
    merge=st.booleans(),
    when=st.sampled_from(["demand", "start"]),
)
def test_values_equal_those_of_core_for_every_host(
    numbered_folders: Iterator[Path],
    one: dict[str, Any],
    two: dict[str, Any] | None,
    beside: tuple[dict[str, Any], ...],
    of_play: dict[str, dict[str, Any]],
    of_hosts: dict[str, dict[str, Any]],
    merge: bool,
    when: str,
) -> None:
    folder = next(numbered_folders)
    # An implicit localhost is in no group but gets what all hosts get.
    play: dict[str, Any] = {**PLAY[0], "hosts": ["all", "localhost"], "vars": of_play.get("vars", {})}
    if "file" in of_play and not merge:
        play["vars_files"] = ["common.yml"]
        write(folder, common=of_play["file"])
    if "role defaults" in of_play or "role vars" in of_play:
        play["roles"] = ["app"]
        write(
            folder,
            roles__app__defaults__main=of_play.get("role defaults", {}),
            roles__app__vars__main=of_play.get("role vars", {}),
        )
    write(folder, site=[play], one__hosts=one)
    if two is not None:
        write(folder, two__hosts=two)
    for place, of_place in zip(("", "one__", "two__"), beside):  # noqa: B905
        write(folder, **{place + name: content for name, content in of_place.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(C, "DEFAULT_HASH_BEHAVIOUR", "merge" if merge else "replace")
        patch.setattr(C, "RUN_VARS_PLUGINS", when)
        run = Run(
            folder,
            ("one/hosts.yml", "two/hosts.yml") if two is not None else ("one/hosts.yml",),
            of_play.get("extra", {}),
        )
        for name, value in of_hosts.get("include_vars", {}).items():
            run.manager.set_host_variable("h0", name, value)
        if "set_fact" in of_hosts:
            run.manager.set_nonpersistent_facts("h1", dict(of_hosts["set_fact"]))
        if "facts" in of_hosts:
            run.manager.set_host_facts("h2", dict(of_hosts["facts"]))
        assert run.values() == run.core_values()
        assert not [notice for notice in run.notices.take() if "host by host" in notice.text]
