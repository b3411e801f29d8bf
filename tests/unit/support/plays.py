# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays, inventory and variables, loaded as ansible-playbook loads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible import context
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

INVENTORY = """
[web]
web1
web2
[db]
db1
"""


def play_with(variables: Mapping[str, Any]) -> Any:
    """A play, as far as the texts of a change ask it: for these variables."""
    manager = SimpleNamespace(_inventory=None, extra_vars={}, get_vars=lambda play, host: variables)
    return SimpleNamespace(get_loader=DataLoader, get_variable_manager=lambda: manager)


class Loaded:
    """A playbook with its inventory.

    :param plays: as in YAML; None where the folder holds a ``site.yml`` and its inventory already.
    :param extra: extra variables.
    :param sources: the inventories in the folder.
    :param arguments: of the command line.
    """

    def __init__(
        self,
        folder: Path,
        plays: Any,
        inventory: str = INVENTORY,
        extra: Mapping[str, Any] | None = None,
        sources: Sequence[str] = ("hosts",),
        **arguments: Any,
    ) -> None:
        self.path = folder / "site.yml"
        if plays is not None:
            self.path.write_text(plays if isinstance(plays, str) else json.dumps(plays), encoding="utf-8")
            (folder / "hosts").write_text(inventory, encoding="utf-8")
        given = {"tags": (), "verbosity": 0, "extra_vars": (), "args": (str(self.path),), **arguments}
        context.CLIARGS = ImmutableDict(given)
        self.loader = DataLoader()
        self.inventory = InventoryManager(loader=self.loader, sources=[str(folder / source) for source in sources])
        self.manager = VariableManager(loader=self.loader, inventory=self.inventory)
        self.manager._extra_vars = dict(extra or {})
        HostVars(self.inventory, self.manager, self.loader)
        playbook = Playbook.load(str(self.path), variable_manager=self.manager, loader=self.loader)
        self.loader.set_basedir(str(folder))
        self.plays = playbook.get_plays()

    @property
    def play(self) -> Any:
        """The first play."""
        return self.plays[0]

    def hosts(self, play: Any = None) -> list[Any]:
        """The inventory hosts that a play targets, or the first one."""
        return list(self.inventory.get_hosts((play or self.play).hosts))

    def host(self, name: str) -> Any:
        """The inventory host of this name."""
        return self.inventory.get_host(name)

    def answer(self, host: str, **values: Any) -> None:
        """What a task has set or registered for a host, and a fact of the same name and another one."""
        self.manager.set_nonpersistent_facts(host, values)
        self.manager.set_host_facts(host, {"ansible_distribution": "Debian", **values})

    def write(self, name: str, text: str) -> None:
        """A file beside the playbook."""
        path = self.path.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def task_variables(self, host: str = "web1") -> dict[str, Any]:
        """The variables of the first task, as ansible-core gives them to an action plugin."""
        variables: dict[str, Any] = self.manager.get_vars(play=self.play, host=self.host(host), task=self.tasks[0])
        return variables

    @property
    def tasks(self) -> list[Any]:
        """The tasks of the first play."""
        return [task for block in self.play.get_tasks() for task in block]
