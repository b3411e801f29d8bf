# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Matches regular expressions in a process of its own, which is ended when they take too long.

Nothing stops a regular expression of Python once it runs, and what few characters make it run for hours cannot be seen
from the expression.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.group_patterns import GroupExpression
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

# Seconds of a processor for all expressions, and of waiting on a machine that others keep busy.
PROCESSOR_SECONDS = 1
_WAIT_SECONDS = 10.0

_Match = dict[str, str]


def labels_of_names(
    expressions: Sequence[GroupExpression], names: Sequence[str], notices: Notices
) -> Iterator[tuple[str, str, str]]:
    """Each label that the name of a group gives: the name, the label and its value.

    One warning names the expressions that are left out, because they took too long.
    """
    found = matches([expression.text for expression in expressions], names)
    for expression, of_names in zip(expressions, found, strict=False):
        for name, groups in zip(names, of_names, strict=True):
            values = ((label, groups.get(group)) for label, group in expression.labels)
            yield from ((name, label, value) for label, value in values if value)
    if len(found) < len(expressions):
        slow = expressions[len(found)].text
        notices.warning("label-groups-slow", entry=slow, seconds=PROCESSOR_SECONDS, names=len(names))


def matches(expressions: Sequence[str], names: Sequence[str]) -> list[list[_Match]]:
    """The named groups of each expression for each name that it matches as a whole.

    :param expressions: those that compile.
    :returns: a list for each expression, up to the first that took too long; in it a map for each name, empty where it
        does not match.
    """
    # Without ansible-core and the environment: the file needs the standard library only.
    command = [sys.executable, "-I", "-S", "-B", os.path.abspath(__file__)]
    question = json.dumps([*expressions, [*names]]).encode()
    try:
        answer = subprocess.run(
            command, input=question, capture_output=True, timeout=_WAIT_SECONDS, env={}, check=False
        ).stdout
    except subprocess.TimeoutExpired as error:
        answer = error.stdout or b""
    except OSError:  # no process can be started
        answer = b""
    return [json.loads(line) for line in answer.split(b"\n")[:-1]]


def _answer() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    *expressions, names = json.load(sys.stdin)
    for text in expressions:
        found = (re.fullmatch(text, name) for name in names)
        print(json.dumps([match.groupdict("") if match else {} for match in found]), flush=True)


if __name__ == "__main__":
    _answer()
