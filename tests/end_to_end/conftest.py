# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from control_node import ControlNode

    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.server import Receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    from control_node import KEY

    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.server import Receiver

    with Receiver(tmp_path / "receiver.sqlite3", integration_keys={KEY}) as running:
        yield running


@pytest.fixture
def control(tmp_path: Path, receiver: Receiver) -> ControlNode:
    from control_node import ControlNode

    return ControlNode(tmp_path, receiver)
