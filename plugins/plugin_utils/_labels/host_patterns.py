# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host patterns, as ansible-core reads them.

https://docs.ansible.com/ansible/latest/inventory_guide/intro_patterns.html
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable

from ansible.inventory.manager import split_host_pattern

_SUBSCRIPT = re.compile(r"\[-?[0-9]+(?:[:-][0-9]*)?\]$")


def split(patterns: Iterable[str]) -> list[tuple[str, str]]:
    """The parts of the patterns, each with its sign and name.

    A sign ``!`` excludes, ``&`` narrows, otherwise it is empty. A name is that of groups or hosts, with wildcards or,
    after a ``~``, as a regular expression; without a subscript.
    """
    texts = [str(text) for pattern in patterns for text in split_host_pattern(pattern)]
    parts = [(text[0], text[1:]) if text[0] in "!&" else ("", text) for text in texts if text]
    return [(sign, _SUBSCRIPT.sub("", name)) for sign, name in parts]


def names_group(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether the patterns of a play name a group. What only excludes or narrows does not say what is meant."""
    wanted = {name for sign, name in split(patterns) if not sign}
    matches = [matcher(name) for name in sorted(wanted - {"all", "*"})]
    return functools.lru_cache(maxsize=None)(lambda group: any(match(group) for match in matches))


def matcher(name: str) -> Callable[[str], object]:
    """Whether the name of a group or host matches that in a pattern."""
    if name.startswith("~"):
        return re.compile(name[1:]).match
    if {*name} & {*"*?["}:
        return re.compile(fnmatch.translate(name)).match
    return name.__eq__
