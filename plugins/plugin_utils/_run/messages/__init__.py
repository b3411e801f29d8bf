# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the changes of a run say, in each language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices


class Text(NamedTuple):
    """One text in each language."""

    en: str
    zh: str

    def filled(self, language: str, values: Mapping[str, Any]) -> str:
        """The text in a language, with these values.

        :param language: en or zh.
        """
        return (self.zh if language == "zh" else self.en).format_map(values)


def language_of(language: str, environ: Mapping[str, str]) -> str:
    """The language that is meant, ``en`` or ``zh``.

    :param language: ``en``, ``zh``, or ``auto`` for that of the terminal.
    :param environ: the environment, where the first of LC_ALL, LC_MESSAGES and LANG that is set tells that.
    """
    if language == "auto":
        locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environ.get(name))), "")
        language = "zh" if locale.lower().startswith("zh") else "en"
    return language


def said(notices: Notices, name: str, **values: Any) -> str:
    """A text of :mod:`.notices` with these values, in the language of the notices."""
    # Loaded where there is something to say.
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.notices import notice

    return notice(notices.language, name, **values)
