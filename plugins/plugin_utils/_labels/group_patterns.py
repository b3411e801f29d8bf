# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the names of inventory groups to labels: ``env_prod`` says ``env=prod``.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# Nothing stops a regular expression of Python once it runs, so it gets no longer text than names of groups have.
_NAME_MAX = 255
_STAR_VALUE = "value"
_LITERALS = r"(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*\]"
_MARKS = r"(?P<open>\()|(?P<close>\))|(?P<repeat>[*+]|\{\d*,\d*\})|(?P<or>\|)"


class InvalidPattern(ValueError):
    """An entry of ``label_groups`` that cannot be used; the text says why."""


class GroupPattern(NamedTuple):
    """Which names of groups give which labels. Make it with :meth:`from_text`.

    :ivar regex: matches the whole name.
    :ivar labels: each label with the group of the regular expression that holds its value.
    :ivar value: the value instead, whatever the regular expression holds.
    """

    regex: re.Pattern[str]
    labels: tuple[tuple[str, str], ...]
    value: str = ""

    @classmethod
    def from_text(cls, text: str) -> GroupPattern:
        """The pattern that an entry of ``label_groups`` stands for.

        :param text: a regular expression with named groups (``env_(?P<env>.+)``), a name with a star
            (``env_*=env``), a whole name (``prod=env``), or either with a value (``production=env=prod``).
        :raises InvalidPattern: for anything else, and for what could take for ever.
        """
        if "(?P<" in text:
            return cls._from_regex(text)
        name, *rest = (part.strip() for part in text.split("=", 2))
        label, value = rest[0] if rest else "", rest[1] if len(rest) > 1 else ""
        if not name or not label or (len(rest) > 1 and not value):
            raise InvalidPattern("give name=label, name=label=value or a regular expression with (?P<label>...)")
        if name.count("*") > 1:
            raise InvalidPattern("only one star is possible, give a regular expression with (?P<label>...)")
        before, star, after = map(re.escape, name.partition("*"))
        regex = f"{before}(?P<{_STAR_VALUE}>.+){after}" if star else f"(?P<{_STAR_VALUE}>{before})"
        return cls(re.compile(regex), ((label, _STAR_VALUE),), value)

    @classmethod
    def _from_regex(cls, text: str) -> GroupPattern:
        try:
            regex = re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            hint = "; in ansible.cfg and in the environment a comma begins the next entry" if "{" in text else ""
            raise InvalidPattern(f"as a regular expression it has an error: {error}{hint}") from None
        if _repeats_what_varies(text):
            raise InvalidPattern(
                "it repeats a part that itself repeats or has alternatives, which can take for ever;"
                " write it without the outer repetition"
            )
        return cls(regex, tuple((name, name) for name in regex.groupindex))

    def of(self, name: str) -> Iterator[tuple[str, str]]:
        """The labels and values that the name of a group gives."""
        match = self.regex.fullmatch(name) if len(name) <= _NAME_MAX else None
        for label, group in self.labels:
            value = match and (self.value or match[group])
            if value:
                yield label, value


def _repeats_what_varies(regex: str) -> bool:
    """Whether a part is repeated that has a repetition or alternatives in it, such as ``(a+)+`` or ``(a|ab)*``.

    :param regex: one that compiles.
    """
    text, marks = re.sub(_LITERALS, "x", regex), re.compile(_MARKS)
    varies = [False]
    for mark in marks.finditer(text):
        if mark["open"]:
            varies.append(False)
        elif mark["close"]:
            inner = varies.pop()
            follows = marks.match(text, mark.end())
            if inner and follows and follows["repeat"]:
                return True
            varies[-1] |= inner
        else:
            varies[-1] = True
    return False
