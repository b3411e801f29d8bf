# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks report, flush and doctor, called by their names."""

from __future__ import annotations

import os
import re

import pytest
from control_node import APP_KEY, KEY, ControlNode

REPORT, DOCTOR = "flashcat.flashduty.report", "flashcat.flashduty.doctor"
FLUSH, OUTBOX = "flashcat.flashduty.flush", "flashcat.flashduty.outbox"


# ---- report


def test_report_sends_one_event_and_is_no_change_itself(control: ControlNode) -> None:
    options = ("-e", "change_key=CHG-9 change_status=Processing title='Upgrade it'", "-e", '{"labels": {"a": "b"}}')
    code, output = control.run(REPORT, "--check", *options)
    assert (code, control.receiver.requests()) == (0, []), output
    code, output = control.run(REPORT, REPORT, *options)
    assert code == 0, output
    said = re.findall("CHG-9 is Processing: (accepted by Flashduty|nothing to send)", output)
    assert said == ["accepted by Flashduty", "nothing to send"]
    (event,) = control.receiver.events()
    assert (event["title"], event["labels"]) == ("Upgrade it", {"a": "b"})


@pytest.mark.alike
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("change_key=CHG-9 change_status=Done", "title is missing: set it with -e title=..."),
        ("change_status=Done title=x", "change_key is missing"),
        ("change_key=CHG-9 change_status=done title=x", "Planned, Ready, Processing, Canceled, Done"),
        ("change_key=CHG-9 change_status=Done title=x event_time=1700000000000", "milliseconds"),
    ],
)
def test_report_says_what_is_wrong(control: ControlNode, options: str, expected: str) -> None:
    code, output = control.run(REPORT, "-e", options)
    assert code == 2
    assert expected in " ".join(output.split())
    assert control.receiver.requests() == []


def test_report_sends_no_text_that_was_cut_at_a_blank(control: ControlNode) -> None:
    given = [*("-e", "change_key=CHG-9"), *("-e", "change_status=Done"), *("-e", "title=Upgrade the database")]
    code, output = control.run(REPORT, *given)
    assert code == 2
    said = " ".join(output.split())
    assert "Not read: 'the database'." in said
    assert "Quote the value twice" in said
    assert control.receiver.requests() == []


# ---- flush


def test_flush_says_what_it_did_and_doctor_looks_into_the_outbox(control: ControlNode) -> None:
    control.receiver.faults.set("status", status=500)
    report = ("-e", "change_key=CHG-9 change_status=Done title=x flashduty_timeout=1")
    assert control.run(REPORT, *report)[0] == 2
    folder = control.folder / "home" / "flashduty"
    os.chmod(folder, 0o755)
    (folder / "outbox.sqlite3.corrupt-20260101-000000-1").write_text("")
    code, output = control.run(DOCTOR, FLUSH, "-e", "flush_wait=1")
    for said in ("1 event in", "other users can look into", "1 damaged file set aside", "No check failed."):
        assert said in output
    assert code == 2
    assert "0 delivered, 1 waiting, 0 closed, 0 refused" in output
    os.chmod(folder, 0o700)
    control.receiver.faults.clear()
    control.receiver.faults.set("status", status=400, times=1, message="a label is wrong")
    code, output = control.run(FLUSH, control.write_import(FLUSH, flush_wait="soon"))
    assert code == 2
    _before, done, failed = output.split("PLAY [Deliver")
    assert "0 delivered, 0 waiting, 0 closed, 1 refused" in done
    assert "a label is wrong" in done
    assert "delivered" not in failed


# ---- doctor


def _findings(output: str) -> dict[str, str]:
    """What was said of each subject that is not all right, and of the keys in any case."""
    lines = re.findall(r'"(ok|warn|fail) +([\w ]+): (.*?)",?$', output, re.MULTILINE)
    return {check: f"{state} {text}" for state, check, text in lines if state != "ok" or check in ("key", "app key")}


def _doctors(output: str) -> tuple[str, str]:
    """What the first and the second doctor said."""
    _before, first, second = output.split("PLAY [Flashduty doctor]")
    return first, second


def test_doctor_finds_nothing_wrong_creates_nothing_and_names_what_cannot_be_used(control: ControlNode) -> None:
    control.environment["FLASHDUTY_APP_KEY"] = APP_KEY
    url = control.environment.pop("FLASHDUTY_PUSH_URL")
    healthy = control.write_import(DOCTOR, flashduty_push_url=url)
    unusable = control.write_import(DOCTOR, flashduty_scope="hosts")
    # A playbook looks for its language in ansible.cfg, too, and these say nothing of it.
    for config, second, subject, expected in (
        ("[defaults]\nforks = 7\n", [DOCTOR], "integration key", "fail integration_key: no integration key is set"),
        (
            "[callback_flashduty_change]\nprogress = none\n",
            [unusable, "--check"],
            "settings",
            "Valid are run, group, host",
        ),
    ):
        control.environment["ANSIBLE_CONFIG"] = control.write("ansible.cfg", config)
        code, output = control.run(healthy, OUTBOX, *second)
        assert code == 2, output
        first, last = _doctors(output)
        found = _findings(first)
        assert found.pop("key").startswith("ok accepted")
        assert found.pop("app key").startswith("ok changes can be read")
        assert found.pop("TLS").startswith("warn plain http")
        assert found == {}
        assert "No check failed." in first
        assert "enabled by the environment variable ANSIBLE_CALLBACKS_ENABLED" in first
        assert "There are no such events in" in first
        assert expected in _findings(last)[subject]
        assert KEY not in output
        assert "DEPRECATION" not in output
    assert control.receiver.events() == []
    assert not (control.folder / "home" / "flashduty").exists()


def test_doctor_tells_a_guess_unread_settings_and_keys_that_cannot_be_known_or_are_wrong(control: ControlNode) -> None:
    control.environment.update(FLASHDUTY_LABEL_VAR="env", FLASHDUTY_PREVIEW="1")
    # The first doctor asks with the key and with a made-up one.
    control.receiver.faults.set("status", status=400, times=2, error_code="InvalidParameter", message="no title")
    url = control.receiver.push_url("wr0ng-key")
    wrong = control.write_import(DOCTOR, flashduty_push_url=url, flashduty_app_key="wr0ng-app")
    code, output = control.run(DOCTOR, wrong)
    assert code == 2
    assert "wr0ng" not in output
    first, last = _doctors(output)
    assert "No check failed." in first
    found = _findings(first)
    assert found["settings"].startswith("warn nothing reads the environment variable FLASHDUTY_LABEL_VAR. Did you mean")
    assert "preview is set by the environment variable FLASHDUTY_PREVIEW" in found["reports"]
    assert found["key"].startswith("warn the API answers your key and a made-up one alike")
    guess = "labels: env=prod for the 3 hosts of the inventory, guessed from names of groups: env_prod"
    assert guess in " ".join(first.split())
    found = _findings(last)
    assert found["key"].startswith("fail InvalidParameter: integration_key")
    assert found["app key"].startswith("fail Unauthorized")


def test_doctor_without_network_and_callback_and_with_an_env_that_is_not_guessed(control: ControlNode) -> None:
    control.environment["FLASHDUTY_LABELS"] = "env=qa"
    control.receiver.faults.set("refuse", seconds=60)
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    (control.folder / "ansible.cfg").write_text("[defaults]\ncallbacks_enabled = ansible.posix.timer\n")
    control.environment["ANSIBLE_CONFIG"] = str(control.folder / "ansible.cfg")
    code, output = control.run(DOCTOR)
    assert code == 2
    found = _findings(output)
    assert "the connection was refused" in found["API"]
    assert f"{control.folder}/ansible.cfg names ansible.posix.timer" in found["callback"]
    assert "guessed" not in output


def test_doctor_says_where_each_group_reports_to(control: ControlNode) -> None:
    del control.environment["FLASHDUTY_PUSH_URL"]
    (control.folder / "group_vars").mkdir()
    control.write("group_vars/web.yml", f"flashduty_push_url: {control.receiver.push_url(KEY)}\n")
    for arguments in ((), ("--check",)):
        code, output = control.run(DOCTOR, *arguments)
        said = " ".join(output.split())
        assert code == 0, output
        assert "the group web reports to the integration #1 (2 hosts)" in said
        assert "1 host (db1) without an integration key while others have one" in said
        assert _findings(output)["key"].startswith("ok accepted")
        assert KEY not in output
