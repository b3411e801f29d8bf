# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role control_node in a home folder of its own. What a test machine lacks, cron and systemd, is played."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from control_node import KEY, ControlNode

pytestmark = pytest.mark.slow

CONFIG = (
    "# mine\n[defaults]\nforks = 7\ncallbacks_enabled = ansible.posix.timer ; keep\n\n"
    "[ssh_connection]\npipelining = true\n"
)
ROLE = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {flashduty_enabled: false}
  tasks:
    - ansible.builtin.include_role:
        name: flashcat.flashduty.control_node
"""
CHECK = ROLE.replace("gather_facts", "check_mode: true\n  gather_facts")
RUN = "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug:\n"
CRONTAB = """#!/bin/sh
file="$HOME/crontab"
case "$1" in
  -l) cat "$file" 2>/dev/null || { echo "no crontab for $USER" >&2; exit 1; } ;;
  -r) rm "$file" ;;
  *) cat "$1" > "$file" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
state="$HOME/systemd"
[ "$1" = "--user" ] && shift
case "$1" in
  show-environment|daemon-reload) ;;
  show) echo LoadState=loaded; [ -e "$state.started" ] && echo ActiveState=active || echo ActiveState=inactive ;;
  is-enabled) [ -e "$state.enabled" ] && echo enabled || { echo disabled; exit 1; } ;;
  enable) touch "$state.enabled" ;;
  disable) rm "$state.enabled" ;;
  start) touch "$state.started" ;;
  stop) rm "$state.started" ;;
  *) echo "what is $*" >&2; exit 1 ;;
esac
"""
NO_SYSTEMD = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def user(control: ControlNode) -> Path:
    """The home folder of a user whose environment names neither key, callback nor ansible.cfg."""
    home = control.folder / "user's home"
    home.mkdir()
    (control.folder / "bin").mkdir()
    for name in ("ANSIBLE_CALLBACKS_ENABLED", "FLASHDUTY_PUSH_URL", "ANSIBLE_CONFIG"):
        control.environment.pop(name, None)
    control.environment.update(HOME=str(home), PATH=f"{control.folder}/bin:{os.environ['PATH']}")
    control.write("role.yml", ROLE)
    control.write("check.yml", CHECK)
    return home


def _program(control: ControlNode, name: str, text: str) -> None:
    path = control.folder / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def _role(control: ControlNode, *options: str, playbooks: str = "role", state: str = "present") -> list[int]:
    """How many tasks of the role changed something, in each of these playbooks of one run."""
    variables = f"control_node_integration_key={KEY} control_node_api_url={control.receiver.url}"
    scope = "control_node_timer_scope=user"
    collections = os.environ["ANSIBLE_COLLECTIONS_PATH"]
    code, output = control.run(
        *options,
        "-e",
        f"{variables} {scope} control_node_state={state}",
        "-e",
        f'{{"control_node_environment": {{"ANSIBLE_COLLECTIONS_PATH": "{collections}"}}}}',
        *(str(control.folder / f"{name}.yml") for name in playbooks.split()),
    )
    assert code == 0, output
    assert KEY not in output
    assert "DEPRECATION" not in output
    return [play.count("changed: [localhost]") for play in output.split("PLAY [")[1:]]


def test_set_up_used_and_taken_back_with_cron(control: ControlNode, user: Path) -> None:
    _program(control, "systemctl", NO_SYSTEMD)
    _program(control, "crontab", CRONTAB)
    (user / ".ansible.cfg").write_text(CONFIG)
    key_file = control.folder / "home" / "flashduty.key"

    assert _role(control, "--check", "--diff") > [0]
    assert (user / ".ansible.cfg").read_text() == CONFIG
    assert not key_file.exists()
    assert not (user / "crontab").exists()

    assert _role(control, "--diff") > [0]
    assert _role(control, playbooks="role check") == [0, 0]
    text = (user / ".ansible.cfg").read_text()
    assert "callbacks_enabled = ansible.posix.timer, flashcat.flashduty.flashduty_change ; keep\n" in text
    assert text.startswith("# mine\n[defaults]\nforks = 7\n")
    assert key_file.stat().st_mode & 0o777 == 0o600

    code, output = control.run(control.write("run.yml", RUN))
    assert code == 0, output
    assert control.statuses() == ["Processing", "Done"]
    (job,) = (line for line in (user / "crontab").read_text().splitlines() if not line.startswith("#"))
    assert job.startswith("*/5 * * * * ")
    assert KEY not in job
    command = job.split(" ", 5)[5]
    subprocess.run(["sh", "-c", command], env=control.environment, cwd="/", check=True, timeout=90)

    removed, again = _role(control, playbooks="role role", state="absent")
    assert removed > again == 0
    assert (user / ".ansible.cfg").read_text() == CONFIG
    assert not key_file.exists()
    assert [line for line in (user / "crontab").read_text().splitlines() if "flashduty" in line] == []


def test_a_timer_of_systemd_and_no_config_before(control: ControlNode, user: Path) -> None:
    _program(control, "systemctl", SYSTEMCTL)
    # The test with cron looks for requests.
    options = ("-e", "control_node_requests=false")
    assert _role(control, "--check", *options) > [0]
    made, again = _role(control, *options, playbooks="role role")
    assert made > again == 0
    units = user / ".config" / "systemd" / "user"
    timer = (units / "flashcat-flashduty-flush.timer").read_text()
    service = (units / "flashcat-flashduty-flush.service").read_text()
    assert "OnUnitInactiveSec=5min" in timer
    assert 'ansible-playbook" flashcat.flashduty.flush' in service
    assert KEY not in service
    assert (user / "systemd.enabled").exists()
    assert (user / "systemd.started").exists()
    removed, again = _role(control, playbooks="role role", state="absent")
    assert removed > again == 0
    assert list(units.iterdir()) == []
    assert not (user / "systemd.enabled").exists()
    assert not (user / ".ansible.cfg").exists()


def test_no_secret_is_shown_and_each_value_reaches_the_flush(control: ControlNode, user: Path) -> None:
    _program(control, "systemctl", NO_SYSTEMD)
    _program(control, "crontab", CRONTAB)
    odd = "50% of 'a' \"b\" \\\\ $HOME"
    (user / ".ansible.cfg").write_text(
        f"[galaxy]\ntoken = TOKEN{KEY}\n[callback_flashduty_change]\napp_key = APP{KEY}\n"
    )
    variables = {
        "control_node_push_url": control.receiver.push_url(KEY),
        "control_node_environment": {"ODD": odd, "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
    }
    arguments = ("-e", "@" + control.write("variables.json", json.dumps(variables)), str(control.folder / "role.yml"))
    for state in ("present", "absent"):
        code, output = control.run("-vvv", "--diff", "-e", f"control_node_state={state}", *arguments)
        assert code == 0, output
        assert KEY not in output
        if state == "present":
            key_file = control.folder / "home" / "flashduty.key"
            assert key_file.read_text() == control.receiver.push_url(KEY) + "\n"
            assert control.run(control.write("run.yml", RUN))[0] == 0
            assert control.statuses() == ["Processing", "Done"]
            (job,) = (line for line in (user / "crontab").read_text().splitlines() if not line.startswith("#"))
            # As cron does: a percent sign without a backslash would end the command.
            command = job.split(" ", 5)[5].replace("\\%", "\0")
            assert "%" not in command
            assignments = command.replace("\0", "%").split(" /")[0]
            shown = subprocess.run(
                ["sh", "-c", f'{assignments}; printf %s "$ODD"'], capture_output=True, text=True, check=True
            )
            assert shown.stdout == odd
    assert "TOKEN" in (user / ".ansible.cfg").read_text()


def test_a_key_that_belongs_elsewhere_and_minutes_that_no_timer_takes_are_refused(
    control: ControlNode, user: Path
) -> None:
    _program(control, "systemctl", NO_SYSTEMD)
    _program(control, "crontab", CRONTAB)
    said = {
        "address": "set control_node_push_url to the Push URL",
        "key_alone": "set control_node_integration_key to a key alone",
        "minutes": "control_node_timer_minutes must be a number between 1 and 59, not 90",
    }
    variables: dict[str, dict[str, object]] = {
        "address": {"control_node_integration_key": control.receiver.push_url(KEY)},
        "key_alone": {"control_node_push_url": KEY},
        "minutes": {"control_node_timer_minutes": 90},
    }
    inventory = control.write("refused.json", json.dumps({"refused": {"hosts": variables}}))
    code, output = control.run("-i", inventory, control.write("refused.yml", ROLE.replace("localhost", "refused", 1)))
    assert code == 2, output
    assert KEY not in output
    for host, message in said.items():
        assert any(message in told for told in re.findall(rf"(?:fatal|failed): \[{host}\].*", output))
    assert not (user / ".ansible.cfg").exists()
    assert not (user / "crontab").exists()


def test_without_either_it_says_so(control: ControlNode, user: Path) -> None:
    _program(control, "systemctl", NO_SYSTEMD)
    control.environment["PATH"] = str(control.folder / "bin")
    for name in ("sh", "id", "dirname", "env", "rm", "mkdir", "chmod", "sleep"):
        program = shutil.which(name)
        assert program is not None
        (control.folder / "bin" / name).symlink_to(program)
    code, output = control.run(str(control.folder / "role.yml"))
    assert code == 0, output
    assert "neither a systemd" in output
