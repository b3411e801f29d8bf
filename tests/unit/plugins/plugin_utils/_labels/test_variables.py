# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The values of variables, compared with what ansible-core itself says for each host."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible import context
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing import vault
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.playbook import Playbook
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible.vars.plugins import get_vars_from_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import files, variables
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import MISSING, plain
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import LABELS_VARIABLE, TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import manager_without_answers

NAMES = ("service", "cluster", "region", "team", "flashduty_labels")
SECRET = VaultSecret(b"open sesame")


@pytest.fixture(autouse=True, scope="module")
def _process_of_ansible() -> None:
    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader()
    # From ansible-core 2.19 on, ansible-playbook hands over its vault secrets once for the whole process.
    secrets = getattr(vault, "VaultSecretsContext", None)
    if secrets and secrets.current(optional=True) is None:
        secrets.initialize(secrets([("default", SECRET)]))


class Run:
    """The first play of ``site.yml`` in a folder, loaded as ansible-playbook does."""

    def __init__(self, folder: Path, sources: tuple[str, ...] = ("hosts.yml",), extra: Mapping[str, Any] | None = None):
        context.CLIARGS = ImmutableDict(tags=(), verbosity=0, extra_vars=())
        self.loader = DataLoader()
        self.loader.set_vault_secrets([("default", SECRET)])
        self.inventory = InventoryManager(loader=self.loader, sources=[str(folder / source) for source in sources])
        self.manager = VariableManager(loader=self.loader, inventory=self.inventory)
        self.manager._extra_vars = dict(extra or {})
        HostVars(self.inventory, self.manager, self.loader)
        playbook = Playbook.load(str(folder / "site.yml"), variable_manager=self.manager, loader=self.loader)
        self.loader.set_basedir(str(folder))
        self.play = playbook.get_plays()[0]
        self.notices = Notices()

    def targets(self, names: tuple[str, ...] = NAMES, limit: int = 200) -> dict[str, TargetHost]:
        hosts = self.inventory.get_hosts(self.play.hosts)
        return {target.name: target for target in targets(self.play, hosts, names, self.notices, limit)}

    def values(self, names: tuple[str, ...] = NAMES, limit: int = 200) -> dict[str, Mapping[str, Any]]:
        return {name: target.variables for name, target in self.targets(names, limit).items()}

    def core_values(self, names: tuple[str, ...] = NAMES) -> dict[str, Mapping[str, Any]]:
        return {host.name: self._core_values(host, names) for host in self.inventory.get_hosts(self.play.hosts)}

    def _core_values(self, host: Any, names: tuple[str, ...]) -> dict[str, Any]:
        variables = self.manager.get_vars(play=self.play, host=host)
        templar = Templar(loader=self.loader, variables=variables)
        # What a host answers does not count for this one.
        written = manager_without_answers(self.manager).get_vars(play=self.play, host=host)
        variables = {name: value for name, value in variables.items() if name != LABELS_VARIABLE}
        if LABELS_VARIABLE in written:
            variables[LABELS_VARIABLE] = written[LABELS_VARIABLE]

        def rendered(raw: Any) -> Any:
            if isinstance(raw, Mapping):
                entries = {str(key): rendered(item) for key, item in raw.items()}
                return {key: value for key, value in entries.items() if value is not MISSING}
            with contextlib.suppress(Exception):
                return plain(templar.template(raw))
            return MISSING

        values = {name: rendered(variables[name]) for name in names if name in variables}
        return {name: value for name, value in values.items() if value is not MISSING}


def write(folder: Path, **files: Any) -> None:
    """Writes files; ``__`` in a name stands for ``/``. What is not text is written as JSON, which is YAML."""
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.with_name(path.name + ".yml")
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def inventory_of(hosts: Mapping[str, Any], groups: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"all": {"hosts": dict(hosts), "children": dict(groups or {})}}


PLAY = [{"hosts": "all", "gather_facts": False}]


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


def test_a_template_sees_the_variables_of_each_host(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of(
            {"web1": {"region": "nj"}, "web2": {"region": "bj"}, "web3": {"dc": "sz", "region": "{{ dc }}"}}
        ),
        group_vars__all={"cluster": "{{ region }}-1", "flashduty_labels": {"zone": "{{ region }}a", "n": "{{ nope }}"}},
    )
    run = Run(tmp_path)
    found = run.values()
    assert [found[host]["cluster"] for host in ("web1", "web2", "web3")] == ["nj-1", "bj-1", "sz-1"]
    assert found["web3"]["flashduty_labels"] == {"zone": "sza"}
    assert found == run.core_values()
    (notice,) = run.notices.take()
    assert notice.level == "debug"
    assert "flashduty_labels.n of web1 is left out" in notice.text


def test_an_own_variable_that_only_a_template_reads_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {"cluster": "{{ dc }}"}, "web2": {}}),
        group_vars__all={"cluster": "none"},
        host_vars__web1={"dc": "sz"},
    )
    assert Run(tmp_path).values() == {"web1": {"cluster": "sz"}, "web2": {"cluster": "none"}}


def test_templates_that_need_all_variables_are_worked_out_for_a_limited_number_of_hosts(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"region": f"r{number}"} for number in range(5)}
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of(hosts),
        group_vars__all={
            "cluster": "{{ hostvars[inventory_hostname].region }}",
            "team": "{{ lookup('vars', 'region') }}",
        },
    )
    run = Run(tmp_path)
    assert run.values() == run.core_values()
    assert run.notices.take() == []
    limited = run.values(limit=2)
    assert [host for host, values in limited.items() if "cluster" in values] == ["web0", "web1"]
    assert all(values["region"] == f"r{host[3:]}" for host, values in limited.items())
    (notice,) = run.notices.take()
    assert notice.level == "warning"
    assert "for 2 hosts only" in notice.text


def test_a_template_that_cannot_be_read_is_no_answer_for_another_host(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {"dc": "nj"}, "web2": {"dc": "bj"}, "web3": {}}),
        group_vars__all={"cluster": "{{ hostvars[inventory_hostname].dc | default('none') }}"},
    )
    run = Run(tmp_path)
    assert run.values() == run.core_values()
    assert [values["cluster"] for values in run.values().values()] == ["nj", "bj", "none"]


def test_a_template_that_needs_more_than_was_looked_up_is_no_answer_for_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {}, "web2": {}}),
        group_vars__all={"cluster": "{{ measured }}"},
    )
    run = Run(tmp_path)
    run.manager.set_host_facts("web1", {"measured": "one"})
    run.manager.set_host_facts("web2", {"measured": "two"})
    # Facts in such a cache are not looked up, though ansible-core has them.
    monkeypatch.setattr(C, "CACHE_PLUGIN", "jsonfile")
    assert run.values() == {"web1": {"cluster": "one"}, "web2": {"cluster": "two"}}


def test_a_template_sees_the_group_that_wins(tmp_path: Path) -> None:
    groups: dict[str, Any] = {
        "a": {"children": {"b": {"hosts": {"web1": {}}}}, "vars": {"dc": "outer"}},
        "b": {"vars": {"dc": "inner"}},
    }
    write(tmp_path, site=PLAY, hosts=inventory_of({}, groups), group_vars__all={"cluster": "{{ dc | upper }}"})
    assert Run(tmp_path).values() == {"web1": {"cluster": "INNER"}}


def test_templates_and_text_that_looks_like_one_are_kept_apart(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"dc": f"dc {number}"} for number in range(20)}
    other = "#jinja2: variable_start_string: '[%', variable_end_string: '%]'\n"
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of(hosts),
        group_vars__all={
            "service": "{{ dc | upper }}{{ '[% dc %]' }}",
            "team": other + "{{ dc | upper }}{{ '[% dc %]' }}",
            "cluster": "{{ lookup('vars', 'service') }}",
        },
    )
    run = Run(tmp_path)
    found = run.values()
    assert found["web7"] == {
        "service": "DC 7[% dc %]",
        "team": "{{ dc | upper }}{{ 'dc 7' }}",
        "cluster": "DC 7[% dc %]",
    }
    assert found == run.core_values()


def test_addresses_and_ports_stay_text(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"ansible_host": f"10.0.0.{number}"} for number in range(3)}
    text = {"cluster": "{{ ansible_host }}:{{ port }}", "region": "{{ ansible_host }}", "team": "{{ port }}"}
    write(tmp_path, site=PLAY, hosts=inventory_of(hosts), group_vars__all={**text, "port": 9100})
    run = Run(tmp_path)
    assert (run.values()["web2"]["cluster"], run.values()["web2"]["region"]) == ("10.0.0.2:9100", "10.0.0.2")
    assert run.values() == run.core_values()


def test_equal_text_may_be_a_template_on_one_host_only(tmp_path: Path) -> None:
    hosts = inventory_of({"web1": {"region": "nj"}, "web2": {"region": "nj"}})
    unsafe = "cluster: !unsafe '{{ region }}'\nteam: !unsafe '{{ region | upper }}'\n"
    template = unsafe.replace("!unsafe ", "")
    write(tmp_path, site=PLAY, hosts=hosts, host_vars__web1=template, host_vars__web2=unsafe)
    run = Run(tmp_path)
    assert run.values() == {
        "web1": {"cluster": "nj", "team": "NJ", "region": "nj"},
        "web2": {"cluster": "{{ region }}", "team": "{{ region | upper }}", "region": "nj"},
    }
    assert run.values() == run.core_values()


def test_a_template_that_fails_is_not_tried_with_all_variables_for_each_host(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"region": f"r{number}"} for number in range(9)}
    write(tmp_path, site=PLAY, hosts=inventory_of(hosts), group_vars__all={"cluster": "{{ region }}{{ nope }}"})
    run = Run(tmp_path)
    assert all("cluster" not in values for values in run.values(limit=1).values())
    assert [notice.level for notice in run.notices.take()] == ["debug"]


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


def test_vars_files_whose_names_cannot_be_read_are_asked_for_host_by_host(tmp_path: Path) -> None:
    play = [{**PLAY[0], "vars_files": ["{{ lookup('vars', 'env') }}.yml"]}]
    groups: dict[str, Any] = {
        env: {"hosts": {f"{env}{n}": {} for n in range(3)}, "vars": {"env": env}} for env in ("prod", "test")
    }
    write(tmp_path, site=play, prod={"service": "p"}, test={"service": "t"}, hosts=inventory_of({}, groups))
    run = Run(tmp_path)
    assert run.values() == run.core_values()
    assert run.values()["prod1"] == {"service": "p"}
    assert [notice.level for notice in run.notices.take()] == ["debug"]
    run = Run(tmp_path)
    limited = run.values(limit=2)
    assert {host: values for host, values in limited.items() if values} == {
        "prod0": {"service": "p"},
        "test0": {"service": "t"},
    }
    (notice,) = run.notices.take()
    assert notice.level == "warning"
    assert "2 of 6 hosts" in notice.text


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


@pytest.mark.parametrize("broken", ["sort_groups", "get_vars_from_path", "vars_loader"])
def test_where_cores_interfaces_changed_core_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    write(
        tmp_path, site=PLAY, hosts=inventory_of({"web1": {"service": "{{ region }}"}}), group_vars__all={"region": "nj"}
    )
    monkeypatch.setattr(files, broken, None)
    run = Run(tmp_path)
    assert run.values() == {"web1": {"service": "nj", "region": "nj"}}
    (notice,) = run.notices.take()
    assert notice.level == "debug"
    assert "host by host" in notice.text


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


def test_where_core_cannot_say_either_there_are_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, site=PLAY, hosts=inventory_of({"web1": {"service": "x"}}))
    run = Run(tmp_path)

    def broken(**arguments: Any) -> None:
        raise AssertionError("core is broken")

    monkeypatch.setattr(run.manager, "get_vars", broken)
    assert run.values() == {"web1": {}}
    assert run.notices.take()[-1].text == (
        "variables of web1 cannot be read, labels and settings in them are missing: AssertionError: core is broken"
    )


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


@pytest.mark.parametrize("slow", [False, True])
def test_lookups_that_may_do_more_than_read_are_run_only_where_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    if slow:
        monkeypatch.setattr(files, "sort_groups", None)
    count = tmp_path / "count"
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {}, "web2": {}}),
        group_vars__all={
            "service": "{{ lookup('pipe', 'echo x | tee -a " + str(count) + "') }}",
            "team": "{{ deeper | upper }}",
            "deeper": "{{ query('ansible.builtin.pipe', 'echo x | tee -a " + str(count) + "') | first }}",
            "cluster": "{{ lookup('env', 'HOME') }}{{ lookup('vars', 'region') }}",
            "region": "nj",
        },
    )
    run = Run(tmp_path)
    found = targets(run.play, run.inventory.get_hosts(), NAMES, run.notices, written=NAMES)
    assert [target.variables.keys() for target in found] == [{"cluster", "region"}] * 2
    assert not count.exists()
    told = [notice.text for notice in run.notices.take() if notice.level == "warning"]
    assert sorted(text.split()[1] for text in told) == ["service", "team"]
    assert run.values()["web1"]["team"] == "X"
    assert count.exists()


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
