# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the callback: which source counts, and what is said of a value that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    DEFAULT_API_URL,
    InvalidConnection,
    MissingKey,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import with_task_options

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 and older take every text for a template

    def trust_as_template(value: str) -> str:
        return value


PUSH_URL = f"{DEFAULT_API_URL}/event/push/change/standard?integration_key=from-url"


def resolved(variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    trusted = {
        name: trust_as_template(value) if isinstance(value, str) else value for name, value in (variables or {}).items()
    }
    return _options.resolved(trusted, Templar(loader=DataLoader(), variables=trusted).template)


def test_variables_go_before_the_environment_and_that_before_ansible_cfg(
    ansible_cfg: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved()["scope"] == "run"
    ansible_cfg(scope="host", wait="7")
    assert (resolved()["scope"], resolved()["wait"]) == ("host", "7")
    monkeypatch.setenv("FLASHDUTY_SCOPE", "group")
    assert resolved()["scope"] == "group"
    assert resolved({"flashduty_scope": "run"})["scope"] == "run"
    assert resolved()["wait"] == "7"


@pytest.mark.parametrize("nothing", ["", "  "])
def test_what_is_set_to_nothing_is_not_set(
    ansible_cfg: Callable[..., None], monkeypatch: pytest.MonkeyPatch, nothing: str
) -> None:
    ansible_cfg(scope="host", enabled=nothing, api_url=nothing, language=nothing)
    monkeypatch.setenv("FLASHDUTY_SCOPE", nothing)
    options = resolved({"flashduty_scope": nothing, "flashduty_wait": None})
    assert (options["scope"], options["enabled"], options["wait"]) == ("host", True, "auto")
    assert (options["api_url"], options["language"]) == (None, "auto")


def test_label_rules_that_are_set_to_nothing_are_turned_off(
    ansible_cfg: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved()["label_groups"]
    ansible_cfg(label_groups="")
    monkeypatch.setenv("FLASHDUTY_LABEL_VARS", "")
    options = resolved()
    assert [*filter(None, options["label_groups"]), *filter(None, options["label_vars"])] == []


def test_a_variable_may_be_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved({"flashduty_wait": "{{ 2 * seconds }}", "seconds": 3})["wait"] == "6"
    assert resolved({"flashduty_enabled": "{{ 1 > 2 }}"})["enabled"] is False


def test_what_is_a_template_for_each_event_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASHDUTY_TITLE", "{{ flashduty_run.status }}")
    monkeypatch.setenv("FLASHDUTY_LINK", "of the environment")
    options = resolved({"flashduty_link": "https://ticket/{{ absent }}"})
    assert options["title"] == "{{ flashduty_run.status }}"
    assert options["link"] == "https://ticket/{{ absent }}"
    assert resolved({"flashduty_link": ""})["link"] == "of the environment"


def test_the_way_to_name_the_integration_that_stands_nearest_decides_alone(
    ansible_cfg: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys(**variables: Any) -> dict[str, Any]:
        options = resolved(variables)
        names = ("push_url", "integration_key", "integration_key_file")
        return {name: options[name] for name in names if options[name]}

    ansible_cfg(push_url=PUSH_URL, integration_key_file="/etc/key")
    assert keys() == {"push_url": PUSH_URL, "integration_key_file": "/etc/key"}
    monkeypatch.setenv("FLASHDUTY_INTEGRATION_KEY", "of-the-environment")
    assert keys() == {"integration_key": "of-the-environment"}
    assert keys(flashduty_push_url=PUSH_URL) == {"push_url": PUSH_URL}
    assert keys(flashduty_push_url="") == {"integration_key": "of-the-environment"}


def test_so_does_the_way_to_name_the_shared_outbox(
    ansible_cfg: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def urls(**variables: Any) -> tuple[Any, Any]:
        options = resolved(variables)
        return options["outbox_url"], options["outbox_url_file"]

    assert urls() == (None, None)
    ansible_cfg(outbox_url="postgresql://of-ansible-cfg")
    monkeypatch.setenv("FLASHDUTY_OUTBOX_URL_FILE", "/etc/url")
    assert urls() == (None, "/etc/url")
    assert urls(flashduty_outbox_url="postgresql://of-a-play") == ("postgresql://of-a-play", None)
    assert with_task_options(resolved(), {"outbox_url": "postgresql://of-a-task"})["outbox_url_file"] is None


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"flashduty_scope": "everything"}, ("scope", "run, group, host")),
        ({"flashduty_timeout": "long"}, ("timeout",)),
        ({"flashduty_wait": "{{ absent }}"}, ("flashduty_wait", "absent", "set_fact")),
        ({"flashduty_wait": "{{ 1 / 0 }}"}, ("flashduty_wait", "template")),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_the_reason(variables: dict[str, Any], told: tuple[str, ...]) -> None:
    with pytest.raises(InvalidConnection) as caught:
        resolved(variables)
    assert caught.value.option == told[0]
    for text in told:
        assert text in str(caught.value)


@pytest.mark.parametrize("secret", ["push_url", "integration_key", "app_key", "outbox_url"])
def test_of_a_secret_nothing_is_quoted_but_what_is_missing(secret: str) -> None:
    for template, shown in (("{{ 's3cret' | no_such_filter }}", ""), ("{{ absent ~ 's3cret' }}", "absent")):
        with pytest.raises(InvalidConnection) as caught:
            resolved({f"flashduty_{secret}": template})
        assert f"flashduty_{secret}" in str(caught.value)
        assert shown in str(caught.value)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"no section = 1\n", b"[callback_flashduty_change]\nscope = \xff\n"])
def test_a_file_that_cannot_be_read_sets_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "broken.cfg").write_bytes(content)
    monkeypatch.setattr(C, "CONFIG_FILE", str(tmp_path / "broken.cfg"))
    assert resolved()["scope"] == "run"


def test_the_folder_of_the_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    assert _options.state_dir({"state_dir": "~/outbox"}) == "/home/alice/outbox"
    assert _options.state_dir({}) == os.path.join(C.ANSIBLE_HOME, "flashduty")
    with pytest.raises(InvalidConnection, match="state_dir"):
        _options.state_dir({"state_dir": "/a\0b"})


def test_only_a_preview_does_without_a_key() -> None:
    with pytest.raises(MissingKey):
        _options.connection_of({"preview": False})
    assert _options.connection_of({"preview": True}).integration_key == ""
    assert _options.connection_of({"preview": True, "integration_key": "k"}).integration_key == "k"
    with pytest.raises(InvalidConnection, match="timeout"):
        _options.connection_of({"preview": True, "integration_key": "k", "timeout": -1})


def test_a_relative_folder_of_the_outbox_counts_from_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _options.state_dir({"state_dir": "some/where"}) == str(tmp_path / "some" / "where")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InvalidConnection, match="absolute"):
        _options.state_dir({"state_dir": "some/where"})
    monkeypatch.chdir(tmp_path)
