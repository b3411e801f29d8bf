# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which changes a run is: one, or one for each group or host that it targets.

With scope ``group``, a host belongs to the groups that the play's pattern names (``web`` and ``db`` in
``web:db:&prod``); a host that comes in by another name (``all``, its own) to the groups that list it, not to their
parents; a host that no group lists to ``ungrouped``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import LABELS_MAX
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_patterns import names_group
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import RunLabels, TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import OUTCOME_LABELS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import PlayTexts

# What templates of the user can give, by the options' names.
TEXTS = ("title", "description", "link")
UNGROUPED = "ungrouped"


class Change:
    """One change of a run.

    :ivar target: the host or group; empty for the whole run.
    :ivar labels: collects its labels from the plays that have started, and from those to come as far as they are known.
    :ivar texts: the user's templates over the play with which it came in; None where there are none.
    :ivar variables: what these read of its first host.
    :ivar began: when it began, Unix seconds.
    :ivar hosts: its hosts, in their order.
    :ivar coming: hosts of the plays to come.
    :ivar reported: whether its Processing has been reported.
    """

    def __init__(self, target: str, labels: RunLabels, texts: PlayTexts | None, began: float) -> None:
        self.target = target
        self.labels = labels
        self.texts = texts
        self.variables: Mapping[str, Any] = {}
        self.began = began
        self._began_monotonic = time.monotonic()
        self.hosts: dict[str, None] = {}
        self.coming: dict[str, None] = {}
        self.reported = False
        self._first_labels: dict[str, str] | None = None
        self._first_hosts: frozenset[str] = frozenset()
        self._group_sets: set[tuple[str, ...]] = set()

    @property
    def seconds(self) -> float:
        """How long it has gone on, by a clock that nobody sets."""
        return time.monotonic() - self._began_monotonic

    @property
    def groups(self) -> list[str]:
        """The inventory groups of its hosts."""
        return sorted({group for groups in self._group_sets for group in groups})

    def labels_now(self, keep: bool) -> dict[str, str]:
        """The labels of its next event.

        :param keep: whether they stay those of its first event, so that no route takes it elsewhere.
        """
        if self._first_labels is None or not keep:
            labels = self.labels.labels()
            if self._first_labels is None:
                self._first_labels, self._first_hosts = labels, frozenset([*self.hosts, *self.coming])
            return labels
        return self._first_labels

    def came_in(self, hosts: Iterable[str]) -> list[str]:
        """Those of the hosts that its first event did not know."""
        return [host for host in hosts if host not in self._first_hosts]

    def add(self, hosts: Sequence[TargetHost], playbook: str, is_named: Callable[[str], bool] | None = None) -> None:
        """A play targets these hosts of it.

        :param is_named: whether a group is to be in the label ``group``.
        """
        if not self.hosts and hosts:
            self.variables = hosts[0].variables
        self.hosts.update((host.name, None) for host in hosts)
        self._group_sets.update(host.groups for host in hosts)
        self.labels.add_play(hosts, playbook, is_named)

    def expect(self, hosts: Sequence[TargetHost], playbook: str, is_named: Callable[[str], bool] | None = None) -> None:
        """A play to come will target these hosts of it."""
        self.coming.update((host.name, None) for host in hosts)
        self.labels.add_play(hosts, playbook, is_named)


class Changes:
    """The changes of a run, by its scope."""

    def __init__(self, settings: Settings, notices: Notices) -> None:
        self._settings = settings
        self._notices = notices
        self._scope = settings.scope
        self._changes: dict[str, Change] = {}
        self._of_host: dict[str, dict[str, Change]] = {}

    @property
    def all(self) -> list[Change]:
        """All changes so far, in the order in which they came in."""
        return [*self._changes.values()]

    @property
    def open(self) -> list[Change]:
        """Those that were reported."""
        return [change for change in self._changes.values() if change.reported]

    def add_play(
        self,
        patterns: Sequence[str],
        hosts: Sequence[TargetHost],
        playbook: str,
        texts: PlayTexts | None,
        now: float,
    ) -> list[Change]:
        """Add what a play targets.

        :param patterns: the play's ``hosts``.
        :param hosts: those that it targets.
        :param playbook: the playbook's file name.
        :returns: the changes that it targets, new ones and old ones.
        """
        found = []
        is_named = self.is_named(patterns)
        for target, members in self._parts(patterns, hosts).items():
            change = self._changes.get(target)
            if change is None:
                change = self._changes[target] = Change(target, self._new_labels(target), texts, now)
            change.add(members, playbook, is_named)
            for host in members if self._scope != "run" else ():
                self._of_host.setdefault(host.name, {})[target] = change
            found.append(change)
        return found

    def is_named(self, patterns: Sequence[str]) -> Callable[[str], bool] | None:
        """Whether a group is to be in the label ``group`` of a play with these patterns; None where all are."""
        return names_group(patterns) if self._settings.options["label_group"] == "named" else None

    def of_host(self, name: str) -> list[Change]:
        """The changes that a host has a part in."""
        if self._scope == "run":
            return self.all
        return [*self._of_host.get(name, {}).values()]

    def _new_labels(self, target: str) -> RunLabels:
        """The collector of the labels of a group's, a host's (by its name) or the run's change."""
        settings = self._settings
        exact = {"group": target} if self._scope == "group" else {}
        kept_free = len(OUTCOME_LABELS) if settings.options["outcome_labels"] else 0
        return RunLabels(
            settings.rules,
            {**settings.built_in, **exact},
            self._notices,
            LABELS_MAX - kept_free,
            settings.options["label_names_max"],
        )

    def _parts(self, patterns: Sequence[str], hosts: Sequence[TargetHost]) -> dict[str, list[TargetHost]]:
        if self._scope == "run":
            return {"": [*hosts]}
        if self._scope == "host":
            return {host.name: [host] for host in hosts}
        parts: dict[str, list[TargetHost]] = {}
        is_named = names_group(patterns)
        for host in hosts:
            for group in [*filter(is_named, host.groups)] or _listing(host) or [UNGROUPED]:
                parts.setdefault(group, []).append(host)
        return parts


def _listing(host: TargetHost) -> list[str]:
    """The groups that list a host themselves."""
    groups = (group for group in host.host.get_groups() if group.name in host.groups)
    return [group.name for group in groups if host.name in group.host_names]
