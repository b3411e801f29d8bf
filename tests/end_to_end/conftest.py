# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from control_node import ControlNode

    from flashduty_sandbox.merge import Mode
    from flashduty_sandbox.receiver import Receiver


@pytest.fixture
def merge() -> Mode:
    """How the receiver makes changes of events. A test that needs it otherwise parametrizes it."""
    return "first"


@pytest.fixture
def receiver(tmp_path: Path, merge: Mode) -> Iterator[Receiver]:
    from control_node import APP_KEY, KEY

    from flashduty_sandbox.receiver import Receiver

    with Receiver(tmp_path / "receiver.sqlite3", integration_keys={KEY}, app_keys={APP_KEY}, merge=merge) as running:
        yield running


@pytest.fixture
def another_tmpdir() -> Iterator[str]:
    """A value for TMPDIR. ansible-core 2.21 makes a socket there, whose path may have 107 characters at most."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long it took until the changes of ended runs were closed."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    noted = [note for report in reports for note in report.user_properties]
    took = sorted(float(str(value)) for name, value in noted if name == "closed after")
    if took:
        from endings import PROMISED

        last = len(took) - 1
        shares = ", ".join(f"{share:g} % {took[round(last * share / 100)]:.2f} s" for share in (50, 90, 95, 99, 100))
        within = sum(1 for seconds in took if seconds <= PROMISED)
        terminalreporter.write_line(
            f"closed after the end of ansible-playbook: {within} of {len(took)} within {PROMISED:g} s; {shares}"
        )


@pytest.fixture
def control(tmp_path: Path, receiver: Receiver) -> Iterator[ControlNode]:
    from control_node import ControlNode

    node = ControlNode(tmp_path, receiver)
    yield node
    node.check_merges()
    # A courier that still has something to deliver leaves when its outbox is gone.
    for folder in (node.folder / "home", *node.spools):
        shutil.rmtree(folder, ignore_errors=True)
