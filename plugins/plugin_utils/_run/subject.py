# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run runs, and where: known at its start, and true before, during and after it.

Flashduty shows the title and the description of a change's first event for as long as it shows the change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text, shortened
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import joined, natural

_SHOWN = 3
_NAME_MAX = 80
_LIMIT_MAX = 60
# Names that say nothing without the folder they are in, and folders that say nothing either.
_COMMON_NAMES = frozenset({"all", "index", "local", "main", "playbook", "site"})
_COMMON_FOLDERS = frozenset({"", "ansible", "playbooks", "project", "src", "workspace"})


class Subject(NamedTuple):
    """What a run runs, and where. Make it with :meth:`of`.

    :ivar playbook: the playbook, or the playbooks of the command line.
    :ivar play: the name of its only play; empty where there are several, or where it has none.
    :ivar plays: the names of its plays, those that a template gives left out.
    :ivar target: the limit, or the host patterns of its plays.
    :ivar limit: ``--limit`` as given.
    :ivar tags: ``--tags``; ``all``, which Ansible assumes where none are given, is none.
    :ivar path: that of the playbook that runs.
    """

    playbook: str
    play: str = ""
    plays: tuple[str, ...] = ()
    target: str = ""
    limit: str = ""
    tags: str = ""
    skip_tags: str = ""
    path: str = ""

    @classmethod
    def of(cls, path: str, plays: Sequence[Any], play: Any, arguments: Mapping[str, Any]) -> Subject:
        """The subject of a run.

        :param path: of the playbook that runs.
        :param plays: its plays, as they are written.
        :param play: the one that begins now, with its templates worked out.
        :param arguments: those of the command line, as ansible-core holds them.
        """
        paths = [str(argument) for argument in arguments.get("args") or ()]
        several = len(paths) > 1
        # Of a playbook to come, the plays are not known yet.
        known = () if several else [play if each._uuid == play._uuid else each for each in plays] or [play]
        names = [name for each in known if (name := _name_of(each))]
        patterns = [pattern for each in known for pattern in _patterns_of(each)]
        limit = plain_text(str(arguments.get("subset") or "")).strip()
        return cls(
            playbook=_listed(_shown_name(name) for name in paths) if several else _shown_name(path),
            play=names[0] if len(known) == 1 and names else "",
            plays=tuple(dict.fromkeys(names)),
            target=shortened(limit, _LIMIT_MAX) or ("all" if "all" in patterns else _listed(patterns)),
            limit=limit,
            tags=joined(sorted({*(arguments.get("tags") or ())} - {"all"}, key=natural)),
            skip_tags=joined(sorted(arguments.get("skip_tags") or (), key=natural)),
            path=path,
        )


def _shown_name(path: str) -> str:
    """How a playbook is called: by its file name, with the folder where that says more, or within its collection."""
    folder, name = os.path.split(os.path.abspath(path))
    stem = os.path.splitext(name)[0]
    *_above, root, namespace, collection, parent = ["", "", "", *folder.split(os.sep)]
    if (root, parent) == ("ansible_collections", "playbooks"):
        name = f"{namespace}.{collection}.{stem}"
    elif stem.lower() in _COMMON_NAMES and parent.lower() not in _COMMON_FOLDERS:
        name = f"{parent}/{name}"
    return shortened(plain_text(name), _NAME_MAX)


def _name_of(play: Any) -> str:
    name = plain_text(str(play.get_name() or "")).strip()
    return "" if "{{" in name or name == ",".join(_patterns_of(play)) else shortened(name, _NAME_MAX)


def _patterns_of(play: Any) -> list[str]:
    hosts = [play.hosts] if isinstance(play.hosts, str) else play.hosts or ()
    return [text for host in hosts if (text := plain_text(str(host)).strip()) and "{{" not in text]


def _listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = [*dict.fromkeys(names)]
    more = len(listed) - _SHOWN
    return shortened(", ".join(listed[:_SHOWN]), _NAME_MAX) + (f" +{more}" if more > 0 else "")
