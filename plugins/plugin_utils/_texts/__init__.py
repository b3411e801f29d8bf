# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users read, in English and Chinese.

All of it is private to this collection, and may change in any release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# The values that say why something is so. That is found out, and stored in the outbox, in English.
_REASONS = ("reason", "problem", "said", "origin")
_COUNTED = {
    "damaged file": "个损坏的文件",
    "event": "个事件",
    "host": "台主机",
    "node": "个节点",
    "playbook": "个 playbook",
    "run": "次运行",
    "task": "个任务",
    "vanished run": "个意外结束的运行",
}


class Text(NamedTuple):
    """One text in both languages; the values in it have the same names in each."""

    en: str
    zh: str

    def in_language(self, language: str) -> str:
        """The text as it is.

        :param language: en or zh.
        """
        return self.zh if language == "zh" else self.en

    def said(self, language: str, values: Mapping[str, Any]) -> str:
        """The text with these values; a text or a reason among them is in that language too."""
        return self.in_language(language).format_map(
            {name: _value(language, name, value) for name, value in values.items()}
        )


def counted(number: int, what: str) -> Text:
    """So many of these.

    :param what: one of them, in English.
    """
    return Text(f"{number} {what}{'' if number == 1 else 's'}", f"{number} {_COUNTED[what]}")


def _value(language: str, name: str, value: Any) -> Any:
    if isinstance(value, Text):
        return value.in_language(language)
    if language == "zh" and name in _REASONS:
        # Loaded where there is a reason to say.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts.reasons import in_chinese

        return in_chinese(value)
    return value
