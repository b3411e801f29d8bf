# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories in files, and the values of their hosts' variables: ours, and what ansible-core itself says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.parsing import vault
from ansible.parsing.vault import VaultSecret
from ansible.template import Templar
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import MISSING, plain
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import LABELS_VARIABLE, TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import manager_without_answers

NAMES = ("service", "cluster", "region", "team", "flashduty_labels")
PLAY = [{"hosts": "all", "gather_facts": False}]
SECRET = VaultSecret(b"open sesame")


class Run(Loaded):
    """The first play of ``site.yml`` in a folder."""

    def __init__(self, folder: Path, sources: tuple[str, ...] = ("hosts.yml",), extra: Mapping[str, Any] | None = None):
        # From ansible-core 2.19 on, ansible-playbook hands over its vault secrets once for the whole process.
        secrets = getattr(vault, "VaultSecretsContext", None)
        if secrets and secrets.current(optional=True) is None:
            secrets.initialize(secrets([("default", SECRET)]))
        super().__init__(folder, None, sources=sources, extra=extra)
        self.loader.set_vault_secrets([("default", SECRET)])
        self.notices = Notices()

    def targets(self, names: tuple[str, ...] = NAMES, limit: int = 200) -> dict[str, TargetHost]:
        """The hosts of the play by their names.

        :param limit: for how many of them ansible-core may be asked for all variables.
        """
        return {target.name: target for target in targets(self.play, self.hosts(), names, self.notices, limit)}

    def values(self, names: tuple[str, ...] = NAMES, limit: int = 200) -> dict[str, Mapping[str, Any]]:
        """The values that we find for each host."""
        return {name: target.variables for name, target in self.targets(names, limit).items()}

    def core_values(self, names: tuple[str, ...] = NAMES) -> dict[str, Mapping[str, Any]]:
        """The values that ansible-core finds; where a template fails there is none."""
        return {host.name: self._core_values(host, names) for host in self.hosts()}

    def _core_values(self, host: Any, names: tuple[str, ...]) -> dict[str, Any]:
        variables = self.manager.get_vars(play=self.play, host=host)
        templar = Templar(loader=self.loader, variables=variables)
        # What a host answers does not count for this one.
        written = manager_without_answers(self.manager).get_vars(play=self.play, host=host)
        variables = {name: value for name, value in variables.items() if name != LABELS_VARIABLE}
        if LABELS_VARIABLE in written:
            variables[LABELS_VARIABLE] = written[LABELS_VARIABLE]

        def rendered(raw: Any) -> Any:
            if isinstance(raw, Mapping):
                entries = {str(key): rendered(item) for key, item in raw.items()}
                return {key: value for key, value in entries.items() if value is not MISSING}
            with contextlib.suppress(Exception):
                return plain(templar.template(raw))
            return MISSING

        values = {name: rendered(variables[name]) for name in names if name in variables}
        return {name: value for name, value in values.items() if value is not MISSING}


def write(folder: Path, **files: Any) -> None:
    """Write files; ``__`` in a name stands for ``/``. What is not text is written as JSON, which is YAML."""
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.with_name(path.name + ".yml")
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def inventory_of(hosts: Mapping[str, Any], groups: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An inventory with these hosts, with their variables, and groups, as in YAML."""
    return {"all": {"hosts": dict(hosts), "children": dict(groups or {})}}
