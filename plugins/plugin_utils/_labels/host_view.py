# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of a host as its templates see them, or as maps are merged; without these, nothing loads this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.files import combine_vars
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import MISSING
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import (
    GroupSet,
    Own,
    PlayVariables,
    with_magic,
)

_Layer = Mapping[str, Any]


class HostView:
    """Raw variables as one host sees them, looked up by name.

    :param only_written: without what comes from roles, facts and tasks.
    """

    def __init__(self, play: PlayVariables, host: Any, groups: GroupSet, own: Own, only_written: bool = False) -> None:
        layers = with_magic(host, own.written)
        if only_written:
            singles = [*layers, *play.above_hosts, *play.above_all]
        else:
            singles = [*layers, own.facts, *play.above_hosts, play.exports, *own.cached, *play.above_all]
        defaults: list[list[_Layer]] = [] if only_written else [[play.defaults]]
        self._entries: list[list[_Layer]] = [*defaults, *groups.entries, *([layer] for layer in singles)]
        self._fold = play.merge

    def get(self, name: str) -> Any:
        """The raw value, or MISSING."""
        if self._fold:
            return self._folded(name)
        for entry in reversed(self._entries):
            for layer in reversed(entry):
                if name in layer:
                    return layer[name]
        return MISSING

    def _folded(self, name: str) -> Any:
        result: dict[str, Any] = {}
        for entry in self._entries:
            part: dict[str, Any] = {}
            for layer in entry:
                if name in layer:
                    part = combine_vars(part, {name: layer[name]})
            if part:
                result = combine_vars(result, part)
        return result.get(name, MISSING)
