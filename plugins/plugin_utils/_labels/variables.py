# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The values that a few variables have for each host of a play, for large inventories.

ansible-core's own answer, ``VariableManager.get_vars(play=, host=)``, takes milliseconds per host. This one gives the
same values by reading each group once. It uses interfaces that ansible-core does not promise to keep; where they fail,
it asks ansible-core for a limited number of hosts and says so.

Precedence: https://docs.ansible.com/ansible/latest/playbook_guide/playbooks_variables.html#variable-precedence
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible import constants as C  # noqa: N812
from ansible.module_utils.parsing.convert_bool import BOOLEANS_FALSE

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import files
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import (
    MISSING,
    TRUST_IS_TAGGED,
    Renderer,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import LABELS_VARIABLE, TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_view import HostView

# How many hosts may be asked for all their variables, at 1 to 5 ms each.
PER_HOST_LIMIT = 200

_EVERY_HOST = ("all", "ungrouped")
_HOST_MAGIC = frozenset({"inventory_hostname", "inventory_hostname_short", "group_names"})
# What hosts answer as facts, and what tasks register or set, does not count for these.
OPERATOR_ONLY = frozenset({LABELS_VARIABLE})
# With `inject_facts_as_vars = false`, what ansible-core gives all the same, even to a host without facts.
_LOCAL_FACTS = "ansible_local"
_NO_LOCAL_FACTS: Mapping[str, Any] = {_LOCAL_FACTS: {}}

_Layer = Mapping[str, Any]
# Of a host: the values, and what is only compared.
_Values = tuple[_Layer, tuple[object, ...]]


def targets(
    play: Any,
    hosts: Iterable[Any],
    names: Iterable[str],
    notices: Notices,
    limit: int = PER_HOST_LIMIT,
    written: Iterable[str] = (),
    compared: Iterable[str] = (),
) -> list[TargetHost]:
    """The hosts with their groups and the plain values of the named variables.

    A variable that a host does not have, or that fails for it, is left out of its values. Facts in a persistent cache
    are not looked at, for reading them takes as long as asking ansible-core.

    :param play: the play, as given to ``v2_playbook_on_play_start``.
    :param hosts: inventory hosts of that play.
    :param notices: takes what could not be resolved and why.
    :param limit: how many hosts may be asked the slow way, where there is no other.
    :param written: those of the names that count in the inventory, its files, the play and the extra variables alone;
        not in roles, facts, nor in what tasks include, register or set.
    :param compared: variables that are not worked out, only compared: see ``TargetHost.alike``. They count as written.
    """
    hosts = list(hosts)
    compared = tuple(compared)
    names = tuple(dict.fromkeys([*names, *compared]))
    wanted = Wanted(names, frozenset([*written, *compared]), compared)
    try:
        variables = PlayVariables(play, wanted, notices, limit)
        if not variables.files_differ:
            return variables.of_hosts(hosts)
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.vars_files import by_files

        return by_files(variables, hosts)
    except Exception as error:
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_by_host import host_by_host

        return host_by_host(play, hosts, wanted, notices, limit, error)


class Wanted(NamedTuple):
    """The variables that are asked for; ``written`` and ``compared`` as those of :func:`targets`."""

    names: Sequence[str]
    written: frozenset[str]
    compared: Sequence[str]

    def parted(self, values: _Layer) -> _Values:
        """The values of a host without those that are only compared, and these."""
        own = {name: value for name, value in values.items() if name not in self.compared}
        return own, tuple(values.get(name) for name in self.compared)


class _Templated(NamedTuple):
    """A raw value that has to be worked out for each host that sees other inputs."""

    raw: Any


class Own(NamedTuple):
    """The layers of a host itself, in rising order.

    :ivar written: the inventory's and those of files.
    :ivar cached: what include_vars, set_fact and register left for it, above the play's.
    """

    written: list[_Layer]
    facts: _Layer
    cached: list[_Layer]


class GroupSet:
    """What one combination of groups gives to the hosts that are in exactly these."""

    def __init__(self, names: tuple[str, ...], entries: list[list[_Layer]]) -> None:
        self.names = names
        self.entries = entries
        #: The wanted variables up to here, where the highest layer that has one decides.
        self.picked: dict[str, Any] = {}
        #: The names whose values in a host's own variables would make its answer another one.
        self.relevant: frozenset[str] = frozenset()
        #: Whether they are not known.
        self.needs_all = False
        self.shared: _Values | None = None


class PlayVariables:
    """The variables of one play, layer by layer, in the order of ``VariableManager.get_vars``.

    :ivar files_differ: whether its hosts may get other vars_files each.
    :param known_files: as they were read before.
    :param given: what the hosts have that decides which of the play's vars_files they get: the same for all of them.
    """

    def __init__(
        self,
        play: Any,
        wanted: Wanted,
        notices: Notices,
        limit: int,
        known_files: files.Files | None = None,
        given: _Layer | None = None,
    ) -> None:
        self._arguments = (play, wanted, notices, limit)
        self._given = given or {}
        self.play = play
        self._wanted = wanted
        self._names, self._written, self._compared = wanted
        self._only_names = frozenset(self._names)
        self._not_written = self._only_names - self._written
        self.manager = play.get_variable_manager()
        self.merge = C.DEFAULT_HASH_BEHAVIOUR == "merge"
        # Other vars plugins than Ansible's own are not asked where the variable is wanted alone that nobody may have.
        asks_all = self._only_names.difference(self._compared) != {LABELS_VARIABLE}
        self._files = known_files or files.files_of(play.get_loader(), self.manager, notices, asks_all)
        self.renderer = Renderer(
            play.get_loader(),
            lambda host: self.manager.get_vars(play=play, host=host),
            limit,
            notices,
            self._written,
            asked_privately(play),
        )
        in_memory = C.CACHE_PLUGIN in ("memory", "ansible.builtin.memory")
        self._fact_hosts = frozenset(self.manager._fact_cache.keys() if in_memory else ())
        self._group_sets: dict[tuple[str, ...], GroupSet] = {}
        self._picks: dict[int, dict[str, Any]] = {}
        self._local_only = not C.config.get_config_value("INJECT_FACTS_AS_VARS")
        self._results: dict[tuple[Any, ...], _Values] = {}
        self._read_play()

    def of_hosts(self, hosts: Iterable[Any]) -> list[TargetHost]:
        """The hosts with the plain values of the variables they have; hosts with equal values share one map."""
        found = []
        for host in hosts:
            group_set = self.group_set(host)
            found.append(TargetHost(host.name, group_set.names, *self._of_host(host, group_set), host))
        return found

    def with_given(self, given: _Layer) -> PlayVariables:
        """The same play for hosts that give this to its vars_files."""
        return PlayVariables(*self._arguments, self._files, given)

    def group_set(self, host: Any) -> GroupSet:
        """What the groups of a host give it."""
        groups = host.get_groups()
        key = tuple([group.name for group in groups])
        if key not in self._group_sets:
            entries = self._files.of_groups(groups)
            group_set = self._group_sets[key] = GroupSet(group_names(host), entries)
            group_set.picked.update(self._pick(self.defaults, host, self._not_written))
            for layer in (layer for entry in entries for layer in entry):
                if id(layer) not in self._picks:
                    self._picks[id(layer)] = self._pick(layer, host)
                group_set.picked.update(self._picks[id(layer)])
            group_set.relevant = self._relevant(group_set, host)
        return self._group_sets[key]

    def own(self, host: Any, names: Set[str] | None = None) -> Own:
        """The host's own layers.

        :param names: the variables that are asked for; others may be missing where none of these is a template.
        """
        included = self.manager._vars_cache.get(host.name)
        answered = _of_answers(self.manager._nonpersistent_fact_cache.get(host.name, {}))
        own = Own(
            [layer for layer in (host.vars, *self._files.of_host(host, names)) if layer],
            _of_answers(self._facts(host)),
            [layer for layer in (included, answered) if layer],
        )
        layers = (*own.written, own.facts, *own.cached)
        if names is not None and any(
            self.renderer.templates(layer[name]) for layer in layers for name in names if name in layer
        ):
            return self.own(host)
        return own

    def view(self, host: Any, group_set: GroupSet, own: Own, only_written: bool = False) -> HostView:
        """The raw variables as a host sees them; only a template and the merging of maps need it."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_view import HostView

        return HostView(self, host, group_set, own, only_written)

    def _of_host(self, host: Any, group_set: GroupSet) -> _Values:
        own = self.own(host, None if group_set.needs_all else group_set.relevant)
        for layer in (*own.written, own.facts, *own.cached):
            if not layer.keys().isdisjoint(group_set.relevant):
                return self._worked_out(host, group_set, own)
        if not _HOST_MAGIC.isdisjoint(group_set.relevant):
            return self._worked_out(host, group_set, own)
        if group_set.shared is None:
            asked = self.renderer.asked
            values = self._worked_out(host, group_set, own)
            if self.renderer.asked != asked:
                # All variables of this host had a part in it, so it is the answer for no other.
                group_set.relevant |= _HOST_MAGIC
                return values
            group_set.shared = values
        return group_set.shared

    def _worked_out(self, host: Any, group_set: GroupSet, own: Own) -> _Values:
        view: HostView | None = None
        if self.merge:
            view = self.view(host, group_set, own)
            written = self.view(host, group_set, own, only_written=True)
            raws = {name: (written if name in self._written else view).get(name) for name in self._names}
            picked = self._pick({name: raw for name, raw in raws.items() if raw is not MISSING}, host)
        else:
            picked = dict(group_set.picked)
            layers = own.written
            if not _HOST_MAGIC.isdisjoint(self._names):
                layers = with_magic(host, layers)
            for layer in layers:
                picked.update(self._pick(layer, host))
            picked.update(self._pick(own.facts, host, self._not_written))
            picked.update(self._picked_above_hosts)
            for layer in own.cached:
                picked.update(self._pick(layer, host, self._not_written))
            picked.update(self._picked_above_all)
        values = {}
        identity: list[Any] = []
        for name, value in picked.items():
            if isinstance(value, _Templated):
                view = view or self.view(host, group_set, own)
                render = self.renderer.compared if name in self._compared else self.renderer.render
                value = render(name, value.raw, view.get, host)
            if value is not MISSING:
                values[name] = value
                identity += (name, type(value), id(value) if isinstance(value, (list, dict)) else value)
        key = tuple(identity)
        if key not in self._results:
            self._results[key] = self._wanted.parted(values)
        return self._results[key]

    def _pick(self, layer: _Layer, host: Any, names: frozenset[str] | None = None) -> dict[str, Any]:
        """The wanted variables of a layer: plain, to be worked out, or MISSING where they fail."""
        picked: dict[str, Any] = {}
        for name in (self._only_names if names is None else names).intersection(layer):
            raw = layer[name]
            if self.renderer.templates(raw):
                picked[name] = _Templated(raw)
            elif name in self._compared:
                picked[name] = self.renderer.identity(raw)
            else:
                picked[name] = self.renderer.render(name, raw, _nothing, host)
        return picked

    def _relevant(self, group_set: GroupSet, host: Any) -> frozenset[str]:
        picked = {**group_set.picked, **self._picked_above_hosts, **self._picked_above_all}
        # Where maps are merged, parts of several layers may be seen, so what was picked does not decide.
        names = self._names if self.merge else [name for name in picked if isinstance(picked[name], _Templated)]
        if not names:
            return self._only_names
        relevant = set(self._names)
        view = self.view(host, group_set, Own([], {}, []))
        for name in names:
            raw = view.get(name) if self.merge else picked[name].raw
            inputs = {} if raw is MISSING else self.renderer.inputs(raw, view.get)
            if inputs is None:
                # What is unknown may be anything the host has.
                group_set.needs_all = True
                inputs = dict.fromkeys(_HOST_MAGIC)
            relevant.update(inputs)
        return frozenset(relevant)

    def _facts(self, host: Any) -> _Layer:
        if host.name not in self._fact_hosts:
            return _NO_LOCAL_FACTS if self._local_only else {}
        facts: _Layer = self.manager._fact_cache.get(host.name)
        if self._local_only:
            facts = {_LOCAL_FACTS: facts.get(_LOCAL_FACTS, {})}
        if TRUST_IS_TAGGED:
            return facts
        from ansible.utils.unsafe_proxy import wrap_var

        # What a host says of itself is text, never a template.
        wrapped: _Layer = wrap_var(dict(facts))
        return wrapped

    # What the play gives to all hosts alike.

    def _read_play(self) -> None:
        roles = [role for role in self.play.roles if role.public]
        defaults = _combined(role.get_default_vars() for role in roles)
        play_vars = self.play.get_vars()
        exports = _combined(role.get_vars(include_params=False, only_exports=True) for role in roles)
        extra = self.manager.extra_vars
        known = _combined([defaults, play_vars, exports, extra])
        play = copy.copy(self.play)
        play.vars = {**self._given, **play_vars}
        everything = self.manager.get_vars(play=play)
        # What is not known by now comes from vars_files, or is one of Ansible's own variables.
        rest = {
            name: value
            for name, value in everything.items()
            if not any(
                name in layer and (value is layer[name] or value == layer[name]) for layer in (known, self._given)
            )
        }
        own_names = {name: rest.pop(name) for name in list(rest) if name in exports or name in extra}
        self.files_differ = False
        if self.play.get_vars_files():
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import vars_files

            self.files_differ = not self._given and vars_files.may_differ(self, [play_vars, rest, extra, own_names])
            repeated = vars_files.repeated(self, {*defaults} - {*exports, *extra})
            rest.update((name, everything[name]) for name in repeated)
        self.defaults: _Layer = defaults
        self.above_hosts: list[_Layer] = [layer for layer in (play_vars, rest) if layer]
        self.exports: _Layer = exports
        self.above_all: list[_Layer] = [layer for layer in (extra, own_names) if layer]
        self._picked_above_hosts = self._pick_all(self.above_hosts)
        self._picked_above_hosts.update(self._pick(exports, "all hosts", self._not_written))
        self._picked_above_all = self._pick_all(self.above_all)

    def _pick_all(self, layers: Iterable[_Layer]) -> dict[str, Any]:
        return {name: value for layer in layers for name, value in self._pick(layer, "all hosts").items()}


def _of_answers(layer: _Layer) -> _Layer:
    """What counts of what a host has answered, or tasks have registered or set for it."""
    if OPERATOR_ONLY.isdisjoint(layer):
        return layer
    return {name: value for name, value in layer.items() if name not in OPERATOR_ONLY}


def _combined(layers: Iterable[_Layer]) -> dict[str, Any]:
    return functools.reduce(files.combine_vars, layers, {})


def with_magic(host: Any, own: list[_Layer]) -> list[_Layer]:
    """The layers with Ansible's own variables of the host in their place: above the inventory, below files."""
    below = 1 if own and own[0] is host.vars else 0
    return [*own[:below], host.get_magic_vars(), *own[below:]]


def _nothing(name: str) -> Any:
    return MISSING


def without_roles(play: Any) -> Any:
    copied = copy.copy(play)
    copied.roles = []
    return copied


def asked_privately(play: Any) -> frozenset[str]:
    """The variables that the play asks for without showing what is typed."""
    asked = (entry for entry in play.vars_prompt if str(entry.get("private", True)).lower() not in BOOLEANS_FALSE)
    return frozenset(str(entry["name"]) for entry in asked)


def group_names(host: Any) -> tuple[str, ...]:
    return tuple(group.name for group in host.get_groups() if group.name not in _EVERY_HOST)
