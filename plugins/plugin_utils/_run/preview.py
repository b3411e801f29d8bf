# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events shown instead of sent.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent

HEADING = "--- # Flashduty preview: this would be sent now; nothing is sent, nothing is stored"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def document(event: Mapping[str, Any]) -> str:
    """A whole event as a YAML document under a heading.

    :param event: :meth:`ChangeEvent.to_dict`.
    """
    body = yaml.dump(dict(event), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10**6)
    return f"{HEADING}\n{body}"


class Preview:
    """Shows events on the terminal.

    :param show: shows a text to the user.
    """

    store = None

    def __init__(self, show: Callable[[str], object]) -> None:
        self._show = show

    def deliver_what_waits(self) -> None:
        """Nothing is delivered."""

    def put(self, events: Sequence[ChangeEvent]) -> None:
        """Events of changes that begin or go on."""
        for event in events:
            self._show(document(event.to_dict()))

    def remark(self, text: str) -> None:
        """A line about the events before it, as a comment of theirs."""
        self._show(f"# {text}")

    def close(self, events: Sequence[ChangeEvent]) -> None:
        """The last events of the run."""
        self.put(events)

    def wait(self, seconds: float) -> None:
        """Nothing is waited for."""
