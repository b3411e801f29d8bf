# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is told of signals, without those of the process of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def wakeup(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What Python would write the number of each signal into, had it been told so."""
    writers: list[int] = []

    def set_wakeup_fd(writer: int, **_: Any) -> int:
        writers.append(writer)
        # As if somebody else had use for them, so that nothing is registered for forks.
        return 0

    monkeypatch.setattr("signal.set_wakeup_fd", set_wakeup_fd)
    yield writers
    for writer in writers:
        if writer:
            os.close(writer)
