# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One thing that the doctor looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding_kinds import CHECKS, KINDS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text, counted

_SHOWN_NAMES = 5
_CHECK = Text("{check}: ", "{check}：")


class Finding(NamedTuple):
    """One thing that was looked at, in words.

    :ivar state: ok, warn or fail.
    :ivar advice: what to do; empty where there is nothing to do.
    :ivar kind: its name in the table of docs/troubleshooting.md.
    """

    check: str
    state: str
    text: str
    advice: str = ""
    kind: str = ""

    def line(self, language: str = "en") -> str:
        """For people.

        :param language: en or zh.
        """
        check = _CHECK.said(language, {"check": CHECKS.get(self.check, self.check)})
        # Chinese has a full stop of its own; a command is in no language.
        stop = "。" if self.advice[:1] > "\u2e80" else ". "
        return f"{self.state:<4}  {check}{self.text}{stop + self.advice if self.advice else ''}"


class Found:
    """One thing that was looked at.

    :ivar whose: the integration that it holds for, where there are several.
    :param kind: one of :data:`KINDS`.
    :param values: those in its text.
    """

    def __init__(self, kind: str, **values: Any) -> None:
        self.kind = kind
        self.values = values
        self.whose = ""

    @property
    def is_broken(self) -> bool:
        """Whether something does not work."""
        return KINDS[self.kind].state == "fail"

    @property
    def is_of_key(self) -> bool:
        """Whether it holds for one integration only."""
        return KINDS[self.kind].check in ("key", "app key")

    def said(self, language: str) -> Finding:
        """It in words.

        :param language: en or zh.
        """
        known = KINDS[self.kind]
        lines = zip(known.text.en.splitlines(), known.text.zh.splitlines(), strict=True)
        text, *advice = (Text(*line).said(language, self.values) for line in lines)
        # A path stands apart from Chinese words, another Chinese word does not.
        text = re.sub("(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", text)
        text = f"{self.whose}: {text}" if self.whose else text
        return Finding(known.check, known.state, text, "".join(advice), self.kind)


def listed(names: Sequence[str], what: str) -> Text:
    """How many these are, and the first of them.

    :param what: one of them, in English.
    """
    number = counted(len(names), what)
    shown = [*names[:_SHOWN_NAMES], *(["…"] if len(names) > _SHOWN_NAMES else [])]
    return Text(f"{number.en} ({', '.join(shown)})", f"{number.zh}（{'、'.join(shown)}）") if names else number
