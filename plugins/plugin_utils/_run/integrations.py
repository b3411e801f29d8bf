# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integrations that a run reports to, and which hosts of its plays belong to each."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible import context
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

# The hosts of a play that report to one integration.
Members = tuple[list[Any], list[TargetHost]]
_Begin = Callable[[Mapping[str, Any], Connection], Reporting]


class Integrations:
    """What is reported to each integration, in the order in which they began.

    :ivar are_parted: whether the hosts do not all report to one integration.
    """

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._reportings: dict[tuple[str, str], Reporting] = {}
        # What goes to the key of the environment or ansible.cfg.
        self._without_variables: Reporting | None = None
        self._flush_arguments: Callable[[], str] | None = None
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

    def flush_arguments(self) -> str:
        """What a flush needs on its command line to find the keys that this run has found in variables."""
        return "" if self._flush_arguments is None else self._flush_arguments()

    def known_to_outbox(self) -> set[str]:
        """How the outbox knows them."""
        stores = [reporting.sink.store for reporting in self]
        return {store.integration for store in stores if store is not None}

    def members(
        self,
        play: Any,
        hosts: Sequence[Any],
        targets: Sequence[TargetHost],
        options: Mapping[str, Any] | None = None,
        begin: _Begin | None = None,
    ) -> Mapping[Reporting, Members]:
        """The hosts of a play by what they report to.

        :param options: those of the play.
        :param begin: makes what is reported to an integration that the run has not met before, from the options of its
            hosts; None for a play that is still to come, of which nothing is told either.
        """
        if not hosts:
            return {reporting: ([], []) for reporting in self}
        alike: dict[tuple[object, ...], Members] = {}
        for host, target in zip(hosts, targets, strict=True):
            members = alike.setdefault(target.alike, ([], []))
            members[0].append(host)
            members[1].append(target)
        is_whole = len(alike) == 1
        found: dict[Reporting, Members] = {}
        for part_hosts, part_targets in alike.values():
            named = zip(_options.INTEGRATION_VARIABLES, part_targets[0].alike, strict=True)
            names = [name for name, value in named if value is not None]
            if names and self._flush_arguments is None:
                self._flush_arguments = functools.partial(_flush_arguments, play, names)
            try:
                reporting = None if names else self._without_variables
                if reporting is None:
                    own = options if is_whole else None
                    if own is None:
                        own = _options.resolved(*operators_view(play, part_hosts, self._notices))
                    reporting = self._of(own, part_hosts, begin)
                    if not names and not _are_local(part_hosts):
                        self._without_variables = reporting
            except InvalidConnection as error:
                if begin is not None:
                    self.are_parted = self.are_parted or not is_whole
                    refuse(self._notices, str(error), () if is_whole and not self else part_hosts)
                continue
            if reporting is not None:
                known = found.setdefault(reporting, ([], []))
                known[0].extend(part_hosts)
                known[1].extend(part_targets)
        self.are_parted = self.are_parted or len(self._reportings) > 1
        return found

    def _of(self, options: Mapping[str, Any], hosts: Sequence[Any], begin: _Begin | None) -> Reporting | None:
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
            self._reportings[integration] = reporting = begin(options, connection)
            reporting.prepare()
        return self._reportings.get(integration)


def operators_view(play: Any, hosts: Sequence[Any], notices: Notices) -> tuple[Mapping[str, Any], Callable[[Any], Any]]:
    """The variables of a play that the operator has written, as these hosts see them, and what renders one."""
    manager = ReadOnce(_operator_variables.manager_without_answers(play.get_variable_manager()), notices)
    variables = _operator_variables.of_play(play, hosts, manager, notices)
    return variables, Templar(loader=play.get_loader(), variables=variables).template


def refuse(notices: Notices, problem: str, hosts: Sequence[Any] = ()) -> None:
    """Warn that nothing is reported, or nothing of these hosts."""
    names = ", ".join(host.name for host in hosts[:_SHOWN_HOSTS])
    if len(hosts) > _SHOWN_HOSTS:
        names += notices.said("and-more", count=len(hosts) - _SHOWN_HOSTS)
    notices.warning("hosts-not-reported" if names else "not-reported", hosts=names, problem=problem)


def _are_local(hosts: Sequence[Any]) -> bool:
    return all(host.name in C.LOCALHOST for host in hosts)


def _flush_arguments(play: Any, names: Sequence[str]) -> str:
    """What a flush needs on its command line to find a key that these variables name."""
    arguments = context.CLIARGS
    words = [word for source in arguments.get("inventory") or () for word in ("-i", source)]
    # Those that are files alone: one that was written out is a secret.
    files = [each for each in arguments.get("extra_vars") or () if str(each).startswith("@")]
    words += [word for each in files for word in ("-e", each)]
    for option, name in (("--vault-id", "vault_ids"), ("--vault-password-file", "vault_password_files")):
        words += [word for value in arguments.get(name) or () for word in (option, value)]
    words += ["--ask-vault-pass"] if arguments.get("ask_vault_pass") else []
    needed = "".join(f" {shlex.quote(str(word))}" for word in words)
    manager = _operator_variables.manager_without_answers(play.get_variable_manager())
    in_extra = any(name in manager.extra_vars for name in names)
    if (in_extra and files) or (not in_extra and _operator_variables.are_in_inventory(manager, names)):
        return needed
    return " -e flashduty_push_url=PUSH_URL"
