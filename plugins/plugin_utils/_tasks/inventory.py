# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integrations that the variables of the inventory's hosts name, for tasks that work for the control node."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    InvalidConnection,
    MissingKey,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import manager_without_answers
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import name_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import with_task_options

# What decides whether, and to which integration, hosts are reported.
_OPTIONS = (
    *("enabled", "push_url", "integration_key", "api_url", "app_key", "plain_http_hosts"),
    *("validate_certs", "ca_path", "client_cert", "client_key", "timeout", "outbox_url"),
)
NAMES = frozenset(f"flashduty_{option}" for option in _OPTIONS)


class HostsAlike(NamedTuple):
    """Hosts with the same settings.

    :ivar connection: None where they have no key, or cannot be reported.
    :ivar problem: what is wrong with their settings; it holds no secret.
    """

    hosts: tuple[str, ...]
    connection: Connection | None
    enabled: bool = True
    problem: str = ""


class Inventory:
    """What the inventory's hosts have, as far as the operator has written it there.

    :ivar play: that of the task.
    :ivar alike: its hosts, by their settings; empty where none has any.
    :ivar unreadable: why variables could not be read.
    :param action: the action plugin of the task.
    :param given: options of the task, which count for every host.
    """

    def __init__(self, action: Any, given: Mapping[str, Any]) -> None:
        self.alike: list[HostsAlike] = []
        self.unreadable: list[str] = []
        # The task's own variables are those of a playbook that is no change to report.
        self.play = action._task.get_play()
        play = copy.copy(self.play)
        play.vars = {}
        manager = manager_without_answers(play.get_variable_manager())
        play._variable_manager = manager
        self._inventory = manager._inventory
        notices = Notices()
        notices.language = action.notices.language
        found = targets(
            play, self._inventory.get_hosts(ignore_limits=True, ignore_restrictions=True), NAMES, notices, written=NAMES
        )
        self.unreadable += notices.warnings()
        if any(target.variables for target in found):
            by_values: dict[int, tuple[Mapping[str, Any], list[str]]] = {}
            for target in found:
                by_values.setdefault(id(target.variables), (target.variables, []))[1].append(target.name)
            by_settings: dict[HostsAlike, list[str]] = {}
            for variables, hosts in by_values.values():
                known = _settings(variables, given)
                by_settings.setdefault(known, []).extend(hosts)
            self.alike = [alike._replace(hosts=tuple(hosts)) for alike, hosts in by_settings.items()]

    @property
    def connections(self) -> list[Connection]:
        """Each integration once."""
        found = {integration_of(each.connection): each.connection for each in self.alike if each.connection is not None}
        return [*found.values()]

    def groups(self) -> Iterator[tuple[str, list[tuple[Connection | None, int]]]]:
        """The outermost groups that report to one integration each, and those within which single hosts differ.

        :returns: each group's name, and its integrations with the number of its hosts; None counts those without.
        """
        of_host = {host: integration_of(each.connection) for each in self.alike for host in each.hosts}
        connections = {integration_of(each.connection): each.connection for each in self.alike}
        seen: set[str] = set()
        pending = [self._inventory.groups["all"]]
        while pending:
            group = pending.pop(0)
            if group.name in seen:
                continue
            seen.add(group.name)
            counts: dict[Any, int] = {}
            for host in group.get_hosts():
                if host.name in of_host:
                    counts[of_host[host.name]] = counts.get(of_host[host.name], 0) + 1
            if not any(counts.keys() - {None}):
                continue
            children = [child for child in group.child_groups if child.name not in seen]
            if len(counts) > 1 and children:
                pending += sorted(children, key=lambda child: str(child.name))
            else:
                yield group.name, [(connections[key], count) for key, count in counts.items()]


def integration_of(connection: Connection | None) -> tuple[str, str] | None:
    """What tells the integration of a connection from others."""
    return None if connection is None else (connection.api_url, connection.integration_key)


def names_of(state_dir: str, connections: Sequence[Connection]) -> dict[tuple[str, str] | None, str]:
    """The names of integrations for people: those that flush shows, or numbers where there is no outbox yet."""
    names = {integration_of(each): f"#{number}" for number, each in enumerate(connections, 1)}
    for connection in connections:
        store = Store(state_dir, connection, only_look=True)
        try:
            if store.exists:
                names[integration_of(connection)] = name_of(store.integration)
        except OutboxError:  # of which whoever opens it tells
            pass
    return names


def _settings(variables: Mapping[str, Any], given: Mapping[str, Any]) -> HostsAlike:
    try:
        options = with_task_options(_options.resolved(variables, lambda value: value), given)
        enabled = bool(options["enabled"])
        try:
            return HostsAlike((), Connection.from_options(options), enabled)
        except MissingKey:
            return HostsAlike((), None, enabled)
    except InvalidConnection as error:
        return HostsAlike((), None, True, str(error))
