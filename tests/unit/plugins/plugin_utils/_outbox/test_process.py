# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process is told from others of its number."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import Any

import pytest
from outboxes import ME

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process


def test_a_process_is_known_again_and_told_from_others(dead: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Process.from_text(ME.to_text()) == ME
    assert ME.is_local
    assert ME.is_alive()
    assert not ME._replace(start="1").is_alive()
    assert not ME._replace(boot="other").is_local
    assert dead.is_local
    assert not dead.is_alive()
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert Process.of(os.getpid()) == ME


@pytest.mark.parametrize("ps", ["missing", "fails"])
def test_without_proc_and_ps_a_process_lives_as_long_as_there_is_one_of_its_number(
    dead: Process, monkeypatch: pytest.MonkeyPatch, ps: str
) -> None:
    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        if ps == "missing":
            raise FileNotFoundError(command[0])
        return subprocess.CompletedProcess(command, 47, "", "mount /proc")

    monkeypatch.setattr(os.path, "isdir", lambda _path: False)
    monkeypatch.setattr(subprocess, "run", run)
    assert ME.is_alive()
    assert ME._replace(start="").is_alive()
    assert not dead.is_alive()
