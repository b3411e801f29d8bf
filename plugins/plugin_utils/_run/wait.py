# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run waits for the delivery, and tells what has become of it.

Where the courier outlives the run, waiting buys no more than a warning. Where it dies with the job, what is not
delivered by then stays in the outbox until somebody delivers it, if the outbox stays at all.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible import context

from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _operator_variables
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import DOCTOR, FLUSH
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import GIVEN_UP
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import RunDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import counted

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.integrations import Integrations

# Seconds.
_COURIER_LIVES_ON = 2.0
_ENDS_WITH_THE_JOB = 10.0
# They start one command, and end with it: everything else in the container ends with them.
_CONTAINER_INITS = frozenset({"catatonit", "docker-init", "dumb-init", "podman-init", "tini"})
# Seconds; what another integration has begun since may be on its way.
_OTHERS_OLDER_THAN = 600.0


def wait(delivery: RunDelivery, seconds: float, integrations: Integrations | None) -> None:
    """Wait at most so many seconds, and tell the user what has become of the events.

    :param integrations: all that the run reports to; None for that of the delivery alone.
    """
    notices, store, run = delivery.notices, delivery.store, delivery.run
    try:
        before = store.look(lambda outbox: outbox.claims.try_now(run))
    except OutboxError:  # in use for now; the courier is woken in any case
        before = None
    if delivery.wake_courier():
        until = time.time() + seconds
        try:
            # Where nothing gets on, the courier goes on trying when the run has gone.
            delivery.courier.wait(
                lambda outbox: not outbox.events.pending(run) or outbox.claims.is_stuck(run, before, until),
                seconds,
            )
        except (OSError, NotImplementedError) as error:
            delivery.nobody = str(error)
        except OutboxError as error:
            notices.debug(f"the delivery cannot be waited for: {error}")
    try:
        store.look(lambda outbox: _tell(delivery, outbox, integrations))
    except OutboxError as error:  # stored it is, and whoever delivers it will tell
        notices.debug(f"the state of the delivery cannot be read: {error}")


def _tell(delivery: RunDelivery, outbox: Outbox, integrations: Integrations | None) -> None:
    """Tell the user what has become of the events."""
    notices = delivery.notices

    def warn(name: str, count: int = 0, **values: Any) -> None:
        flush = flush_command(integrations)
        notices.warning(name, events=counted(count, "event"), flush=flush, doctor=DOCTOR, **values)

    refusals = outbox.events.take_refusals()
    given_up = [refusal for refusal in refusals if refusal.error_code == GIVEN_UP]
    refused = [refusal for refusal in refusals if refusal.error_code != GIVEN_UP]
    is_delivered = not outbox.events.pending(delivery.run)
    waiting = 0 if is_delivered else outbox.events.pending()
    if waiting and delivery.nobody:
        warn("nobody-delivers", count=waiting, reason=delivery.nobody, folder=outbox.folder)
    elif waiting:
        reason = outbox.claims.pause.error or notices.said("no-answer-yet")
        # The first process of a container takes all others with it.
        name = "not-delivered-in-container" if delivery.process.pid == 1 else "not-delivered-yet"
        warn(name, count=waiting, reason=reason, folder=outbox.folder)
    problem = outbox.claims.sharing_problem if delivery.store.connection.outbox_url else None
    if problem is not None:
        # Once for all integrations: they share one outbox.
        notices.warning("not-shared", subject="not-shared", problem=problem)
    for left in outbox.integrations.left_over(older_than=_OTHERS_OLDER_THAN) if is_delivered else ():
        stores = [each.sink.store for each in integrations or ()]
        if left.integration not in {store.integration for store in stores if store is not None}:
            warn("of-other-integration", integration=left.name, what=left.text)
    if given_up:
        warn("given-up", count=len(given_up), reason=given_up[0].error)
    if refused:
        first = refused[0]
        warn(
            "refused",
            count=len(refused),
            reason=first.error,
            http_status=first.http_status,
            change_key=first.change_key,
            request_id=first.request_id or "none",
        )


def flush_command(integrations: Integrations | None) -> str:
    """How to flush, with the keys that a run has found in variables."""
    arguments = ""
    if integrations is not None and integrations.with_variables is not None:
        with suppress(Exception):  # the warning matters more
            arguments = _flush_arguments(*integrations.with_variables)
    return FLUSH + arguments


def _flush_arguments(play: Any, names: Sequence[str]) -> str:
    """What a flush needs on its command line to find a key that these variables of a play name."""
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
    if (in_extra and files) or (not in_extra and _are_in_inventory(manager, names)):
        return needed
    return " -e flashduty_push_url=PUSH_URL"


def _are_in_inventory(manager: Any, names: Iterable[str]) -> bool:
    """Whether any host has one of the variables from the inventory, not only from a play or a command line.

    :param manager: one of :func:`manager_without_answers`, which is not used any more after this.
    """
    # ansible-core reads the folder of the playbook as well, where that of another playbook would be another one.
    manager.safe_basedir = False
    manager._extra_vars = {}
    hosts = manager._inventory.get_hosts(ignore_limits=True, ignore_restrictions=True)
    for host in _operator_variables.one_of_each_kind(hosts, manager._inventory):
        with suppress(Exception):  # whatever stands in files and templates
            if not set(names).isdisjoint(manager.get_vars(host=host)):
                return True
    return False


def automatic_seconds(system: str, environ: Mapping[str, str]) -> float:
    """2 seconds where the courier outlives the run, 10 where everything ends with the job.

    :param system: which the run is a job of, see :attr:`RunContext.system`.
    :param environ: the environment of ansible-playbook.
    """
    is_job = system != "shell" or environ.get("CI", "").lower() not in ("", "0", "false")
    return _ENDS_WITH_THE_JOB if is_job or _is_service(environ) or _is_container_command() else _COURIER_LIVES_ON


def _is_service(environ: Mapping[str, str]) -> bool:
    """Whether systemd has started this as a service, and will end every process of it.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24INVOCATION_ID
    """
    return bool(environ.get("INVOCATION_ID"))


def _is_container_command() -> bool:
    """Whether this is what a container was started for: it ends with its first process."""
    try:
        if os.getsid(0) == os.getsid(1):
            return True
        with open("/proc/1/comm", encoding="utf-8") as name:
            return name.read().strip() in _CONTAINER_INITS
    except (OSError, UnicodeError):  # no Linux
        return False
