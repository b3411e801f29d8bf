# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each row of the table in docs/troubleshooting.md is a finding, which the test named after it causes."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import string
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible.config.manager import ConfigManager
from deliveries import APP_KEY, KEY, PATIENCE
from outboxes import LEASE, event, outbox_in
from workers import Worker

from ansible_collections.flashcat.flashduty.plugins.action.flashduty_doctor import ActionModule
from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.probe import probe
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import spool_folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks import doctor, doctor_shared
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding_kinds import KINDS
from flashduty_sandbox.receiver import Receiver

ROOT = Path(__file__).parents[5]
TABLE = re.findall(
    r"^\| `([\w-]+)` \|", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
)
TEAMS = """
[web]
web1
web2
[db]
db1
[prod:children]
web
db
[web:vars]
flashduty_integration_key=key-of-the-web-team
"""
OTHER_KEY = "key-of-the-db-team"
# That takes a process, whose answer is the same for all tests.
_import_problem = functools.cache(reader.import_problem)


class Scene:
    """A control node on which all is well but plain http, and ways to break it."""

    def __init__(self, folder: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, dead: Process) -> None:
        self.folder, self.receiver, self.patch, self.dead = folder, receiver, monkeypatch, dead
        self.state = folder / "state"
        self.options: dict[str, Any] = {"api_url": receiver.url, "integration_key": KEY, "state_dir": str(self.state)}
        self.options["timeout"] = PATIENCE
        self.arguments: dict[str, Any] = {}
        for name in [name for name in os.environ if name.startswith("FLASHDUTY_")]:
            monkeypatch.delenv(name)
        monkeypatch.setattr(reader, "import_problem", _import_problem)
        monkeypatch.setattr(reader, "ask", lambda _question, connection, _values: probe(connection))
        self.configured("[defaults]\ncallbacks_enabled = flashcat.flashduty.flashduty_change\n")

    def configured(self, text: str) -> None:
        """With this ansible.cfg."""
        path = self.folder / "ansible.cfg"
        path.write_text(text)
        self.patch.setattr(C, "config", ConfigManager(str(path)))
        self.patch.setattr(C, "CONFIG_FILE", str(path))

    def answered(self, **answers: Any) -> None:
        """With an API that answers so to an empty event."""
        own = {"message": "title is required", "code": "InvalidParameter", "status": 400, "request_id": "r", "retry": 0}
        played = {"own": own, "other": own, "app": None, "seconds": 0.1, "skew": 0.0, "proxy": None}
        played["own"] = {**own, **answers.pop("own", {})}
        self.patch.setattr(reader, "ask", lambda *_: {**played, **answers})

    def outbox(self) -> Outbox:
        """An open outbox with an event that waits."""
        made = outbox_in(self.state)
        made.put(event())
        return made

    def examined(self) -> dict[str, Any]:
        """What the task returns."""
        worker = Worker(self.folder, "flashcat.flashduty.flashduty_doctor", self.options, {}, **self.arguments)
        return worker.action(ActionModule).run(None, worker.variables)


@pytest.fixture
def scene(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, dead: Process) -> Scene:
    return Scene(tmp_path, receiver, monkeypatch, dead)


def _inventory(text: str, **options: Any) -> Callable[[Scene], None]:
    def cause(scene: Scene) -> None:
        del scene.options["integration_key"]
        scene.options.update(options)
        scene.arguments["inventory"] = text

    return cause


def _option(**options: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.options.update(options)


def _answer(**answers: Any) -> Callable[[Scene], None]:
    def cause(scene: Scene) -> None:
        scene.options["app_key"] = APP_KEY
        scene.answered(**answers)

    return cause


def _refused(code: str, retry: bool = False) -> Callable[[Scene], None]:
    return _answer(own={"message": "no", "code": code, "retry": retry})


def _ini(line: str) -> Callable[[Scene], None]:
    return lambda scene: scene.configured(f"[callback_flashduty_change]\n{line}\n")


def _environment(name: str, value: str = "1") -> Callable[[Scene], None]:
    return lambda scene: scene.patch.setenv(name, value)


def _extra(**variables: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.arguments.update(extra=variables)


def _core(version: str) -> Callable[[Scene], None]:
    return lambda scene: scene.patch.setattr(doctor, "core_version", version)


def _ignored(scene: Scene) -> None:
    scene.patch.setattr(C, "CONFIG_FILE", None)
    scene.patch.chdir(scene.folder)


def _old_requests(scene: Scene) -> None:
    scene.patch.setattr(importlib.metadata, "version", lambda _name: "2.24.9")


def _broken_requests(scene: Scene) -> None:
    scene.patch.setattr(reader, "import_problem", lambda: "AttributeError: of another time")


def _no_requests(scene: Scene) -> None:
    scene.patch.setattr(doctor, "requests_is_missing", lambda: "it is missing. python -m pip install requests")


def _readable_key(scene: Scene) -> None:
    path = scene.folder / "key"
    path.write_text(KEY)
    path.chmod(0o644)
    del scene.options["integration_key"]
    scene.options["integration_key_file"] = str(path)


def _vault(scene: Scene) -> None:
    (scene.folder / "group_vars").mkdir()
    (scene.folder / "group_vars" / "db.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    scene.arguments["inventory"] = TEAMS


def _reading_fails(scene: Scene) -> None:
    def fails(*_: Any) -> None:
        raise ApiError("no process can be started", retry=True)

    scene.patch.setattr(reader, "ask", fails)


def _foreign(scene: Scene) -> None:
    scene.state.mkdir()
    os.mkfifo(scene.state / "outbox.sqlite3")


def _in_the_way(scene: Scene) -> None:
    (scene.folder / "file").write_text("")
    scene.options["state_dir"] = str(scene.folder / "file" / "state")


def _not_writable(scene: Scene) -> None:
    scene.state.mkdir()
    # The tests may run as root, who may write anywhere.
    real = os.access
    scene.patch.setattr(os, "access", lambda path, mode: path != str(scene.state) and real(path, mode))


def _no_pipes(scene: Scene) -> None:
    def fails(_folder: str, _state_dir: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    scene.patch.setattr(doctor, "try_fifo", fails)


def _open_folder(scene: Scene) -> None:
    scene.outbox().close()
    scene.state.chmod(0o750)


def _open_file(scene: Scene) -> None:
    scene.outbox().close()
    (scene.state / "outbox.sqlite3").chmod(0o640)


def _network(scene: Scene) -> None:
    scene.outbox().close()
    scene.patch.setattr(doctor, "is_on_network", lambda _folder: True)


def _waiting(scene: Scene) -> None:
    scene.outbox().close()


def _refused_event(scene: Scene) -> None:
    with scene.outbox() as outbox:
        claim = outbox.claims.claim(LEASE)
        assert isinstance(claim, Claim)
        outbox.claims.refused(claim, ApiError("no", False, 400, "InvalidParameter", "r-1"))


def _vanished(scene: Scene) -> None:
    with scene.outbox() as outbox:
        outbox.runs.open("one", Watch(scene.dead, "it vanished", "killed"), [])


def _spool(scene: Scene) -> None:
    scene.outbox().close()
    spool = next(iter(spool_folders(str(scene.state))))
    scene.patch.setattr(Outbox, "spools", staticmethod(lambda _state_dir: [spool]))
    scene.patch.setattr(doctor, "_state_of", lambda _folder: [])


def _damaged(scene: Scene) -> None:
    scene.outbox().close()
    (scene.state / "outbox.sqlite3").write_bytes(b"this is no database" * 1000)


def _set_aside(scene: Scene) -> None:
    scene.outbox().close()
    (scene.state / "outbox.sqlite3.corrupt-1").write_bytes(b"")


def _unchecked(scene: Scene) -> None:
    scene.answered()
    scene.options.update(api_url="https://flashduty.example", validate_certs=False)


def _shared(**state: Any) -> Callable[[Scene], None]:
    """With a shared outbox in this state."""

    def cause(scene: Scene) -> None:
        scene.options["outbox_url"] = "postgresql://flash:s3cret-word@db/flashduty"
        scene.patch.setitem(sys.modules, "psycopg", types.ModuleType("psycopg"))
        made = doctor_shared.SharedState(**{"tables": "ok", "is_read_only": False, "is_private": True, **state})
        scene.patch.setattr(doctor_shared, "look_at", lambda _url, _connections: made)

    return cause


def _no_psycopg(scene: Scene) -> None:
    _shared()(scene)
    scene.patch.setitem(sys.modules, "psycopg", None)


def _no_shared_outbox(scene: Scene) -> None:
    def fails(_url: str, _connections: Any) -> None:
        raise OutboxError("connection refused")

    _shared()(scene)
    scene.patch.setattr(doctor_shared, "look_at", fails)


CAUSES: dict[str, Callable[[Scene], object]] = {
    "core-too-old": _core("2.15.1"),
    "core-untested": _core("2.99.0"),
    "requests-missing": _no_requests,
    "requests-broken": _broken_requests,
    "requests-old": _old_requests,
    "configuration-ignored": _ignored,
    "callback-not-enabled": lambda scene: scene.configured("[defaults]\n"),
    "reports-off": _environment("FLASHDUTY_ENABLED", "false"),
    "reports-off-for-hosts": _inventory(TEAMS + "flashduty_enabled=false\n"),
    "preview": _environment("FLASHDUTY_PREVIEW"),
    "environment-unknown": _environment("FLASHDUTY_PUSHURL"),
    "environment-unheard-of": _environment("FLASHDUTY_XYZZY_QUUX_17"),
    "ini-unknown": _ini("lable_vars = env"),
    "ini-unheard-of": _ini("xyzzy_quux_17 = env"),
    "variable-unknown": _extra(flashduty_pushurl="x"),
    "setting-invalid": _extra(flashduty_scope="hosts"),
    "integration-key-missing": lambda scene: scene.options.pop("integration_key"),
    "integration-key-invalid": _option(integration_key="'in quotes'"),
    "key-file-open": _readable_key,
    "hosts-without-key": _inventory(TEAMS),
    "hosts-key-invalid": _inventory(TEAMS + "[db:vars]\nflashduty_push_url=nowhere\n"),
    "variables-unreadable": _vault,
    "api-not-asked": _reading_fails,
    "api-no-answer": lambda scene: scene.receiver.faults.set("reset"),
    "api-slow": _answer(seconds=9.0),
    "tls-none": lambda _scene: None,
    "tls-unchecked": _unchecked,
    "clock-unknown": _answer(skew=None),
    "clock-ahead": _answer(skew=60.0),
    "clock-behind": _answer(skew=-60.0),
    "key-wrong": _option(integration_key="a-wrong-key"),
    "key-unknown": _answer(),
    "key-not-flashduty": _answer(own={"code": None, "message": "a portal"}),
    "key-not-bought": _refused("ResourceNotFound"),
    "key-no-license": _refused("NoLicense"),
    "key-refused": _refused("Unheard"),
    "key-not-now": _refused("RequestTooFrequently", retry=True),
    "app-key-refused": _option(app_key="a-wrong-app-key"),
    "app-key-not-now": _answer(app={"status": 429, "message": "too many", "request_id": None, "retry": True}),
    "no-sqlite": lambda scene: scene.patch.setattr(doctor, "NO_SQLITE", "sqlite3 cannot be imported. Install it"),
    "outbox-unsafe": _foreign,
    "outbox-not-makeable": _in_the_way,
    "outbox-not-writable": _not_writable,
    "outbox-not-usable": _no_pipes,
    "outbox-folder-open": _open_folder,
    "outbox-file-open": _open_file,
    "outbox-on-network": _network,
    "outbox-waiting": _waiting,
    "outbox-refused": _refused_event,
    "outbox-vanished-runs": _vanished,
    "outbox-other-key": _waiting,
    "outbox-spool": _spool,
    "outbox-unreadable": _damaged,
    "outbox-set-aside": _set_aside,
    "psycopg-missing": _no_psycopg,
    "shared-outbox-not-usable": _no_shared_outbox,
    "shared-outbox-read-only": _shared(is_read_only=True),
    "shared-outbox-plain": _shared(is_private=False),
    "shared-outbox-no-tables": _shared(tables="no-tables"),
    "shared-outbox-older": _shared(tables="older"),
    "shared-outbox-newer": _shared(tables="newer"),
    "shared-outbox-forbidden": _shared(tables="forbidden"),
    "shared-outbox-waiting": _shared(waiting=2),
    "shared-outbox-vanished-runs": _shared(vanished=1),
}


def test_the_table_has_each_finding_that_is_not_ok() -> None:
    assert sorted(TABLE) == sorted(name for name, kind in KINDS.items() if kind.state != "ok")


def test_where_nothing_is_wrong_nothing_is_found(scene: Scene) -> None:
    # The receiver speaks plain http.
    assert {found["kind"] for found in scene.examined()["findings"]}.intersection(TABLE) == {"tls-none"}


@pytest.mark.parametrize("kind", TABLE)
def test_it_is_found_where_it_is_caused_and_says_what_to_do(scene: Scene, kind: str) -> None:
    CAUSES[kind](scene)
    result = scene.examined()
    assert "failed" not in result, result
    of_kind = [found for found in result["findings"] if found["kind"] == kind]
    assert of_kind, result["lines"]
    assert all(found["advice"] or "pip install" in found["text"] for found in of_kind)
    assert KEY not in str(result)
    assert "s3cret-word" not in str(result)


@pytest.mark.parametrize("kind", KINDS)
def test_both_languages_say_the_same(kind: str) -> None:
    def fields(part: str) -> set[str | None]:
        return {name for _text, name, _spec, _conversion in string.Formatter().parse(part)} - {None}

    english, chinese = (text.splitlines() for text in KINDS[kind].text)
    assert fields("".join(chinese)) <= fields("".join(english))
    assert len(chinese) == len(english) <= 2


# What is the same in every language: commands, and what others say.
_NO_PROSE = re.compile(
    r"\{[^}]*\}|ansible-playbook \S+( -\w \S+)*|chmod \d+|-m pip .*|[-\w.]*[_.=\d][-\w.=]*|\b[A-Z]{2,}\b"
)


@pytest.mark.parametrize("kind", KINDS)
def test_chinese_has_no_english_sentence(kind: str) -> None:
    for part in KINDS[kind].text.zh.splitlines():
        words = re.findall(r"[A-Za-z]{2,}", _NO_PROSE.sub("", part))
        assert len(words) <= 4, words


# Which integration each group reports to


def _lines(result: dict[str, Any]) -> list[str]:
    return [found["text"] for found in result["findings"] if found["check"] == "inventory"]


def test_each_group_is_named_with_its_integration_as_flush_names_it(scene: Scene) -> None:
    scene.arguments["inventory"] = f"{TEAMS}\n[db:vars]\nflashduty_integration_key={OTHER_KEY}\n"
    scene.outbox().close()
    lines = _lines(scene.examined())
    assert [re.sub(r"integration [0-9a-f]{8} ", "integration NAME ", line) for line in lines] == [
        "the group all reports to the integration NAME (3 hosts)"
    ]
    # The task's own key stands above those of the inventory, as it does for every task.
    del scene.options["integration_key"]
    result = scene.examined()
    assert [re.sub(r"integration [0-9a-f]{8} ", "integration NAME ", line) for line in _lines(result)] == [
        "the group db reports to the integration NAME (1 host)",
        "the group web reports to the integration NAME (2 hosts)",
    ]
    assert len({line.split()[7] for line in _lines(result)}) == 2
    assert [found["kind"] for found in result["findings"] if found["check"] == "key"] == ["key-wrong"] * 2
    assert OTHER_KEY not in str(result)
    assert "key-of-the-web-team" not in str(result)


def test_a_group_whose_hosts_differ_and_hosts_without_a_key_are_told(scene: Scene) -> None:
    _inventory(f"[all]\nweb1 flashduty_integration_key={OTHER_KEY}\nweb2\n[web]\nweb1\nweb2\n")(scene)
    assert _lines(scene.examined()) == [
        "the group web reports to the integration #1 (1 host)",
        "1 host (web2) without an integration key while others have one; runs on these hosts alone are not reported",
    ]


def test_an_inventory_without_settings_is_not_mentioned(scene: Scene) -> None:
    assert _lines(scene.examined()) == []


# The shared outbox


def test_who_shares_the_outbox_is_told_and_its_password_is_not(scene: Scene) -> None:
    _shared(nodes=["deploy01 3f9a2c41", "deploy02 77aa0102"], runs=3)(scene)
    (finding,) = [found for found in scene.examined()["findings"] if found["check"] == "shared outbox"]
    assert finding["state"] == "ok"
    assert finding["text"] == (
        "2 nodes (deploy01 3f9a2c41, deploy02 77aa0102) reported to postgresql://flash:***@db/flashduty within a day,"
        " 3 runs in progress"
    )


def test_an_address_of_the_shared_outbox_that_is_none_is_not_said_of_the_key(scene: Scene) -> None:
    scene.options["outbox_url"] = "mysql://flash:s3cret-word@db"
    findings = scene.examined()["findings"]
    assert [found["text"] for found in findings if found["kind"] == "setting-invalid"] == [
        "outbox_url: must be an address that begins with postgresql:// or postgres://"
    ]
    assert "s3cret-word" not in str(findings)


def test_a_file_with_the_password_of_the_shared_outbox_that_others_may_read_is_told(scene: Scene) -> None:
    _shared()(scene)
    del scene.options["outbox_url"]
    path = scene.folder / "url"
    path.write_text("postgresql://flash:s3cret-word@db")
    path.chmod(0o644)
    scene.options["outbox_url_file"] = str(path)
    assert [found["advice"] for found in scene.examined()["findings"] if found["kind"] == "key-file-open"] == [
        f"chmod 600 {path}"
    ]
