# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said to the user beside the playbook's own output: the one channel for it, in the user's language.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

# The playbooks that a notice advises to run.
FLUSH = "ansible-playbook flashcat.flashduty.flush"
DOCTOR = "ansible-playbook flashcat.flashduty.doctor"


class Notice(NamedTuple):
    """One line for the user.

    :ivar level: ``warning`` is shown always, ``debug`` only when details are asked for.
    """

    level: Literal["warning", "debug"]
    text: str


class Notices:
    """Says texts, and shows those that warn, each subject once, or collects them where there is nobody to show them to.

    :ivar redact: takes out of each text what must not be shown.
    :ivar language: that of what is said, en or zh; that of the environment until the options are known.
    :param show: shows one; None leaves it to :meth:`take`.
    """

    def __init__(self, show: Callable[[Notice], object] | None = None) -> None:
        self.redact: Callable[[str], str] = str
        self.language = language_of(os.environ.get("FLASHDUTY_LANGUAGE") or "auto", os.environ)
        self._show = show
        self._seen: set[str] = set()
        self._waiting: list[Notice] = []

    def said(self, which: str, **values: Any) -> str:
        """A text with these values.

        :param which: one of :data:`NOTICES`.
        """
        # Loaded where there is something to say.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts.notices import NOTICES

        return NOTICES[which].said(self.language, values)

    def warning(self, which: str, subject: str = "", **values: Any) -> None:
        """Warn the user, unless ``subject`` (or a text that says the same) was shown before.

        :param which: one of :data:`NOTICES`.
        """
        if self._is_new(subject or f"{which} {values}"):
            self._add(Notice("warning", self.redact(self.said(which, **values))))

    def debug(self, text: str, subject: str = "") -> None:
        """A text in English for -vvv, unless ``subject`` (or the text itself) was shown before."""
        if self._is_new(subject or text):
            self._add(Notice("debug", self.redact(text)))

    def take(self) -> list[Notice]:
        """What came up since the last call and was not shown."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def warnings(self) -> list[str]:
        """The texts of the warnings among these."""
        return [notice.text for notice in self.take() if notice.level == "warning"]

    def _is_new(self, subject: str) -> bool:
        is_new = subject not in self._seen
        self._seen.add(subject)
        return is_new

    def _add(self, notice: Notice) -> None:
        if self._show is not None:
            self._show(notice)
        else:
            self._waiting.append(notice)


def language_of(language: str, environ: Mapping[str, str]) -> str:
    """The language that is meant, ``en`` or ``zh``.

    :param language: ``en``, ``zh``, or ``auto`` for that of the terminal.
    :param environ: the environment, where the first of LC_ALL, LC_MESSAGES and LANG that is set tells that.
    """
    if language == "auto":
        locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environ.get(name))), "")
        language = "zh" if locale.lower().startswith("zh") else "en"
    return language
