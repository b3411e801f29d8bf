# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables that the operator has written: inventory, group_vars, host_vars, play, included and extra variables.

Private to this collection; may change in any release.

ansible-core puts facts, registered results and ``set_fact`` values among the variables of a host, where they outrank
the inventory, the environment and ansible.cfg. A managed host chooses what it answers as facts, so none of these may
decide where a key goes or whether a change is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.inventory.host import Host
from ansible.vars.hostvars import HostVars

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

# How many hosts are tried before the variables of all hosts alone are taken.
_TRIED_MAX = 20


class _NoFacts(dict[str, Any]):
    """A fact cache in which no host has any; ansible-core asks its caches in different ways."""

    def get(self, _host: str, _default: Any = None) -> Mapping[str, Any]:
        return {}


def manager_without_answers(manager: Any) -> Any:
    """A copy of ansible-core's variable manager without facts, registered results and ``set_fact`` values."""
    changed = copied(manager)
    changed._fact_cache = _NoFacts()
    changed._nonpersistent_fact_cache = {}
    # Makes itself the `hostvars` of the copy.
    HostVars(manager._inventory, changed, manager._loader)
    return changed


def copied(found: Any) -> Any:
    """A shallow copy; ansible-core's own way to copy a variable manager is made for workers."""
    copy = object.__new__(type(found))
    copy.__dict__.update(found.__dict__)
    return copy


def of_play(play: Any, hosts: Iterable[Any], manager: Any, notices: Notices) -> Mapping[str, Any]:
    """The variables of a play as its first host sees them.

    What cannot be read (a vault without its password, a broken file) is passed over: ansible-core may never need it.

    :param hosts: the inventory hosts that the play targets.
    :param manager: the play's variable manager, or :func:`manager_without_answers` of it.
    """
    for host in one_of_each_kind(hosts, manager._inventory):
        try:
            variables: Mapping[str, Any] = manager.get_vars(play=play, host=host)
            return variables
        except Exception as error:  # whatever stands in files and templates
            unreadable(notices, host.name, error)
    try:
        variables = manager.get_vars(play=play)
    except Exception as error:
        unreadable(notices, "the play", error)
        return {**manager.extra_vars}
    return variables


def unreadable(notices: Notices, whose: str, error: Exception) -> None:
    """Warn, once, that variables cannot be read and what that means.

    :param whose: the hosts or groups that have them.
    """
    first_line = f"{type(error).__name__}: {error}".partition("\n")[0]
    notices.warning("variables-unreadable", "variables cannot be read", whose=whose, why=first_line)


def one_of_each_kind(hosts: Iterable[Any], inventory: Any) -> Iterator[Any]:
    """The first host, then others that are in other groups, then one that is in the group ``all`` alone."""
    seen: set[tuple[str, ...]] = set()
    for host in hosts:
        groups = tuple(group.name for group in host.get_groups())
        if groups not in seen:
            seen.add(groups)
            yield host
        if len(seen) >= _TRIED_MAX:
            break
    if seen:
        alone = Host("all hosts", gen_uuid=False)
        alone.add_group(inventory.groups["all"])
        yield alone
