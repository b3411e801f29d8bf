# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entries of ``label_groups``: which names of inventory groups give which labels."""

from __future__ import annotations

import re
from typing import NamedTuple


class InvalidPattern(ValueError):
    """An entry of ``label_groups`` that cannot be used; the text says why."""


class GroupPattern(NamedTuple):
    """A name with or without a star, and the label that it gives.

    :ivar before: what a name begins with; the whole name where there is no star.
    :ivar after: what it ends with.
    :ivar star: whether there is a star, which stands for one or more characters.
    :ivar value: the label's value; empty for what the star stands for, or the whole name.
    """

    label: str
    before: str
    star: bool
    after: str
    value: str

    def of(self, name: str) -> str:
        """The value of the label that the name of a group gives; empty where it gives none."""
        if not self.star:
            return (self.value or name) if name == self.before else ""
        end = len(name) - len(self.after)
        if end <= len(self.before) or not (name.startswith(self.before) and name.endswith(self.after)):
            return ""
        return self.value or name[len(self.before) : end]


class GroupExpression(NamedTuple):
    """A regular expression that matches the whole name of a group.

    :ivar labels: each label with the named group of the expression that holds its value.
    """

    text: str
    labels: tuple[tuple[str, str], ...]


def parsed(text: str) -> GroupPattern | GroupExpression:
    """What an entry of ``label_groups`` stands for.

    :param text: a regular expression with named groups (``env_(?P<env>.+)``), a name with a star (``env_*=env``), a
        whole name (``prod=env``), or one of the latter with a value (``production=env=prod``).
    :raises InvalidPattern: for anything else.
    """
    if "(?P<" in text:
        try:
            names = re.compile(text).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            hint = "; in ansible.cfg and in the environment a comma begins the next entry" if "{" in text else ""
            raise InvalidPattern(f"as a regular expression it has an error: {error}{hint}") from None
        return GroupExpression(text, tuple((name, name) for name in names))
    name, *rest = (part.strip() for part in text.split("=", 2))
    label, value = rest[0] if rest else "", rest[1] if len(rest) > 1 else ""
    if not name or not label or (len(rest) > 1 and not value):
        raise InvalidPattern("give name=label, name=label=value or a regular expression with (?P<label>...)")
    if name.count("*") > 1:
        raise InvalidPattern("only one star is possible, give a regular expression with (?P<label>...)")
    before, star, after = name.partition("*")
    return GroupPattern(label, before, bool(star), after, value)
