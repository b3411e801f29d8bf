# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks, inventories, variables and environments that nobody should write: the run goes on, its events are taken.

The receiver takes nothing that the API's specification does not allow.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from control_node import ControlNode
from endings import WAYS, Stage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

ODD = (
    "plain",
    "two\nlines\r\n\tand a tab",
    "quotes \" ' ` \\ $(x) <b>&amp;",
    "{{ nobody_defined_this }}",
    "{% raw %}{{ 1 / 0 }}",
    "变更 🚀\u200d\u202e\u0300 مرحبا",
    "\x1b[31mred\x07\x00\x85\u2028",
    "x" * 5000,
    "%s %(a)s {0} ../../etc/passwd",
    " ",
)
VALUES: tuple[Any, ...] = (
    *ODD,
    *({"a": [{"b": None}]}, [1, [2, {"c": 3}]], 10**30, -0.0, True, None, [], list(range(3000))),
)
TASK = {
    "flashcat.flashduty.flashduty_change": {"change_key": "K", "change_status": "Done", "title": "t"},
    "ignore_errors": True,
}


def inventory(control: ControlNode, hosts: dict[str, Any], variables: dict[str, Any]) -> str:
    """A JSON inventory, which can say anything; returns its path."""
    local = {"ansible_connection": "local"}
    every = {"hosts": list(hosts), "vars": {**variables, **local}}
    text = {"all": every, "odd {{ group }} \n'\"": {"hosts": list(hosts)}, "_meta": {"hostvars": hosts}}
    path = control.write("inventory.json", f"#!/bin/sh\ncat {control.write('hosts', json.dumps(text))}\n")
    os.chmod(path, 0o700)
    return path


def check(control: ControlNode, output: str, status: str | None = "Done") -> None:
    """No traceback of ours, nothing refused, and the end of the run."""
    assert "flashduty/plugins" not in "".join(output.split("Traceback")[1:]), output
    assert "missing from what is reported" not in " ".join(output.split()), output
    control.receiver.wait_for(lambda: any(event["change_status"] == status for event in control.receiver.events()), 60)
    assert {request["verdict"] for request in control.receiver.requests()} == {"accepted"}


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_names_of_everything(control: ControlNode, odd: str) -> None:
    name = odd.replace("/", "_").replace("\0", "")[:100]
    plays = [{"name": odd, "hosts": "all", "gather_facts": False, "tags": [odd], "tasks": [{"name": odd, **TASK}]}]
    path = control.write(f"{name}.yml", json.dumps(plays))
    code, output = control.run("-i", inventory(control, {odd: {}, "other": {}}, {"service": odd}), path)
    if code and not (control.folder / "home" / "flashduty").exists():
        pytest.skip("ansible-core itself takes no such name")
    check(control, output, "Canceled" if code else "Done")


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_variables_and_options(control: ControlNode, value: Any) -> None:
    label_vars = ("service", "cluster", "team", "owner", "env", "region")
    options = {f"flashduty_{name}": value for name in ("title", "description", "link", "labels", "change_key")}
    event = {"change_status": "Processing", "description": value, "labels": value}
    told = {"flashcat.flashduty.flashduty_change": event, "ignore_errors": True}
    tasks = [told, {"ansible.builtin.debug": {"msg": "on"}}]
    plays = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    hosts = {"one": dict.fromkeys(label_vars, value), "two": {"service": "storefront"}}
    code, output = control.run("-i", inventory(control, hosts, options), control.write("site.yml", json.dumps(plays)))
    assert code == 0, output
    check(control, output)


def test_variables_that_cannot_be_rendered(control: ControlNode) -> None:
    variables = {
        "service": "{{ service }}",
        "team": "{{ owner }}",
        "owner": "{{ team }}",
        "cluster": "{{ lookup('file', '/does/not/exist') }}",
        "region": "{{ 1 / 0 }}",
        "env": "{{ lookup('pipe', 'exit 3') }}",
        "flashduty_title": "{{ title_of_nothing }}",
        "flashduty_description": "{{ lookup('file', '/does/not/exist') }}",
        "flashduty_labels": {"a": "{{ a_of_nothing }}", "b": "{{ b }}"},
    }
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "on"}}]}]
    path = control.write("site.yml", json.dumps(plays))
    code, output = control.run("-i", inventory(control, {"one": {}, "two": {}}, variables), path)
    assert code == 0, output
    check(control, output)


NONSENSE = (*(f"{odd} " * 600 for odd in ("long", "变更", "\x1b\t\n")), "\udcff\udc80", "a" * 100000)


@pytest.mark.parametrize("odd", NONSENSE, ids=range(len(NONSENSE)))
def test_an_environment_full_of_nonsense(control: ControlNode, odd: str) -> None:
    names = ("WORKFLOW", "JOB", "ACTOR", "REF_NAME", "SHA", "REPOSITORY", "RUN_ID", "SERVER_URL")
    control.environment.update({f"GITHUB_{name}": odd for name in names})
    control.environment.update(GITHUB_ACTIONS="true", USER=odd, LOGNAME=odd)
    stage = Stage(control)
    try:
        mark = stage.mark("task")
        run = stage.start(WAYS["SIGKILL"], stage.playbook(f"touch {mark}; sleep 20"))
        stage.wait_until(lambda: mark.exists() and stage.events())
        run.send(signal.SIGKILL)
        run.wait()
        check(control, run.output, "Canceled")
    finally:
        stage.close()


_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=6, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_texts, _values, _values, st.dictionaries(st.sampled_from(["service", "team"]), _values))
def test_what_hypothesis_thinks_of(control: ControlNode, name: str, title: Any, labels: Any, values: Any) -> None:
    control.receiver.reset()
    task = {"flashcat.flashduty.flashduty_change": {"change_status": "Processing", "title": title, "labels": labels}}
    plays = [{"name": name, "hosts": "all", "gather_facts": False, "tasks": [{**task, "ignore_errors": True}]}]
    path = control.write("site.yml", json.dumps(plays))
    options = {"flashduty_title": title, "flashduty_labels": labels}
    code, output = control.run("-i", inventory(control, {"one": values, "two": {}}, options), path)
    check(control, output, "Canceled" if code else "Done")
