# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the changes of a run say, in each language.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.base import Messages


def language_of(language: str, environ: Mapping[str, str]) -> str:
    """``en`` or ``zh``, as :func:`messages_in` takes it."""
    if language == "auto":
        locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environ.get(name))), "")
        language = "zh" if locale.lower().startswith("zh") else "en"
    return language


def messages_in(language: str, environ: Mapping[str, str]) -> Messages:
    """The messages in a language, of which a run loads one.

    :param language: ``en``, ``zh``, or ``auto`` for that of the terminal.
    :param environ: the environment, where the first of LC_ALL, LC_MESSAGES and LANG that is set tells that.
    """
    if language_of(language, environ) == "zh":
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.zh import Chinese

        return Chinese()
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.en import English

    return English()
