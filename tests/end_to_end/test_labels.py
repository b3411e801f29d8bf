# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run targets is what its labels say."""

from __future__ import annotations

import json
import shlex
import sys

import pytest
from control_node import ControlNode, unbroken

PLAY = "- hosts: {hosts}\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug: {{msg: fine}}\n"


def play(hosts: str) -> str:
    return PLAY.format(hosts=hosts)


def playbooks(control: ControlNode, *texts: str) -> list[str]:
    """A playbook of each text: what it targets is only known once it starts."""
    return [control.write(f"{number}.yml", text) for number, text in enumerate(texts)]


@pytest.mark.parametrize("place", ["environment", "ansible.cfg", "variable"])
def test_patterns_and_fixed_labels_can_be_set_everywhere(control: ControlNode, place: str) -> None:
    arguments = []
    if place == "environment":
        control.environment["FLASHDUTY_LABEL_GROUPS"] = "(?P<tier>web|db),env_*=stage"
        control.environment["FLASHDUTY_LABELS"] = '{"service": "checkout", "actor": null}'
    elif place == "ansible.cfg":
        section = "[callback_flashduty_change]\nlabel_groups = (?P<tier>web|db), env_*=stage\n"
        section += "labels = service=checkout, actor=\n"
        control.environment["ANSIBLE_CONFIG"] = control.write("ansible.cfg", section)
    else:
        variables = 'flashduty_label_groups: ["(?P<tier>(?:[a-z]){2,3})", "env_*=stage"]\n'
        variables += "flashduty_labels: {service: checkout, actor: null}\n"
        arguments = ["-e", "@" + control.write("extra.yml", variables)]
    labels = only_labels(control, *arguments, control.write("site.yml", play("web:db")))
    assert (labels["tier"], labels["stage"], labels["service"]) == ("db,web", "prod", "checkout")
    assert labels.keys().isdisjoint({"env", "actor"})


INVENTORY = """
[web]
web1 rack=r1
web2 rack=r2
web3 rack=r3
[db]
db1
[prod:children]
env_prod
[env_prod:children]
web
[env_test:children]
db
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


# Hosts of each pattern, and beside them some that it must not reach.
TARGETS = """
[web]
web[1:4]
[app]
app[1:3]
[cache]
cache[1:3]
[queue]
queue[1:2]
[mail]
mail[1:2]
[dns]
dns1
[db]
db1
[env_prod]
web[1:3]
mail1
dns1
[env_prod:children]
app
cache
queue
[env_test:children]
db
[env_spare]
web4
mail2
[prod:children]
env_prod
[all:vars]
ansible_connection=local
"""


def test_exactly_what_was_targeted_counts(control: ControlNode) -> None:
    control.write("inventory", TARGETS)
    patterns = ["web:&prod:!web3", "'{{ where }}'", "'{{ groups.app[1:] | join(\",\") }}'", "cache[1:]", "~(mail|dns)1"]
    delegated = play("localhost") + play("queue\n  serial: 1") + "      delegate_to: mail2\n"
    control.environment.update(FLASHDUTY_LABEL_GROUP="all", FLASHDUTY_LABELS_AT_END="union")
    labels = only_labels(control, "-e", "where=db", *playbooks(control, *map(play, patterns), delegated))
    assert labels["host"] == "app2,app3,cache2,cache3,db1,dns1,localhost,mail1,queue1,queue2,web1,web2"
    assert labels["group"] == "app,cache,db,dns,env_prod,env_test,mail,prod,queue,web"
    assert labels["env"] == "prod,test"
    assert "limit" not in labels


def test_only_what_the_limit_leaves_counts(wide: ControlNode) -> None:
    wide.environment["FLASHDUTY_LABEL_GROUP"] = "all"
    labels = only_labels(wide, "--limit", "web1,db*", wide.write("site.yml", play("all")))
    assert (labels["host"], labels["env"], labels["limit"]) == ("db1,web1", "prod,test", "web1,db*")
    assert labels["group"] == "db,env_prod,env_test,prod,web"


def test_plays_playbooks_and_imported_ones_join(wide: ControlNode) -> None:
    wide.write("inner.yml", play("web1"))
    first = wide.write("first.yml", "- ansible.builtin.import_playbook: inner.yml\n" + play("absent") + play("web2"))
    labels = only_labels(wide, first, wide.write("second.yml", play("db")))
    assert (labels["host"], labels["playbook"]) == ("web1,web2", "first.yml,second.yml")
    # The label env comes without any setting, the label group only where a play names one.
    assert labels["env"] == "prod"
    assert "group" not in labels


def test_the_label_group_names_what_the_plays_name_and_many_names_are_cut(wide: ControlNode) -> None:
    wide.environment.update(FLASHDUTY_LABEL_NAMES_MAX="2", FLASHDUTY_LABELS_AT_END="union")
    texts = (play("web:&prod:!web3"), play("all"), play("web1") + play("'{{ where }}'"))
    labels = only_labels(wide, "-e", "where=db", *playbooks(wide, *texts))
    assert (labels["host"], labels["group"]) == ("db1,web1,+2", "db,web")


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


# "shop", of which "open sesame" is the password.
SHOP = """!vault |
  $ANSIBLE_VAULT;1.1;AES256
  62623363626432623262313739303838633934393532313263616163363835303032373563303337
  3462663861356661373636316539643536373234316635300a346361636135336162336338373265
  30343731646165336165393433363966373230336230646139373761623939396633366531303365
  6261366332306161370a346634653964626264316264613437343837383835613165383136363638
  3831
"""


def test_variables_are_plain_text_whatever_they_are_made_of(wide: ControlNode) -> None:
    secret = wide.write("secret", "open sesame\n")
    (wide.folder / "group_vars").mkdir()
    wide.write("group_vars/web.yml", f"service: {SHOP}team: '{{{{ service | upper }}}} {{{{ rack }}}}'\n")
    wide.write("group_vars/all.yml", "owner: !unsafe '{{ alice }}'\nregion: '{{ nowhere }}'\ncluster: [b, 1, true]\n")
    arguments = ("--vault-password-file", secret, wide.write("site.yml", play("web1")))
    wide.environment["FLASHDUTY_LABEL_VARS"] = "service,team,owner,region,cluster"
    labels = only_labels(wide, *arguments)
    expected = {"service": "shop", "team": "SHOP r1", "owner": "{{ alice }}", "cluster": "b,1,true"}
    assert labels.items() >= expected.items()
    assert "region" not in labels


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


FAILS = play("web1").replace("  tasks", "  vars: {team: '{{ nowhere }}'}\n  tasks")


def test_what_cannot_be_used_is_told_once(wide: ControlNode) -> None:
    wide.environment["FLASHDUTY_LABEL_GROUPS"] = "env_(?P<env>[a-z+,env_*=env"
    code, output = wide.run("-e", "flashduty_labels=team=sre", wide.write("site.yml", FAILS + play("web") + play("db")))
    assert code == 0
    assert output.count("label_groups:") == 1
    assert "env_(?P<env>[a-z+" in output
    assert output.count("flashduty_labels is left out") == 1
    assert "must be a map" in unbroken(output)
    # A variable that fails is for those who ask for details.
    assert "nowhere" not in output
    assert wide.only_change()["labels"]["env"] == "prod,test"


def test_more_than_fifty_labels_and_with_details_a_variable_that_fails_are_told_once(wide: ControlNode) -> None:
    extra = {"flashduty_labels": {f"label{number:02}": "x" * 3000 for number in range(60)}}
    site = wide.write("site.yml", FAILS + play("web2") + play("db"))
    code, output = wide.run("-vvv", "-e", "@" + wide.write("extra.json", json.dumps(extra)), site)
    assert (code, output.count("beyond the limit of 46")) == (0, 1)
    assert output.count("labels: team of all hosts is left out") + output.count("labels: team of web1 is left out") == 1
    labels = wide.only_change()["labels"]
    assert len(labels) == 48
    assert {"host", "label00", "label44", "result", "changed_hosts"} <= labels.keys()
    assert max(map(len, labels.values())) == 2048


ASKS = """
- hosts: web
  gather_facts: false
  vars_prompt:
    - name: owner
      prompt: Password of the owner
    - {name: job, prompt: Job, private: false}
    - {name: cluster, prompt: Cluster, private: true}
  vars:
    service: "{{ owner }}-service"
    team: "{{ vars['owner'] }}"
    project: shop
"""
SETS = """
  tasks:
    - ansible.builtin.set_fact: {provider: secret-1}
      no_log: true
    - ansible.builtin.raw: echo secret-2
      register: ident
      no_log: true
    - ansible.builtin.set_fact: {datacenter: secret-3, cacheable: true}
      no_log: true
"""


def test_what_is_asked_for_privately_and_what_tasks_and_roles_set_is_no_label_unless_label_vars_names_it(
    wide: ControlNode,
) -> None:
    for folder in ("roles/app/defaults", "roles/app/tasks", "group_vars"):
        (wide.folder / folder).mkdir(parents=True)
    wide.write("roles/app/defaults/main.yml", "instance: root\n")
    wide.write("roles/app/tasks/main.yml", "- ansible.builtin.meta: noop\n")
    wide.write("group_vars/all.yml", "dc: [one, two]\nenv: ['DB_PASSWORD=secret-4']\nregion: eu\n")
    wide.environment["FLASHDUTY_LABELS_AT_END"] = "union"
    # Set to nothing, names of groups give no labels, and env could only come from the variable.
    wide.environment["FLASHDUTY_LABEL_GROUPS"] = ""
    # What is given here, ansible-core does not ask for; the tests have no terminal.
    answers = ("-e", "owner=hunter2", "-e", "job=nightly", "-e", "cluster=blue")
    arguments = (*answers, wide.write("site.yml", ASKS + SETS + ASKS + "  roles: [app]\n"))
    code, output = wide.run(*arguments)
    assert (code, "label_groups" in output) == (0, False)
    labels = wide.only_change()["labels"]
    assert (labels["region"], labels["project"], labels["job"]) == ("eu", "shop", "nightly")
    asked = {"owner", "cluster", "service", "team"}
    assert labels.keys().isdisjoint({*asked, "provider", "ident", "datacenter", "dc", "env", "instance"})
    sent = json.dumps(wide.receiver.requests(), default=str)
    assert "secret" not in sent
    assert "hunter2" not in sent
    wide.receiver.reset()
    wide.environment["FLASHDUTY_LABEL_VARS"] = "cluster,provider,instance,dc"
    expected = {"cluster": "blue", "provider": "secret-1", "instance": "root", "dc": "one,two"}
    assert only_labels(wide, *arguments).items() >= expected.items()


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
