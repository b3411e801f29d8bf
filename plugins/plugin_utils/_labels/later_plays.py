# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plays to come will target, as far as it is known before they start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_patterns import matcher, split
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices


def new_hosts(
    plays: Iterable[Any], known: Iterable[str], loader: Any, notices: Notices
) -> Iterator[tuple[Any, list[str], Any]]:
    """Each play that targets hosts which no play before it does, with its patterns and these.

    Plays are left out whose hosts are not known yet, and those that are not to be reported.

    :param plays: the plays to come.
    :param known: names of the hosts so far.
    """
    seen = set(known)
    for play in plays:
        try:
            patterns, targeted = _hosts(play, loader)
            hosts = [host for host in targeted if host.name not in seen]
        except Exception as error:  # nothing of these plays has been checked yet
            first_line = f"{type(error).__name__}: {error}".splitlines()[0]
            notices.debug(f"labels: the hosts of a later play are not known yet ({first_line})")
            continue
        if hosts:
            seen.update(host.name for host in hosts)
            yield play, patterns, hosts


def _hosts(play: Any, loader: Any) -> tuple[list[str], list[Any]]:
    manager = play.get_variable_manager()
    inventory = manager._inventory
    written = _texts(play.hosts)
    is_template = any("{{" in text or "{%" in text for text in written)
    # What matches nothing yet, a play before it may make. To ask for it now, as get_vars does, would print a warning.
    if not is_template and not _match(inventory, written):
        return [], []
    variables = manager.get_vars(play=play)
    template = Templar(loader=loader, variables=variables).template
    patterns = _texts(template(play.hosts))
    if is_template and not _match(inventory, patterns):
        return [], []
    hosts: list[Any] = inventory.get_hosts(patterns, ignore_restrictions=True)
    return patterns, hosts if _options.resolved(variables, template)["enabled"] else []


def _texts(hosts: Any) -> list[str]:
    return [str(text) for text in ([hosts] if isinstance(hosts, str) else hosts)]


def _match(inventory: Any, patterns: Iterable[str]) -> bool:
    return all(_matches(inventory, name) for _sign, name in split(patterns))


def _matches(inventory: Any, name: str) -> bool:
    if name in inventory.groups or name in inventory.hosts or name in C.LOCALHOST:
        return True
    match = matcher(name)
    return any(match(known) for names in (inventory.groups, inventory.hosts) for known in names)
