# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run is one change, and its end is the exit code's truth."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from importlib.util import find_spec

import pytest
from control_node import ANSIBLE_PLAYBOOK, KEY, ControlNode

PLAY = "- hosts: {hosts}\n  gather_facts: false\n  tasks:\n"
FAIL = "    - ansible.builtin.fail: {msg: no}\n      when: inventory_hostname == 'web2'\n"
OK = "    - ansible.builtin.debug: {msg: fine}\n"
NOT_REPORTED = PLAY.format(hosts="web").replace("  tasks", "  vars: {flashduty_enabled: false}\n  tasks") + OK
NO_HOST_MATCHED = PLAY.format(hosts="absent") + OK
SUCCEEDS = PLAY.format(hosts="all") + OK
FORGIVEN = PLAY.format(hosts="web") + FAIL + "    - ansible.builtin.meta: clear_host_errors\n"
IGNORED = PLAY.format(hosts="web") + FAIL + "      ignore_errors: true\n"
RESCUED = PLAY.format(hosts="web") + (
    "    - block:\n        - ansible.builtin.fail: {msg: no}\n"
    "      rescue:\n        - ansible.builtin.debug: {msg: ok}\n"
)
END_PLAY = PLAY.format(hosts="web") + "    - ansible.builtin.meta: end_play\n"
FAILURES = {
    "everywhere": PLAY.format(hosts="web") + "    - ansible.builtin.fail: {msg: no}\n",
    "unreachable": PLAY.format(hosts="web") + "    - ansible.builtin.raw: 'true'\n"
    "      vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}\n",
    "any_errors_fatal": PLAY.format(hosts="web").replace("  tasks", "  any_errors_fatal: true\n  tasks") + FAIL,
    "max_fail_percentage": PLAY.format(hosts="web").replace("  tasks", "  max_fail_percentage: 10\n  tasks") + FAIL,
    "role missing at run time": PLAY.format(hosts="web") + "    - ansible.builtin.include_role: {name: absent}\n",
    "second play cannot start": PLAY.format(hosts="web") + OK + PLAY.format(hosts="'{{ undefined_one }}'") + OK,
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_run_that_fails_is_cancelled(control: ControlNode, failure: str) -> None:
    code, output = control.run(control.write("site.yml", FAILURES[failure]))
    assert code != 0
    assert control.statuses() == ["Processing", "Canceled"], output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("is_verbose", "playbooks"),
    [
        (True, (NOT_REPORTED, SUCCEEDS + IGNORED + RESCUED + END_PLAY)),
        (False, (NO_HOST_MATCHED + PLAY.format(hosts="web1") + OK + FORGIVEN,)),
    ],
)
def test_who_follows_a_run_that_is_done_reads_that_it_is_reported_and_that_it_was_taken(
    control: ControlNode, is_verbose: bool, playbooks: tuple[str, ...]
) -> None:
    control.environment.update(
        FLASHDUTY_CHANGE_KEY="CHG-7",
        FLASHDUTY_LINK="https://tickets.test/CHG-7",
        ANSIBLE_LOG_PATH=str(control.folder / "ansible.log"),
    )
    paths = [control.write(f"{number}.yml", playbook) for number, playbook in enumerate(playbooks)]
    code, output = control.run(*paths, *(["-v"] if is_verbose else []))
    assert code == 0
    assert control.statuses() == ["Processing", "Done"], output
    assert "Traceback" not in output
    log = (control.folder / "ansible.log").read_text()
    for told in (
        "flashduty_change: this run is reported to Flashduty as change CHG-7, https://tickets.test/CHG-7",
        "flashduty_change: Flashduty has accepted 2 of 2 events of this run",
    ):
        assert log.count(told) == 1
        assert output.count(told) == is_verbose
    assert KEY not in log


@pytest.mark.skipif(find_spec("ansible.module_utils.secrets") is None, reason="from ansible-core 2.22 on")
def test_no_task_of_others_shows_the_key(control: ControlNode) -> None:
    task = "    - ansible.builtin.debug: {msg: \"{{ lookup('env', 'FLASHDUTY_PUSH_URL') }}\"}\n"
    code, output = control.run("-vvv", control.write("site.yml", PLAY.format(hosts="web1") + task))
    assert code == 0
    assert KEY not in output
    assert "integration_key=$REDACTED$" in output
    assert control.statuses() == ["Processing", "Done"]


def test_two_playbooks_are_one_change_and_a_handler_that_fails_cancels_it(control: ControlNode) -> None:
    first = control.write("first.yml", PLAY.format(hosts="web") + OK)
    notifies = OK + "      changed_when: true\n      notify: h\n"
    handler = "  handlers:\n    - name: h\n      ansible.builtin.fail: {msg: no}\n"
    second = control.write("second.yml", PLAY.format(hosts="db") + notifies + handler)
    code, output = control.run(first, second)
    assert code == 2
    assert "Traceback" not in output
    assert control.statuses() == ["Processing", "Canceled"]
    labels = control.only_change()["labels"]
    assert labels["playbook"] == "first.yml,second.yml"
    # Hosts of a playbook to come are not known at the start.
    assert (labels["host"], labels["result"], labels["failed_host"]) == ("web1,web2", "failed", "db1")
    assert "Came in during the run: db1." in control.last_text()


def test_a_run_that_targets_no_host_is_no_change(control: ControlNode) -> None:
    assert control.run(control.write("site.yml", PLAY.format(hosts="absent") + OK))[0] == 0
    assert control.receiver.requests() == []
    assert not (control.folder / "home" / "flashduty").exists()


def test_labels_and_the_failed_task(control: ControlNode) -> None:
    named = FAIL.replace("- ansible", "- name: Migrate\n      ansible")
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web") + named + OK))
    assert code != 0
    assert "Traceback" not in output
    assert control.statuses() == ["Processing", "Canceled"]
    change = control.only_change()
    assert change["labels"]["service"] == "storefront"
    assert change["labels"]["group"] == "web"
    assert "Failed: web2 at task 'Migrate'" in control.last_text()
    outcome = {"result": "failed", "failed_host": "web2", "failed_task": "Migrate", "changed_hosts": "0"}
    assert change["labels"].items() >= outcome.items()
    assert change["title"] == f"{control.folder.name}/site.yml on web"
    started = control.receiver.events()[0]["body"]["description"].splitlines()
    assert started[:2] == [f"Playbook {control.folder.name}/site.yml.", "2 hosts at the start: web1, web2."]


def test_check_mode_is_silent(control: ControlNode) -> None:
    code, _output = control.run("--check", control.write("site.yml", PLAY.format(hosts="web") + OK))
    assert code == 0
    assert control.receiver.requests() == []
    assert not (control.folder / "home" / "flashduty").exists()


@pytest.mark.parametrize(
    ("number", "whole_group", "reason"),
    [(signal.SIGINT, True, "Interrupted"), (signal.SIGTERM, False, "killed"), (signal.SIGKILL, True, "killed")],
)
def test_an_ended_run_is_cancelled(
    control: ControlNode, number: signal.Signals, whole_group: bool, reason: str
) -> None:
    started = control.folder / "started"
    path = control.write(
        "site.yml",
        PLAY.format(hosts="web1") + f"    - ansible.builtin.raw: touch {started}; exec sleep 60\n",
    )
    with control.start(path) as process:
        while not started.exists():
            assert process.poll() is None
            time.sleep(0.05)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        process.wait(timeout=60)
    control.receiver.wait_for(lambda: len(control.receiver.events()) == 2)
    assert control.statuses() == ["Processing", "Canceled"]
    assert reason in control.last_text()
    assert control.only_change()["labels"]["result"] == reason.lower()


def test_an_outage_costs_the_run_its_wait_and_flush_delivers(control: ControlNode) -> None:
    control.environment["FLASHDUTY_WAIT"] = "1"
    control.receiver.faults.set("hang")
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web") + OK))
    assert code == 0
    assert output.count("not delivered yet") == 1
    assert control.statuses() == []
    control.receiver.faults.clear()
    code, output = control.run("flashcat.flashduty.flush")
    assert code == 0, output
    assert control.statuses() == ["Processing", "Done"]


def test_a_refused_key_is_told_once_and_never_shown(control: ControlNode) -> None:
    wrong = "0123wrongkey4567"
    control.environment["FLASHDUTY_PUSH_URL"] = control.receiver.push_url(KEY).replace(KEY, wrong)
    code, output = control.run("-vvvvv", control.write("site.yml", PLAY.format(hosts="web") + OK))
    assert code == 0
    assert output.replace("\n", " ").count("refused 2 events") == 1
    assert wrong not in output


def test_a_missing_key_is_one_warning(control: ControlNode) -> None:
    del control.environment["FLASHDUTY_PUSH_URL"]
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web") + OK))
    assert code == 0
    assert output.count("flashduty_change:") == 1
    assert "FLASHDUTY_PUSH_URL" in output


def test_the_key_is_in_no_output_no_file_and_no_process(control: ControlNode) -> None:
    seen = control.folder / "processes"
    # The couriers of tests that run beside this one may be seen too; what else runs on the machine is none of ours.
    task = f"    - ansible.builtin.raw: grep -las _courier /proc/[0-9]*/cmdline | xargs cat > {seen} || true\n"
    _code, output = control.run("-vvvvv", control.write("site.yml", PLAY.format(hosts="web1") + task))
    assert control.statuses() == ["Processing", "Done"]
    assert KEY not in output
    assert b"entry.py\0_courier.process" in seen.read_bytes()
    for path, content in control.written().items():
        assert KEY.encode() not in content, path
    assert KEY.encode() not in seen.read_bytes()


def test_a_playbook_started_by_a_task_is_a_change_of_its_own(control: ControlNode) -> None:
    inner = control.write("inner.yml", PLAY.format(hosts="web2") + OK)
    argv = [ANSIBLE_PLAYBOOK, "-i", str(control.folder / "inventory"), inner]
    outer = PLAY.format(hosts="web1") + f"    - ansible.builtin.raw: {json.dumps(shlex.join(argv))}\n"
    assert control.run(control.write("outer.yml", outer))[0] == 0
    assert control.statuses() == ["Processing", "Processing", "Done", "Done"]
    assert {change["labels"]["host"]: change["change_status"] for change in control.receiver.changes()} == {
        "web1": "Done",
        "web2": "Done",
    }
