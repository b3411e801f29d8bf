# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One thing that the doctor looked at.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at.

    :ivar state: ok, warn or fail.
    :ivar advice: what to do; empty where there is nothing to do.
    """

    check: str
    state: str
    text: str
    advice: str = ""

    def line(self) -> str:
        """For people."""
        return f"{self.state:<4}  {self.check}: {self.text}{'. ' + self.advice if self.advice else ''}"
