# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A control node of its own for each test: real ansible-playbook processes and a real receiver."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import spool_folders
from flashduty_sandbox.merge import Merged
from flashduty_sandbox.receiver import Receiver
from flashduty_sandbox.rules import OPTIONAL_FIELDS, REQUIRED_FIELDS, Event

# What ansible-core says of anything that it will drop, and what Python says of our files.
DEPRECATIONS = re.compile(r"\[DEPRECATION WARNING\]|flashcat/flashduty/\S+:\d+: \w+Warning")
ANSIBLE_PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")
KEY = "8f3c0ad5e1b24c67"
APP_KEY = "5d0b7e92c4f14a38"
INVENTORY = """
[web]
web1
web2
[db]
db1
[env_prod:children]
web
db
[all:vars]
ansible_connection=local
ansible_python_interpreter={python}
[web:vars]
service=storefront
"""


# Seconds that anything may take on a busy machine.
PATIENCE = 60.0


def wait_until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def unbroken(output: str) -> str:
    """On one line, also where ansible-core has broken lines, which older releases do behind hyphens, too."""
    return " ".join(output.replace("-\n", "-").split())


def of_each_task(output: str) -> list[str]:
    """What was printed of each task, in order, as :func:`unbroken`."""
    return [unbroken(part) for part in output.split("TASK [")[1:]]


def container() -> list[str]:
    """The command that makes another one process 1, with processes of its own."""
    for command in (["unshare"], ["unshare", "--user", "--map-root-user"]):
        command += ["--pid", "--fork", "--mount-proc"]
        try:
            subprocess.run([*command, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return command
    pytest.skip("unshare may not make a PID namespace here")


ELSEWHERE = """
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = "name: elsewhere\\nshort_description: a bastion\\ndescription: a bastion"


class Connection(Local):
    transport = "elsewhere"
"""


class ControlNode:
    """Runs playbooks in a folder of its own.

    :ivar start_by: a command that starts ansible-playbook, such as that of :func:`container`.
    :ivar shown: what must be the same of a change whichever event's texts Flashduty keeps.
    """

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.folder = folder
        self.receiver = receiver
        self.start_by: list[str] = []
        self.shown = {"change_status", "title", "labels"}
        self.environment = {
            **os.environ,
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_CALLBACKS_ENABLED": "flashcat.flashduty.flashduty_change",
            "FLASHDUTY_PUSH_URL": receiver.push_url(KEY),
            # A busy machine is no outage. Tests of outages set their own.
            "FLASHDUTY_WAIT": str(PATIENCE),
            "FLASHDUTY_TIMEOUT": str(PATIENCE),
            "ANSIBLE_DEPRECATION_WARNINGS": "true",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "PYTHONWARNINGS": "default",
            "PYTHONUNBUFFERED": "1",
        }
        (folder / "inventory").write_text(INVENTORY.format(python=sys.executable))

    def write(self, name: str, text: str) -> str:
        """A file in the folder; returns its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def write_import(self, playbook: str, **variables: object) -> str:
        """A playbook that runs another one with these variables; returns its path."""
        name = f"{playbook.rpartition('.')[2]}-{len(list(self.folder.glob('*.yml')))}.yml"
        return self.write(name, json.dumps([{"import_playbook": playbook, "vars": variables}]))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """ansible-playbook in a process group of its own."""
        return subprocess.Popen(
            [*self.start_by, ANSIBLE_PLAYBOOK, "-i", str(self.folder / "inventory"), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """ansible-playbook to its end: exit code and output."""
        with self.start(*arguments) as process:
            output, _none = process.communicate(timeout=90)
            print(output)  # for the report of a test that fails
            assert not DEPRECATIONS.search(output), output
            return process.returncode, output

    @property
    def state(self) -> Path:
        """The folder of the outbox."""
        return self.folder / "home" / "flashduty"

    @property
    def spools(self) -> list[Path]:
        """The folders in which there may be a spool of it."""
        return [Path(folder) for folder in spool_folders(str(self.state))]

    def written(self) -> dict[str, bytes]:
        """The files in Ansible's home; a courier that is about to leave may take some away meanwhile."""
        found = {}
        for path in (self.folder / "home").rglob("*"):
            try:
                if path.is_file():
                    found[str(path)] = path.read_bytes()
            except FileNotFoundError:
                continue
        return found

    def statuses(self) -> list[str]:
        """What arrived, in order."""
        return [event["body"]["change_status"] for event in self.receiver.events()]

    def last_text(self, change_key: str = "") -> str:
        """The description of the last event, or of a change's last."""
        bodies = [event["body"] for event in self.receiver.events() if change_key in ("", event["change_key"])]
        return str(bodies[-1]["description"])

    def check_merges(self) -> None:
        """Fail unless the changes are what they would be had each event's texts replaced the former ones."""
        merged: dict[str, Merged] = {}
        for arrived in self.receiver.events():
            sent = {name: arrived["body"].get(name) for name in (*REQUIRED_FIELDS, *OPTIONAL_FIELDS)}
            event, change_id = Event(**sent), arrived["change_id"]
            earlier = merged.get(change_id)
            merged[change_id] = (
                earlier.take(event, arrived["event_time"], "last")
                if earlier
                else Merged.begin(event, arrived["event_time"])
            )
        for change in self.receiver.changes():
            last = merged[change["change_id"]]
            assert {name: change[name] for name in self.shown} == {name: getattr(last, name) for name in self.shown}

    def only_change(self) -> dict[str, Any]:
        """The one change that the receiver holds."""
        (change,) = self.receiver.changes()
        return change

    def add_bastion(self) -> None:
        """The host `bastion`: this machine, by a connection that Ansible does not know to be local."""
        plugins = self.folder / "connection_plugins"
        plugins.mkdir()
        (plugins / "elsewhere.py").write_text(ELSEWHERE)
        with (self.folder / "inventory").open("a") as inventory:
            inventory.write("[bastions]\nbastion ansible_connection=elsewhere\n")
