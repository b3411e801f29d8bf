# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process, distinguished from a later one with the same PID, from those of other boots and other containers."""

from __future__ import annotations

import json
import os
import socket
from typing import NamedTuple

# Linux's PROC_PID_INIT_INO.
_OUTERMOST_NAMESPACE = "pid:[4026531836]"


class Process(NamedTuple):
    """The identity of a process.

    :ivar host: host name of the machine or container.
    :ivar boot: id of the boot; empty where the system has none.
    :ivar namespace: id of the PID namespace; empty where the system has none.
    :ivar pid: the process id.
    :ivar start: when it started, in the system's own words; empty where unknown.
    :ivar machine: id of the machine's installation; empty where the system has none.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    start: str
    machine: str = ""

    @classmethod
    def of(cls, pid: int) -> Process:
        """The identity of a living process of this machine, the same each time: a machine may be renamed meanwhile."""
        start = _start_of(pid) or ""
        if (pid, start) not in _KNOWN:
            _KNOWN[pid, start] = cls(*_here(), pid, start, _machine_id())
        return _KNOWN[pid, start]

    @classmethod
    def from_text(cls, text: str) -> Process:
        """The identity whose :meth:`to_text` was stored."""
        return cls(**json.loads(text))

    def to_text(self) -> str:
        """One line, for storing."""
        return json.dumps(self._asdict(), sort_keys=True)

    @property
    def is_local(self) -> bool:
        """Whether this machine, in this boot and this container, knows if the process lives."""
        return _here() == (self.host, self.boot, self.namespace)

    @property
    def is_of_earlier_boot(self) -> bool:
        """Whether it ran on this very machine, and the machine has been started anew since.

        Never so for what ran in a container: those may share a name and an id with others elsewhere.
        """
        host, boot, namespace = _here()
        return (
            bool(self.machine)
            and (self.host, self.machine, self.namespace) == (host, _machine_id(), namespace)
            and namespace == _OUTERMOST_NAMESPACE
            and self.boot != boot
        )

    def is_alive(self) -> bool:
        """Whether this very process still runs; only to be asked where :attr:`is_local`."""
        start = _start_of(self.pid)
        return start is not None and (not self.start or start in ("", self.start))


_KNOWN: dict[tuple[int, str], Process] = {}


def _machine_id() -> str:
    try:
        with open("/etc/machine-id", encoding="utf-8") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""


def _here() -> tuple[str, str, str]:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            boot = file.read().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = namespace = ""
    return socket.gethostname(), boot, namespace


def _start_of(pid: int) -> str | None:
    """When the process started, empty where that cannot be known; None where no such process runs.

    One that is finished and that nobody has reaped does not run.
    """
    if not os.path.isdir("/proc/self"):
        return _start_without_proc(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _start_without_proc(pid: int) -> str | None:
    import subprocess  # few systems need it

    try:
        # There is no module here whose run_command could be called, as pylint advises.
        listing = subprocess.run(  # pylint: disable=ansible-bad-function
            ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, env={}, check=False
        ).stdout.split(None, 1)
    except OSError:  # a container may have neither
        listing = []
    if len(listing) < 2:
        return "" if _exists(pid) else None
    return None if listing[0].startswith("Z") else listing[1].strip()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # it is somebody else's
        return True
    except OSError:
        return False
    return True
