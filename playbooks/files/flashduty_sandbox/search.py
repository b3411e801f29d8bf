# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks for a text or a regular expression in changes, in bounded time.

Python's matching can take for ever and holds up every thread meanwhile, so an expression is evaluated in a process of
its own, which is ended after SECONDS. What is no valid expression is looked for as text.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Sequence

SECONDS = 5.0
_PROCESSES = threading.Semaphore(2)
# Every character that could mean something else is escaped.
_TEXT = re.compile(r"(?:[^\\.^$*+?{}\[\]|()]|\\[^\w])*")


class TooSlow(Exception):
    """The expression takes too long."""


def matching(query: str, changes: Sequence[Sequence[str]]) -> list[bool]:
    """Whether `query` occurs in any of the texts of each change. Raises TooSlow."""
    if _TEXT.fullmatch(query):
        text = re.sub(r"\\(.)", r"\1", query, flags=re.DOTALL)
        return [any(text in value for value in texts) for texts in changes]
    with _PROCESSES:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-B", __file__],
                input=json.dumps([query, changes]).encode(),
                stdout=subprocess.PIPE,
                cwd="/",
                timeout=SECONDS,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise TooSlow(f"query takes more than {SECONDS:g} seconds, use a simpler regular expression") from None
    return [bool(found) for found in json.loads(done.stdout)]


def _main() -> None:
    query, changes = json.load(sys.stdin)
    try:
        pattern = re.compile(query)
    except (re.error, RecursionError, OverflowError):
        pattern = re.compile(re.escape(query))
    json.dump([any(pattern.search(text) for text in texts) for texts in changes], sys.stdout)


if __name__ == "__main__":
    _main()
