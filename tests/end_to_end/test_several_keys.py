# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several teams have integrations of their own, and one run on the hosts of all: each gets what runs on its hosts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_node import KEY, ControlNode, wait_until

from flashduty_sandbox.receiver import Receiver

DB_KEY = "c41d9e7720ab5f83"
OTHER_KEY = "77aa01c9e3d2546b"
FAILS_ON_DB = """
- name: Upgrade
  hosts: web:db
  gather_facts: false
  tasks:
    - ansible.builtin.raw: /bin/true
    - ansible.builtin.raw: /bin/false
      when: inventory_hostname == 'db1'
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    keys = (KEY, DB_KEY, OTHER_KEY)
    with Receiver(tmp_path / "receiver.sqlite3", integration_keys=keys) as running:
        yield running


@pytest.fixture
def teams(control: ControlNode) -> ControlNode:
    """A control node whose inventory holds the keys of two teams, and whose environment holds none."""
    del control.environment["FLASHDUTY_PUSH_URL"]
    (control.folder / "group_vars").mkdir()
    control.write("group_vars/web.yml", f"flashduty_push_url: {control.receiver.push_url(KEY)}\n")
    control.write("group_vars/db.yml", f"flashduty_push_url: {control.receiver.push_url(DB_KEY)}\n")
    return control


def _changes(control: ControlNode, key: str) -> list[dict[str, Any]]:
    number = control.receiver.integration_id(key)
    return [change for change in control.receiver.changes() if change["integration_id"] == number]


def _change(control: ControlNode, key: str) -> dict[str, Any]:
    (change,) = _changes(control, key)
    return change


def _statuses(control: ControlNode, key: str) -> dict[str, str]:
    return {change["change_key"].rpartition("/")[2]: change["change_status"] for change in _changes(control, key)}


def _add_host(control: ControlNode) -> None:
    """The host `cache1`, whose team has no key in the inventory."""
    with (control.folder / "inventory").open("a") as inventory:
        inventory.write("[cache]\ncache1\n")


def _run(control: ControlNode, text: str, *arguments: str, code: int = 0) -> str:
    ended, output = control.run(control.write("site.yml", text), *arguments)
    assert ended == code, output
    return " ".join(output.split())


def test_each_team_gets_one_change_with_its_hosts_and_their_truth(teams: ControlNode) -> None:
    output = _run(teams, FAILS_ON_DB, "-v", code=2)
    web, db = _change(teams, KEY), _change(teams, DB_KEY)
    assert (web["change_status"], db["change_status"]) == ("Done", "Canceled")
    assert (web["labels"]["host"], db["labels"]["host"]) == ("web1,web2", "db1")
    assert (web["labels"]["group"], db["labels"]["group"]) == ("web", "db")
    assert (web["labels"]["result"], db["labels"]["result"]) == ("ok", "failed")
    assert db["labels"]["failed_host"] == "db1"
    assert web["change_key"] == db["change_key"]
    assert "db1" not in f"{web['description']}{web['labels']}"
    assert "web1" not in f"{db['description']}{db['labels']}"
    assert "Flashduty has accepted 4 of 4 events of this run" in output
    assert KEY not in output
    assert DB_KEY not in output


@pytest.mark.parametrize("scope", ["host", "group"])
def test_each_host_and_group_goes_to_its_own_team(teams: ControlNode, scope: str) -> None:
    teams.environment["FLASHDUTY_SCOPE"] = scope
    _run(teams, FAILS_ON_DB, code=2)
    of_web, of_db = _statuses(teams, KEY), _statuses(teams, DB_KEY)
    assert of_web == ({"web1": "Done", "web2": "Done"} if scope == "host" else {"web": "Done"})
    assert of_db == {"db1" if scope == "host" else "db": "Canceled"}


@pytest.mark.parametrize("killed", ["whole", "playbook"])
def test_all_are_closed_when_the_run_is_killed(teams: ControlNode, killed: str) -> None:
    site = teams.write(
        "site.yml", "- hosts: web:db\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: sleep 60\n"
    )
    run = teams.start(site)
    wait_until(lambda: len(teams.receiver.changes()) == 2)
    if killed == "whole":
        os.killpg(run.pid, signal.SIGKILL)
    else:
        os.kill(run.pid, signal.SIGKILL)
        wait_until(lambda: [change["change_status"] for change in teams.receiver.changes()] == ["Canceled"] * 2)
        # What its workers run.
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    wait_until(lambda: [change["change_status"] for change in teams.receiver.changes()] == ["Canceled"] * 2)
    assert {change["labels"]["result"] for change in teams.receiver.changes()} == {"killed"}


def test_all_are_closed_after_an_interrupt(teams: ControlNode) -> None:
    begins = f"touch {teams.folder}/{{{{ inventory_hostname }}}}.begun; sleep 60"
    site = teams.write(
        "site.yml", f"- hosts: web:db\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: {begins}\n"
    )
    run = teams.start(site)
    # While ansible-core forks, it can lose a signal.
    wait_until(lambda: len([*teams.folder.glob("*.begun")]) == 3 and len(teams.receiver.changes()) == 2)
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    wait_until(lambda: [change["change_status"] for change in teams.receiver.changes()] == ["Canceled"] * 2)
    assert {change["labels"]["result"] for change in teams.receiver.changes()} == {"interrupted"}


def test_a_host_without_a_key_is_told_and_a_team_comes_in_with_a_later_play(teams: ControlNode) -> None:
    _add_host(teams)
    output = _run(
        teams,
        FAILS_ON_DB.replace("web:db", "web1:cache1").replace("db1", "cache1")
        + "- hosts: db\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: /bin/true\n"
        "- hosts: cache1\n  gather_facts: false\n"
        "- hosts: web2\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: /bin/false\n",
        code=2,
    )
    assert output.count("what runs on cache1 is not reported to Flashduty: integration_key: no integration key") == 1
    assert "is missing from what is reported" not in output
    web, db = _change(teams, KEY), _change(teams, DB_KEY)
    assert (web["change_status"], web["labels"]["host"]) == ("Canceled", "web1,web2")
    assert (db["change_status"], db["labels"]["host"], db["labels"]["changed_hosts"]) == ("Done", "db1", "1")
    assert len(teams.receiver.changes()) == 2


def test_the_key_of_the_environment_is_for_those_that_have_none_not_for_those_whose_key_fails(
    teams: ControlNode,
) -> None:
    _add_host(teams)
    teams.environment["FLASHDUTY_PUSH_URL"] = teams.receiver.push_url(OTHER_KEY)
    teams.write("group_vars/db.yml", 'flashduty_push_url: "{{ nowhere }}"\n')
    output = _run(teams, FAILS_ON_DB.replace("web:db", "web:db:cache1"), code=2)
    assert "what runs on db1 is not reported to Flashduty: flashduty_push_url: its template failed" in output
    web = _change(teams, KEY)
    assert (web["change_status"], web["labels"]["host"]) == ("Done", "web1,web2")
    assert _change(teams, OTHER_KEY)["labels"]["host"] == "cache1"


def test_what_the_control_node_does_for_the_run_belongs_to_it(teams: ControlNode) -> None:
    output = _run(
        teams,
        "- hosts: web1\n  gather_facts: false\n"
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: /bin/true\n",
    )
    assert "WARNING" not in output
    change = _change(teams, KEY)
    assert (change["change_status"], change["labels"]["changed_hosts"]) == ("Done", "1")


def test_an_outage_of_one_integration_keeps_nothing_from_the_other(teams: ControlNode) -> None:
    teams.environment["FLASHDUTY_WAIT"] = "0"
    down = teams.receiver.push_url(DB_KEY).replace(str(teams.receiver.port), "1")
    teams.write("group_vars/db.yml", f"flashduty_push_url: {down}\n")
    output = _run(teams, FAILS_ON_DB, code=2)
    assert "2 events not delivered yet" in output
    assert "no key of" not in output
    wait_until(lambda: [change["change_status"] for change in _changes(teams, KEY)] == ["Done"])


def test_a_task_joins_the_change_of_its_host_with_keys_behind_variables_vaults_and_lookups(teams: ControlNode) -> None:
    (teams.folder / "group_vars" / "web.yml").unlink()
    (teams.folder / "group_vars" / "db.yml").unlink()
    teams.write("password", "secret\n")
    teams.environment["ANSIBLE_VAULT_PASSWORD_FILE"] = str(teams.folder / "password")
    teams.environment["KEY_OF_WEB"] = KEY
    teams.write(
        "group_vars/all.yml",
        f"flashduty_api_url: {teams.receiver.url}\n"
        'flashduty_integration_key: "{{ keys[team] }}"\n'
        f"keys: {{web: \"{{{{ lookup('env', 'KEY_OF_WEB') }}}}\", db: {DB_KEY}}}\n",
    )
    with (teams.folder / "inventory").open("a") as inventory:
        inventory.write("[web:vars]\nteam=web\n[db:vars]\nteam=db\n")
    _run(
        teams,
        "- hosts: web:db\n  gather_facts: false\n  tasks:\n"
        "    - flashcat.flashduty.flashduty_change:\n        change_status: Processing\n"
        '        description: "half way on {{ inventory_hostname }}"\n'
        "      when: inventory_hostname != 'web2'\n",
    )
    for key, host, hosts in ((KEY, "web1", "web1,web2"), (DB_KEY, "db1", "db1")):
        number = teams.receiver.integration_id(key)
        events = [event["body"] for event in teams.receiver.events() if event["integration_id"] == number]
        assert [event["change_status"] for event in events] == ["Processing", "Processing", "Done"]
        assert events[1]["description"] == f"half way on {host}"
        assert _change(teams, key)["labels"]["host"] == hosts
