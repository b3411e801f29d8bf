# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of a play's vars_files its hosts get: their names may hold templates, and so differ from host to host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import MISSING
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import (
    GroupSet,
    Own,
    PlayVariables,
    without_roles,
)

_Layer = Mapping[str, Any]


class _FilesPerHost(Exception):
    """The play's vars_files, or what they add to, differ from host to host."""

    def __str__(self) -> str:
        return "vars_files of the play depend on the host"


def may_differ(variables: PlayVariables, layers: Sequence[_Layer]) -> bool:
    """Whether the vars_files read what hosts may have; else the host-less answer holds them.

    :param layers: what templates in vars_files see before anything that hosts have.
    :raises Exception: where that cannot be told.
    """

    def lookup(name: str) -> Any:
        return next((layer[name] for layer in reversed(layers) if name in layer), MISSING)

    inputs = variables.renderer.inputs(variables.play.get_vars_files(), lookup, trust_lookups=True)
    if variables.merge or inputs is None:
        raise _FilesPerHost
    return MISSING in inputs.values()


def repeated(variables: PlayVariables, defaults: Set[str]) -> Set[str]:
    """Which role defaults the vars_files set again: to the same value, it does not distinguish them."""
    if not defaults:
        return frozenset()
    return {name for name in variables.manager.get_vars(play=without_roles(variables.play)) if name in defaults}


def by_files(variables: PlayVariables, hosts: Sequence[Any]) -> list[TargetHost]:
    """The hosts with the values of their variables, each with those of its vars_files.

    :raises Exception: where it cannot be told which these are.
    """
    # For each combination of groups, the variables that decide it.
    deciding: dict[GroupSet, frozenset[str]] = {}
    parts: dict[object, tuple[_Layer, list[Any]]] = {}
    for host in hosts:
        given = _given(variables, host, deciding)
        key = tuple((name, variables.renderer.identity(given[name])) for name in sorted(given))
        parts.setdefault(key, (given, []))[1].append(host)
    found = {
        target.name: target for given, alike in parts.values() for target in variables.with_given(given).of_hosts(alike)
    }
    return [found[host.name] for host in hosts]


def _given(variables: PlayVariables, host: Any, deciding: dict[GroupSet, frozenset[str]]) -> _Layer:
    """What of the host's own variables decides which of the vars_files it gets."""
    vars_files, group_set, renderer = variables.play.get_vars_files(), variables.group_set(host), variables.renderer
    if group_set not in deciding:
        without_host = variables.view(host, group_set, Own([], {}, []))
        inputs = renderer.inputs(vars_files, without_host.get, trust_lookups=True)
        deciding[group_set] = group_set.relevant.union(inputs or ())
    own = variables.own(host, None if group_set.needs_all else deciding[group_set])
    inputs = renderer.inputs(vars_files, variables.view(host, group_set, own).get, trust_lookups=True)
    if inputs is None:
        raise _FilesPerHost
    of_play = (*variables.above_hosts, variables.exports, *variables.above_all)
    return {
        name: value
        for name, value in inputs.items()
        if value is not MISSING and not any(name in layer for layer in of_play)
    }
