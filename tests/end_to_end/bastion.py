# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that ansible-core reaches over ssh: this machine, with a home folder and an environment of its own.

Run as a program, this is its SSH server: bastion.py FOLDER
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncssh

PATIENCE = 60.0


class Bastion:
    """The host as long as its SSH server runs, which is inside a `with` block.

    :param folder: where its files are; its home folder is in there too.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "bastion_home"
        self.home.mkdir(parents=True)
        self._folder = folder
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / "client_key")
        key.write_public_key(folder / "client_key.pub")
        (folder / "client_key").chmod(0o600)

    def __enter__(self) -> Bastion:
        self._server = subprocess.Popen([sys.executable, __file__, str(self._folder)], start_new_session=True)
        end = time.monotonic() + PATIENCE
        while not (self._folder / "port").exists():
            assert self._server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """Everything that runs there ends, and nobody reaches it any more."""
        if self._server.poll() is None:
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()

    def inventory(self) -> str:
        """Its line of an inventory."""
        options = {
            "-F": "/dev/null",
            "-i": shlex.quote(str(self._folder / "client_key")),
            "-o": "StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=no",
        }
        variables = {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": (self._folder / "port").read_text(),
            "ansible_user": "bastion",
            "ansible_ssh_common_args": f'"{" ".join(f"{name} {value}" for name, value in options.items())}"',
            "ansible_ssh_transfer_method": "piped",
            "ansible_python_interpreter": shlex.quote(sys.executable),
        }
        return "bastion " + " ".join(f"{name}={value}" for name, value in variables.items()) + "\n"

    @property
    def commands(self) -> str:
        """What was run there."""
        log = self._folder / "commands"
        return log.read_text() if log.exists() else ""

    def files(self) -> list[Path]:
        """What lies in its home folder."""
        return [path for path in self.home.rglob("*") if path.is_file()]


class _Server(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True


async def _copy(source: Any, target: Any, to_the_end: bool = False) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    if to_the_end:
        target.write_eof()


async def _serve(folder: Path) -> None:
    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        with (folder / "commands").open("a") as log:
            log.write(f"{process.command}\n")
        child = await asyncio.create_subprocess_shell(
            process.command or "",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder / "bastion_home",
            env={"HOME": str(folder / "bastion_home"), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        typed = asyncio.create_task(_copy(process.stdin, child.stdin, to_the_end=True))
        await asyncio.gather(_copy(child.stdout, process.stdout), _copy(child.stderr, process.stderr))
        typed.cancel()
        process.exit(await child.wait())

    listener = await asyncssh.create_server(
        _Server,
        "127.0.0.1",
        0,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=str(folder / "client_key.pub"),
        process_factory=run,
        encoding=None,
    )
    (folder / "port.new").write_text(str(listener.get_port()))
    (folder / "port.new").rename(folder / "port")
    await listener.wait_closed()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
