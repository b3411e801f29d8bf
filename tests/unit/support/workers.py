# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugins as a worker of ansible-playbook makes them, in the process of the test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from ansible.template import Templar
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import TaskAction

_Action = TypeVar("_Action", bound=TaskAction)


class Worker:
    """Works for web1 on the one task of a play.

    :param task: as in YAML; its module is ``module``.
    :param arguments: those of the command line.
    """

    def __init__(
        self, folder: Path, module: str, options: Mapping[str, Any], task: Mapping[str, Any], **arguments: Any
    ) -> None:
        play = {"hosts": "web", "gather_facts": False, "tasks": [{module: dict(options), **task}]}
        self._loaded = Loaded(folder, [play], **arguments)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables of the task, as ansible-core gives them to an action plugin."""
        loaded = self._loaded
        found = loaded.manager.get_vars(play=loaded.play, host=loaded.host("web1"), task=loaded.tasks[0])
        return dict(found)

    def action(self, kind: type[_Action], transport: str = "ssh") -> _Action:
        """The action plugin of the task.

        :param transport: that of the connection to the host that the task works on.
        """
        connection = SimpleNamespace(transport=transport, _shell=SimpleNamespace(tmpdir="/tmp/of/that/host"))
        loader = self._loaded.loader
        return kind(self._loaded.tasks[0], connection, None, loader, Templar(loader=loader, variables={}), None)
