# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor finds, and what it advises; it changes nothing."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible.config.manager import ConfigManager
from deliveries import APP_KEY, KEY, PATIENCE
from outboxes import LEASE, ME, claimed, event, outbox_in

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.probe import probe
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import FLUSH
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import name_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks import doctor
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.doctor import examine
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Finding
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import with_task_options
from flashduty_sandbox.receiver import Receiver

# What an API answers to an empty event.
LACKS_TITLE = {
    "message": "title is required",
    "code": "InvalidParameter",
    "status": 400,
    "request_id": "r-1",
    "retry": False,
}
BAD_KEY = {**LACKS_TITLE, "message": "integration_key is invalid"}
_import_problem = functools.cache(reader.import_problem)


@pytest.fixture(autouse=True)
def _probed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API is asked from this process, and whether ``requests`` can be imported once for all tests."""
    monkeypatch.setattr(reader, "import_problem", _import_problem)
    monkeypatch.setattr(reader, "ask", lambda _question, connection, _values: probe(connection))


@pytest.fixture
def examined(tmp_path: Path, receiver: Receiver) -> Callable[..., list[Finding]]:
    """Examines with these options, above those of the receiver and a state_dir of its own."""

    def made(origins: Mapping[str, str] | None = None, **options: Any) -> list[Finding]:
        below = {
            "api_url": receiver.url,
            "integration_key": KEY,
            "timeout": PATIENCE,
            "state_dir": str(tmp_path / "state"),
        }
        return examine(with_task_options(below, options), origins or {})

    return made


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch, examined: Callable[..., list[Finding]]) -> Callable[..., list[Finding]]:
    """Examines what such an API would answer."""

    def made(**answers: Any) -> list[Finding]:
        played = {"own": LACKS_TITLE, "other": BAD_KEY, "app": None, "seconds": 0.1, "skew": 0.0, "proxy": None}
        played.update(answers)
        monkeypatch.setattr(reader, "ask", lambda *_: played)
        return examined(app_key=APP_KEY)

    return made


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """The outbox of the receiver's integration, which nobody has open."""
    with outbox_in(tmp_path / "state") as made:
        made.put(event())
    return made


def of(findings: list[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def states(findings: list[Finding], check: str) -> list[str]:
    return [finding.state for finding in of(findings, check)]


def warned(findings: list[Finding], check: str) -> Finding:
    """The one finding of a check that is not ok, but those about other keys."""
    of_check = [finding for finding in of(findings, check) if "another key" not in finding.text]
    (found,) = [finding for finding in of_check if finding.state != "ok"]
    return found


# Software and configuration


@pytest.mark.parametrize(
    ("core", "state"),
    [("2.15.12", "fail"), ("2.16.0", "ok"), ("2.22.0rc1", "ok"), ("2.23.0", "warn"), ("3.0", "warn")],
)
def test_each_core_that_was_not_tested_is_told(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch, core: str, state: str
) -> None:
    monkeypatch.setattr(doctor, "core_version", core)
    (found,) = of(examined(), "versions")
    assert found.state == state
    assert core in found.text
    assert "flashcat.flashduty 1." in found.text
    assert bool(found.advice) is (state != "ok")


@pytest.mark.parametrize(
    ("version", "state"), [("2.24.9", "warn"), ("2.25.0", "ok"), ("2.100", "ok"), ("of unknown version", "ok")]
)
def test_requests_may_be_too_old(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch, version: str, state: str
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _name: version)
    (found,) = of(examined(), "requests")
    assert found.state == state
    assert version in found.text
    assert ("pip install --upgrade requests" in found.advice) is (state == "warn")


@pytest.mark.parametrize(
    ("setting", "state", "named"),
    [
        ("callbacks_enabled = profile_tasks, flashcat.flashduty.flashduty_change", "ok", "ansible.cfg"),
        ("callbacks_enabled = profile_tasks, timer", "warn", "profile_tasks, timer"),
        ("", "warn", "no callback"),
    ],
)
def test_a_callback_that_is_not_enabled_reports_nothing(
    examined: Callable[..., list[Finding]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    setting: str,
    state: str,
    named: str,
) -> None:
    path = tmp_path / "ansible.cfg"
    path.write_text(f"[defaults]\n{setting}\n")
    monkeypatch.setattr(C, "config", ConfigManager(str(path)))
    monkeypatch.setattr(C, "CONFIG_FILE", str(path))
    findings = examined()
    (found,) = of(findings, "callback")
    assert found.state == state
    assert named in found.text
    assert (str(path) in found.advice) is (state == "warn")
    assert of(findings, "configuration")[0].text == f"read from {path}"


def test_what_switched_the_callback_off_is_named(examined: Callable[..., list[Finding]]) -> None:
    off = {"enabled": "off the environment variable FLASHDUTY_ENABLED"}
    texts = [finding.text for finding in of(examined(off), "reports")]
    assert "switched off by the environment variable FLASHDUTY_ENABLED" in texts
    assert not any("switched off" in finding.text for finding in examined({"enabled": "ansible.cfg"}))


def test_an_ansible_cfg_that_is_passed_over_is_told(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(C, "CONFIG_FILE", None)
    monkeypatch.chdir(tmp_path)
    assert states(examined(), "configuration") == ["ok"]
    (tmp_path / "ansible.cfg").write_text("")
    assert "ANSIBLE_CONFIG" in warned(examined(), "configuration").advice


# Keys


def test_without_a_key_nothing_is_asked_and_the_rest_is_looked_at(tmp_path: Path, receiver: Receiver) -> None:
    findings = examine({"api_url": receiver.url, "state_dir": str(tmp_path / "state")}, {})
    (found,) = of(findings, "integration key")
    assert (found.state, "push_url" in found.text) == ("fail", True)
    assert states(findings, "outbox") == ["ok"]
    assert receiver.requests() == []


@pytest.mark.parametrize(("mode", "state"), [(0o600, []), (0o640, ["warn"]), (0o604, ["warn"])])
def test_a_key_that_others_can_read_is_told_with_what_to_do(
    examined: Callable[..., list[Finding]], tmp_path: Path, mode: int, state: list[str]
) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(mode)
    findings = examined(integration_key_file=str(path))
    assert states(findings, "permissions") == state
    assert all(found.advice == f"chmod 600 {path}" for found in of(findings, "permissions"))
    assert of(findings, "integration key")[0].text == "from integration_key_file, set by the task"
    # The same for a file that holds the key among other settings.
    assert states(examined({"integration_key": str(path)}), "permissions") == state
    assert states(examined({"app_key": str(path)}, app_key=APP_KEY), "permissions") == state


def test_a_file_that_holds_only_the_path_of_a_key_is_no_secret(
    examined: Callable[..., list[Finding]], tmp_path: Path
) -> None:
    key, config = tmp_path / "key", tmp_path / "ansible.cfg"
    for path, mode in ((key, 0o600), (config, 0o644)):
        path.write_text(KEY)
        path.chmod(mode)
    assert states(examined({"integration_key_file": str(config)}, integration_key_file=str(key)), "permissions") == []
    key.chmod(0o644)
    (found,) = of(examined({"integration_key_file": str(config)}, integration_key_file=str(key)), "permissions")
    assert found.advice == f"chmod 600 {key}"


# The API


def test_what_is_well_is_told_and_no_change_comes_of_it(
    examined: Callable[..., list[Finding]], receiver: Receiver
) -> None:
    findings = examined(app_key=APP_KEY)
    assert {check: states(findings, check) for check in ("API", "proxy", "clock", "key", "app key")} == {
        "API": ["ok"],
        "proxy": ["ok"],
        "clock": ["ok"],
        "key": ["ok"],
        "app key": ["ok"],
    }
    # The receiver speaks plain http.
    assert states(findings, "TLS") == ["warn"]
    assert (receiver.events(), receiver.changes()) == ([], [])


def test_a_wrong_key_fails(examined: Callable[..., list[Finding]]) -> None:
    findings = examined(integration_key="wrong-key", app_key="wrong-app-key")
    assert (states(findings, "key"), states(findings, "app key")) == (["fail"], ["fail"])
    assert "Push URL" in of(findings, "key")[0].advice
    assert "request_id" in of(findings, "app key")[0].text


def test_an_api_that_does_not_answer_says_nothing_of_the_key(
    examined: Callable[..., list[Finding]], receiver: Receiver
) -> None:
    receiver.faults.set("reset")
    findings = examined()
    (found,) = of(findings, "API")
    assert found.state == "fail"
    assert receiver.url in found.text
    assert (of(findings, "key"), of(findings, "clock"), of(findings, "TLS")) == ([], [], [])


def test_where_the_api_cannot_even_be_asked_the_reason_is_told(
    examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ApiError("requests is missing", retry=True)

    monkeypatch.setattr(reader, "ask", fails)
    assert "requests is missing" in warned(examined(), "API").text


@pytest.mark.parametrize(("seconds", "state"), [(0.1, "ok"), (3.0, "ok"), (3.1, "warn")])
def test_a_slow_api_makes_runs_wait(answered: Callable[..., list[Finding]], seconds: float, state: str) -> None:
    assert states(answered(seconds=seconds), "API") == [state]


@pytest.mark.parametrize(
    ("skew", "state", "text"),
    [
        (None, "warn", "does not send its time"),
        (2.0, "ok", ""),
        (-2.0, "ok", ""),
        (2.6, "fail", "3 s ahead"),
        (-120.0, "warn", "120 s behind"),
    ],
)
def test_a_clock_that_is_fast_makes_flashduty_refuse(
    answered: Callable[..., list[Finding]], skew: float | None, state: str, text: str
) -> None:
    (found,) = of(answered(skew=skew), "clock")
    assert found.state == state
    assert text in found.text


def test_a_proxy_is_named_where_the_api_does_not_answer(answered: Callable[..., list[Finding]]) -> None:
    silent = {"message": "no answer", "code": None, "status": None, "request_id": None, "retry": True}
    findings = answered(own=silent, proxy="http://proxy:3128")
    assert "http://proxy:3128" in of(findings, "proxy")[0].text
    assert "http://proxy:3128" in of(findings, "API")[0].advice


@pytest.mark.parametrize(
    ("own", "other", "state", "advice"),
    [
        (LACKS_TITLE, BAD_KEY, "ok", ""),
        (BAD_KEY, BAD_KEY, "fail", "Push URL"),
        # It looks at the fields first.
        (LACKS_TITLE, LACKS_TITLE, "warn", "flashcat.flashduty.report"),
        ({**LACKS_TITLE, "code": None, "message": "a portal"}, BAD_KEY, "fail", "api_url and proxies"),
        ({**LACKS_TITLE, "code": "NoLicense"}, BAD_KEY, "fail", "licence"),
        ({**LACKS_TITLE, "code": "ResourceNotFound"}, BAD_KEY, "fail", "has not bought"),
        ({**LACKS_TITLE, "code": "RequestTooFrequently", "retry": True}, BAD_KEY, "warn", "minute"),
        ({**LACKS_TITLE, "code": "Unheard"}, BAD_KEY, "fail", "console"),
    ],
)
def test_what_the_answers_tell_of_the_key(
    answered: Callable[..., list[Finding]], own: dict[str, Any], other: dict[str, Any], state: str, advice: str
) -> None:
    (found,) = of(answered(own=own, other=other), "key")
    assert found.state == state
    assert advice in found.advice


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"status": 200}, "ok"),
        ({"status": 401, "message": "no", "request_id": "r-2", "retry": False}, "fail"),
        ({"status": 429, "message": "too many", "request_id": None, "retry": True}, "warn"),
        (None, "ok"),
    ],
)
def test_an_app_key_that_fails_for_now_is_a_warning(
    answered: Callable[..., list[Finding]], answer: dict[str, Any] | None, state: str
) -> None:
    assert states(answered(app=answer), "app key") == [state]


def test_a_certificate_that_is_not_checked_is_told(answered: Callable[..., list[Finding]], tmp_path: Path) -> None:
    def tls(**options: Any) -> list[Finding]:
        answered()
        below = {"api_url": "https://flashduty.example", "integration_key": KEY, "state_dir": str(tmp_path / "state")}
        return of(examine({**below, **options}, {}), "TLS")

    authority = tmp_path / "ca.pem"
    authority.write_text("")
    assert [found.state for found in (*tls(), *tls(validate_certs=False))] == ["ok", "warn"]
    assert str(authority) in tls(ca_path=str(authority))[0].text


# The outbox


def test_an_outbox_that_is_still_to_be_made(examined: Callable[..., list[Finding]], tmp_path: Path) -> None:
    (found,) = of(examined(state_dir=str(tmp_path / "not" / "yet")), "outbox")
    assert (found.state, (tmp_path / "not").exists()) == ("ok", False)
    (tmp_path / "file").write_text("in the way")
    found = warned(examined(state_dir=str(tmp_path / "file" / "state")), "outbox")
    assert (found.state, str(tmp_path / "file") in found.advice) == ("fail", True)


def test_what_a_run_makes_is_made_and_removed(
    examined: Callable[..., list[Finding]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkfifo(path: str, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    before = set(tmp_path.iterdir())
    assert states(examined(), "outbox") == ["ok"]
    with monkeypatch.context() as patched:
        patched.setattr(os, "mkfifo", mkfifo)
        assert "Operation not permitted" in warned(examined(), "outbox").text
    assert set(tmp_path.iterdir()) == before


def test_requests_that_cannot_be_imported_is_told(
    examined: Callable[..., list[Finding]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requests.py").write_text("raise AttributeError('of another time')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(reader, "import_problem", _import_problem.__wrapped__)
    found = warned(examined(), "requests")
    assert (found.state, "AttributeError: of another time" in found.text) == ("fail", True)


def test_an_empty_outbox_is_well_and_looking_changes_nothing(
    examined: Callable[..., list[Finding]], outbox: Outbox
) -> None:
    deliver(outbox)
    before = {path: path.read_bytes() for path in Path(outbox.folder).iterdir()}
    assert states(examined(), "outbox") == ["ok"]
    # SQLite adds files of its own.
    assert {path: path.read_bytes() for path in before} == before


def deliver(outbox: Outbox, refused: bool = False) -> None:
    """Settle what is next."""
    with outbox_in(outbox.folder) as opened:
        claim = opened.claims.claim(LEASE)
        assert isinstance(claim, Claim)
        if refused:
            opened.claims.refused(claim, ApiError("no", False, 400, "InvalidParameter", "r-1"))
        else:
            opened.claims.delivered(claim, "r-1")


def test_what_waits_or_was_refused_is_counted(examined: Callable[..., list[Finding]], outbox: Outbox) -> None:
    assert "1 event in" in warned(examined(), "outbox").text
    with outbox_in(outbox.folder) as opened:
        another = opened.of("another integration")
        another.put(event())
        claimed(another)
    found = warned(examined(), "outbox")
    assert "2 events in" in found.text
    assert FLUSH in found.advice
    deliver(outbox, refused=True)
    assert [each.text for each in of(examined(), "outbox") if "refused by" in each.text] == [
        "1 event refused by Flashduty"
    ]


def test_runs_that_nobody_closed_are_told_and_those_that_go_on_are_not(
    examined: Callable[..., list[Finding]], outbox: Outbox, dead: Process
) -> None:
    deliver(outbox)
    elsewhere = Process("another machine", "another boot", "pid:[1]", 1, "1")
    with outbox_in(outbox.folder) as opened:
        for run, process in (("mine", ME), ("elsewhere", elsewhere), ("closed", dead)):
            opened.runs.open(run, Watch(process, "it vanished", "killed"), [])
        opened.runs.close("closed", [])
    assert states(examined(), "outbox") == ["ok"]
    with outbox_in(outbox.folder) as opened:
        for run in ("one", "two"):
            opened.runs.open(run, Watch(dead, "it vanished", "killed"), [])
    found = warned(examined(), "outbox")
    assert (found.text, FLUSH in found.advice) == ("2 runs ended without a final status", True)


def test_what_others_can_read_is_told_with_what_to_do(examined: Callable[..., list[Finding]], outbox: Outbox) -> None:
    deliver(outbox)
    os.chmod(outbox.folder, 0o750)
    assert warned(examined(), "outbox").advice == f"chmod 700 {outbox.folder}"
    os.chmod(outbox.folder, 0o700)
    os.chmod(outbox.database.path, 0o640)
    assert warned(examined(), "outbox").advice == f"chmod 600 {outbox.database.path}"


def test_a_damaged_file_is_told_and_left_where_it_is(examined: Callable[..., list[Finding]], outbox: Outbox) -> None:
    path = Path(outbox.database.path)
    path.write_bytes(b"this is no database" * 1000)
    found = warned(examined(), "outbox")
    assert str(path) in found.text
    assert path.read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize(("count", "text"), [(1, "1 damaged file set aside"), (2, "2 damaged files set aside")])
def test_damaged_files_that_were_set_aside_are_counted(
    examined: Callable[..., list[Finding]], outbox: Outbox, count: int, text: str
) -> None:
    deliver(outbox)
    for number in range(count):
        Path(f"{outbox.database.path}.corrupt-{number}").write_bytes(b"")
    assert text in warned(examined(), "outbox").text


def test_a_folder_on_a_network_is_told(
    examined: Callable[..., list[Finding]], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(outbox)
    monkeypatch.setattr(doctor, "is_on_network", lambda folder: folder == outbox.folder)
    assert "local folder" in warned(examined(), "outbox").advice


def test_what_lies_there_for_another_key_is_told(examined: Callable[..., list[Finding]], outbox: Outbox) -> None:
    name = name_of(outbox.integration)
    found = [finding for finding in of(examined(), "outbox") if "another key" in finding.text]
    assert [finding.text.partition(" since ")[0] for finding in found] == [
        f"for the integration {name}, which has another key: 1 event"
    ]
    assert f"{FLUSH} -e adopt={name}" in found[0].advice


def test_a_folder_that_somebody_else_can_change_is_told_and_nothing_there_opened(
    examined: Callable[..., list[Finding]], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.mkfifo(state / "outbox.sqlite3")
    found = warned(examined(), "outbox")
    assert (found.state, str(state / "outbox.sqlite3") in found.text) == ("fail", True)
    (state / "outbox.sqlite3").unlink()
    # Unless several users share it, each with a folder of his own.
    state.chmod(0o1777)
    assert states(examined(), "outbox") == ["ok"]
