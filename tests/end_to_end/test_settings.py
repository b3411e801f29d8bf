# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may set what: the operator alone, by what is written down; what is set to nothing is not set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from control_node import KEY, ControlNode

from ansible_collections.flashcat.flashduty.plugins.callback import flashduty_change
from ansible_collections.flashcat.flashduty.plugins.doc_fragments.connection import ModuleDocFragment
from flashduty_sandbox.receiver import Receiver

TASK = "flashcat.flashduty.flashduty_change: {change_key: CHANGE-1, change_status: Done, title: Upgrade}"
PLAY = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: hello}
"""
GATHERING = PLAY.replace("gather_facts: false", "gather_facts: true")


@pytest.fixture
def thief(tmp_path: Path) -> Iterator[Receiver]:
    """Another address, which no key may ever reach."""
    with Receiver(tmp_path / "thief.sqlite3", integration_keys={KEY}) as running:
        yield running
        assert running.requests() == []


def answers_of(thief: Receiver) -> dict[str, object]:
    """Every setting, as somebody who has taken a host over would like it."""
    return {
        "inventory_hostname": "other",
        "flashduty_push_url": thief.push_url(KEY),
        "flashduty_integration_key": "another",
        "flashduty_api_url": thief.url,
        "flashduty_app_key": "another",
        "flashduty_plain_http_hosts": ["example.com"],
        "flashduty_validate_certs": False,
        "flashduty_enabled": False,
        "flashduty_preview": True,
        "flashduty_scope": "host",
        "flashduty_report_when": "changed",
        "flashduty_wait": 0,
        "flashduty_change_key": "FALSE",
        "flashduty_title": "False",
        "flashduty_description": "False",
        "flashduty_link": "https://example.com/false",
        "flashduty_labels": {"env": "false"},
        "flashduty_label_vars": [],
        "address": thief.url,
    }


def take_over(control: ControlNode, answers: dict[str, object]) -> None:
    """The hosts of the inventory answer each module with facts of their own."""
    python = control.write("python", f"#!/bin/sh\ncat >/dev/null\ncat {control.folder / 'answer'}\n")
    Path(python).chmod(0o700)
    # Whatever the module is, it is as good as setup, which takes longer to pack.
    control.environment["ANSIBLE_FACTS_MODULES"] = "ansible.builtin.ping"
    control.write("answer", json.dumps({"changed": True, "ansible_facts": answers}))
    text = (control.folder / "inventory").read_text()
    (control.folder / "inventory").write_text(
        "".join(
            f"ansible_python_interpreter={python}\n" if line.startswith("ansible_python_interpreter") else line
            for line in text.splitlines(keepends=True)
        )
    )


def run_without_warning(control: ControlNode, text: str) -> None:
    code, output = control.run(control.write("site.yml", text))
    assert code == 0, output
    assert "flashduty_change:" not in output


def only_true_events(control: ControlNode) -> None:
    bodies = [event["body"] for event in control.receiver.events()]
    assert bodies
    for body in bodies:
        assert "alse" not in json.dumps({name: value for name, value in body.items() if name != "labels"})
        assert "false" not in body.get("labels", {}).values()
        assert body["title"] in ("Upgrade", f"{control.folder.name}/site.yml on web", "Ours")


def test_what_a_host_answers_and_what_tasks_set_and_register_is_no_setting(
    control: ControlNode, thief: Receiver
) -> None:
    take_over(control, answers_of(thief))
    answers = {name: value for name, value in answers_of(thief).items() if name != "inventory_hostname"}
    set_fact = control.write("set.yml", json.dumps([{"ansible.builtin.set_fact": answers}]))
    register = "    - ansible.builtin.raw: 'true'\n      register: flashduty_labels\n"
    text = f"{GATHERING}    - {TASK}\n{PLAY}    - {TASK}\n    - ansible.builtin.include_tasks: {set_fact}\n"
    run_without_warning(control, f"{text}{register}    - {TASK}\n{PLAY}    - {TASK}\n")
    # The run's change and the task's: between them there is no order.
    assert sorted(control.statuses()) == ["Done", "Done", "Processing"]
    only_true_events(control)


def test_what_a_host_has_answered_in_an_earlier_run_is_no_setting(control: ControlNode, thief: Receiver) -> None:
    take_over(control, answers_of(thief))
    control.environment["ANSIBLE_CACHE_PLUGIN"] = "jsonfile"
    control.environment["ANSIBLE_CACHE_PLUGIN_CONNECTION"] = str(control.folder / "facts")
    for _run in range(2):
        run_without_warning(control, f"{GATHERING}    - {TASK}\n{PLAY}    - {TASK}\n")
    assert sorted(control.statuses()) == ["Done", "Done", "Done", "Processing", "Processing"]
    only_true_events(control)


def test_what_the_operator_wrote_holds_beside_what_hosts_answer(control: ControlNode, thief: Receiver) -> None:
    take_over(control, answers_of(thief))
    del control.environment["FLASHDUTY_PUSH_URL"]
    ours = {
        "flashduty_push_url": control.receiver.push_url(KEY),
        "flashduty_title": "Ours",
        "flashduty_labels": {"env": "ours"},
    }
    (control.folder / "group_vars").mkdir()
    control.write("group_vars/web.yml", json.dumps(ours))
    assert control.run(control.write("site.yml", f"{GATHERING}{PLAY}    - {TASK}\n"))[0] == 0
    assert sorted(control.statuses()) == ["Done", "Done", "Processing"]
    only_true_events(control)
    assert control.receiver.events()[-1]["labels"]["env"] == "ours"


def test_a_setting_that_reads_an_answer_is_refused(control: ControlNode, thief: Receiver) -> None:
    take_over(control, answers_of(thief))
    control.environment["FLASHDUTY_INTEGRATION_KEY"] = KEY
    del control.environment["FLASHDUTY_PUSH_URL"], control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    reads = '  vars:\n    flashduty_api_url: "{{ address }}"\n  tasks'
    refused = GATHERING.replace("  tasks", reads) + f"    - {TASK}\n"
    # With a default of the operator's own, that one counts.
    taken = refused.replace("address", f"address | default('{control.receiver.url}')")
    code, output = control.run(control.write("site.yml", taken + refused))
    assert code == 2, output
    told = " ".join(output.split())
    assert "flashduty_api_url: its template failed: 'address' is undefined" in told
    assert "facts, registered results and set_fact values do not count here" in told
    assert control.statuses() == ["Done"]


@pytest.mark.parametrize("place", ["environment", "ansible.cfg", "variables"])
def test_what_is_set_to_nothing_is_not_set(control: ControlNode, place: str) -> None:
    documents = (ModuleDocFragment.PLUGIN, flashduty_change.DOCUMENTATION)
    definitions = {name: option for text in documents for name, option in yaml.safe_load(text)["options"].items()}
    # Set to nothing, these turn off what they do by default.
    options = sorted(definitions.keys() - {"label_groups", "label_vars"})
    assert "scope" in options
    settings = {}
    if place == "environment":
        push_url = control.environment.pop("FLASHDUTY_PUSH_URL")
        for option in options:
            for entry in definitions[option]["env"]:
                control.environment[entry["name"]] = ""
        settings = {"push_url": push_url}
        control.environment["CURL_CA_BUNDLE"] = control.environment["REQUESTS_CA_BUNDLE"] = ""
    elif place == "ansible.cfg":
        settings = dict.fromkeys(options, "")
    else:
        names = [*(f"flashduty_{option}" for option in options)]
        (control.folder / "group_vars").mkdir()
        control.write("group_vars/all.yml", json.dumps({name: " " if "e" in name[10:] else "" for name in names}))
    lines = [f"{name} = {value}" for name, value in settings.items()]
    control.environment["ANSIBLE_CONFIG"] = control.write(
        "ansible.cfg", "\n".join(["[callback_flashduty_change]", *lines, ""])
    )
    code, output = control.run(control.write("site.yml", f"{PLAY}    - {TASK}\n"))
    assert code == 0, output
    assert "flashduty" not in output.replace("flashduty_change] ***", "").replace("flashcat.flashduty", "")
    assert sorted(control.statuses()) == ["Done", "Done", "Processing"]
    assert (control.folder / "home" / "flashduty" / "outbox.sqlite3").exists()
    assert not (control.folder / "outbox.sqlite3").exists()


def test_a_choice_that_is_none_is_told_with_those_that_are(control: ControlNode) -> None:
    control.environment["FLASHDUTY_SCOPE"] = "planet"
    code, output = control.run(control.write("site.yml", PLAY))
    assert code == 0, output
    told = " ".join(output.split())
    assert "this run is not reported to Flashduty: scope: cannot be used" in told
    assert "Valid are run, group, host" in told
    assert control.statuses() == []
