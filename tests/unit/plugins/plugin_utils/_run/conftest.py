# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a run, and what it is told of signals, without those of the process of the tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject

STARTED = 1_800_000_000.0
DEFAULTS = {
    "change_key": None,
    "report_check_mode": False,
    "scope": "run",
    "labels_at_end": "same",
    "outcome_labels": True,
    "report_when": "always",
    "progress": "none",
    "failure_detail": "task",
    "language": "en",
    "label_group": "named",
    "label_names_max": 20,
    "label_groups": None,
    "label_vars": None,
    "labels": None,
}


@pytest.fixture
def wakeup(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What Python would write the number of each signal into, had it been told so."""
    writers: list[int] = []

    def set_wakeup_fd(writer: int, **_: Any) -> int:
        writers.append(writer)
        # As if somebody else had use for them, so that nothing is registered for forks.
        return 0

    monkeypatch.setattr("signal.set_wakeup_fd", set_wakeup_fd)
    yield writers
    for writer in writers:
        if writer:
            os.close(writer)


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def made_settings(monkeypatch: pytest.MonkeyPatch, notices: Notices) -> Callable[..., Settings]:
    """Makes the settings of a run on a machine without a job, unless ``job`` names one.

    :param arguments: of the command line.
    :param hosts: the pattern of the first play.
    """
    for name in {*os.environ} - {"PATH", "HOME"}:
        monkeypatch.delenv(name)

    def make(
        arguments: dict[str, Any] | None = None,
        job: dict[str, str] | None = None,
        hosts: tuple[str, ...] = ("web",),
        template: Callable[[Any], Any] = str,
        **options: Any,
    ) -> Settings:
        for name, value in (job or {}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(context, "CLIARGS", ImmutableDict({"args": ("site.yml",), **(arguments or {})}))
        given = {**DEFAULTS, **options}
        play = SimpleNamespace(hosts=hosts, get_variable_manager=lambda: SimpleNamespace(extra_vars={}), get_name=str)
        subject = Subject.of("site.yml", [], play, context.CLIARGS)
        return Settings.of(given, template, play, subject, STARTED, notices)

    return make
