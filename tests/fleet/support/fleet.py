# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control nodes that share nothing but an outbox in PostgreSQL, and can vanish."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from control_node import ControlNode

from flashduty_sandbox.receiver import Receiver

FLUSH = "flashcat.flashduty.flush"
# Seconds: what is promised, and what a busy machine is given beside.
PROMISED = 45.0
MARGIN = 20.0


class Node(ControlNode):
    """A control node with a home of its own. By it, each process is known that belongs here."""

    def __init__(self, folder: Path, receiver: Receiver, outbox_url: str) -> None:
        folder.mkdir()
        self.person = folder / "person"
        self.person.mkdir()
        super().__init__(folder, receiver)
        self.environment["HOME"] = str(self.person)
        self.environment["FLASHDUTY_OUTBOX_URL"] = outbox_url

    def processes(self) -> Iterator[tuple[int, bytes]]:
        """Each process of this node, with its command line."""
        mine = b"HOME=" + os.fsencode(self.person)
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mine in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name), (folder / "cmdline").read_bytes()

    def couriers(self) -> list[int]:
        """The couriers that run here."""
        return [pid for pid, command in self.processes() if command.endswith(b"\0_courier.process\0")]

    def kill_couriers(self) -> int:
        """End them without a word; returns how many there were."""
        couriers = self.couriers()
        for pid in couriers:
            _send(pid, signal.SIGKILL)
        return len(couriers)

    def kill(self) -> None:
        """End every process at once, as if the machine lost power."""
        # What is stopped sees no other end, and starts nothing.
        for number in (signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL):
            for pid, _command in list(self.processes()):
                _send(pid, number)

    def vanish(self) -> None:
        """As a container whose disk goes with it."""
        self.kill()
        for folder in (self.folder, *self.spools):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Nothing of it is left."""
        end = time.monotonic() + 10
        while any(True for _process in self.processes()) and time.monotonic() < end:
            self.kill()
            time.sleep(0.05)
        for folder in (self.folder / "home", *self.spools):
            shutil.rmtree(folder, ignore_errors=True)


def of_change(receiver: Receiver, change_key: str) -> list[dict[str, Any]]:
    """The bodies that arrived of a change, in order."""
    return [event["body"] for event in receiver.events() if event["change_key"] == change_key]


def is_terminal(body: dict[str, Any]) -> bool:
    """Whether the event ends its change."""
    return body["change_status"] in ("Done", "Canceled")


def check_closed(receiver: Receiver, change_key: str, vanished_at: float) -> dict[str, Any]:
    """Whether its change was closed once, in time, with all that the run had said of itself; returns the end."""
    receiver.wait_for(lambda: any(map(is_terminal, of_change(receiver, change_key))), PROMISED + MARGIN)
    assert time.monotonic() - vanished_at < PROMISED + MARGIN
    began, *ends = of_change(receiver, change_key)
    (ended,) = ends
    assert ended["change_status"] == "Canceled"
    assert ended["labels"]["result"] == "killed"
    assert began["labels"].items() <= ended["labels"].items()
    assert began["labels"]["service"] == "storefront"
    assert began["title"] == ended["title"]
    assert "killed" in ended["description"]
    return ended


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
