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
from typing import NamedTuple

from ansible.inventory.manager import split_host_pattern

_SUBSCRIPT = re.compile(r"\[-?[0-9]+(?:[:-][0-9]*)?\]$")


class Term(NamedTuple):
    """One part of a host pattern.

    :ivar sign: ``!`` excludes, ``&`` narrows, otherwise empty.
    :ivar name: of groups or hosts, with wildcards or, after a ``~``, a regular expression; without a subscript.
    """

    sign: str
    name: str


def split(patterns: Iterable[str]) -> list[Term]:
    """The parts of the patterns."""
    texts = [str(text) for pattern in patterns for text in split_host_pattern(pattern)]
    return [
        Term(text[0], _SUBSCRIPT.sub("", text[1:])) if text[0] in "!&" else Term("", _SUBSCRIPT.sub("", text))
        for text in texts
        if text
    ]


def names_group(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether the patterns of a play name a group. What only excludes or narrows does not say what is meant."""
    wanted = {term.name for term in split(patterns) if not term.sign}
    matches = [matcher(name) for name in sorted(wanted - {"all", "*"})]
    return functools.lru_cache(maxsize=None)(lambda group: any(match(group) for match in matches))


def matcher(name: str) -> Callable[[str], object]:
    """Whether the name of a group or host matches that of a term."""
    return re.compile(name[1:] if name.startswith("~") else fnmatch.translate(name)).match
