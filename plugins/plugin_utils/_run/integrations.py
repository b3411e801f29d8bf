# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integrations that a run reports to, and which hosts of its plays belong to each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    InvalidConnection,
    MissingKey,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _operator_variables, _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.files import ReadOnce
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.reporting import Reporting

_SHOWN_HOSTS = 3

_Begin = Callable[[Mapping[str, Any], Connection], Reporting]


class Integrations:
    """What is reported to each integration, in the order in which they began.

    :ivar are_parted: whether the hosts do not all report to one integration.
    :ivar with_variables: the first play with a key in variables, and the names of these; None where there is none.
    """

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._reportings: dict[tuple[str, str], Reporting] = {}
        # What goes to the key of the environment or ansible.cfg.
        self._without_variables: Reporting | None = None
        self.with_variables: tuple[Any, Sequence[str]] | None = None
        self.are_parted = False

    def __iter__(self) -> Iterator[Reporting]:
        return iter(self._reportings.values())

    def __bool__(self) -> bool:
        return bool(self._reportings)

    def redact(self, text: str) -> str:
        """The text without the keys of the run."""
        for reporting in self:
            text = reporting.connection.redact(text)
        return text

    def members(
        self,
        play: Any,
        hosts: Sequence[TargetHost],
        options: Mapping[str, Any] | None = None,
        begin: _Begin | None = None,
    ) -> Mapping[Reporting, list[TargetHost]]:
        """The hosts of a play by what they report to.

        :param options: those of the play.
        :param begin: makes what is reported to an integration that the run has not met before, from the options of its
            hosts; None for a play that is still to come, of which nothing is told either.
        """
        if not hosts:
            return {reporting: [] for reporting in self}
        parts: dict[tuple[object, ...], list[TargetHost]] = {}
        for host in hosts:
            parts.setdefault(host.alike, []).append(host)
        is_whole = len(parts) == 1
        found: dict[Reporting, list[TargetHost]] = {}
        for values, part in parts.items():
            named = zip(_options.INTEGRATION_VARIABLES, values, strict=True)
            names = [name for name, value in named if value is not None]
            if names and self.with_variables is None:
                self.with_variables = play, names
            try:
                reporting = None if names else self._without_variables
                if reporting is None:
                    own = options if is_whole else None
                    if own is None:
                        own = _options.resolved(*operators_view(play, [host.host for host in part], self._notices))
                    reporting = self._of(own, part, begin)
                    if not names and not _are_local(part):
                        self._without_variables = reporting
            except InvalidConnection as error:
                if begin is not None:
                    self.are_parted = self.are_parted or not is_whole
                    refuse(self._notices, str(error), () if is_whole and not self else part)
                continue
            if reporting is not None:
                found.setdefault(reporting, []).extend(part)
        self.are_parted = self.are_parted or len(self._reportings) > 1
        return found

    def _of(self, options: Mapping[str, Any], hosts: Sequence[TargetHost], begin: _Begin | None) -> Reporting | None:
        """What goes to the integration that the options name; None where that has not begun and is not to."""
        try:
            connection = _options.connection_of(options)
        except MissingKey:
            # What the control node does for the run belongs to the run.
            if self and _are_local(hosts):
                return next(iter(self))
            raise
        integration = (connection.api_url, connection.integration_key)
        if integration not in self._reportings and begin is not None:
            self._reportings[integration] = begin(options, connection)
        return self._reportings.get(integration)


def operators_view(play: Any, hosts: Sequence[Any], notices: Notices) -> tuple[Mapping[str, Any], Callable[[Any], Any]]:
    """The variables of a play that the operator has written, as these hosts see them, and what renders one."""
    manager = ReadOnce(_operator_variables.manager_without_answers(play.get_variable_manager()), notices)
    variables = _operator_variables.of_play(play, hosts, manager, notices)
    return variables, Templar(loader=play.get_loader(), variables=variables).template


def refuse(notices: Notices, problem: str, hosts: Sequence[TargetHost] = ()) -> None:
    """Warn that nothing is reported, or nothing of these hosts."""
    names = ", ".join(host.name for host in hosts[:_SHOWN_HOSTS])
    if len(hosts) > _SHOWN_HOSTS:
        names += notices.said("and-more", count=len(hosts) - _SHOWN_HOSTS)
    notices.warning("hosts-not-reported" if names else "not-reported", hosts=names, problem=problem)


def _are_local(hosts: Sequence[TargetHost]) -> bool:
    return all(host.name in C.LOCALHOST for host in hosts)
