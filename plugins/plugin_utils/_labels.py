# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the targeted hosts of a run to the labels of its change.

Private to this collection; may change in any release.

For each host the highest rule that names a label decides its value, in rising priority: built in, inventory variables
(``label_vars``), the variable ``flashduty_labels``, the option ``labels``. Over all hosts, the label is the one value
they agree on, or their distinct values.

Limits: https://developer.flashcat.cloud/zh/flashduty/event-api/change-event
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    LABEL_KEY_MAX,
    LABEL_VALUE_MAX,
    LABELS_MAX,
    label_text,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

LABELS_VARIABLE = "flashduty_labels"
# What alerts carry by Flashduty's documentation (service, cluster, team, owner) and by the habit of Prometheus and
# Nightingale (env, region, ident, instance, job).
DEFAULT_LABEL_VARS = ("service", "cluster", "team", "owner", "env", "region", "ident", "instance", "job")
# Labels that are built in, the most useful first: under the limit of 50 the last ones go first.
BUILT_IN = ("host", "group", "playbook", "user", "source", "limit", "controller", "tags", "skip_tags")

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NUMBER = re.compile("([0-9]+)")
_SHOWN_NAMES = 10

# The items of one host's label; none where the rule says that there is to be no such label.
_Items = tuple[str, ...]


class TargetHost(NamedTuple):
    """A host that a play targets.

    :ivar name: its inventory name.
    :ivar groups: all its inventory groups but ``all`` and ``ungrouped``.
    :ivar variables: plain values of the variables that the rules ask for, as far as the host has them.
    """

    name: str
    groups: tuple[str, ...]
    variables: Mapping[str, Any]


class LabelVariable(NamedTuple):
    """An inventory variable that gives a label."""

    label: str
    variable: str


def natural(text: str) -> tuple[object, ...]:
    """A key for sorting that puts web2 before web10."""
    parts: list[object] = []
    for number, part in enumerate(_NUMBER.split(text)):
        digits = part.lstrip("0")
        parts.append((len(digits), digits) if number % 2 else part)
    return (tuple(parts), text)


def joined(items: Iterable[str], limit: int = LABEL_VALUE_MAX) -> str:
    """The items joined by commas, cut at a whole item with ``+N`` for the N left out.

    :param limit: characters that the text may have.
    """
    items = list(items)
    text = ",".join(items)
    if len(text) <= limit:
        return text
    # Room for the longest suffix keeps the cut simple; it costs a digit at most.
    room = limit - len(f",+{len(items)}")
    kept = length = 0
    while length + len(items[kept]) <= room:
        length += len(items[kept]) + 1
        kept += 1
    if kept:
        return f"{','.join(items[:kept])},+{len(items) - kept}"
    if len(items) == 1:
        return shortened(items[0], limit)
    return f"{shortened(items[0], room)},+{len(items) - 1}"


def built_in_labels(
    *,
    user: str,
    controller: str,
    limit: str | None = None,
    tags: Iterable[str] = (),
    skip_tags: Iterable[str] = (),
) -> dict[str, str]:
    """The built-in labels that are known before any play: ``source``, ``user``, ``controller`` and the command line's.

    :param user: who runs the playbook.
    :param controller: host name of the control node.
    :param limit: ``--limit`` as given.
    :param tags: ``--tags``; ``all``, which Ansible assumes where none are given, makes no label.
    :param skip_tags: ``--skip-tags``.
    """
    values = {
        "source": "ansible",
        "user": user,
        "controller": controller,
        "limit": limit or "",
        "tags": joined(sorted(set(tags) - {"all"}, key=natural)),
        "skip_tags": joined(sorted(set(skip_tags), key=natural)),
    }
    return {name: text for name, value in values.items() if (text := plain_text(value).strip())}


@dataclass(frozen=True)
class LabelRules:
    """Which labels a host has. Make it with :meth:`from_options`.

    :ivar variables: inventory variables that give labels; of several for one label, a host's first decides.
    :ivar fixed: the option ``labels``: the same for every host, above all else.
    """

    variables: tuple[LabelVariable, ...] = ()
    fixed: Mapping[str, _Items] = field(default_factory=dict)

    @classmethod
    def from_options(cls, label_vars: Iterable[Any], labels: Mapping[Any, Any], notices: Notices) -> LabelRules:
        """The rules that the options ask for; what makes no sense in them is left out and told.

        :param label_vars: names of variables, each alone (``service``) or with the label it gives
            (``cluster=k8s_cluster``).
        :param labels: label keys and values; a null or empty value means that there is to be no such label.
        """
        variables = []
        for entry in label_vars:
            label, equals, variable = str(entry).strip().partition("=")
            variable = variable.strip() if equals else label
            key = _clean_key(label, notices)
            if key is None or not _VARIABLE_NAME.match(variable):
                notices.warning(f"label_vars: {plain_text(str(entry))!r} is left out, give variable or label=variable")
            else:
                variables.append(LabelVariable(key, variable))
        return cls(tuple(variables), _map_items(labels, "labels", notices))

    @property
    def variable_names(self) -> tuple[str, ...]:
        """The variables to look up for each host."""
        return (*dict.fromkeys(entry.variable for entry in self.variables), LABELS_VARIABLE)

    def of_variables(self, values: Mapping[str, Any], notices: Notices) -> dict[str, _Items]:
        """The labels that a host has by its variables; no items where there is to be no label."""
        labels: dict[str, _Items] = {}
        for label, variable in self.variables:
            if label not in labels and variable in values:
                items = _items(values[variable], f"variable {variable}", notices.debug)
                if items:
                    labels[label] = items
        own = values.get(LABELS_VARIABLE)
        if isinstance(own, Mapping):
            labels.update(_map_items(own, LABELS_VARIABLE, notices))
        elif own is not None:
            notices.warning(f"{LABELS_VARIABLE} is left out, it is not a map of label keys and values")
        return labels


class _WorkedOut(NamedTuple):
    variables: Mapping[str, Any]
    labels: dict[str, _Items]


class RunLabels:
    """Collects the labels of one change over its plays.

    :param rules: how variables become labels.
    :param built_in: labels that are known before any play.
    """

    def __init__(self, rules: LabelRules, built_in: Mapping[str, str], notices: Notices) -> None:
        self._rules = rules
        self._notices = notices
        self._collected: dict[str, set[_Items]] = {}
        self._from_variables: set[str] = set()
        self._built_in = {name: _one(value) for name, value in built_in.items()}
        order = [*dict.fromkeys(entry.label for entry in rules.variables)]
        self._order = {label: number for number, label in enumerate(order)}

    def add_play(self, hosts: Iterable[TargetHost], playbook: str | None = None) -> None:
        """Adds the hosts that a play targets; hosts that were added before may come again.

        :param playbook: file name of the playbook, without its folders.
        """
        of_all = {**self._built_in, "playbook": _one(playbook)} if playbook else self._built_in
        # Hosts that share their values share the very map, so each map is worked out once.
        worked_out: dict[int, _WorkedOut] = {}
        names: set[str] = set()
        groups: set[tuple[str, ...]] = set()
        for host in hosts:
            found = worked_out.get(id(host.variables))
            if found is None:
                labels = self._rules.of_variables(host.variables, self._notices)
                found = worked_out[id(host.variables)] = _WorkedOut(host.variables, labels)
            if "host" not in found.labels:
                names.add(host.name)
            if "group" not in found.labels:
                groups.add(host.groups)
        for found in worked_out.values():
            self._from_variables.update(found.labels)
            for label, items in found.labels.items():
                self._collect(label, items)
        for name in names:
            self._collect("host", _one(name))
        for group in {group for several in groups for group in several}:
            self._collect("group", _one(group))
        for label, items in of_all.items():
            if not worked_out or any(label not in found.labels for found in worked_out.values()):
                self._collect(label, items)

    def _collect(self, label: str, items: _Items) -> None:
        if items:
            self._collected.setdefault(label, set()).add(items)

    def labels(self) -> dict[str, str]:
        """The labels of the change so far, within every limit; what had to go is told once."""
        values = {
            label: self._value(found) for label, found in self._collected.items() if label not in self._rules.fixed
        }
        values.update((label, joined(items)) for label, items in self._rules.fixed.items() if items)
        ranked = sorted(values, key=self._rank)
        dropped = ranked[LABELS_MAX:]
        if dropped:
            names = joined(dropped[:_SHOWN_NAMES]) + ("" if len(dropped) <= _SHOWN_NAMES else ",…")
            self._notices.warning(
                f"labels: {len(dropped)} beyond the limit of {LABELS_MAX} are left out: {names}",
                subject="labels beyond",
            )
        return {label: values[label] for label in ranked[:LABELS_MAX]}

    def _value(self, found: set[_Items]) -> str:
        if len(found) == 1:
            return joined(next(iter(found)))
        return joined(sorted({item for items in found for item in items}, key=natural))

    def _rank(self, label: str) -> tuple[object, ...]:
        """The order in which labels are kept: the user's fixed ones, host, by variables, the other built-in ones."""
        if label in self._rules.fixed:
            return (0, 0, natural(label))
        if label == "host":
            return (1, 0, natural(label))
        if label in self._from_variables:
            return (2, self._order.get(label, len(self._order)), natural(label))
        return (3, BUILT_IN.index(label) if label in BUILT_IN else len(BUILT_IN), natural(label))


def _clean_key(key: Any, notices: Notices) -> str | None:
    text = plain_text(label_text(key) or "").strip()
    if len(text) > LABEL_KEY_MAX:
        notices.warning(
            f"labels: the key {shortened(text, 40)!r} is left out, it has {len(text)} characters,"
            f" {LABEL_KEY_MAX} are allowed"
        )
        return None
    return text or None


def _one(text: str) -> _Items:
    text = plain_text(text).strip()
    return (text,) if text else ()


def _map_items(labels: Mapping[Any, Any], source: str, notices: Notices) -> dict[str, _Items]:
    found: dict[str, _Items] = {}
    for key, value in labels.items():
        clean = _clean_key(key, notices)
        items = _items(value, f"{source}.{clean}", notices.warning)
        if clean is not None and items is not None:
            found[clean] = items
    return found


def _items(value: Any, source: str, tell: Any) -> _Items | None:
    """The items of a label value, or None for a value that cannot be one."""
    try:
        if isinstance(value, (list, tuple)):
            # The whole list is judged first: a list within a list is refused there.
            if label_text(value) is None:
                return ()
            return tuple(text for text in map(label_text, value) if text)
        text = label_text(value)
        return () if text is None else (text,)
    except ValueError as error:
        tell(f"labels: {source} is left out, {error}")
        return None
