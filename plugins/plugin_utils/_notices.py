# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings and debug texts beside the playbook's own output: the one channel for them, each subject once.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

Level = Literal["warning", "debug"]

# The playbooks that a notice advises to run.
FLUSH = "ansible-playbook flashcat.flashduty.flush"
DOCTOR = "ansible-playbook flashcat.flashduty.doctor"


class Notice(NamedTuple):
    """One line for the user.

    :ivar level: ``warning`` is shown always, ``debug`` only when details are asked for.
    """

    level: Level
    text: str


class Notices:
    """Shows notices, or collects them where there is nobody to show them to.

    :ivar redact: takes out of each text what must not be shown.
    :ivar language: that of what is said, en or zh.
    :param show: shows one; None leaves it to :meth:`take`.
    """

    def __init__(self, show: Callable[[Notice], object] | None = None) -> None:
        self.redact: Callable[[str], str] = str
        self.language = "en"
        self._show = show
        self._seen: set[str] = set()
        self._waiting: list[Notice] = []

    def warning(self, text: str, subject: str = "", chinese: str = "") -> None:
        """Warn the user, unless ``subject`` (or the text itself) was shown before.

        :param chinese: the text where the language is Chinese; ``text`` where it is in that language already.
        """
        self._add("warning", chinese if chinese and self.language == "zh" else text, subject or text)

    def debug(self, text: str, subject: str = "") -> None:
        """A text for -vvv, unless ``subject`` (or the text itself) was shown before."""
        self._add("debug", text, subject)

    def take(self) -> list[Notice]:
        """What came up since the last call and was not shown."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _add(self, level: Level, text: str, subject: str) -> None:
        subject = subject or text
        if subject in self._seen:
            return
        self._seen.add(subject)
        notice = Notice(level, self.redact(text))
        if self._show is not None:
            self._show(notice)
        else:
            self._waiting.append(notice)
