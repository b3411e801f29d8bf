# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With language set to zh, neither what arrives nor what the operator reads has an English sentence of ours."""

from __future__ import annotations

import os
import re
import signal

import pytest
from control_node import PATIENCE, ControlNode

pytestmark = pytest.mark.slow

DOCTOR, FLUSH = "flashcat.flashduty.doctor", "flashcat.flashduty.flush"
OUTBOX, REPORT = "flashcat.flashduty.outbox", "flashcat.flashduty.report"
# Five words in a row, none of which is a name, a path or a part of a command.
SENTENCE = re.compile(r"(?:\b[A-Za-z]{2,} ){4}[a-z]{2,}\b")
COMMAND = re.compile(r"ansible-playbook \S+( -\S+ \S+)*")
FAILS = "- name: Work\n  ansible.builtin.fail: {msg: no}\n"
ROLE = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: flashcat.flashduty.tracked_change}
      vars: {tracked_change_key: CHG-7, tracked_change_title: 升级, tracked_change_tasks: work.yml,
             tracked_change_rollback_tasks: work.yml}
"""
LEFT_OPEN = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change:
        {change_status: Processing, change_key: CHG-8, title: 升级, cancel_on_exit: true}
"""
SLEEPS = "- hosts: web1\n  gather_facts: false\n  tasks:\n    - ansible.builtin.pause: {seconds: 60}\n"
CHANGES = "- hosts: web1\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: /bin/true\n"


@pytest.fixture
def chinese(control: ControlNode) -> ControlNode:
    control.environment["FLASHDUTY_LANGUAGE"] = "zh"
    # Names of hosts and users are no sentences.
    control.write("work.yml", FAILS)
    return control


def _sentences(text: str) -> list[str]:
    return SENTENCE.findall(COMMAND.sub("", text))


def _texts(control: ControlNode) -> str:
    bodies = [event["body"] for event in control.receiver.events()]
    return "\n".join(f"{body['title']}\n{body.get('description') or ''}" for body in bodies)


def _warnings(output: str) -> str:
    """What we have said, however its lines were broken."""
    return " ".join(re.sub(r"^\[WARNING\]: (?!flashduty).*$", "", output, flags=re.MULTILINE).split())


def _check(control: ControlNode, *texts: str) -> None:
    arrived = _texts(control)
    assert re.search("[\u4e00-\u9fff]", arrived)
    assert _sentences(arrived) == [], arrived
    for text in texts:
        said = text.partition("flashduty_change: ")[2].partition("sys:1: ")[0]
        assert re.search("[\u4e00-\u9fff]", said), text
        assert _sentences(_warnings(said).partition("(")[0]) == [], said


def test_a_change_that_a_task_leaves_open_and_a_tracked_one_that_fails_beside_the_callback(
    chinese: ControlNode,
) -> None:
    assert chinese.run(chinese.write("open.yml", LEFT_OPEN), chinese.write("site.yml", ROLE))[0] == 2
    chinese.receiver.wait_for(lambda: "尚未上报为完成" in _texts(chinese), PATIENCE)
    _check(chinese)
    assert "失败：web1：任务「Work」（ansible.builtin.fail）。回滚在任务「Work」失败。" in _texts(chinese)
    assert "2 台主机中 0 台已完成。" in _texts(chinese)
    assert "属于变更 " in _texts(chinese)


def test_a_run_that_is_killed_is_closed_by_the_courier(chinese: ControlNode) -> None:
    with chinese.start(chinese.write("site.yml", SLEEPS)) as process:
        chinese.receiver.wait_for(lambda: chinese.statuses() == ["Processing"], PATIENCE)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    chinese.receiver.wait_for(lambda: chinese.statuses() == ["Processing", "Canceled"], PATIENCE)
    _check(chinese)


def test_the_warnings_of_an_outage_and_what_flush_says(chinese: ControlNode) -> None:
    chinese.receiver.faults.set("status", status=503)
    chinese.environment["FLASHDUTY_WAIT"] = "0"
    site = chinese.write("site.yml", CHANGES)
    code, output = chinese.run(site)
    assert code == 0
    assert "2个事件尚未送达（" in "".join(output.split())
    warned = output
    code, output = chinese.run(FLUSH, "-e", "flush_wait=1")
    assert code == 2
    said = "".join(output.split())
    assert "已送达0，等待2，已关闭0，被拒绝0" in said
    assert "仍有2个事件在等待" in said
    chinese.receiver.faults.clear()
    assert chinese.run(FLUSH)[0] == 0
    _check(chinese, warned)


def test_a_missing_key_and_a_preview(chinese: ControlNode) -> None:
    del chinese.environment["FLASHDUTY_PUSH_URL"]
    site = chinese.write("site.yml", CHANGES)
    code, output = chinese.run(site, chinese.write("task.yml", LEFT_OPEN))
    said = "".join(output.split())
    assert (code, "没有设置集成密钥。请设置push_url" in said) == (2, True), output
    assert "本次运行没有上报到Flashduty：没有设置集成密钥" in said
    chinese.environment["FLASHDUTY_PREVIEW"] = "1"
    code, output = chinese.run(site)
    assert code == 0
    assert "Flashduty 预览" in output
    assert "# env 的值推断自主机组名 env_prod" in output
    assert "nothing is sent" not in output


def test_what_is_wrong_with_settings(chinese: ControlNode) -> None:
    chinese.state.parent.mkdir(parents=True)
    chinese.state.write_text("no folder")
    chinese.environment["FLASHDUTY_LABEL_GROUPS"] = "a*b*=env"
    chinese.environment["FLASHDUTY_LABEL_VARS"] = "a-b=c-d"
    chinese.environment["FLASHDUTY_LABELS"] = "alone"
    chinese.environment["FLASHDUTY_CHANGE_KEY"] = chinese.environment["FLASHDUTY_TITLE"] = "{{ nowhere }}"
    code, output = chinese.run(chinese.write("site.yml", CHANGES), "-e", "flashduty_labels=alone")
    assert code == 0
    said = "".join(output.split())
    for text in (
        "label_groups：没有使用'a*b*=env'：",
        "label_vars：没有使用'a-b=c-d'",
        "labels：没有使用'alone'",
        "没有使用flashduty_labels",
        "change_key使用默认值",
        "title使用默认值",
        "无法使用发件箱（",
    ):
        assert text in said, text
    for text in ("is left out", "at its default", "cannot be used", "goes on"):
        assert text not in output


def test_refused_events_and_the_playbook_outbox(chinese: ControlNode) -> None:
    chinese.receiver.faults.set("status", status=400, message="labels: too many")
    code, output = chinese.run(OUTBOX, chinese.write("site.yml", CHANGES))
    assert (code, "中没有符合条件的事件" in output) == (0, True), output
    assert "Flashduty拒绝了2个事件" in "".join(output.split())
    chinese.receiver.faults.clear()
    code, output = chinese.run(OUTBOX, "-e", "outbox_state=refused")
    lines = re.findall(r'"\d{4}-\d\d-\d\d [^"]*"', output)
    assert [re.search("  被拒绝  (Done|Processing) .*]：.*labels: too many", line) is not None for line in lines] == [
        True
    ] * 2
    ids = ",".join(re.findall(r"\[(\w+)", "".join(lines)))
    unknown = chinese.write_import(OUTBOX, drop="0123456789")
    code, output = chinese.run(chinese.write_import(OUTBOX, resend=ids), unknown)
    assert f"2 个被拒绝的事件已重新等待发送。立即发送：ansible-playbook {FLUSH}" in output
    assert (code, "没有保留正文的被拒绝事件0123456789" in "".join(output.split())) == (2, True), output


def test_the_playbooks_report_and_sandbox(chinese: ControlNode) -> None:
    given = "change_key=CHG-9 change_status=Done"
    nowhere = chinese.write_import(REPORT, report_for="nowhere")
    options = ("--check", "-e", f"{given} title=x sandbox_port=0")
    code, output = chinese.run("flashcat.flashduty.sandbox", REPORT, nowhere, *options)
    for text in ("（已启动，检查模式）", "推送地址：启动时生成", "每个 shell 中执行：", "查看变更："):
        assert text in output, output
    assert "CHG-9 为 Done：仅检查，没有发送" in output
    assert (code, "report_for必须是inventory中的主机或主机组" in "".join(output.split())) == (2, True), output

    # The first asks Flashduty in vain, the last has no title.
    first = chinese.write_import(REPORT, title="x", flashduty_app_key="wrong")
    code, output = chinese.run(first, chinese.write_import(REPORT, title="x"), REPORT, "-e", given)
    said = "".join(output.split())
    assert "无法向Flashduty查询变更CHG-9的状态：" in said
    results = re.findall("CHG-9 为 Done：(Flashduty 已接收，request_id |没有需要发送的内容，与上一个事件相同)", output)
    assert results == ["Flashduty 已接收，request_id ", "没有需要发送的内容，与上一个事件相同"]
    assert (code, "缺少title：请用-etitle=...设置" in said) == (2, True), output

    code, output = chinese.run(REPORT, "-e", f"{given} title=Two words")
    assert (code, "没有读到：'words'" in "".join(output.split())) == (2, True), output


@pytest.mark.alike
@pytest.mark.parametrize("where", ["variable", "ansible.cfg"])
def test_a_playbook_takes_the_language_from_where_the_callback_does(chinese: ControlNode, where: str) -> None:
    del chinese.environment["FLASHDUTY_LANGUAGE"]
    more = []
    if where == "variable":
        more = ["-e", "flashduty_language=zh"]
    else:
        config = chinese.write("ansible.cfg", "[callback_flashduty_change]\nlanguage = zh\n")
        chinese.environment["ANSIBLE_CONFIG"] = config
    url = chinese.environment.pop("FLASHDUTY_PUSH_URL")
    code, output = chinese.run(chinese.write_import(DOCTOR, flashduty_push_url=url), DOCTOR, *more)
    assert "没有未通过的检查" in output
    assert "env=prod，推断自主机组名 env_prod" in output
    assert (code, "1项检查未通过" in "".join(output.split())) == (2, True), output
