# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job as AWX runs it: ansible-runner, with what the credential type of docs/awx.md injects."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import ansible_runner
import yaml
from control_node import ControlNode

AWX = (Path(__file__).parents[2] / "docs" / "awx.md").read_text(encoding="utf-8")


def _injected(push_url: str) -> dict[str, str]:
    (block,) = [block for block in AWX.split("```") if block.startswith("yaml\nenv:")]
    values = {"push_url": push_url, "app_key": "", "outbox_url": ""}
    return {
        name: values[template.strip("{} ")]
        for name, template in yaml.safe_load(block.removeprefix("yaml\n"))["env"].items()
    }


def test_a_job_under_ansible_runner_is_one_change_named_after_it(control: ControlNode) -> None:
    folder = control.folder / "private"
    for name in ("project", "env", "inventory"):
        (folder / name).mkdir(parents=True)
    shutil.copy(control.folder / "inventory", folder / "inventory" / "hosts")
    (folder / "project" / "site.yml").write_text(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug: {msg: fine}\n", encoding="utf-8"
    )
    injected = _injected(control.environment["FLASHDUTY_PUSH_URL"])
    environment = {**control.environment, **injected, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    (folder / "env" / "envvars").write_text(json.dumps(environment), encoding="utf-8")
    # What AWX gives every job as extra variables.
    variables = {"awx_job_id": 4711, "awx_user_name": "alice", "awx_job_template_name": "Deploy"}
    result = ansible_runner.run(private_data_dir=str(folder), playbook="site.yml", extravars=variables, quiet=True)
    with result.stdout as stdout:
        output = stdout.read()
    assert result.rc == 0, output
    assert control.statuses() == ["Processing", "Done"]
    change = control.only_change()
    assert "4711" in change["change_key"]
    assert change["labels"]["actor"] == "alice"
    kept = "".join(path.read_text(errors="replace") for path in (folder / "artifacts").rglob("*") if path.is_file())
    key = injected["FLASHDUTY_PUSH_URL"].rpartition("=")[2]
    assert key not in output
    # ansible-runner itself notes down the environment of the job, as AWX does, which hides secret inputs there.
    assert key not in kept.replace(injected["FLASHDUTY_PUSH_URL"], "")
