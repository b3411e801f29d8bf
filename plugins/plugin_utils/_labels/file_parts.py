# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a file of variables that hold a few of them, found without what makes ansible-core's reading slow.

To read a file of twenty lines takes ansible-core the better part of a millisecond, and the result stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import yaml

_STANDARD = "tag:yaml.org,2002:"
# Keys that stand for something else.
_NO_TEXT = (f"{_STANDARD}merge", f"{_STANDARD}binary")
# A value with one of these may be a template, be vaulted, or be more or less than its text.
_NOT_PLAIN = ("{", "\\", "!", "#jinja2:", "&", "*", "<<")


class WholeFile(Exception):
    """All of the file has to be read."""


def part_with(data: bytes, names: Set[str]) -> str:
    """The lines that give plain values to variables of these names; empty where the file has none of them.

    :raises WholeFile: where a value may be a template, or the file's syntax is not the usual one.
    """
    # Only a backslash can write a name in other letters, and only a tag can make a text of something else.
    if not any(name.encode() in data for name in names) and b"\\" not in data and b"!" not in data:
        if data.startswith(b"$ANSIBLE_VAULT"):
            raise WholeFile
        return ""
    try:
        text = data.decode()
        # Without libyaml this takes longer than it saves.
        root = yaml.CLoader(text).get_single_node()
    except (AttributeError, ValueError, yaml.YAMLError):
        raise WholeFile from None
    if root is None:
        return ""
    if not isinstance(root, yaml.MappingNode) or root.flow_style or root.tag != f"{_STANDARD}map" or text[:1] == "%":
        raise WholeFile
    part = "".join(_lines(text, root, names))
    if any(mark in part for mark in _NOT_PLAIN):
        raise WholeFile
    return part


def _lines(text: str, root: yaml.MappingNode, names: Set[str]) -> Iterator[str]:
    keys = [key for key, _value in root.value]
    ends = [*(key.start_mark.index for key in keys[1:]), len(text)]
    seen: set[str] = set()
    for key, end in zip(keys, ends, strict=True):
        start = key.start_mark
        # A key behind a question mark would leave that to the one before it.
        if not isinstance(key, yaml.ScalarNode) or start.column:
            raise WholeFile
        if not key.tag.startswith(_STANDARD) or key.tag in _NO_TEXT:
            raise WholeFile
        # YAML takes some words for something else than their text, such as "on".
        if key.value in names and key.tag == f"{_STANDARD}str":
            if key.value in seen or text[start.index : key.end_mark.index] != key.value:
                raise WholeFile
            seen.add(key.value)
            yield text[start.index : end]
