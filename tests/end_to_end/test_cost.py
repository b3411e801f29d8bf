# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run may not be made to pay for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from control_node import ControlNode

PLUGINS = "ansible_collections.flashcat.flashduty.plugins."
PLAY = """
- hosts: {hosts}
  gather_facts: false
  tasks:
    - {task}
"""
TASK = "flashcat.flashduty.flashduty_change: {change_key: CHANGE-1, change_status: Processing, title: Upgrade}"
NOTHING = "ansible.builtin.debug: {msg: hello}"


def _imported(output: str) -> set[str]:
    """What ansible-playbook has imported, and where the core lets them say so, its workers."""
    return set(re.findall(r"^import time: .*\| +(\S+)$", output, re.MULTILINE))


def test_a_shared_outbox_is_nothing_to_load_beside_the_tasks(control: ControlNode) -> None:
    control.environment.update(PYTHONPROFILEIMPORTTIME="1", FLASHDUTY_OUTBOX_URL="postgresql://127.0.0.1:1/flashduty")
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web1", task=TASK)))
    assert code == 0, output
    found = _imported(output)
    assert PLUGINS + "module_utils._outbox_url" in found
    outbox = {PLUGINS + f"plugin_utils._outbox.{name}" for name in ("shared", "shared_schema", "postgres", "relay")}
    assert not {"psycopg", PLUGINS + "plugin_utils._courier.sharing", *outbox} & found


# For what few runs have: a job, templates, files of host_vars, plays to come, something to warn of. And for the end.
RARE = {
    *("_labels.expressions", "_labels.file_parts", "_labels.host_by_host", "_labels.host_view", "_labels.later_plays"),
    *("_labels.syntax", "_labels.templates", "_labels.vars_files"),
    *("_run.job", "_run.preview", "_run.ending", "_run.failed_task", "_run.templates", "_run.wait"),
    *("_texts.notices", "_texts.reasons", "_tasks"),
}


def test_the_start_loads_what_every_run_needs_and_nothing_imports_requests(control: ControlNode) -> None:
    for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "BUILDKITE", "JENKINS_URL", "JOB_ID"):
        control.environment.pop(name, None)
    control.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web1", task=f"{NOTHING}\n    - {TASK}")))
    assert code == 0, output
    assert control.statuses() == ["Processing", "Processing", "Done"]
    at_start = _imported(output.partition("TASK [")[0])
    assert PLUGINS + "plugin_utils._run.run" in at_start
    assert PLUGINS + "plugin_utils._outbox.runs" in at_start
    assert not {PLUGINS + "plugin_utils." + name for name in RARE} & at_start
    found = _imported(output)
    assert PLUGINS + "plugin_utils._tasks.action" in found
    assert (
        not {"requests", "urllib3", PLUGINS + "module_utils._http", PLUGINS + "plugin_utils._courier.delivery"} & found
    )
    assert PLUGINS + "module_utils._outbox_url" not in found


def test_a_task_brings_nothing_of_the_callback_but_its_options(control: ControlNode) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    control.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web1", task=TASK)))
    assert code == 0, output
    found = _imported(output)
    assert PLUGINS + "plugin_utils._tasks.action" in found
    assert PLUGINS + "plugin_utils._run.run" not in found


@pytest.mark.parametrize(
    ("fault", "options"), [("refuse", {"seconds": 600}), ("status", {"status": 429, "retry_after": 600})]
)
def test_the_end_does_not_wait_for_an_api_to_get_well(
    control: ControlNode, fault: str, options: dict[str, Any]
) -> None:
    control.environment["FLASHDUTY_WAIT"] = "300"
    control.receiver.faults.set(fault, **options)
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web1", task=NOTHING)))
    assert code == 0, output
    assert output.count("not delivered yet") == 1
