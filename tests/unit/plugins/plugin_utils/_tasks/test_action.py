# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a task runs, with which options it reaches Flashduty, what another host gets of them, and how it fails."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from outboxes import event
from workers import Worker

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import ChangeQuery
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    InvalidConnection,
    MissingAppKey,
    MissingKey,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import folders, spool
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import (
    NotReported,
    TaskAction,
    TaskConnection,
    ansible_playbook,
    failure,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import (
    CourierDelivery,
    DelegatedDelivery,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.report import ReportFailed

URL = "https://flashduty.example"
INFO = "flashcat.flashduty.flashduty_change_info"
ELSEWHERE = {"delegate_to": "bastion"}
FOUND = {"changes": [{"change_key": "a"}], "total": 1, "truncated": False}


class Doing(TaskAction):
    """An action; what a module returns on the other host is played."""

    notices = Notices()

    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def _execute_module(self, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.executed = (module_name, module_args)
        self.answer: dict[str, Any] = getattr(self, "answer", FOUND)
        return self.answer

    def _remove_tmp_path(self, tmp_path: str, force: bool = False) -> None:
        self.removed = tmp_path
        raise AnsibleConnectionFailure("the host has gone")


Makes = Callable[..., TaskConnection]


@pytest.fixture
def made(tmp_path: Path) -> Makes:
    """Makes the connection of a task with these options of its own.

    :param task: what else the task has.
    :param variables: extra variables.
    """

    def make(
        options: Mapping[str, Any],
        task: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        **how: bool,
    ) -> TaskConnection:
        given = {"change_status": "Done", "change_key": "a", "title": "t", **options}
        module = "flashcat.flashduty.flashduty_change"
        worker = Worker(tmp_path, module, given, task or {}, extra=variables or {})
        return TaskConnection(worker.action(Doing), options, worker.variables, **how)

    return make


def executed(where: TaskConnection) -> tuple[str, dict[str, Any]]:
    """The module that ran on the other host, and its arguments."""
    name, arguments = where._action.executed
    return name, arguments


@pytest.mark.parametrize(
    ("task", "transport", "elsewhere"),
    [({}, "ssh", False), (ELSEWHERE, "ssh", True), (ELSEWHERE, "local", False), ({"delegate_to": ""}, "ssh", False)],
)
def test_only_a_task_that_is_delegated_over_a_network_runs_elsewhere(
    tmp_path: Path, task: dict[str, Any], transport: str, elsewhere: bool
) -> None:
    worker = Worker(tmp_path, "debug", {"msg": "x"}, task)
    assert worker.action(Doing, transport).runs_elsewhere is elsewhere


def test_a_host_that_has_gone_meanwhile_does_not_fail_the_task(tmp_path: Path) -> None:
    action = Worker(tmp_path, "debug", {"msg": "x"}, ELSEWHERE).action(Doing)
    action.cleanup()
    assert action.removed == "/tmp/of/that/host"


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (OSError("no room"), {}),
        (InvalidConnection("timeout", "must be above 0"), {}),
        (ReportFailed("no", {"queued": True, "failed": False}), {"queued": True}),
        (
            ApiError("no", False, 401, "Unauthorized", "r-1"),
            {"error": {"code": "Unauthorized", "http_status": 401, "message": "no"}, "request_id": "r-1"},
        ),
    ],
)
def test_a_task_fails_with_the_text_of_the_error_and_what_is_known_beside_it(
    error: Exception, result: dict[str, Any]
) -> None:
    assert failure(error, Notices()) == {**result, "failed": True, "msg": str(error)}


def test_the_process_of_the_run_is_the_one_that_forked_the_worker() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with ours, theirs:
        worker = multiprocessing.get_context("fork").Process(target=lambda: theirs.send(ansible_playbook()))
        worker.start()
        found = ours.recv()
        worker.join()
    assert found == ansible_playbook() == Process.of(os.getpid())


# On the control node


def test_the_task_goes_before_variables_and_these_before_the_environment(
    made: Makes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLASHDUTY_INTEGRATION_KEY", "of-the-environment")
    monkeypatch.setenv("FLASHDUTY_TIMEOUT", "7")
    monkeypatch.setenv("FLASHDUTY_API_URL", "https://of.the.environment")
    monkeypatch.setenv("FLASHDUTY_STATE_DIR", str(tmp_path / "environment"))
    where = made({"timeout": 3.0}, variables={"flashduty_timeout": 5, "flashduty_api_url": URL})
    assert where.connection == Connection(URL, "of-the-environment", timeout=3.0)
    assert where.state_dir == where.store.configured == str(tmp_path / "environment")
    assert made({"state_dir": str(tmp_path)}).store.configured == str(tmp_path)


def test_without_a_key_only_what_reads_can_do(made: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingKey):
        made({})
    with pytest.raises(MissingAppKey):
        made({}, reading=True)
    assert made({"app_key": "app"}, reading=True).connection.integration_key == ""
    monkeypatch.setenv("FLASHDUTY_PREVIEW", "true")
    assert made({}).preview


def test_who_turned_reports_off_can_still_flush_and_read(made: Makes) -> None:
    variables = {"flashduty_enabled": False}
    with pytest.raises(NotReported, match="flashduty_enabled is false"):
        made({"integration_key": "k"}, variables=variables, reporting=True)
    assert made({"integration_key": "k"}, variables=variables).connection.integration_key == "k"


def test_files_are_read_here_and_the_courier_delivers(made: Makes, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("of-the-file\n")
    where = made({"integration_key_file": str(key)})
    assert where.connection.integration_key == "of-the-file"
    assert isinstance(where.delivery(where.store), CourierDelivery)
    with pytest.raises(InvalidConnection, match="ca_path: cannot read"):
        made({"integration_key": "k", "ca_path": str(tmp_path / "absent")})


@pytest.mark.parametrize(("task", "preview", "left"), [({}, "", 0), ({"check_mode": True}, "", 1), ({}, "true", 1)])
def test_who_only_looks_leaves_the_spool_where_it_is(
    made: Makes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: dict[str, Any],
    preview: str,
    left: int,
) -> None:
    monkeypatch.setattr(folders, "_ROOTS", (str(tmp_path),))
    monkeypatch.setattr(folders, "_home", lambda: "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("FLASHDUTY_PREVIEW", preview)
    state_dir = str(tmp_path / "state")
    where = made({"integration_key": "k", "state_dir": state_dir}, task)
    (folder,) = folders.spool_folders(state_dir)
    spool.make(folder, state_dir, where.connection, None)
    with Outbox(folder, where.connection) as outbox:
        outbox.put(event())
    where.store.take_in()
    assert len(Outbox.spools(state_dir)) == left


def test_what_flashduty_shows_is_asked_for_with_an_app_key_only(made: Makes) -> None:
    assert made({"integration_key": "k"}).remote_state is None
    assert made({"integration_key": "k", "app_key": "app"}).remote_state is not None


# On another host


def test_another_host_gets_its_own_files_as_the_task_names_them_and_none_is_read_here(made: Makes) -> None:
    files = {name: f"~/{name}" for name in ("ca_path", "client_cert", "client_key")}
    where = made({"integration_key": "k", "app_key": "app", "api_url": URL, **files}, ELSEWHERE)
    connection = where.connection
    assert (connection.ca_path, connection.client_cert, connection.client_key) == (None, None, None)
    where.find(ChangeQuery.by_key("a", 1_800_000_000.0))
    _name, arguments = executed(where)
    assert {name: arguments[name] for name in files} == files
    assert (arguments["integration_key"], arguments["app_key"], arguments["api_url"]) == ("k", "app", URL)
    assert isinstance(where.delivery(where.store), DelegatedDelivery)


def test_what_variables_name_are_files_there_too_but_a_key_file_of_the_environment_is_read_here(
    made: Makes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("of-the-file")
    monkeypatch.setenv("FLASHDUTY_INTEGRATION_KEY_FILE", str(tmp_path / "key"))
    where = made({"app_key": "app"}, ELSEWHERE, {"flashduty_ca_path": "/there/ca.pem"})
    where.find(ChangeQuery.by_key("a", 1_800_000_000.0))
    _name, arguments = executed(where)
    assert (where.connection.ca_path, arguments["ca_path"]) == (None, "/there/ca.pem")
    assert arguments["integration_key"] == "of-the-file"
    assert "integration_key_file" not in arguments


def test_a_key_that_only_another_host_can_read_is_read_there(made: Makes) -> None:
    where, same, other = (
        made({"integration_key_file": path, "app_key": "app"}, {"delegate_to": host})
        for host, path in (("bastion", "~/key"), ("bastion", "~/key"), ("another", "~/key"))
    )
    assert where.connection.integration_key == ""
    where.find(ChangeQuery.by_key("a", 1_800_000_000.0))
    _name, arguments = executed(where)
    assert arguments["integration_key_file"] == "~/key"
    assert "integration_key" not in arguments
    # The outbox knows the integration by that file of that host.
    ids = [each.connection.integration_id(b"salt") for each in (where, same, other)]
    assert ids[0] == ids[1] != ids[2]


def test_a_key_that_is_known_here_goes_before_a_file_there(made: Makes) -> None:
    where = made({"integration_key_file": "~/key", "integration_key": "k", "app_key": "app"}, ELSEWHERE)
    where.find(ChangeQuery.by_key("a", 1_800_000_000.0))
    _name, arguments = executed(where)
    assert (where.connection.integration_key, arguments["integration_key"]) == ("k", "k")
    assert "integration_key_file" not in arguments


def test_another_host_asks_flashduty_in_our_place(made: Makes) -> None:
    where = made({"integration_key": "k", "app_key": "app", "timeout": 3.0}, ELSEWHERE)
    found = where.find(ChangeQuery.by_key("CHG-7", 1_800_000_000.0))
    assert (found.changes, found.total, found.truncated) == ([{"change_key": "a"}], 1, False)
    name, arguments = executed(where)
    assert (name, arguments["change_key"], arguments["timeout"]) == (INFO, "CHG-7", 3.0)
    assert None not in arguments.values()
    where._action.answer = {"failed": True, "msg": "unreachable"}
    with pytest.raises(ApiError, match=r"^unreachable$"):
        where.find(ChangeQuery.by_key("CHG-7", 1_800_000_000.0))
    error = ApiError("no", False, 401, "Unauthorized", "r-1")
    where._action.answer = {"failed": True, "msg": "no", **error.result}
    with pytest.raises(ApiError) as caught:
        where.find(ChangeQuery.by_key("CHG-7", 1_800_000_000.0))
    assert vars(caught.value) == vars(error)


def test_a_question_goes_to_another_host_as_the_task_asks_it(made: Makes) -> None:
    where = made({"app_key": "app"}, ELSEWHERE, reading=True)
    options = {"limit": 5, "change_status": ["Processing"], "labels": {"a": "b"}, "integration_ids": [7], "asc": True}
    query = ChangeQuery.from_options(options, 1_800_000_000.0)
    assert where.find(query).changes == FOUND["changes"]
    name, arguments = executed(where)
    assert (name, arguments["limit"], arguments["app_key"]) == (INFO, 5, "app")
    assert ChangeQuery.from_options(arguments, 0.0) == query
    assert "query" not in arguments
    assert "integration_key" not in arguments
