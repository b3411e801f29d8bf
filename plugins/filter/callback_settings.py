# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: callback_settings
short_description: Enable the callback in the text of an ansible.cfg
version_added: 1.0.0
author: the flashcat.flashduty contributors
description:
  - Takes the text of an ansible.cfg and returns it with the callback enabled and its settings made, or without them.
  - Everything else stays as it is, other callbacks and comments included. The role
    P(flashcat.flashduty.control_node#role) uses it.
positional: _input
options:
  _input:
    description: The text of an ansible.cfg; empty where there is none.
    type: str
    required: true
  settings:
    description: Settings of the section C(callback_flashduty_change) by name.
    type: dict
    default: {}
  state:
    description:
      - With V(present), the callback is enabled and has these settings. With V(absent), the callback is not enabled,
        and those settings are gone that have these values.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Show what would be written
  ansible.builtin.debug:
    msg: >-
      {{
        lookup('ansible.builtin.file', 'ansible.cfg')
        | flashcat.flashduty.callback_settings(settings={'integration_key_file': '/etc/flashduty.key'})
      }}
"""

RETURN = r"""
_value:
  description: The text with the settings.
  type: str
"""

from collections.abc import Callable, Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._ansible_cfg import (
    with_item,
    with_setting,
    without_item,
    without_setting,
)

_CALLBACK = ("defaults", "callbacks_enabled", "flashcat.flashduty.flashduty_change")
_SECTION = "callback_flashduty_change"


def callback_settings(text: str, settings: Mapping[str, str] | None = None, state: str = "present") -> str:
    """The text of an ansible.cfg with, or without, the callback and its settings."""
    if state not in ("present", "absent"):
        raise AnsibleFilterError(f"state: must be present or absent, got {state!r}")
    text = str(text)
    if state == "present":
        for name, value in (settings or {}).items():
            text = with_setting(text, _SECTION, name, str(value))
        return with_item(text, *_CALLBACK)
    text = without_item(text, *_CALLBACK)
    for name, value in reversed(list((settings or {}).items())):
        text = without_setting(text, _SECTION, name, str(value))
    return text


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Each by its name."""
        return {"callback_settings": callback_settings}
