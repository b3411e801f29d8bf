# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as AWX runs them, with the settings that docs/awx.md gives: on an execution node, and in a container group."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from containers import Podman

_PROGRAMS = Path(sys.executable).parent
_RUNNER = [sys.executable, "-m", "ansible_runner"]
_PAGE = (Path(__file__).parents[3] / "docs" / "awx.md").read_text(encoding="utf-8")


def _block(marker: str) -> str:
    """The one block of docs/awx.md that holds the marker."""
    blocks = re.findall(r"^ *```(?:yaml|json|shell)\n(.*?)^ *```", _PAGE, re.DOTALL | re.MULTILINE)
    (block,) = [str(block) for block in blocks if marker in block]
    return block


def _documented(marker: str) -> Any:
    return yaml.safe_load(_block(marker))


CREDENTIAL: dict[str, str] = _documented("{{ push_url }}")["env"]
SETTINGS: dict[str, str] = _documented("ANSIBLE_CALLBACKS_ENABLED")
VOLUME: str = _documented("/flashduty:rw")[0]
STATE_DIR = VOLUME.split(":")[1]
STALE: dict[str, Any] = _documented("stale_after: ")
FLUSH_PLAYBOOK = _block("import_playbook")
POD_ARGS: list[str] = _documented("kind: Pod")["spec"]["containers"][0]["args"]


class Job:
    """A job, whose output goes to a file.

    :param folder: does not exist yet.
    :param credential: what the user has filled in, by the names of the fields.
    :param playbook: its text.
    :param variables: extra variables.
    """

    def __init__(
        self,
        podman: Podman,
        folder: Path,
        inventory: str,
        credential: dict[str, str],
        playbook: str,
        **variables: object,
    ) -> None:
        self._podman = podman
        self._folder = folder
        self._name = f"flashduty-{folder.parent.name}-{folder.name}"
        self._processes: list[subprocess.Popen[bytes]] = []
        for name in ("project", "inventory", "env"):
            (folder / "private" / name).mkdir(parents=True)
        (folder / "private" / "project" / "site.yml").write_text(playbook)
        shutil.copy(inventory, folder / "private" / "inventory" / "hosts")
        fields = {"push_url": "", "app_key": "", "outbox_url": "", **credential}
        self.environment = {
            **SETTINGS,
            **{name: fields[template.strip("{} ")] for name, template in CREDENTIAL.items()},
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "PATH": f"{_PROGRAMS}:/usr/bin:/bin",
            "HOME": "/root",
        }
        self._variables = {"awx_job_id": 4711, "awx_user_name": "alice", "awx_job_template_name": "Deploy", **variables}

    def start_by_podman(self) -> None:
        """In a container that somebody starts by hand."""
        private, arguments = self._folder / "private", ["-i", "/runner/inventory", "/runner/project/site.yml"]
        environment = [f"--env={name}={value}" for name, value in self.environment.items()]
        command = [*self._run(), f"--volume={private}:/runner", *environment, *self._podman.options, self._podman.image]
        self._start(*command, str(_PROGRAMS / "ansible-playbook"), "-e", json.dumps(self._variables), *arguments)

    def start_in_a_container_group(self) -> None:
        """A pod of its own, as the documented specification starts it."""
        command = [*self._run(), *self._podman.options, self._podman.image]
        self._start(*command, str(_PROGRAMS / POD_ARGS[0]), *POD_ARGS[1:], payload=self._transmitted())

    def start_on_an_execution_node(self, *volumes: str) -> None:
        """A container that ansible-runner starts, with process isolation."""
        settings = {
            "process_isolation": True,
            "process_isolation_executable": "podman",
            "container_image": self._podman.image,
            "container_options": self._podman.options,
            "container_volume_mounts": volumes,
        }
        (self._folder / "private" / "env" / "settings").write_text(json.dumps(settings))
        payload = self._transmitted()
        self._start(*_RUNNER, "worker", f"--private-data-dir={self._folder / 'node'}", payload=payload)

    def _run(self) -> list[str]:
        return ["podman", "run", "--rm", "--interactive", f"--name={self._name}"]

    def _transmitted(self) -> bytes:
        private = self._folder / "private"
        (private / "env" / "envvars").write_text(json.dumps(self.environment))
        (private / "env" / "extravars").write_text(json.dumps(self._variables))
        command = [*_RUNNER, "transmit", str(private), "--playbook=site.yml"]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout

    def _start(self, *command: str, payload: bytes = b"") -> None:
        (self._folder / "payload").write_bytes(payload)
        with (self._folder / "payload").open("rb") as stdin, (self._folder / "output").open("wb") as output:
            self._processes.append(
                subprocess.Popen(
                    command, env=self._podman.environment, stdin=stdin, stdout=output, stderr=subprocess.STDOUT
                )
            )

    def kill(self) -> None:
        """As `podman kill`, or as Kubernetes deletes a pod that does not end."""
        self._podman.kill(self._name)
        self.wait()

    def cancel(self) -> None:
        """As AWX does on an execution node: ansible-runner is asked to end, and kills the container."""
        self._processes[0].send_signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> int:
        """Until it has ended; returns the exit code."""
        return self._processes[0].wait(60)

    @property
    def output(self) -> str:
        """All that was printed, also what is wrapped by ansible-runner."""
        return (self._folder / "output").read_text(errors="replace")

    def close(self) -> None:
        """Nothing of it is left."""
        for process in self._processes:
            if process.poll() is None:
                self._podman.call("kill", self._name)
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()
                process.wait()
