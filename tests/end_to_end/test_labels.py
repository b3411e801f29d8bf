# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run targets is what its labels say."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from control_node import ControlNode

PLAY = "- hosts: {hosts}\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug: {{msg: fine}}\n"


def play(hosts: str) -> str:
    return PLAY.format(hosts=hosts)


def test_names_of_groups_give_labels_without_any_setting(control: ControlNode) -> None:
    code, output = control.run(control.write("site.yml", play("web")))
    assert code == 0, output
    assert control.only_change()["labels"]["env"] == "prod"


@pytest.mark.parametrize("place", ["environment", "ansible.cfg", "variable"])
def test_the_patterns_can_be_set_everywhere(control: ControlNode, place: str) -> None:
    arguments = []
    if place == "environment":
        control.environment["FLASHDUTY_LABEL_GROUPS"] = "(?P<tier>web|db),env_*=stage"
    elif place == "ansible.cfg":
        section = "[callback_flashduty_change]\nlabel_groups = (?P<tier>web|db), env_*=stage\n"
        control.environment["ANSIBLE_CONFIG"] = control.write("ansible.cfg", section)
    else:
        variable = 'flashduty_label_groups: ["(?P<tier>(?:[a-z]){2,3})", "env_*=stage"]'
        arguments = ["-e", "@" + control.write("extra.yml", variable)]
    code, output = control.run(*arguments, control.write("site.yml", play("web:db")))
    assert code == 0, output
    labels = control.only_change()["labels"]
    assert (labels["tier"], labels["stage"]) == ("db,web", "prod")
    assert "env" not in labels


def test_an_empty_setting_turns_the_patterns_off(control: ControlNode) -> None:
    control.environment["FLASHDUTY_LABEL_GROUPS"] = ""
    code, output = control.run(control.write("site.yml", play("web")))
    assert (code, "label_groups" in output) == (0, False)
    assert "env" not in control.only_change()["labels"]


def test_a_bad_pattern_is_one_warning(control: ControlNode) -> None:
    control.environment["FLASHDUTY_LABEL_GROUPS"] = "env_(?P<env>[a-z+,env_*=env"
    code, output = control.run(control.write("site.yml", play("web") + play("db")))
    assert code == 0
    assert output.count("label_groups:") == 1
    assert "env_(?P<env>[a-z+" in output
    assert control.only_change()["labels"]["env"] == "prod"


@pytest.mark.parametrize("place", ["environment", "ansible.cfg"])
def test_fixed_labels_can_be_set_as_text(control: ControlNode, place: str) -> None:
    if place == "environment":
        control.environment["FLASHDUTY_LABELS"] = '{"service": "checkout", "actor": null}'
    else:
        section = "[callback_flashduty_change]\nlabels = service=checkout, actor=\n"
        control.environment["ANSIBLE_CONFIG"] = control.write("ansible.cfg", section)
    code, output = control.run(control.write("site.yml", play("web")))
    assert code == 0, output
    labels = control.only_change()["labels"]
    assert labels["service"] == "checkout"
    assert "actor" not in labels


INVENTORY = """
[web]
web1 rack=r1
web2 rack=r2
web3 rack=r3
[db]
db1
[prod:children]
env_prod
[env_prod]
web1
web2
web3
[env_test]
db1
[all:vars]
ansible_connection=local
ansible_python_interpreter={python}
"""


@pytest.fixture
def wide(control: ControlNode) -> ControlNode:
    control.write("inventory", INVENTORY.format(python=sys.executable))
    return control


def only_labels(control: ControlNode, *arguments: str) -> dict[str, str]:
    code, output = control.run(*arguments)
    assert code == 0, output
    labels: dict[str, str] = control.only_change()["labels"]
    return labels


@pytest.mark.parametrize(
    ("hosts", "arguments", "host", "group", "env"),
    [
        ("all", ("--limit", "web1,db*"), "db1,web1", "db,env_prod,env_test,prod,web", "prod,test"),
        ("web:&prod:!web3", (), "web1,web2", "env_prod,prod,web", "prod"),
        ("'{{ where }}'", ("-e", "where=db"), "db1", "db,env_test", "test"),
        ("'{{ groups.web[1:] | join(\",\") }}'", (), "web2,web3", "env_prod,prod,web", "prod"),
        ("web[1:]", (), "web2,web3", "env_prod,prod,web", "prod"),
        ("~(web|db)1", (), "db1,web1", "db,env_prod,env_test,prod,web", "prod,test"),
        ("web\n  serial: 1", (), "web1,web2,web3", "env_prod,prod,web", "prod"),
    ],
)
def test_exactly_what_was_targeted_counts(
    wide: ControlNode, hosts: str, arguments: tuple[str, ...], host: str, group: str, env: str
) -> None:
    wide.environment["FLASHDUTY_LABEL_GROUP"] = "all"
    labels = only_labels(wide, *arguments, wide.write("site.yml", play(hosts)))
    assert (labels["host"], labels["group"], labels["env"]) == (host, group, env)
    assert labels.get("limit") == (arguments[1] if arguments[:1] == ("--limit",) else None)


def test_plays_playbooks_and_imported_ones_join(wide: ControlNode) -> None:
    wide.write("inner.yml", play("web1"))
    first = wide.write("first.yml", "- ansible.builtin.import_playbook: inner.yml\n" + play("absent") + play("web2"))
    labels = only_labels(wide, first, wide.write("second.yml", play("db")))
    assert (labels["host"], labels["playbook"]) == ("web1,web2", "first.yml,second.yml")


def test_the_implicit_localhost_and_delegation(wide: ControlNode) -> None:
    delegated = play("web1") + "      delegate_to: db1\n"
    wide.environment["FLASHDUTY_LABEL_GROUP"] = "all"
    labels = only_labels(wide, wide.write("site.yml", play("localhost") + delegated))
    assert (labels["host"], labels["group"]) == ("localhost,web1", "env_prod,prod,web")


@pytest.mark.parametrize(
    ("plays", "group"),
    [
        (play("web:&prod:!web3"), "web"),
        (play("all"), None),
        (play("web1"), None),
        (play("web1") + play("'{{ where }}'"), "db"),
    ],
)
def test_the_label_group_names_what_the_plays_name(wide: ControlNode, plays: str, group: str | None) -> None:
    labels = only_labels(wide, "-e", "where=db", wide.write("site.yml", plays))
    assert labels.get("group") == group


def test_a_label_of_many_hosts_is_cut(wide: ControlNode) -> None:
    wide.environment["FLASHDUTY_LABEL_NAMES_MAX"] = "2"
    labels = only_labels(wide, wide.write("site.yml", play("web")))
    assert (labels["host"], labels["group"]) == ("web1,web2,+1", "web")


def test_keyed_groups_of_a_dynamic_inventory(wide: ControlNode) -> None:
    constructed = "plugin: ansible.builtin.constructed\nstrict: true\nkeyed_groups:\n"
    constructed += "  - {key: '{\"Env\": \"live\"}', prefix: tag}\n  - {key: rack | default('none'), separator: ''}\n"
    constructed += "  - {key: \"'us-east-1'\", prefix: ''}\ngroups:\n  edge: inventory_hostname == 'web1'\n"
    wide.environment["FLASHDUTY_LABEL_GROUPS"] = "tag_Env_*=env,(?P<rack>r\\d),_*=region,edge=tier"
    source = wide.write("groups.constructed.yml", constructed)
    labels = only_labels(wide, "-i", source, wide.write("site.yml", play("web1:web2")))
    expected = {"env": "live", "rack": "r1,r2", "region": "us_east_1", "tier": "edge", "host": "web1,web2"}
    assert labels.items() >= expected.items()


@pytest.mark.parametrize("at_end", ["same", "union"])
def test_hosts_and_groups_that_a_run_adds_move_the_labels_of_its_end_where_asked(
    wide: ControlNode, at_end: str
) -> None:
    wide.environment["FLASHDUTY_LABELS_AT_END"] = at_end
    added = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.group_by:
        key: region_{{ rack }}
    - ansible.builtin.add_host:
        name: new1
        groups: [web, env_canary]
        service: of the new host
- hosts: region_r2:env_canary
  gather_facts: false
  tasks: []
"""
    labels = only_labels(wide, wide.write("site.yml", added))
    started = wide.receiver.events()[0]["body"]["labels"]
    assert (started["host"], started["env"]) == ("web1,web2,web3", "prod")
    if at_end == "same":
        assert labels == {**started, "result": "ok", "changed_hosts": "3"}
    else:
        assert labels["host"] == "new1,web1,web2,web3"
        assert (labels["env"], labels["region"], labels["service"]) == ("canary,prod", "r2", "of the new host")
    assert "Came in during the run: new1." in wide.last_text()


def test_variables_are_plain_text_whatever_they_are_made_of(wide: ControlNode) -> None:
    secret = wide.write("secret", "open sesame\n")
    vaulted = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-vault"), "encrypt_string", "--vault-password-file", secret, "shop"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (wide.folder / "group_vars").mkdir()
    wide.write("group_vars/web.yml", f"service: {vaulted}\nteam: '{{{{ service | upper }}}} {{{{ rack }}}}'\n")
    wide.write("group_vars/all.yml", "owner: !unsafe '{{ alice }}'\nregion: '{{ nowhere }}'\ncluster: [b, 1, true]\n")
    arguments = ("--vault-password-file", secret, wide.write("site.yml", play("web1")))
    wide.environment["FLASHDUTY_LABEL_VARS"] = "service,team,owner,region,cluster"
    labels = only_labels(wide, *arguments)
    expected = {"service": "shop", "team": "SHOP r1", "owner": "{{ alice }}", "cluster": "b,1,true"}
    assert labels.items() >= expected.items()
    assert "region" not in labels


def test_a_variable_that_fails_is_told_to_whoever_asks_for_details(wide: ControlNode) -> None:
    site = wide.write("site.yml", play("web1").replace("  tasks", "  vars: {team: '{{ nowhere }}'}\n  tasks"))
    code, output = wide.run(site)
    assert (code, "nowhere" in output) == (0, False)
    code, output = wide.run("-vvv", site)
    assert code == 0
    assert output.count("labels: team of all hosts is left out") + output.count("labels: team of web1 is left out") == 1


def test_each_source_beats_the_one_below(wide: ControlNode) -> None:
    for folder in ("group_vars", "host_vars"):
        (wide.folder / folder).mkdir()
    wide.environment["FLASHDUTY_LABEL_GROUPS"] = ",".join(f"env_*={key}" for key in "abcdef") + ",env_*=source"
    wide.environment["FLASHDUTY_LABEL_VARS"] = "b=v,c=v,d=v,e=v,f=v"
    wide.environment["FLASHDUTY_LABELS"] = "f=option"
    wide.write("group_vars/all.yml", "v: variable\nflashduty_labels: {c: of all, d: of all, e: of all, f: of all}\n")
    wide.write("host_vars/web1.yml", "flashduty_labels: {d: of the host, e: of the host, f: of the host}\n")
    site = wide.write("site.yml", play("web1"))
    labels = only_labels(wide, site)
    found = {key: labels.get(key) for key in ("source", *"abcdef")}
    assert found == {
        "source": "prod",
        "a": "prod",
        "b": "variable",
        # A map of a host replaces that of a group, as variables do.
        "c": "variable",
        "d": "of the host",
        "e": "of the host",
        "f": "option",
    }
    wide.receiver.reset()
    labels = only_labels(wide, "-e", '{"flashduty_labels": {"e": "of this run", "f": "of this run", "a": null}}', site)
    assert (labels["d"], labels["e"], labels["f"], "a" in labels) == ("variable", "of this run", "option", False)


def test_a_map_that_is_text_is_told_with_what_to_write(wide: ControlNode) -> None:
    code, output = wide.run("-e", "flashduty_labels=team=sre", wide.write("site.yml", play("web")))
    assert code == 0
    assert output.count("flashduty_labels is left out") == 1
    assert "must be a map" in " ".join(output.split())


def test_more_than_fifty_labels_are_told_once(wide: ControlNode) -> None:
    extra = {"flashduty_labels": {f"label{number:02}": "x" * 3000 for number in range(60)}}
    site = wide.write("site.yml", play("web1") + play("web2") + play("db"))
    code, output = wide.run("-e", "@" + wide.write("extra.json", json.dumps(extra)), site)
    assert (code, output.count("beyond the limit of 46")) == (0, 1)
    labels = wide.only_change()["labels"]
    assert len(labels) == 48
    assert {"host", "label00", "label44", "result", "changed_hosts"} <= labels.keys()
    assert max(map(len, labels.values())) == 2048


def test_what_tasks_and_roles_set_is_no_label_unless_it_is_asked_for(control: ControlNode) -> None:
    for folder in ("roles/app/defaults", "roles/app/tasks", "group_vars"):
        (control.folder / folder).mkdir(parents=True)
    control.write("roles/app/defaults/main.yml", "instance: root\n")
    control.write("roles/app/tasks/main.yml", "- ansible.builtin.meta: noop\n")
    control.write("group_vars/all.yml", "team: [one, two]\nenv: ['DB_PASSWORD=secret-4']\nregion: eu\n")
    first = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {owner: secret-1}
      no_log: true
    - ansible.builtin.raw: echo secret-2
      register: job
      no_log: true
    - ansible.builtin.set_fact: {service: secret-3, cacheable: true}
      no_log: true
"""
    path = control.write("site.yml", first + play("web") + "  roles: [app]\n")
    control.environment["FLASHDUTY_LABELS_AT_END"] = "union"
    control.environment["FLASHDUTY_LABEL_GROUPS"] = ""
    code, output = control.run(path)
    assert code == 0, output
    labels = control.only_change()["labels"]
    assert labels["region"] == "eu"
    assert labels.keys().isdisjoint({"owner", "job", "env", "team", "instance"})
    assert "secret" not in json.dumps(control.receiver.events())
    control.environment["FLASHDUTY_LABEL_VARS"] = "owner,instance,team"
    control.environment["FLASHDUTY_PREVIEW"] = "1"
    code, output = control.run(path)
    assert code == 0, output
    for text in ("owner: secret-1", "instance: root", "team: one,two"):
        assert text in output


def test_env_is_guessed_from_the_path_and_from_names_of_groups(control: ControlNode) -> None:
    folder = control.folder / "inventories" / "qa"
    folder.mkdir(parents=True)
    connection = f" ansible_connection=local ansible_python_interpreter={shlex.quote(sys.executable)}\n"
    (folder / "hosts").write_text(f"[shop_staging]\none{connection}[other]\ntwo{connection}")
    arguments = ("-i", str(folder / "hosts"), control.write("site.yml", play("one:two")))
    labels = only_labels(control, *arguments)
    assert (labels["env"], labels["inventory"]) == ("qa,staging", "qa")
    control.environment["FLASHDUTY_PREVIEW"] = "1"
    code, output = control.run(*arguments)
    assert code == 0, output
    assert "# env was guessed from names of groups: shop_staging; the path of the inventory" in output


PROMPT = """
- hosts: web
  gather_facts: false
  vars_prompt:
    - name: owner
      prompt: Password of the owner
    - {{name: job, prompt: Job, private: {private}}}
  vars:
    service: "{{{{ owner }}}}-service"
    team: "{{{{ vars['owner'] }}}}"
    project: shop
  tasks:
    - ansible.builtin.debug: {{msg: fine}}
"""


@pytest.mark.parametrize("private", ["false", "true"])
def test_what_is_asked_for_privately_is_no_label_by_default(wide: ControlNode, private: str) -> None:
    # What is given here, ansible-core does not ask for; the tests have no terminal.
    answers = ("-e", "owner=hunter2", "-e", "job=nightly")
    labels = only_labels(wide, *answers, wide.write("site.yml", PROMPT.format(private=private)))
    assert labels["project"] == "shop"
    assert labels.get("job") == ("nightly" if private == "false" else None)
    assert not {"owner", "service", "team"} & labels.keys()
    assert "hunter2" not in json.dumps(wide.receiver.requests(), default=str)


def test_what_is_asked_for_privately_is_a_label_where_label_vars_names_it(wide: ControlNode) -> None:
    wide.environment["FLASHDUTY_LABEL_VARS"] = "job"
    site = wide.write("site.yml", PROMPT.format(private="true"))
    assert only_labels(wide, "-e", "owner=hunter2", "-e", "job=nightly", site)["job"] == "nightly"
