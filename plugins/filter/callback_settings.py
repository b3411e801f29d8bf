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

import re
from collections.abc import Callable, Mapping

from ansible.errors import AnsibleFilterError

_CALLBACK = ("defaults", "callbacks_enabled", "flashcat.flashduty.flashduty_change")
_SECTION = "callback_flashduty_change"
# ansible-core reads it like this: # and ; begin a comment line, " ;" ends a value, and lines that are indented go on
# with the value above.
_MARK = "# added by flashcat.flashduty.control_node"
_HEADER = re.compile(r"\[(?P<name>[^\]]+)\]")
_SETTING = re.compile(r"(?P<key>[^\s=:#;\[][^=:]*?)\s*[=:]\s*(?P<value>.*)")
_COMMENT = re.compile(r"\s*[#;]")


def callback_settings(text: str, settings: Mapping[str, str] | None = None, state: str = "present") -> str:
    """The text of an ansible.cfg with, or without, the callback and its settings."""
    if state not in ("present", "absent"):
        raise AnsibleFilterError(f"state: must be present or absent, got {state!r}")
    text = str(text)
    if state == "present":
        for name, value in (settings or {}).items():
            text = _with_setting(text, _SECTION, name, str(value))
        return _with_item(text, *_CALLBACK)
    text = _without_item(text, *_CALLBACK)
    for name, value in reversed(list((settings or {}).items())):
        text = _without_setting(text, _SECTION, name, str(value))
    return text


def _with_item(text: str, section: str, key: str, item: str) -> str:
    """The text where the list, a setting of items between commas, holds the item; as it is where it does already."""
    lines = _lines(text)
    span = _span(lines, section, key)
    if span is None:
        return _with_setting(text, section, key, item)
    if item in _items(lines, span):
        return text
    last = max((number for number in range(*span) if _value_of(lines, span, number)), default=None)
    if last is None:
        lines[span[0]] = f"{lines[span[0]].rstrip()} {item}"
        return _text(lines)
    value, comment = _parted(lines[last])
    lines[last] = f"{value.rstrip().rstrip(',')}, {item}{comment}"
    return _text(lines)


def _without_item(text: str, section: str, key: str, item: str) -> str:
    """The text where the list does not hold the item; a list that is empty then is no setting any more."""
    lines = _lines(text)
    span = _span(lines, section, key)
    if span is None or item not in _items(lines, span):
        return text
    if _items(lines, span) == [item]:
        return _without_setting(text, section, key)
    name = re.escape(item)
    patterns = (rf",[ \t]*{name}(?=[ \t]*(?:,|;|$))", rf"(?<![^\s=:,]){name}[ \t]*(?:,[ \t]*|(?=;|$))")
    for number in range(*span):
        for pattern in patterns:
            changed = re.sub(pattern, "", lines[number], count=1)
            if changed != lines[number]:
                lines[number] = changed
                if not changed.strip() and number > span[0]:
                    del lines[number]
                return _text(lines)
    return text


def _with_setting(text: str, section: str, key: str, value: str) -> str:
    """The text where the setting has the value."""
    lines = _lines(text)
    span = _span(lines, section, key)
    if span is not None:
        if _parted(_value_of(lines, span, span[0]))[0].strip() == value and span[1] == span[0] + 1:
            return text
        lines[span[0] : span[1]] = [f"{key} = {value}"]
        return _text(lines)
    start = _section(lines, section)
    if start is not None:
        lines.insert(start + 1, f"{key} = {value}")
        return _text(lines)
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{_MARK}\n[{section}]\n{key} = {value}\n"


def _without_setting(text: str, section: str, key: str, value: str | None = None) -> str:
    """The text without the setting.

    :param value: only where it has this value.
    """
    lines = _lines(text)
    span = _span(lines, section, key)
    if span is None or (value is not None and _parted(_value_of(lines, span, span[0]))[0].strip() != value):
        return text
    del lines[span[0] : span[1]]
    start = _section(lines, section)
    if start is not None and start > 0 and lines[start - 1] == _MARK:
        rest = lines[start + 1 : _end(lines, start)]
        if not any(line.strip() for line in rest) and (not rest or _end(lines, start) == len(lines)):
            del lines[start - 1 : start + 1]
    return _text(lines)


def _lines(text: str) -> list[str]:
    return text.split("\n")


def _text(lines: list[str]) -> str:
    return "\n".join(lines)


def _section(lines: list[str], section: str) -> int | None:
    for number, line in enumerate(lines):
        match = _HEADER.match(line)
        if match is not None and match.group("name") == section:
            return number
    return None


def _end(lines: list[str], start: int) -> int:
    later = (number for number in range(start + 1, len(lines)) if _HEADER.match(lines[number]))
    return next(later, len(lines))


def _span(lines: list[str], section: str, key: str) -> tuple[int, int] | None:
    """The lines of a setting, first and beyond the last."""
    start = _section(lines, section)
    if start is None:
        return None
    for number in range(start + 1, _end(lines, start)):
        match = _SETTING.match(lines[number])
        if match is not None and match.group("key").strip().lower() == key:
            end = number + 1
            while end < len(lines) and (lines[end][:1] in (" ", "\t")) and lines[end].strip():
                end += 1
            return number, end
    return None


def _value_of(lines: list[str], span: tuple[int, int], number: int) -> str:
    """What a line adds to the value of its setting."""
    if number > span[0]:
        return "" if _COMMENT.match(lines[number]) else lines[number]
    match = _SETTING.match(lines[number])
    return match.group("value") if match is not None else ""


def _parted(line: str) -> tuple[str, str]:
    """A line, and the comment behind its value."""
    match = re.search(r"\s+;", line)
    return (line, "") if match is None else (line[: match.start()], line[match.start() :])


def _items(lines: list[str], span: tuple[int, int]) -> list[str]:
    values = (_parted(_value_of(lines, span, number))[0] for number in range(*span))
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Each by its name."""
        return {"callback_settings": callback_settings}
