# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As which job of which system a playbook runs.

A job's change key stays the same when the job is tried again, so that the tries make one change. It is made of what
the system keeps over a retry, which excludes GitLab's ``CI_JOB_ID``, GitHub's ``GITHUB_RUN_ATTEMPT``, Azure's
``SYSTEM_JOBID`` and Buildkite's ``BUILDKITE_JOB_ID``. Jobs of a matrix on GitHub share a key, for nothing in their
environment tells them apart; where they run one playbook without different limits or inventories, they need keys of
their own. AWX makes a new job, and so a new change, of a relaunch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text, shortened
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.context import RunContext, Texts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.git_checkout import checkout_root

_UNSAFE_IN_KEY = re.compile(r"[^\w.@/+-]+")
_KEY_PART_MAX = 80
_RUN_NAME_MAX = 60
# Where the systems say which folder a job works in: GitLab, GitHub and its like, Jenkins, Azure, Buildkite.
_JOB_FOLDERS = (
    "CI_PROJECT_DIR",
    "GITHUB_WORKSPACE",
    "WORKSPACE",
    "BUILD_SOURCESDIRECTORY",
    "BUILDKITE_BUILD_CHECKOUT_PATH",
)


def of_job(context: RunContext, env: Texts, variables: Texts) -> RunContext:
    """The context with what the job tells that the run is a part of, if there is one."""
    # AWX may run on a machine that is an agent of another system.
    if variables.first("awx_job_id", "tower_job_id") or (env["JOB_ID"] and env["AWX_HOST"]):
        return _cleaned(_awx(context, env, variables))
    read = next((read for names, read in _SYSTEMS.items() if all(env[name] for name in names)), None)
    return context if read is None else _cleaned(read(context, env))


def key_within_job(
    job_key: str, arguments: Mapping[str, Any], playbook: str, pattern: Sequence[str], environ: Mapping[str, str]
) -> str:
    """The key of a run, which a retry of its job has too, but no other run of that job.

    A job may run several playbooks or one for several inventories, one of them may start another, and a matrix of jobs
    may run one playbook for several limits at once: with one key, the end of one would close the change of another.

    :param job_key: :attr:`RunContext.change_key`.
    :param arguments: those of the command line, as ansible-core holds them.
    :param playbook: what runs where the command line names no playbook.
    :param pattern: that of the first play.
    :param environ: the environment, which names the folder that the job works in.
    """
    playbooks, limit = arguments.get("args") or (playbook,), arguments.get("subset")
    name = "+".join(posixpath.basename(each) for each in playbooks) + (f"@{limit}" if limit else "")
    # A retry may work in another folder, on another machine.
    roots = [environ[variable] for variable in _JOB_FOLDERS if environ.get(variable)]
    parts = [[_below(path, roots) for path in paths] for paths in (playbooks, arguments.get("inventory") or ())]
    tags = [sorted(arguments.get(option) or ()) for option in ("tags", "skip_tags")]
    whole = json.dumps([*parts, limit, *tags, [*pattern]])
    digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{job_key}/{shortened(plain_text(name), _RUN_NAME_MAX)}-{digest}"


def _below(path: str, roots: Iterable[str]) -> str:
    """A path below the folder of the job, or of the git checkout that it is in; what is no path as it is."""
    if "," in path or not os.path.exists(path):
        return path
    real = os.path.realpath(path)
    for root in (*roots, checkout_root(real)):
        if root and os.path.commonpath([real, folder := os.path.realpath(root)]) == folder:
            return os.path.relpath(real, folder)
    return real


def _cleaned(context: RunContext) -> RunContext:
    url = context.job_url or ""
    parts = _split(url)
    usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    return context._replace(
        job_url=url if usable else None,
        job_name=context.job_name or None,
        branch=context.branch or None,
        revision=context.revision or None,
        labels={name: value for name, value in context.labels.items() if value},
    )


def _split(url: str) -> SplitResult:
    """The parts of an address; of what is none, nothing."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _key(system: str, parts: Iterable[str]) -> str | None:
    """The parts of a key; the first two identify the job, so without them there is no key."""
    texts = [_UNSAFE_IN_KEY.sub("-", part).strip("-")[:_KEY_PART_MAX] for part in parts]
    return "-".join([system, *(text for text in texts if text)]) if all(texts[:2]) else None


def _awx(context: RunContext, env: Texts, variables: Texts) -> RunContext:
    """https://ansible.readthedocs.io/projects/awx/en/latest/userguide/job_templates.html#extra-variables"""

    def value(name: str) -> str:
        return variables.first(f"awx_{name}", f"tower_{name}")

    job = value("job_id") or env["JOB_ID"]
    template = value("job_template_name")
    host = env["AWX_HOST"].rstrip("/")
    return context._replace(
        system="awx",
        actor=value("user_name") or value("schedule_name") or context.actor,
        job_url=f"{host}/#/jobs/playbook/{job}",
        job_name=template or f"job {job}",
        change_key=_key("awx", (_split(host).hostname or "job", job)),
        branch=value("job_scm_branch") or value("project_scm_branch"),
        revision=value("project_revision") or env["PROJECT_REVISION"],
        labels={"job": template, "job_id": job, "inventory": value("inventory_name")},
    )


def _actions(context: RunContext, env: Texts, system: str, run_in_url: str = "GITHUB_RUN_ID") -> RunContext:
    """https://docs.github.com/en/actions/reference/workflows-and-actions/variables

    https://docs.gitea.com/usage/actions/actions-variables
    """
    repository, run, job = env["GITHUB_REPOSITORY"], env["GITHUB_RUN_ID"], env["GITHUB_JOB"]
    return context._replace(
        system=system,
        actor=env.first("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR") or context.actor,
        job_url=f"{env['GITHUB_SERVER_URL'].rstrip('/')}/{repository}/actions/runs/{env[run_in_url]}",
        job_name=" / ".join(part for part in (env["GITHUB_WORKFLOW"], job) if part),
        change_key=_key(system, (repository, run, job)),
        branch=env.first("GITHUB_HEAD_REF", "GITHUB_REF_NAME"),
        revision=env["GITHUB_SHA"],
    )


def _gitlab(context: RunContext, env: Texts) -> RunContext:
    """https://docs.gitlab.com/ci/variables/predefined_variables/"""
    job = env["CI_JOB_NAME"]
    return context._replace(
        system="gitlab",
        actor=env.first("GITLAB_USER_LOGIN", "GITLAB_USER_NAME") or context.actor,
        job_url=env.first("CI_JOB_URL", "CI_PIPELINE_URL"),
        job_name=job,
        change_key=_key("gitlab", (env["CI_PROJECT_PATH"], env["CI_PIPELINE_ID"], job)),
        branch=env.first("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME"),
        revision=env["CI_COMMIT_SHA"],
    )


def _azure(context: RunContext, env: Texts) -> RunContext:
    """https://learn.microsoft.com/en-us/azure/devops/pipelines/build/variables"""
    collection = env.first("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI").rstrip("/")
    project, build = env["SYSTEM_TEAMPROJECT"], env["BUILD_BUILDID"]
    stage_and_job = [env["SYSTEM_STAGENAME"], env["SYSTEM_PHASENAME"], env["SYSTEM_JOBNAME"]]
    # What has no name of its own is called __default there.
    names = [*dict.fromkeys(name for name in stage_and_job if name and name != "__default")]
    branch = env.first("SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCH")
    return context._replace(
        system="azure",
        actor=env.first("BUILD_REQUESTEDFOR", "BUILD_QUEUEDBY") or context.actor,
        job_url=f"{collection}/{quote(project)}/_build/results?buildId={build}",
        job_name=" / ".join(part for part in (env["BUILD_DEFINITIONNAME"], *names) if part),
        change_key=_key("azure", (project, build, *names)),
        branch=re.sub(r"^refs/(heads|tags)/", "", branch),
        revision=env["BUILD_SOURCEVERSION"],
    )


def _buildkite(context: RunContext, env: Texts) -> RunContext:
    """https://buildkite.com/docs/pipelines/configure/environment-variables"""
    job = env["BUILDKITE_JOB_ID"]
    pipeline = "/".join(part for part in (env["BUILDKITE_ORGANIZATION_SLUG"], env["BUILDKITE_PIPELINE_SLUG"]) if part)
    return context._replace(
        system="buildkite",
        actor=env.first("BUILDKITE_BUILD_CREATOR", "BUILDKITE_BUILD_AUTHOR") or context.actor,
        job_url=env["BUILDKITE_BUILD_URL"] + (f"#{job}" if job else ""),
        job_name=env.first("BUILDKITE_LABEL", "BUILDKITE_PIPELINE_NAME"),
        change_key=_key(
            "buildkite",
            (
                pipeline,
                env["BUILDKITE_BUILD_NUMBER"],
                env.first("BUILDKITE_STEP_KEY", "BUILDKITE_STEP_ID"),
                env["BUILDKITE_PARALLEL_JOB"],
            ),
        ),
        branch=env.first("BUILDKITE_BRANCH", "BUILDKITE_TAG"),
        revision=env["BUILDKITE_COMMIT"],
    )


def _jenkins(context: RunContext, env: Texts) -> RunContext:
    """https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables"""
    # BUILD_USER_ID comes from the plugin build-user-vars.
    return context._replace(
        system="jenkins",
        actor=env.first("BUILD_USER_ID", "BUILD_USER", "CHANGE_AUTHOR") or context.actor,
        job_url=env["BUILD_URL"],
        job_name=env["JOB_NAME"],
        change_key=_key("jenkins", (env["JOB_NAME"], env["BUILD_NUMBER"])),
        branch=env.first("CHANGE_BRANCH", "BRANCH_NAME") or re.sub(r"^origin/", "", env["GIT_BRANCH"]),
        revision=env["GIT_COMMIT"],
    )


# What is set in a job of which system. The first counts: Gitea and Forgejo set the variables of GitHub as well.
_SYSTEMS: Mapping[tuple[str, ...], Callable[[RunContext, Texts], RunContext]] = {
    # Forgejo addresses a run by its number in the repository, Gitea since 1.26 by its id, as GitHub does.
    ("FORGEJO_ACTIONS",): functools.partial(_actions, system="forgejo", run_in_url="GITHUB_RUN_NUMBER"),
    ("GITEA_ACTIONS",): functools.partial(_actions, system="gitea"),
    ("GITHUB_ACTIONS",): functools.partial(_actions, system="github"),
    ("GITLAB_CI",): _gitlab,
    ("TF_BUILD",): _azure,
    ("BUILDKITE",): _buildkite,
    ("JENKINS_URL", "BUILD_NUMBER"): _jenkins,
}
