# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events shown instead of sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml
from ansible import constants as C  # noqa: N812
from ansible.plugins.loader import callback_loader

try:
    from ansible.module_utils.secrets import mask_secrets
except ImportError:  # before ansible-core 2.22
    mask_secrets = None

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change

_FOR_PEOPLE = ("default", "minimal", "oneline")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def document(event: Mapping[str, Any], notices: Notices) -> str:
    """A whole event as a YAML document under a heading.

    :param event: :meth:`ChangeEvent.to_dict`.
    """
    body = yaml.dump(dict(event), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10**6)
    if mask_secrets is not None and mask_secrets(body) != body:
        body = f"# {notices.said('preview-masked')}\n{body}"
    return f"--- # {notices.said('preview-heading')}\n{body}"


def show(display: Any, event: Mapping[str, Any], notices: Notices) -> None:
    """Show an event: on the standard output, or on the standard error where the output may be for a program.

    :param display: ansible-core's ``Display``.
    :param event: :meth:`ChangeEvent.to_dict`.
    """
    display.display(document(event, notices), stderr=not _output_is_for_people())


def _output_is_for_people() -> bool:
    """Whether the callback that writes the standard output writes as ansible-core's own does."""
    name = C.DEFAULT_STDOUT_CALLBACK
    if name.rpartition(".")[2] in _FOR_PEOPLE:
        return True
    plugin = callback_loader.get(name, class_only=True)
    return any(base.__module__ == "ansible.plugins.callback.default" for base in getattr(plugin, "__mro__", ()))


class Preview:
    """Shows events on the terminal.

    :param display: ansible-core's ``Display``.
    """

    store = None

    def __init__(self, display: Any, notices: Notices) -> None:
        self._display = display
        self._notices = notices

    def deliver_what_waits(self) -> None:
        """Nothing is delivered."""

    def put(self, events: Sequence[ChangeEvent]) -> None:
        """Events of changes that begin or go on."""
        for event in events:
            show(self._display, event.to_dict(), self._notices)

    def remark(self, changes: Iterable[Change]) -> None:
        """From what the label ``env`` of changes that begin was guessed, as a comment of their events."""
        for origin in sorted({change.labels.env_origin() for change in changes} - {""}):
            text = self._notices.said("env-guessed", reason=origin)
            self._display.display(f"# {text}", stderr=not _output_is_for_people())

    def close(self, events: Sequence[ChangeEvent]) -> None:
        """The last events of the run."""
        self.put(events)

    def wait(self, seconds: float, integrations: object = None) -> None:
        """Nothing is waited for."""
