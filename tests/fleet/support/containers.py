# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers that hold this machine's Python and the collection, and nothing that outlives them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# A machine may have no cgroups that the defaults can use, and let containers not raise its own limits.
_SETTINGS = """
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
_OF_THE_SYSTEM = ("/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr")


class NoPodman(Exception):
    """No container can be started here."""


class Podman:
    """Podman with an image that is made of folders of this machine, which no container can change.

    :ivar environment: for podman, and for what calls it.
    :ivar options: for podman run, before :attr:`image`.
    :ivar image: what a container sees of it is its own; its changes go with it.
    :raises NoPodman: with what is to be done.
    """

    def __init__(self, folder: Path, *shown: Path) -> None:
        if os.getuid() or not shutil.which("podman"):
            raise NoPodman("needs root and podman (Debian: apt-get install podman runc)")
        settings = folder / "containers.conf"
        settings.write_text(_SETTINGS.format(runtime="runc" if shutil.which("runc") else "crun"))
        self.environment = {**os.environ, "CONTAINERS_CONF": str(settings)}
        root = folder / "root"
        for name in ("tmp", "runner", "root"):
            (root / name).mkdir(parents=True)
        self.options = ["--network=host"]
        for path in dict.fromkeys(map(str, (*_OF_THE_SYSTEM, sys.prefix, sys.base_prefix, *shown))):
            for place in dict.fromkeys((path, os.path.realpath(path))):
                if os.path.exists(place):
                    self.options += ["--volume", f"{os.path.realpath(place)}:{place}:ro"]
        self.options += ["--rootfs"]
        self.image = f"{root}:O"
        tried = self.call("run", "--rm", *self.options, self.image, sys.executable, "-c", "import ansible")
        if tried.returncode:
            raise NoPodman(f"podman cannot start a container here: {' '.join(tried.stderr.split())}")

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Podman to its end."""
        return subprocess.run(
            ["podman", *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def kill(self, name: str) -> None:
        """As who stops a container that does not listen."""
        killed = self.call("kill", name)
        assert killed.returncode == 0, killed.stderr
