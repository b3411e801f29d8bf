# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible import constants as C  # noqa: N812
from ansible.config.manager import ConfigManager


@pytest.fixture
def ansible_cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets an ansible.cfg with these settings be the one that ansible-core has read."""

    def write(**settings: str) -> None:
        path = tmp_path / "ansible.cfg"
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        path.write_text("".join(["[callback_flashduty_change]\n", *lines]))
        monkeypatch.setattr(C, "config", ConfigManager(str(path)))
        monkeypatch.setattr(C, "CONFIG_FILE", str(path))

    return write
