# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folders in which there may be a spool of an outbox, and whom a folder belongs to.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile

# In memory, so that a full disk leaves it alone.
_MEMORY = "/dev/shm"


def spool_folders(configured: str) -> list[str]:
    """The folders in which there may be a spool of the outbox in ``configured``, the best first."""
    own = hashlib.sha256(os.path.realpath(configured).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    roots = dict.fromkeys((tempfile.gettempdir(), *([_MEMORY] if os.path.isdir(_MEMORY) else [])))
    return [os.path.join(root, f"flashduty-{os.getuid()}", own) for root in roots]


def is_private(folder: str) -> bool:
    """Whether the folder is this user's alone; False where there is none."""
    try:
        state = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
