# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which changes a run is, when they are reported, and what they say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import Any

import pytest
import yaml
from control_node import ANSIBLE_PLAYBOOK, DEPRECATIONS, PATIENCE, ControlNode

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import FIELDS

REPORT = "    - flashcat.flashduty.flashduty_change: {change_status: Processing, description: '%s'}\n"
PLAY = "- name: {name}\n  hosts: {hosts}\n  gather_facts: false\n  tasks:\n"
OK = "    - ansible.builtin.debug: {msg: fine}\n"
CHANGES = "    - ansible.builtin.debug: {msg: done}\n      changed_when: inventory_hostname == '%s'\n"
FAILS = "    - name: Migrate\n      ansible.builtin.fail: {msg: no}\n      when: inventory_hostname == '%s'\n"
UNREACHABLE = (
    "    - ansible.builtin.ping:\n      vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}\n"
    "      when: inventory_hostname == '%s'\n"
)


def _changes(control: ControlNode) -> dict[str, dict[str, Any]]:
    """Each change by what its key ends in; none was ever opened twice, and all are closed."""
    events = control.receiver.events()
    for key in {event["change_key"] for event in events}:
        statuses = [event["body"]["change_status"] for event in events if event["change_key"] == key]
        assert statuses[0] == "Processing"
        assert [status for status in statuses if status != "Processing"] == statuses[-1:]
    return {change["change_key"].partition("/")[2]: change for change in control.receiver.changes()}


def _ends(control: ControlNode) -> dict[str, str]:
    return {name: change["change_status"] for name, change in _changes(control).items()}


def test_each_host_has_its_own_truth(control: ControlNode) -> None:
    control.environment["FLASHDUTY_SCOPE"] = "host"
    ignored = FAILS % "web1" + "      ignore_errors: true\n"
    first = PLAY.format(name="Deploy", hosts="env_prod") + ignored + FAILS % "web2" + UNREACHABLE % "db1"
    fatal = PLAY.format(name="Last", hosts="app1,app2").replace("  tasks", "  any_errors_fatal: true\n  tasks")
    path = control.write("site.yml", first + PLAY.format(name="Later", hosts="late") + OK + fatal + FAILS % "app1")
    code, output = control.run("-i", "late,app1,app2", path)
    assert code != 0
    assert "Traceback" not in output
    changes = _changes(control)
    assert _ends(control) == {
        "web1": "Done",
        "web2": "Canceled",
        "db1": "Canceled",
        "late": "Done",
        "app1": "Canceled",
        "app2": "Canceled",
    }
    for name, change in changes.items():
        assert change["labels"]["host"] == name
        assert change["title"] == f"{name}: {control.folder.name}/site.yml"
    assert changes["db1"]["labels"].get("service") is None
    outcomes = {
        name: (change["labels"]["result"], change["labels"].get("failed_task")) for name, change in changes.items()
    }
    assert outcomes["web1"] == outcomes["late"] == ("ok", None)
    assert outcomes["web2"] == ("failed", "Migrate")
    assert outcomes["db1"][0] == "unreachable"
    assert outcomes["app2"][0] == "stopped"
    texts = {name: control.last_text(change["change_key"]) for name, change in changes.items()}
    assert "Failed: web2 at task 'Migrate' (ansible.builtin.fail, site.yml:" in texts["web2"]
    assert texts["db1"].startswith("Unreachable: db1 at task")
    assert "Stopped because other hosts failed: app2." in texts["app2"]


def test_a_failed_run_leaves_what_it_did_not_come_to_and_what_was_forgiven_is_done(control: ControlNode) -> None:
    control.environment["FLASHDUTY_SCOPE"] = "host"
    forgiven = PLAY.format(name="One", hosts="web") + FAILS % "web2" + "    - ansible.builtin.meta: clear_host_errors\n"
    tagged = PLAY.format(name="Two", hosts="idle") + OK + "      tags: never\n"
    roll = PLAY.format(name="Roll", hosts="app,db").replace("  tasks", "  serial: 1\n  tasks") + FAILS % "app"
    code, _output = control.run("-i", "idle,app", control.write("site.yml", forgiven + tagged + roll))
    assert code == 2
    changes = _changes(control)
    outcomes = {name: (change["change_status"], change["labels"]["result"]) for name, change in changes.items()}
    assert outcomes == {
        "web1": ("Done", "ok"),
        "web2": ("Done", "ok"),
        "idle": ("Canceled", "not_reached"),
        "app": ("Canceled", "failed"),
        "db1": ("Canceled", "not_reached"),
    }
    assert "no task ran: idle" in control.last_text(changes["idle"]["change_key"])
    assert "Not reached by play" in control.last_text(changes["db1"]["change_key"])


def test_hosts_that_had_nothing_to_do_report_or_come_after_end_play_are_done(control: ControlNode) -> None:
    control.environment["FLASHDUTY_SCOPE"] = "host"
    roll = PLAY.format(name="Roll", hosts="roll1,roll2,roll3").replace("  tasks", "  serial: 1\n  tasks")
    plays = [
        PLAY.format(name="One", hosts="web") + OK + "      tags: never\n",
        PLAY.format(name="Two", hosts="db1,web1") + OK + "      run_once: true\n",
        PLAY.format(name="Three", hosts="app1,app2") + REPORT % "{{ inventory_hostname }}",
        roll + OK + "    - ansible.builtin.meta: end_play\n",
    ]
    code, output = control.run("-i", "app1,app2,roll1,roll2,roll3", control.write("site.yml", "".join(plays)))
    assert code == 0, output
    changes = _changes(control)
    hosts = ("web1", "web2", "db1", "app1", "app2", "roll1", "roll2", "roll3")
    assert _ends(control) == dict.fromkeys(hosts, "Done")
    assert control.last_text(changes["web2"]["change_key"]).startswith("No task ran, ")
    assert changes["web2"]["labels"]["result"] == "ok"
    bodies = [event["body"] for event in control.receiver.events()]
    joined = [body for body in bodies if body["description"] in ("app1", "app2")]
    assert {body["change_key"].partition("/")[2] for body in joined} == {"app1", "app2"}


def test_each_group_has_its_own_truth(control: ControlNode) -> None:
    control.environment["FLASHDUTY_SCOPE"] = "group"
    named = PLAY.format(name="Deploy", hosts="web:db:&env_prod") + FAILS % "web2"
    control.run(control.write("site.yml", named))
    changes = _changes(control)
    assert {name: change["change_status"] for name, change in changes.items()} == {"web": "Canceled", "db": "Done"}
    assert changes["web"]["labels"]["group"] == "web"
    assert changes["web"]["labels"]["host"] == "web1,web2"
    assert changes["web"]["labels"]["env"] == "prod"
    assert changes["web"]["title"] == f"group web: Deploy · {control.folder.name}/site.yml"
    assert (changes["web"]["labels"]["result"], changes["db"]["labels"]["result"]) == ("failed", "ok")
    assert "1 of 2 hosts ok, 0 changed, 1 failed" in control.last_text(changes["web"]["change_key"])


def test_a_killed_run_cancels_every_host(control: ControlNode) -> None:
    control.environment["FLASHDUTY_SCOPE"] = "host"
    started = control.folder / "started"
    task = f"    - ansible.builtin.raw: touch {started}; exec sleep 60\n      when: inventory_hostname == 'web1'\n"
    path = control.write("site.yml", PLAY.format(name="x", hosts="web") + OK + task)
    with control.start(path) as process:
        while not started.exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    control.receiver.wait_for(lambda: len(control.receiver.events()) == 4)
    assert _ends(control) == {"web1": "Canceled", "web2": "Canceled"}


CONVERGES = {
    "nothing changes, though a task reports": (OK + REPORT % "40%", {}),
    "it fails before anything changes": (OK + FAILS % "web1", {}),
    "one host changes": (OK + CHANGES % "web2" + OK, {"web2": "Done"}),
    "some fail after a change, or with the task that changes": (
        CHANGES % "web1"
        + FAILS % "web1"
        + CHANGES % "web2"
        + "    - ansible.builtin.raw: 'false'\n      when: inventory_hostname == 'db1'\n",
        {"web1": "Canceled", "web2": "Done", "db1": "Canceled"},
    ),
}


@pytest.mark.parametrize("case", CONVERGES)
def test_hosts_on_which_nothing_changes_are_not_reported(control: ControlNode, case: str) -> None:
    control.environment.update(FLASHDUTY_SCOPE="host", FLASHDUTY_REPORT_WHEN="changed")
    tasks, ends = CONVERGES[case]
    path = control.write("site.yml", PLAY.format(name="Converge", hosts="all") + tasks)
    _code, output = control.run("-i", "same,", path)
    assert _ends(control) == ends, output
    assert "flashduty_change:" not in output
    if not ends:
        assert control.receiver.requests() == []
        assert not (control.folder / "home" / "flashduty").exists()


def test_a_run_without_changes_delivers_an_earlier_ones_late_change_with_the_time_of_its_start(
    control: ControlNode,
) -> None:
    control.environment.update(FLASHDUTY_REPORT_WHEN="changed", FLASHDUTY_WAIT="0.1")
    control.receiver.faults.set("status", status=500)
    tasks = "    - ansible.builtin.pause: {seconds: 2}\n" + CHANGES % "web1"
    assert control.run(control.write("changes.yml", PLAY.format(name="x", hosts="web") + tasks))[0] == 0
    control.receiver.faults.clear()
    control.run(control.write("same.yml", PLAY.format(name="x", hosts="web") + OK))
    control.receiver.wait_for(lambda: len(control.receiver.events()) == 2)
    assert _ends(control) == {"": "Done"}
    first, last = (event["body"] for event in control.receiver.events())
    assert (first["change_status"], last["change_status"]) == ("Processing", "Done")
    assert last["event_time"] - first["event_time"] >= 2


def test_killed_after_the_first_change(control: ControlNode) -> None:
    control.environment["FLASHDUTY_REPORT_WHEN"] = "changed"
    started = control.folder / "started"
    tasks = CHANGES % "web1" + f"    - ansible.builtin.raw: touch {started}; exec sleep 60\n"
    with control.start(control.write("site.yml", PLAY.format(name="x", hosts="web1") + tasks)) as process:
        while not started.exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    control.receiver.wait_for(lambda: len(control.receiver.events()) == 2)
    assert control.statuses() == ["Processing", "Canceled"]


def test_progress_in_chinese(control: ControlNode) -> None:
    control.environment.update(FLASHDUTY_PROGRESS="play", FLASHDUTY_LANGUAGE="zh")
    # Of one second, Flashduty shows one.
    lasts = "    - ansible.builtin.raw: sleep 1.1\n      run_once: true\n"
    plays = "".join(PLAY.format(name=name, hosts="web") + lasts for name in ("准备", "发布", "检查", "切换", "收尾"))
    assert control.run(control.write("site.yml", plays))[0] == 0
    lines = [event["body"]["description"].splitlines()[0] for event in control.receiver.events()]
    assert lines == [
        f"Playbook {control.folder.name}/site.yml，play：准备、发布、检查、切换、收尾。",
        "进度 20%，play 2/5（发布）。",
        "进度 40%，play 3/5（检查）。",
        "进度 60%，play 4/5（切换）。",
        "进度 80%，play 5/5（收尾）。",
        "进度 100%。",
    ]
    assert control.statuses() == ["Processing"] * 5 + ["Done"]
    assert control.only_change()["title"] == f"{control.folder.name}/site.yml（web）"


def test_check_mode_is_reported_where_it_is_asked_for(control: ControlNode) -> None:
    control.environment.update(FLASHDUTY_REPORT_CHECK_MODE="true", FLASHDUTY_CHANGE_KEY="CHG-7")
    assert control.run("--check", control.write("site.yml", PLAY.format(name="x", hosts="web") + OK))[0] == 0
    change = control.only_change()
    assert change["change_key"] == "CHG-7/check"
    assert change["title"] == f"[check mode] x · {control.folder.name}/site.yml on web"
    assert change["labels"]["check_mode"] == "true"


JSON_CALLBACK = """
import json
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "only_json"

    def v2_playbook_on_stats(self, stats):
        self._display.display(json.dumps({"hosts": sorted(stats.processed)}))
"""
LIKE_DEFAULT = """
DOCUMENTATION = "name: like_default\\ntype: stdout\\nextends_documentation_fragment: [default_callback]"
from ansible.plugins.callback.default import CallbackModule as Default

class CallbackModule(Default):
    CALLBACK_NAME = "like_default"
"""


@pytest.mark.parametrize(
    ("callback", "stream", "arguments"),
    [
        ("default", "stdout", ()),
        ("like_default", "stdout", ("--check",)),
        ("oneline", "stdout", ()),
        ("only_json", "stderr", ()),
    ],
)
def test_a_preview_shows_all_but_in_an_output_for_a_program_and_sends_nothing(
    control: ControlNode, callback: str, stream: str, arguments: tuple[str, ...]
) -> None:
    plugins = control.folder / "callbacks"
    plugins.mkdir()
    (plugins / "only_json.py").write_text(JSON_CALLBACK)
    (plugins / "like_default.py").write_text(LIKE_DEFAULT)
    control.environment.update(
        FLASHDUTY_PREVIEW="1", ANSIBLE_CALLBACK_PLUGINS=str(plugins), ANSIBLE_STDOUT_CALLBACK=callback
    )
    del control.environment["FLASHDUTY_PUSH_URL"]
    path = control.write("site.yml", PLAY.format(name="x", hosts="web1") + REPORT % "40%" + FAILS % "web1")
    done = subprocess.run(
        [ANSIBLE_PLAYBOOK, "-i", str(control.folder / "inventory"), *arguments, path],
        cwd=control.folder,
        env=control.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2, done
    output = done.stdout + done.stderr
    assert "flashduty_change:" not in output.replace("flashcat.flashduty.flashduty_change:", "")
    # Later releases of ansible-core say it of oneline itself.
    assert callback == "oneline" or not DEPRECATIONS.search(output), output
    fields = rf"(?:(?:(?:{'|'.join(FIELDS)}):.*\n(?: .*\n)*)+)"
    documents = re.findall(rf"^--- # Flashduty preview.*\n({fields})", getattr(done, stream), re.MULTILINE)
    begins, goes_on, ends = (yaml.safe_load(document) for document in documents)
    assert [event["change_status"] for event in (begins, goes_on, ends)] == ["Processing", "Processing", "Canceled"]
    assert begins["labels"]["service"] == goes_on["labels"]["service"] == "storefront"
    assert begins["change_key"] == goes_on["change_key"] == ends["change_key"]
    assert ends["description"].startswith("Failed: web1 at task 'Migrate'")
    assert not begins["title"].startswith("[check")
    if stream == "stderr":
        assert json.loads(done.stdout) == {"hosts": ["web1"]}
    assert control.receiver.requests() == []
    assert not (control.folder / "home" / "flashduty").exists()


def test_templates_are_worked_out_at_start_and_end(control: ControlNode) -> None:
    control.environment["FLASHDUTY_SCOPE"] = "host"
    variables = {
        "flashduty_title": "{{ service | default('none') }} {{ inventory_hostname }} {{ flashduty_run.status }}",
        "flashduty_description": "{{ flashduty_run.failed | map(attribute='path') | join }}\n{{ flashduty_run.text }}",
        "flashduty_link": "https://tickets.test/{{ ticket }}",
        "flashduty_change_key": "{{ ticket }}",
        "ticket": "CHG-7",
    }
    control.shown.remove("title")  # which says the status here
    play = yaml.safe_load(PLAY.format(name="x", hosts="all") + FAILS % "web2")
    play[0]["vars"] = variables
    _code, output = control.run(control.write("site.yml", yaml.safe_dump(play)))
    assert "flashduty_change:" not in output
    titles = {event["body"]["title"] for event in control.receiver.events()}
    assert titles == {
        f"{service} {host} {status}"
        for service, host, end in (
            ("storefront", "web1", "Done"),
            ("storefront", "web2", "Canceled"),
            ("none", "db1", "Done"),
        )
        for status in ("Processing", end)
    }
    changes = _changes(control)
    assert changes["web2"]["link"] == "https://tickets.test/CHG-7"
    assert changes["web2"]["change_key"] == "CHG-7/web2"
    text = control.last_text(changes["web2"]["change_key"])
    assert text.startswith("site.yml:")
    assert "Failed: web2" in text


HIDDEN = """
    - name: tells hunter2
      ansible.builtin.fail: {{msg: "{{{{ secret }}}}"}}
      no_log: {no_log}
"""
LOOP = """
{indent}- name: tells {secret}
{indent}  ansible.builtin.command: /bin/false {secret}
{indent}  loop: [hunter2]
"""
# The task at which each host fails.
DETAILS = {
    "task": HIDDEN.format(no_log="true"),
    "template": HIDDEN.format(no_log="'{{ 1 == 1 }}'"),
    "block": "    - no_log: true\n      block:" + LOOP.format(indent=" " * 8, secret="hunter2"),
    "name": LOOP.format(indent=" " * 4, secret="{{ secret }}"),
    "message": """
    - name: Migrate
      ansible.builtin.fail: {msg: "no space\\nleft {{ lookup('env', 'FLASHDUTY_PUSH_URL') }}"}
""",
    "item": """
    - name: Migrate
      ansible.builtin.assert: {that: item != 2, fail_msg: 'no space on {{ item }}'}
      loop: [1, 2, 3]
""",
}


def test_the_message_is_told_where_it_is_asked_for_but_nothing_that_must_not_be_told(control: ControlNode) -> None:
    control.environment["FLASHDUTY_FAILURE_DETAIL"] = "message"
    hosts = ",".join(DETAILS)
    play = PLAY.format(name="x", hosts=hosts).replace("  tasks", "  vars: {secret: hunter2}\n  tasks")
    tasks = "".join(f"{task}      when: inventory_hostname == '{host}'\n" for host, task in DETAILS.items())
    assert control.run("-i", hosts, control.write("site.yml", play + tasks))[0] == 2
    assert control.statuses() == ["Processing", "Canceled"]
    assert "hunter2" not in json.dumps([event["body"] for event in control.receiver.events()])
    lines = control.last_text().splitlines()
    told = {host: next(line for line in lines if line.startswith(f"Failed: {host} at")) for host in DETAILS}
    for host in ("task", "template", "block"):
        assert "no_log" in told[host]
    assert "at task 'tells {{ secret }}'" in told["name"]
    failed_tasks = control.only_change()["labels"]["failed_task"].split(",")
    assert sorted(failed_tasks) == ["Migrate", "no_log", "tells {{ secret }}"]
    assert "no space left http" in told["message"]
    assert control.environment["FLASHDUTY_PUSH_URL"].rpartition("=")[2] not in control.last_text()
    # Of a loop, that of the item that failed.
    assert re.search(r"Failed: item at task 'Migrate' \(.*\): no space on 2$", told["item"])


def test_the_start_tells_what_later_plays_will_target(control: ControlNode) -> None:
    made = "    - ansible.builtin.group_by: {key: made}\n"
    plays = [
        PLAY.format(name="First", hosts="web1") + made,
        PLAY.format(name="Second", hosts="\"{{ 'd' + 'b' }}\"") + OK,
        PLAY.format(name="Third", hosts="made") + OK,
        PLAY.format(name="Not reported", hosts="web2").replace(
            "  tasks", "  vars: {flashduty_enabled: false}\n  tasks"
        ),
    ]
    control.environment["FLASHDUTY_LABEL_GROUP"] = "all"
    code, output = control.run(control.write("site.yml", "".join(plays) + OK))
    assert code == 0, output
    assert "WARNING" not in output
    first, last = (event["body"] for event in control.receiver.events())
    assert first["labels"]["host"] == last["labels"]["host"] == "db1,web1"
    assert first["labels"]["group"] == last["labels"]["group"] == "db,env_prod,web"
    assert "2 hosts at the start: web1, db1." in first["description"]


def test_the_labels_of_the_start_stay_though_a_failed_run_never_came_to_all_hosts(control: ControlNode) -> None:
    plays = PLAY.format(name="First", hosts="web") + "    - ansible.builtin.fail:\n" + PLAY.format(name="x", hosts="db")
    assert control.run(control.write("site.yml", plays + OK))[0] == 2
    first, last = (event["body"]["labels"] for event in control.receiver.events())
    assert first["host"] == "db1,web1,web2"
    assert last == {**first, "result": "failed", "failed_host": "web1,web2", "failed_task": "ansible.builtin.fail"} | {
        "changed_hosts": "0"
    }
