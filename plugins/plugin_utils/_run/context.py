# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who runs the playbook, and where."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.git_checkout import checkout

# One of these is set in each job: in its environment, in AWX also among the extra variables.
_OF_JOBS = (
    *("JOB_ID", "FORGEJO_ACTIONS", "GITEA_ACTIONS", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "BUILDKITE"),
    *("JENKINS_URL", "awx_job_id", "tower_job_id"),
)


class RunContext(NamedTuple):
    """Where a run comes from.

    :ivar system: awx, gitea, forgejo, github, gitlab, azure, buildkite, jenkins or shell.
    :ivar actor: who started it; never empty.
    :ivar controller: host name of the control node; never empty.
    :ivar job_url: address of the job.
    :ivar job_name: the job's name as that system shows it.
    :ivar change_key: that of the job, stable over its retries; None where there is no job.
    :ivar branch: branch or tag that the playbook comes from.
    :ivar revision: commit that the playbook comes from.
    :ivar labels: those that Flashduty's own integration of the system gives a change, as far as they are known here.
    """

    system: str
    actor: str
    controller: str
    job_url: str | None = None
    job_name: str | None = None
    change_key: str | None = None
    branch: str | None = None
    revision: str | None = None
    labels: Mapping[str, str] = {}

    @classmethod
    def detect(
        cls, environ: Mapping[str, str], variables: Mapping[str, Any] | None = None, playbook: str | None = None
    ) -> RunContext:
        """Reads the environment and the extra variables of the run; never fails.

        :param environ: the environment of ansible-playbook.
        :param variables: extra variables; AWX tells about its job there.
        :param playbook: path of the playbook, whose git checkout tells branch and revision where the job does not.
        """
        env, texts = Texts(environ), Texts(variables or {})
        context = cls("shell", _login(env), _hostname())
        if env.first(*_OF_JOBS) or texts.first(*_OF_JOBS):
            # Not loaded where there is no job.
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.job import of_job

            context = of_job(context, env, texts)
        return _with_checkout(context, *checkout(playbook)) if playbook else context


def generated_change_key(now: float, controller: str) -> str:
    """A key for a run that nothing else names, such as ``ansible-20261123-142530-deploy01-3f9a2c41``.

    :param now: when the run starts, Unix seconds; the key shows it in UTC.
    :param controller: host name of the control node; the key shows it without its domain.
    """
    when = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    host = re.sub(r"[^A-Za-z0-9-]+", "-", controller.split(".")[0]).strip("-")[:40]
    # 32 random bits: of 128 runs within one second on machines of one name, two meet once in 500,000 times.
    return "-".join(part for part in ("ansible", when, host, secrets.token_hex(4)) if part)


class Texts:
    """A map of which only plain texts and numbers matter; everything else reads as empty."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            return ""
        return plain_text(str(value)).strip()

    def first(self, *names: str) -> str:
        return next((value for name in names if (value := self[name])), "")


def _login(env: Texts) -> str:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # Containers run under user ids that no passwd file knows.
        name = env.first("LOGNAME", "USER") or f"uid {os.getuid()}"
    return env["SUDO_USER"] or plain_text(name).strip() or f"uid {os.getuid()}"


def _hostname() -> str:
    try:
        return plain_text(socket.gethostname()).strip() or "localhost"
    except OSError:
        return "localhost"


def _with_checkout(context: RunContext, branch: str | None, revision: str | None) -> RunContext:
    # Where both tell a commit and these differ, the playbook comes from another repository than the job.
    if context.revision not in (None, revision):
        return context
    branch = context.branch or plain_text(branch or "").strip() or None
    return context._replace(branch=branch, revision=context.revision or revision)
