# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who, where and which job: read from the variables that each system documents."""

from __future__ import annotations

import datetime
import os
import pwd
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.context import (
    RunContext,
    generated_change_key,
)

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "octocat/infra",
    "GITHUB_RUN_ID": "1658821493",
    "GITHUB_RUN_NUMBER": "3",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_WORKFLOW": "Release",
    "GITHUB_JOB": "deploy",
    "GITHUB_ACTOR": "octocat",
    "GITHUB_TRIGGERING_ACTOR": "hubot",
    "GITHUB_REF_NAME": "main",
    "GITHUB_HEAD_REF": "",
    "GITHUB_SHA": "ffac537e6cbbf934b08745a378932722df287a53",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_PATH": "ops/infra",
    "CI_PIPELINE_ID": "9001",
    "CI_JOB_ID": "50370",
    "CI_JOB_NAME": "deploy: [prod, 2]",
    "CI_JOB_URL": "https://gitlab.example.com/ops/infra/-/jobs/50370",
    "CI_COMMIT_REF_NAME": "release/1.2",
    "CI_COMMIT_SHA": "1ecfd275763eff1d6b4844ea3168962458c9f27a",
    "GITLAB_USER_LOGIN": "alice",
}
AZURE = {
    "TF_BUILD": "True",
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/fabrikam/",
    "SYSTEM_TEAMPROJECT": "Fiber Shop",
    "SYSTEM_STAGENAME": "Prod",
    "SYSTEM_PHASENAME": "Deploy",
    "SYSTEM_JOBNAME": "__default",
    "SYSTEM_JOBID": "a3f1",
    "SYSTEM_JOBATTEMPT": "1",
    "BUILD_BUILDID": "77",
    "BUILD_DEFINITIONNAME": "release",
    "BUILD_REQUESTEDFOR": "Alice Doe",
    "BUILD_SOURCEBRANCH": "refs/heads/feature/x",
    "BUILD_SOURCEVERSION": "abc123",
}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_ORGANIZATION_SLUG": "acme",
    "BUILDKITE_PIPELINE_SLUG": "infra",
    "BUILDKITE_BUILD_NUMBER": "1514",
    "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/infra/builds/1514",
    "BUILDKITE_JOB_ID": "e44f9784-e20e-4b93-a21d-f41fd5869db9",
    "BUILDKITE_STEP_KEY": "deploy",
    "BUILDKITE_STEP_ID": "080b7d73-986d-4a39-a510-b34f9faf4710",
    "BUILDKITE_LABEL": "Deploy",
    "BUILDKITE_BUILD_CREATOR": "Alice Doe",
    "BUILDKITE_BRANCH": "main",
    "BUILDKITE_COMMIT": "83a20ec058e2fb00e7fa4558c4c6e81e2dcf253d",
}
JENKINS = {
    "JENKINS_URL": "https://ci.example.com/",
    "BUILD_URL": "https://ci.example.com/job/infra/job/main/15/",
    "JOB_NAME": "infra/main",
    "BUILD_NUMBER": "15",
    "GIT_BRANCH": "origin/main",
    "GIT_COMMIT": "abc123",
}
AWX_ENVIRON = {"JOB_ID": "42", "AWX_HOST": "https://awx.example.com/", "PROJECT_REVISION": "fromenv"}
AWX_VARIABLES = {
    "awx_job_id": 42,
    "awx_job_template_name": "Deploy shop",
    "awx_user_name": "alice",
    "awx_project_revision": "abc123",
    "awx_project_scm_branch": "main",
}


def context(environ: dict[str, str], variables: dict[str, Any] | None = None) -> RunContext:
    return RunContext.detect({"SUDO_USER": "sudoer", **environ}, variables)._replace(controller="c1")


def test_github() -> None:
    assert context(GITHUB) == RunContext(
        "github",
        "hubot",
        "c1",
        "https://github.com/octocat/infra/actions/runs/1658821493",
        "Release / deploy",
        "github-octocat/infra-1658821493-deploy",
        "main",
        "ffac537e6cbbf934b08745a378932722df287a53",
    )
    assert context({**GITHUB, "GITHUB_HEAD_REF": "fix"}).branch == "fix"


def test_gitea_and_forgejo_are_not_github() -> None:
    gitea = {**GITHUB, "GITHUB_SERVER_URL": "https://git.example.com", "GITEA_ACTIONS": "true"}
    found = context(gitea)
    assert (found.system, found.change_key) == ("gitea", "gitea-octocat/infra-1658821493-deploy")
    assert found.job_url == "https://git.example.com/octocat/infra/actions/runs/1658821493"
    found = context({**gitea, "FORGEJO_ACTIONS": "true"})
    assert (found.system, found.job_url) == ("forgejo", "https://git.example.com/octocat/infra/actions/runs/3")


def test_gitlab() -> None:
    assert context(GITLAB) == RunContext(
        "gitlab",
        "alice",
        "c1",
        "https://gitlab.example.com/ops/infra/-/jobs/50370",
        "deploy: [prod, 2]",
        "gitlab-ops/infra-9001-deploy-prod-2",
        "release/1.2",
        "1ecfd275763eff1d6b4844ea3168962458c9f27a",
    )


def test_azure() -> None:
    assert context(AZURE) == RunContext(
        "azure",
        "Alice Doe",
        "c1",
        "https://dev.azure.com/fabrikam/Fiber%20Shop/_build/results?buildId=77",
        "release / Prod / Deploy",
        "azure-Fiber-Shop-77-Prod-Deploy",
        "feature/x",
        "abc123",
    )


def test_buildkite() -> None:
    assert context(BUILDKITE) == RunContext(
        "buildkite",
        "Alice Doe",
        "c1",
        "https://buildkite.com/acme/infra/builds/1514#e44f9784-e20e-4b93-a21d-f41fd5869db9",
        "Deploy",
        "buildkite-acme/infra-1514-deploy",
        "main",
        "83a20ec058e2fb00e7fa4558c4c6e81e2dcf253d",
    )
    parallel = context({**BUILDKITE, "BUILDKITE_STEP_KEY": "", "BUILDKITE_PARALLEL_JOB": "0"})
    assert parallel.change_key == "buildkite-acme/infra-1514-080b7d73-986d-4a39-a510-b34f9faf4710-0"


def test_jenkins() -> None:
    assert context(JENKINS) == RunContext(
        "jenkins",
        "sudoer",
        "c1",
        "https://ci.example.com/job/infra/job/main/15/",
        "infra/main",
        "jenkins-infra/main-15",
        "main",
        "abc123",
    )
    assert context({**JENKINS, "BUILD_USER_ID": "alice", "BRANCH_NAME": "dev"}).actor == "alice"


def test_awx() -> None:
    assert context(AWX_ENVIRON, AWX_VARIABLES) == RunContext(
        "awx",
        "alice",
        "c1",
        "https://awx.example.com/#/jobs/playbook/42",
        "Deploy shop",
        "awx-awx.example.com-42",
        "main",
        "abc123",
        {"job": "Deploy shop", "job_id": "42"},
    )
    inventory = context(AWX_ENVIRON, {**AWX_VARIABLES, "awx_inventory_name": "prod"}).labels
    assert inventory == {"job": "Deploy shop", "job_id": "42", "inventory": "prod"}
    tower = context(AWX_ENVIRON, {"tower_job_id": "42", "tower_user_name": "bob", "awx_schedule_name": "nightly"})
    assert (tower.system, tower.actor, tower.revision) == ("awx", "bob", "fromenv")
    scheduled = context({}, {"awx_job_id": "43", "awx_schedule_name": "nightly"})
    assert (scheduled.actor, scheduled.job_url, scheduled.change_key) == ("nightly", None, "awx-job-43")
    assert context(AWX_ENVIRON).change_key == "awx-awx.example.com-42"
    # Other systems set JOB_ID too.
    assert context({"JOB_ID": "42"}).system == "shell"
    assert context({**GITLAB, **AWX_ENVIRON}, AWX_VARIABLES).system == "awx"


@pytest.mark.parametrize(
    ("environ", "retried"),
    [
        (GITHUB, {"GITHUB_RUN_ATTEMPT": "2", "GITHUB_TRIGGERING_ACTOR": "bob"}),
        (GITLAB, {"CI_JOB_ID": "50371", "CI_JOB_URL": "https://gitlab.example.com/ops/infra/-/jobs/50371"}),
        (AZURE, {"SYSTEM_JOBID": "b4", "SYSTEM_JOBATTEMPT": "2"}),
        (BUILDKITE, {"BUILDKITE_JOB_ID": "0f", "BUILDKITE_RETRY_COUNT": "1"}),
    ],
)
def test_the_key_of_a_job_stays_the_same_when_it_is_tried_again(
    environ: dict[str, str], retried: dict[str, str]
) -> None:
    first = context(environ).change_key
    assert first is not None
    assert context({**environ, **retried}).change_key == first


@pytest.mark.parametrize(
    ("environ", "another"),
    [
        (GITHUB, {"GITHUB_RUN_ID": "2"}),
        (GITHUB, {"GITHUB_JOB": "rollback"}),
        (GITLAB, {"CI_PIPELINE_ID": "9002"}),
        (GITLAB, {"CI_JOB_NAME": "deploy: [prod, 3]"}),
        (AZURE, {"BUILD_BUILDID": "78"}),
        (AZURE, {"SYSTEM_STAGENAME": "Test"}),
        (BUILDKITE, {"BUILDKITE_BUILD_NUMBER": "1515"}),
        (BUILDKITE, {"BUILDKITE_PARALLEL_JOB": "1"}),
        (JENKINS, {"BUILD_NUMBER": "16"}),
        (JENKINS, {"JOB_NAME": "infra/dev"}),
    ],
)
def test_another_job_has_another_key(environ: dict[str, str], another: dict[str, str]) -> None:
    assert context({**environ, **another}).change_key != context(environ).change_key


def test_a_job_that_does_not_say_what_it_is_has_neither_key_nor_link() -> None:
    for switch in ("GITHUB_ACTIONS", "GITEA_ACTIONS", "GITLAB_CI", "TF_BUILD", "BUILDKITE"):
        found = context({switch: "true"})
        assert found.system != "shell"
        assert (found.actor, found.change_key, found.job_url) == ("sudoer", None, None)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "https://bob:secret@ci.example.com/1", "file:///etc", "http://[", "//x/y", "https://"],
)
def test_only_a_plain_web_address_is_a_link(url: str) -> None:
    assert context({**JENKINS, "BUILD_URL": url}).job_url is None


def test_a_plain_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    found = RunContext.detect({})
    assert found == RunContext("shell", pwd.getpwuid(os.getuid()).pw_name, socket.gethostname())
    assert RunContext.detect({"SUDO_USER": "alice"}).actor == "alice"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    refs = tmp_path / ".git" / "refs" / "heads"
    refs.mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/hot\x07fix\n")
    (refs / "hot\x07fix").write_text(f"{GITLAB['CI_COMMIT_SHA']}\n")
    return tmp_path / "site.yml"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("hot fix", GITLAB["CI_COMMIT_SHA"])),
        ({**GITLAB}, (GITLAB["CI_COMMIT_REF_NAME"], GITLAB["CI_COMMIT_SHA"])),
        ({**GITLAB, "CI_COMMIT_REF_NAME": ""}, ("hot fix", GITLAB["CI_COMMIT_SHA"])),
        ({**GITLAB, "CI_COMMIT_SHA": ""}, (GITLAB["CI_COMMIT_REF_NAME"], GITLAB["CI_COMMIT_SHA"])),
        # The job is of another repository than the playbook.
        ({**GITLAB, "CI_COMMIT_REF_NAME": "", "CI_COMMIT_SHA": "abc"}, (None, "abc")),
    ],
)
def test_the_checkout_of_the_playbook_fills_what_the_job_does_not_tell(
    checkout: Path, environ: dict[str, str], expected: tuple[str | None, str]
) -> None:
    found = RunContext.detect(environ, playbook=str(checkout))
    assert (found.branch, found.revision) == expected


def test_a_playbook_outside_of_git_has_no_revision(tmp_path: Path) -> None:
    found = RunContext.detect({}, playbook=str(tmp_path / "site.yml"))
    assert (found.branch, found.revision) == (None, None)


def test_a_user_id_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_123)
    assert RunContext.detect({}).actor == "uid 4000000123"
    assert RunContext.detect({"USER": "\x07"}).actor == "uid 4000000123"
    assert RunContext.detect({"USER": "bob"}).actor == "bob"
    assert RunContext.detect({"LOGNAME": "cron", "USER": "bob"}).actor == "cron"


def test_a_machine_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> str:
        raise OSError("no name")

    monkeypatch.setattr(socket, "gethostname", fails)
    assert RunContext.detect({}).controller == "localhost"


_ODD = st.text(max_size=30) | st.sampled_from(["true", "https://[", "http://a/b", "\udcff", "1"])
_SWITCHES = ["GITHUB_ACTIONS", "FORGEJO_ACTIONS", "GITEA_ACTIONS", "GITLAB_CI", "TF_BUILD", "BUILDKITE", "JENKINS_URL"]
_NAMES = sorted({*GITHUB, *GITLAB, *AZURE, *BUILDKITE, *JENKINS, *AWX_ENVIRON, *_SWITCHES, "LOGNAME", "SUDO_USER"})


@given(
    environ=st.dictionaries(st.sampled_from(_NAMES), _ODD),
    switch=st.sampled_from(_SWITCHES),
    variables=st.dictionaries(st.sampled_from(sorted(AWX_VARIABLES)), _ODD | st.none() | st.lists(st.text())),
)
def test_detecting_never_fails(environ: dict[str, str], switch: str, variables: dict[str, Any]) -> None:
    found = RunContext.detect({**environ, switch: "1"}, variables)
    assert found.actor
    assert found.controller
    for text in (found.actor, found.job_url, found.change_key, found.job_name, found.branch, found.revision):
        (text or "").encode("utf-8")
        assert text != ""


def test_a_generated_key_is_readable() -> None:
    now = datetime.datetime(2026, 11, 23, 14, 25, 30, tzinfo=datetime.timezone.utc).timestamp()
    assert re.fullmatch(
        "ansible-20261123-142530-deploy01-[0-9a-f]{8}", generated_change_key(now, "deploy01.example.com")
    )
    assert re.fullmatch("ansible-20261123-142530-[0-9a-f]{8}", generated_change_key(now, "主机"))
    assert len(generated_change_key(now, "x" * 300)) < 100


def test_generated_keys_of_one_second_differ() -> None:
    assert len({generated_change_key(0, "c1") for _number in range(128)}) == 128
