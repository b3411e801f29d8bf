# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where this collection keeps its state, which is the outbox.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import os

from ansible import constants as C  # noqa: N812


def state_dir(configured: str | None) -> str:
    """The folder that the option ``state_dir`` names, or its default."""
    return str(configured or os.path.join(C.ANSIBLE_HOME, "flashduty"))
