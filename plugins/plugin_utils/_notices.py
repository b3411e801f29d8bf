# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a room of the control node wants to tell the user, each thing once.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Notice(NamedTuple):
    """One line for the user.

    :ivar level: ``warning`` is shown always, ``debug`` only when details are asked for.
    """

    level: Literal["warning", "debug"]
    text: str


class Notices:
    """Collects notices; each subject is told once, however often it comes up."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._waiting: list[Notice] = []

    def warning(self, text: str, subject: str = "") -> None:
        """Tell the user, unless ``subject`` (or the text itself) was told before."""
        self._add(Notice("warning", text), subject)

    def debug(self, text: str, subject: str = "") -> None:
        """Tell whoever asks for details, unless ``subject`` (or the text itself) was told before."""
        self._add(Notice("debug", text), subject)

    def take(self) -> list[Notice]:
        """What came up since the last call."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _add(self, notice: Notice, subject: str) -> None:
        subject = subject or notice.text
        if subject not in self._told:
            self._told.add(subject)
            self._waiting.append(notice)
