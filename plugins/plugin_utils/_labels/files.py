# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What vars plugins give to groups and hosts, asked for once in a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any
from weakref import WeakKeyDictionary

from ansible import constants as C  # noqa: N812
from ansible.errors import AnsibleError
from ansible.inventory.host import Host

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import copied, unreadable

try:
    from ansible.inventory.helpers import sort_groups
    from ansible.plugins.loader import vars_loader
    from ansible.utils.vars import combine_vars
    from ansible.vars.plugins import _plugin_should_run, _prime_vars_loader, get_vars_from_path
except ImportError as _error:
    _import_error: ImportError | None = _error
else:
    _import_error = None

__all__ = ("Files", "ReadOnce", "combine_vars", "files_of")

_STAGE = "task"
# Ansible's own: it gives for several groups what it gives for one after the other.
_OWN_PLUGIN = frozenset({"ansible.builtin.host_group_vars", "host_group_vars"})
_HOST_VARS = "host_vars"
_ENDINGS = ("", *(end if "." in end else f".{end}" for end in C.YAML_FILENAME_EXTENSIONS if end))

_Layer = Mapping[str, Any]

_known: WeakKeyDictionary[Any, dict[object, Files]] = WeakKeyDictionary()


def files_of(loader: Any, manager: Any, notices: Notices, asks_all: bool = True) -> Files:
    """The files of the run's inventory, as far as they were read before; anew where the inventory was refreshed.

    :param asks_all: whether other vars plugins than Ansible's own are asked.
    """
    if _import_error:
        raise _import_error
    inventory = manager._inventory
    basedir = loader.get_basedir() if manager.safe_basedir else ""
    # A refreshed inventory has other data.
    key = (id(inventory._inventory), basedir, asks_all)
    of_inventory = _known.setdefault(inventory, {})
    if key not in of_inventory:
        of_inventory[key] = Files(loader, inventory, basedir, notices, asks_all)
    of_inventory[key].look_again()
    return of_inventory[key]


class Files:
    """Variables that vars plugins read for groups and hosts, and those of the groups of the inventory itself.

    What cannot be read is left out, with one warning.

    :param basedir: the folder of the playbook; empty where it does not count.
    """

    def __init__(self, loader: Any, inventory: Any, basedir: str, notices: Notices, asks_all: bool) -> None:
        if vars_loader._paths is None:
            _prime_vars_loader()
        self._loader = loader
        self._notices = notices
        # Its identity is a key above, so it must stay alive.
        self._data = inventory._inventory
        self._folders = [*_folders(inventory._sources)]
        self._basedirs = [basedir] if basedir else []
        self._all_group = inventory.groups["all"]
        self._of_group: dict[tuple[str, ...], _Layer] = {}
        self._of_host: dict[str, tuple[Set[str] | None, list[_Layer]]] = {}
        self._parts: dict[str, _Layer] = {}
        self._has_own_plugin_only = _OWN_PLUGIN.issuperset(vars_loader._plugin_instance_cache)
        self._asks_all = asks_all or self._has_own_plugin_only
        # Only then may each group be read once, for whatever other groups its hosts are in.
        self._group_by_group = C.DEFAULT_HASH_BEHAVIOUR != "merge" and (self._has_own_plugin_only or not self._asks_all)
        places = dict.fromkeys((tuple(self._folders), tuple(self._basedirs)))
        self._places = [place for place in places if place]
        self._host_vars: dict[str, frozenset[str]] = {}

    def look_again(self) -> None:
        """A play starts: hosts may have got their first files."""
        if self._group_by_group:
            self._host_vars = {folder: _entries(folder) for place in self._places for folder in place}

    def of_groups(self, groups: Sequence[Any]) -> list[list[_Layer]]:
        """The layers that a host in these groups gets, in rising order, in the steps that Ansible combines them."""
        everyone = [self._all_group]
        ordered = sort_groups([group for group in groups if group.name != "all"])
        read: dict[str, Callable[[], list[_Layer]]] = {
            "all_inventory": lambda: [self._all_group.vars],
            "groups_inventory": lambda: [group.vars for group in ordered],
            "all_plugins_inventory": lambda: self._from_each(self._folders, everyone),
            "all_plugins_play": lambda: self._from_each(self._basedirs, everyone),
            "groups_plugins_inventory": lambda: self._from_each(self._folders, ordered),
            "groups_plugins_play": lambda: self._from_each(self._basedirs, ordered),
        }
        entries = ([layer for layer in read[name]() if layer] for name in C.VARIABLE_PRECEDENCE if name in read)
        return [entry for entry in entries if entry]

    def of_host(self, host: Any, names: Set[str] | None = None) -> list[_Layer]:
        """What the host itself has in files, in rising order.

        :param names: the variables that are asked for; others may be missing where none of these is a template. All
            where it is not given.
        """
        known, layers = self._of_host.get(host.name, (frozenset(), []))
        if known is None or (names is not None and names <= known):
            return layers
        names = None if names is None else names | known
        if not self._group_by_group or os.sep in host.name:
            names, layers = None, self._whole(host)
        elif not any(self._file(folder, host.name) for folder in self._host_vars):
            return []
        else:
            parts = None if names is None else self._of_parts(host, names)
            names, layers = (None, self._whole(host)) if parts is None else (names, parts)
        self._of_host[host.name] = (names, layers)
        return layers

    def _whole(self, host: Any) -> list[_Layer]:
        return [layer for place in self._places if (layer := self._read(place, [host]))]

    def _of_parts(self, host: Any, names: Set[str]) -> list[_Layer] | None:
        """From the lines that give these variables; None where more has to be read."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.file_parts import WholeFile, part_with

        layers = []
        try:
            for folder in (folder for place in self._places for folder in place):
                entry = self._file(folder, host.name)
                if entry:
                    path = os.path.join(folder, _HOST_VARS, entry)
                    with open(path, "rb") as file:
                        part = part_with(file.read(), names)
                    if part and part not in self._parts:
                        self._parts[part] = self._loader.load(part, path)
                    layers += [self._parts[part]] if part else []
        except (WholeFile, OSError, AnsibleError):
            return None
        return layers

    def _file(self, folder: str, name: str) -> str | None:
        """The file or folder of a host's variables that ansible-core takes."""
        entries = self._host_vars[folder]
        return next((entry for end in _ENDINGS if (entry := name + end) in entries), None)

    def _from_each(self, folders: Sequence[str], groups: Sequence[Any]) -> list[_Layer]:
        """What the groups have in these folders: a later folder beats an earlier one whatever the group."""
        if not self._group_by_group:
            return [self._of_these(folders, groups)]
        return [self._of_these([folder], [group]) for folder in folders for group in groups]

    def _of_these(self, folders: Sequence[str], groups: Sequence[Any]) -> _Layer:
        key = (*folders, "", *(group.name for group in groups))
        if key not in self._of_group:
            self._of_group[key] = self._read(folders, groups)
        return self._of_group[key]

    def _read(self, folders: Sequence[str], entities: Sequence[Any]) -> _Layer:
        data: dict[str, Any] = {}
        try:
            for folder in folders if entities else ():
                data = combine_vars(data, self._read_folder(folder, entities))
        except AnsibleError as error:
            unreadable(self._notices, ", ".join(entity.name for entity in entities), error)
            return {}
        return data

    def _read_folder(self, folder: str, entities: Sequence[Any]) -> _Layer:
        if self._asks_all:
            layer: _Layer = get_vars_from_path(self._loader, folder, entities, _STAGE)
            return layer
        data: dict[str, Any] = {}
        for name in _OWN_PLUGIN.intersection(vars_loader._plugin_instance_cache):
            plugin = vars_loader.get(name)
            if plugin is not None and _plugin_should_run(plugin, _STAGE):
                data = combine_vars(data, plugin.get_vars(self._loader, folder, entities))
        return data


def _entries(folder: str) -> frozenset[str]:
    path = os.path.join(folder, _HOST_VARS)
    return frozenset(os.listdir(path) if os.path.isdir(path) else ())


def _folders(sources: Sequence[str | None]) -> Iterator[str]:
    """Where vars plugins look for the variables of these inventories."""
    for source in sources:
        if source is not None and not ("," in source and not os.path.exists(source)):
            yield source if os.path.isdir(source) else os.path.dirname(source)


class ReadOnce:
    """A variable manager that asks no vars plugin for what a run has read before.

    :param manager: ansible-core's, or a copy of it.
    """

    def __init__(self, manager: Any, notices: Notices) -> None:
        self._manager = manager
        self._notices = notices
        self._inventory = manager._inventory
        self.extra_vars = manager.extra_vars

    def get_vars(self, play: Any, host: Any = None) -> Mapping[str, Any]:
        """As ``VariableManager.get_vars``."""
        manager = self._manager
        # Where maps are merged, it matters in which steps.
        if host is not None and C.DEFAULT_HASH_BEHAVIOUR != "merge":
            with contextlib.suppress(Exception):  # then ansible-core is asked for all of it
                manager, host = self._without_vars_plugins(play, host)
        variables: Mapping[str, Any] = manager.get_vars(play=play, host=host)
        return variables

    def _without_vars_plugins(self, play: Any, host: Any) -> tuple[Any, Any]:
        with_files = _HostWithFiles(host, files_of(play.get_loader(), self._manager, self._notices))
        manager = copied(self._manager)
        manager.safe_basedir = False
        manager._inventory = copied(manager._inventory)
        manager._inventory._sources = []
        return manager, with_files


class _HostWithFiles(Host):
    """A host that has all that its groups and files give it as variables of its own."""

    def __init__(self, host: Any, files: Files) -> None:
        self.__dict__.update(host.__dict__)
        self._layers = [layer for entry in files.of_groups(host.get_groups()) for layer in entry]
        self._layers += [host.get_vars(), *files.of_host(host)]

    def get_groups(self) -> list[Any]:
        return []

    def get_vars(self) -> dict[str, Any]:
        return {name: layer[name] for layer in self._layers for name in layer}
