# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the targeted hosts of a run to the labels of its change.

For each host the highest rule that names a label decides its value, in rising priority: built in, names of its groups
(``label_groups``), inventory variables (``label_vars``), the variable ``flashduty_labels``, the option ``labels``. Over
all hosts, the label is the one value they agree on, or their distinct values.

Limits: https://developer.flashcat.cloud/zh/flashduty/event-api/change-event
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import yaml

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    LABEL_KEY_MAX,
    LABEL_VALUE_MAX,
    LABELS_MAX,
    label_text,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.group_patterns import (
    GroupExpression,
    GroupPattern,
    InvalidPattern,
    parsed,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

LABELS_VARIABLE = "flashduty_labels"
# Labels that are built in, the most useful first: under the limit of 50 the last ones go first.
BUILT_IN = (
    "host",
    "check_mode",
    "env",
    "group",
    "inventory",
    "playbook",
    "actor",
    "source",
    "limit",
    "controller",
    "tags",
    "skip_tags",
)

# Characters that the value of a variable may have which is a label by default.
DEFAULT_VALUE_MAX = 200

_NUMBER = re.compile("([0-9]+)")
_SHOWN_NAMES = 10

# The items of one host's label; none where the rule says that there is to be no such label.
_Items = tuple[str, ...]


class TargetHost(NamedTuple):
    """A host that a play targets.

    :ivar name: its inventory name.
    :ivar groups: all its inventory groups but ``all`` and ``ungrouped``.
    :ivar variables: plain values of the variables that the rules ask for, as far as the host has them.
    :ivar alike: what the host shares with all others for which the variables that are only compared are the same.
    :ivar host: the host as ansible-core's inventory has it.
    """

    name: str
    groups: tuple[str, ...]
    variables: Mapping[str, Any]
    alike: tuple[object, ...] = ()
    host: Any = None


def natural(text: str) -> tuple[object, ...]:
    """A key for sorting that puts web2 before web10."""
    parts: list[object] = []
    for number, part in enumerate(_NUMBER.split(text)):
        digits = part.lstrip("0")
        parts.append((len(digits), digits) if number % 2 else part)
    return (tuple(parts), text)


def joined(items: Iterable[str], limit: int = LABEL_VALUE_MAX, most: int = 0) -> str:
    """The items joined by commas, cut at a whole item with ``+N`` for the N left out.

    :param limit: characters that the text may have.
    :param most: how many items it may have; 0 for as many as fit.
    """
    items = list(items)
    shown = items[:most] if most > 0 else items
    text = ",".join(items)
    if len(shown) == len(items) and len(text) <= limit:
        return text
    # Room for the longest suffix keeps the cut simple; it costs a digit at most.
    room = limit - len(f",+{len(items)}")
    kept = length = 0
    while kept < len(shown) and length + len(shown[kept]) <= room:
        length += len(shown[kept]) + 1
        kept += 1
    if kept:
        return f"{','.join(items[:kept])},+{len(items) - kept}"
    if len(items) == 1:
        return shortened(items[0], limit)
    return f"{shortened(items[0], room)},+{len(items) - 1}"


class _GroupLabels:
    """The labels that names of groups give to a host; each name is looked at once."""

    def __init__(self, entries: Iterable[GroupPattern | GroupExpression], notices: Notices) -> None:
        entries = list(entries)
        self._patterns = [entry for entry in entries if isinstance(entry, GroupPattern)]
        self._expressions = [entry for entry in entries if isinstance(entry, GroupExpression)]
        self._notices = notices
        self._of_name: dict[str, list[tuple[str, str]]] = {}
        self._of_names: dict[tuple[str, ...], dict[str, _Items]] = {}

    def of(self, names: tuple[str, ...]) -> dict[str, _Items]:
        """The labels of a host in the groups of these names, which :meth:`read` has seen."""
        if names not in self._of_names:
            found: dict[str, set[str]] = {}
            for name in names:
                for label, value in self._of_name.get(name, ()):
                    found.setdefault(label, set()).update(_one(value))
            labels = {label: tuple(sorted(values, key=natural)) for label, values in found.items() if values}
            self._of_names[names] = labels
        return self._of_names[names]

    def givers(self, label: str, names: Iterable[str]) -> list[str]:
        """Those of the names that give a label."""
        return [name for name in names if any(label == given for given, _value in self._of_name.get(name, ()))]

    def read(self, hosts: Iterable[TargetHost]) -> None:
        """Look at the names of the groups of these hosts."""
        of_hosts = {group for groups in {host.groups for host in hosts} for group in groups}
        names = sorted(of_hosts.difference(self._of_name))
        for name in names:
            values = ((pattern.label, pattern.of(name)) for pattern in self._patterns)
            # Of several patterns for one name, the first says what it means: pre_prod is not prod.
            first: dict[str, str] = {}
            for label, value in values:
                if value:
                    first.setdefault(label, value)
            self._of_name[name] = [*first.items()]
        if names and self._expressions:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.expressions import labels_of_names

            for name, label, value in labels_of_names(self._expressions, names, self._notices):
                self._of_name[name].append((label, value))


class LabelRules(NamedTuple):
    """Which labels a host has. Make it with :meth:`from_options`.

    :ivar groups: labels by names of groups; all that match one host count. It reads the groups of the hosts first.
    :ivar variables: labels, each with the inventory variable that gives it; of several, a host's first decides.
    :ivar by_default: whether nobody has asked for these, so that only what is plainly a label counts.
    :ivar fixed: the option ``labels``: the same for every host, above all else.
    """

    groups: _GroupLabels
    variables: tuple[tuple[str, str], ...]
    by_default: bool
    fixed: Mapping[str, _Items]

    @classmethod
    def from_options(cls, options: Mapping[str, Any], notices: Notices, vars_by_default: bool = False) -> LabelRules:
        """The rules that the options ask for; what makes no sense in them is left out with a warning.

        :param options: ``label_groups``, see :func:`parsed`; ``label_vars``, names of variables, each alone
            (``service``) or with the label it gives (``cluster=k8s_cluster``); ``labels``, keys and values, as a map or
            as text: ``key=value,key=value``, or a map in YAML or JSON. A null or empty value means that there is to be
            no such label.
        :param vars_by_default: whether nobody has set ``label_vars``.
        """
        groups = [_group_entry(entry, notices) for entry in _entries(options.get("label_groups"))]
        variables = [_label_variable(entry, notices) for entry in _entries(options.get("label_vars"))]
        return cls(
            _GroupLabels((entry for entry in groups if entry is not None), notices),
            tuple(entry for entry in variables if entry is not None),
            vars_by_default,
            _map_items(_label_map(options.get("labels"), notices), "labels", notices),
        )

    @property
    def variable_names(self) -> tuple[str, ...]:
        """The variables to look up for each host."""
        return (*dict.fromkeys(variable for _label, variable in self.variables), LABELS_VARIABLE)

    @property
    def written_names(self) -> frozenset[str]:
        """Those of them that roles, facts and tasks do not give: their values may be secret, or of another meaning."""
        return frozenset(variable for _label, variable in self.variables if self.by_default)

    def of_variables(self, values: Mapping[str, Any], notices: Notices) -> dict[str, _Items]:
        """The labels that a host has by its variables; no items where there is to be no label."""
        labels: dict[str, _Items] = {}
        for label, variable in self.variables:
            if label not in labels and variable in values:
                if self.by_default and not _is_plain(values[variable]):
                    notices.debug(
                        f"labels: variable {variable} is left out, by default only a text or number of at most"
                        f" {DEFAULT_VALUE_MAX} characters is a label; list it in label_vars to use it",
                        subject=f"not plain: {variable}",
                    )
                    continue
                try:
                    items = _items(values[variable])
                except ValueError as error:
                    notices.debug(f"labels: variable {variable} is left out, {error}")
                    continue
                if items:
                    labels[label] = items
        own = values.get(LABELS_VARIABLE)
        if isinstance(own, Mapping):
            labels.update(_map_items(own, LABELS_VARIABLE, notices))
        elif own is not None and str(own).strip():
            example = f"""-e '{{"{LABELS_VARIABLE}": {{"key": "value"}}}}'"""
            notices.warning("labels-variable-invalid", name=LABELS_VARIABLE, example=example)
        return labels


class RunLabels:
    """Collects the labels of one change over its plays.

    :param rules: how groups and variables become labels.
    :param built_in: labels that are known before any play.
    :param most: how many there may be.
    :param names_max: how many names the labels ``host`` and ``group`` may have; 0 for as many as fit.
    """

    def __init__(
        self,
        rules: LabelRules,
        built_in: Mapping[str, str | tuple[str, ...]],
        notices: Notices,
        most: int = LABELS_MAX,
        names_max: int = 0,
    ) -> None:
        self._most = most
        self._names_max = names_max
        self._rules = rules
        self._notices = notices
        self._collected: dict[str, set[_Items]] = {}
        self._from_variables: set[str] = set()
        self._by_rules: set[str] = set()
        self._built_in = {name: _one(value) if isinstance(value, str) else value for name, value in built_in.items()}
        # The groups of hosts whose label ``env`` no variable gives.
        self._without_env: set[tuple[str, ...]] = set()
        order = [*dict.fromkeys(label for label, _variable in rules.variables)]
        self._order = {label: number for number, label in enumerate(order)}

    def add_play(
        self,
        hosts: Iterable[TargetHost],
        playbook: str | None = None,
        is_named: Callable[[str], bool] | None = None,
    ) -> None:
        """Adds the hosts that a play targets; hosts that were added before may come again.

        :param playbook: file name of the playbook, without its folders.
        :param is_named: whether a group is to be in the label ``group``; all are where it is not given.
        """
        hosts = list(hosts)
        self._rules.groups.read(hosts)
        of_all = {**self._built_in, "playbook": _one(playbook)} if playbook else self._built_in
        # Hosts that share their values share the very map, so each map is worked out once, and each combination of
        # it with groups.
        by_variables: dict[int, dict[str, _Items]] = {}
        worked_out: dict[tuple[int, tuple[str, ...]], dict[str, _Items]] = {}
        groups: set[tuple[str, ...]] = set()
        for host in hosts:
            key = (id(host.variables), host.groups)
            labels = worked_out.get(key)
            if labels is None:
                if key[0] not in by_variables:
                    by_variables[key[0]] = self._rules.of_variables(host.variables, self._notices)
                labels = worked_out[key] = {**self._rules.groups.of(host.groups), **by_variables[key[0]]}
            if "host" not in labels:
                self._collect("host", _one(host.name))
            if "group" not in labels and "group" not in self._built_in:
                groups.add(host.groups)
        self._without_env.update(of_host for map_id, of_host in worked_out if "env" not in by_variables[map_id])
        for found in by_variables.values():
            self._from_variables.update(found)
        for labels in worked_out.values():
            self._by_rules.update(labels)
            for label, items in labels.items():
                self._collect(label, items)
        for group in {group for several in groups for group in several}:
            if is_named is None or is_named(group):
                self._collect("group", _one(group))
        for label, items in of_all.items():
            if not worked_out or any(label not in labels for labels in worked_out.values()):
                self._collect(label, items)

    def env_origin(self) -> str:
        """From what the label ``env`` was guessed; empty where it was not."""
        if "env" in self._rules.fixed:
            return ""
        givers = [self._rules.groups.givers("env", of_host) for of_host in self._without_env]
        names = joined(sorted({name for of_host in givers for name in of_host}, key=natural), most=_SHOWN_NAMES)
        origins = [f"names of groups: {names}"] if names else []
        origins += ["the path of the inventory"] if "env" in self._built_in and not all(givers) else []
        return "; ".join(origins)

    def add_playbook(self, name: str) -> None:
        """A playbook of the command line that is still to come, by its file name."""
        if "playbook" in self._collected and "playbook" not in self._by_rules:
            self._collect("playbook", _one(name))

    def _collect(self, label: str, items: _Items) -> None:
        if items:
            self._collected.setdefault(label, set()).add(items)

    def labels(self) -> dict[str, str]:
        """The labels of the change so far, within every limit; one warning names what had to go."""
        values = {
            label: self._value(label, found)
            for label, found in self._collected.items()
            if label not in self._rules.fixed
        }
        values.update((label, joined(items)) for label, items in self._rules.fixed.items() if items)
        ranked = sorted(values, key=self._rank)
        dropped = ranked[self._most :]
        if dropped:
            names = joined(dropped[:_SHOWN_NAMES]) + ("" if len(dropped) <= _SHOWN_NAMES else ",…")
            self._notices.warning("labels-beyond", "labels beyond", count=len(dropped), limit=self._most, names=names)
        return {label: values[label] for label in ranked[: self._most]}

    def _value(self, label: str, found: set[_Items]) -> str:
        most = self._names_max if label in ("host", "group") else 0
        if len(found) == 1:
            return joined(next(iter(found)), most=most)
        return joined(sorted({item for items in found for item in items}, key=natural), most=most)

    def _rank(self, label: str) -> tuple[object, ...]:
        """The order in which labels are kept: the user's fixed ones, host, by variables, by groups, built-in ones."""
        if label in self._rules.fixed:
            return (0, 0, natural(label))
        if label == "host":
            return (1, 0, natural(label))
        if label in self._from_variables:
            return (2, self._order.get(label, len(self._order)), natural(label))
        if label in self._by_rules:
            return (3, 0, natural(label))
        return (4, BUILT_IN.index(label) if label in BUILT_IN else len(BUILT_IN), natural(label))


def _entries(given: Iterable[Any] | None) -> Iterator[str]:
    # An empty setting reads as one empty entry.
    return (text for entry in given or () if (text := plain_text(str(entry)).strip()))


def _group_entry(text: str, notices: Notices) -> GroupPattern | GroupExpression | None:
    try:
        entry = parsed(text)
    except InvalidPattern as error:
        notices.warning("label-groups-invalid", entry=text, problem=error)
        return None
    if isinstance(entry, GroupPattern):
        key = _clean_key(entry.label, notices)
        return None if key is None else entry._replace(label=key)
    labels = [(key, group) for label, group in entry.labels if (key := _clean_key(label, notices)) is not None]
    return entry._replace(labels=tuple(labels))


def _label_variable(entry: str, notices: Notices) -> tuple[str, str] | None:
    label, equals, variable = entry.partition("=")
    variable = variable.strip() if equals else label
    key = _clean_key(label, notices)
    if key is None or not (variable.isascii() and variable.isidentifier()):
        notices.warning("label-vars-invalid", entry=entry)
        return None
    return key, variable


def _label_map(given: Any, notices: Notices) -> Mapping[Any, Any]:
    if isinstance(given, Mapping):
        return given
    text = str(given or "").strip()
    if text.startswith("{"):
        try:
            parsed = yaml.safe_load(text)
        except yaml.YAMLError:
            parsed = None
        if isinstance(parsed, Mapping):
            return parsed
        notices.warning("labels-no-map")
        return {}
    pairs = [entry.partition("=") for entry in _entries(re.split(r"[,\n]", text))]
    for key, equals, _value in pairs:
        if not equals:
            notices.warning("labels-no-pair", entry=key)
    return {key: value for key, equals, value in pairs if equals}


def _clean_key(key: Any, notices: Notices) -> str | None:
    text = label_text(key) or ""
    if len(text) > LABEL_KEY_MAX:
        notices.warning("label-key-long", key=shortened(text, 40), length=len(text), limit=LABEL_KEY_MAX)
        return None
    return text or None


@lru_cache(4096)
def _one(value: str) -> _Items:
    text = label_text(value)
    return (text,) if text else ()


def _map_items(labels: Mapping[Any, Any], source: str, notices: Notices) -> dict[str, _Items]:
    found: dict[str, _Items] = {}
    for key, value in labels.items():
        clean = _clean_key(key, notices)
        try:
            items = _items(value)
        except ValueError as error:
            notices.warning("label-invalid", name=f"{source}.{clean}", why=error)
            continue
        if clean is not None:
            found[clean] = items
    return found


def _items(value: Any) -> _Items:
    """The items of a label value.

    :raises ValueError: where it cannot be one.
    """
    if isinstance(value, str):
        return _one(value)
    # The whole is judged first: a list within a list is refused there.
    label_text(value)
    texts = map(label_text, value if isinstance(value, (list, tuple)) else (value,))
    return tuple(text for text in texts if text)


def _is_plain(value: Any) -> bool:
    is_one = value is None or (isinstance(value, (str, int, float)) and not isinstance(value, bool))
    return is_one and len(str(value)) <= DEFAULT_VALUE_MAX
