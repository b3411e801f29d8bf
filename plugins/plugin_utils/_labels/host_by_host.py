# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The values that a few variables have for each host of a play, as ansible-core itself works them out: slowly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import MISSING, Renderer
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import (
    OPERATOR_ONLY,
    Wanted,
    asked_privately,
    group_names,
    without_roles,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import (
    manager_without_answers,
    unreadable,
)


def host_by_host(
    play: Any, hosts: Sequence[Any], wanted: Wanted, notices: Notices, limit: int, reason: Exception
) -> list[TargetHost]:
    """Asks ansible-core for all variables of at most ``limit`` hosts, of as many different groups as possible."""
    seen: set[tuple[str, ...]] = set()
    of_new_groups: list[Any] = []
    others: list[Any] = []
    for host in hosts:
        key = group_names(host)
        (others if key in seen else of_new_groups).append(host)
        seen.add(key)
    asked = [*of_new_groups, *others][:limit]
    why = f"{type(reason).__name__}: {reason}".splitlines()[0]
    if len(asked) < len(hosts):
        notices.warning("host-by-host", "host by host", asked=len(asked), hosts=len(hosts), why=why)
    else:
        notices.debug(f"labels: variables are looked up host by host ({why})", subject="host by host")
    values: dict[str, Mapping[str, Any]] = {}
    for host in asked:
        try:
            values[host.name] = _of_one_host(play, host, wanted, notices)
        except Exception as error:
            unreadable(notices, host.name, error)
    found = []
    for host in hosts:
        groups = group_names(host)
        # Of hosts that were not asked, those in the same groups are taken for alike.
        of_host = values.get(host.name, dict.fromkeys(wanted.compared, groups))
        found.append(TargetHost(host.name, groups, *wanted.parted(of_host), host))
    return found


def _of_one_host(play: Any, host: Any, wanted: Wanted, notices: Notices) -> Mapping[str, Any]:
    names, written, compared = wanted
    variables = play.get_variable_manager().get_vars(play=play, host=host)
    renderer = Renderer(play.get_loader(), lambda host: variables, 1, notices, written, asked_privately(play))

    def lookup(name: str) -> Any:
        return variables.get(name, MISSING)

    found = {name: variables[name] for name in names if name in variables}
    without_answers = manager_without_answers(play.get_variable_manager())
    if not OPERATOR_ONLY.isdisjoint(found):
        found.update(_restricted(found, OPERATOR_ONLY, without_answers.get_vars(play=play, host=host)))
    if not written.isdisjoint(found):
        without_answers._vars_cache = {}
        found.update(_restricted(found, written, without_answers.get_vars(play=without_roles(play), host=host)))
    values = {
        name: host.name if name in compared else renderer.render(name, raw, lookup, host)
        for name, raw in found.items()
        if raw is not MISSING
    }
    return {name: value for name, value in values.items() if value is not MISSING}


def _restricted(found: Mapping[str, Any], names: Set[str], variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: variables.get(name, MISSING) for name in names & found.keys()}
