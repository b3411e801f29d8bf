# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first play decides for the whole run: the key of its change, and what each option turns on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import DESCRIPTION_MAX
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings, asked_seconds

JOB = {
    "GITLAB_CI": "true",
    "CI_SERVER_HOST": "gitlab.example",
    "CI_PROJECT_PATH": "shop/deploy",
    "CI_PROJECT_ID": "7",
    "CI_PIPELINE_ID": "42",
    "CI_JOB_NAME": "production",
    "CI_JOB_URL": "https://gitlab.example/shop/deploy/-/jobs/1",
}
Makes = Callable[..., Settings]


# The key


def test_a_key_of_the_user_goes_before_that_of_the_job(made_settings: Makes) -> None:
    assert made_settings(job=JOB, change_key=" CHG-7\n").change_key == "CHG-7"
    assert made_settings(job=JOB, change_key="{{ ticket }}", template=lambda _text: 7).change_key == "7"


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_key_that_is_empty_is_none(made_settings: Makes, empty: str | None) -> None:
    assert made_settings(job=JOB, change_key=empty).change_key == made_settings(job=JOB).change_key


def test_a_key_whose_template_fails_is_told_and_the_next_one_taken(made_settings: Makes, notices: Notices) -> None:
    def fails(_text: Any) -> Any:
        raise ValueError("'ticket' is undefined\nTraceback")

    assert (
        made_settings(job=JOB, change_key="{{ ticket }}", template=fails).change_key
        == made_settings(job=JOB).change_key
    )
    (notice,) = notices.take()
    assert notice.level == "warning"
    assert notice.text.endswith("'ticket' is undefined")


def test_without_a_job_each_run_has_a_key_of_its_own(made_settings: Makes) -> None:
    one, two = made_settings().change_key, made_settings().change_key
    assert re.fullmatch(r"ansible-20270115-080000-[\w-]+", one)
    assert one != two


def test_a_retry_of_the_job_keeps_its_key(made_settings: Makes) -> None:
    assert made_settings(job=JOB).change_key == made_settings(job={**JOB, "CI_JOB_ID": "another"}).change_key
    assert made_settings(job=JOB).change_key != made_settings(job={**JOB, "CI_PIPELINE_ID": "43"}).change_key


@pytest.mark.parametrize(
    "other",
    [
        {"arguments": {"subset": "web1"}},
        {"arguments": {"args": ("site.yml", "more.yml")}},
        {"arguments": {"inventory": ("staging",)}},
        {"arguments": {"tags": ("deploy",)}},
        {"arguments": {"skip_tags": ("deploy",)}},
        {"hosts": ("db",)},
    ],
)
def test_what_else_a_job_runs_has_another_key(made_settings: Makes, other: dict[str, Any]) -> None:
    assert made_settings(job=JOB, **other).change_key != made_settings(job=JOB).change_key


def test_the_order_of_tags_makes_no_other_run(made_settings: Makes) -> None:
    one, two = (made_settings({"tags": tags, "skip_tags": tags[::-1]}, JOB) for tags in (("a", "b"), ("b", "a")))
    assert one.change_key == two.change_key


def test_each_target_has_a_key_below_that_of_the_run(made_settings: Makes) -> None:
    settings = made_settings(change_key="CHG-7", scope="host")
    assert (settings.key_of(""), settings.key_of("web1")) == ("CHG-7", "CHG-7/web1")


# Check mode


@pytest.mark.parametrize(
    ("check", "report", "is_check"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_check_does_not_close_the_change_of_its_ticket(
    made_settings: Makes, check: bool, report: bool, is_check: bool
) -> None:
    settings = made_settings({"check": check}, change_key="CHG-7", report_check_mode=report)
    assert settings.is_check is is_check
    assert settings.change_key == ("CHG-7/check" if is_check else "CHG-7")
    assert (settings.built_in.get("check_mode") == "true") is is_check


# Options


def test_nothing_is_reported_before_a_change_where_that_is_asked_for(made_settings: Makes) -> None:
    assert made_settings(report_when="changed").only_changed
    assert not made_settings().only_changed


def test_the_command_line_becomes_labels(made_settings: Makes) -> None:
    arguments = {"subset": "web*:!web3", "tags": ("app", "all", "a10", "a2"), "skip_tags": {"slow", "db"}}
    labels = {name: value for name, value in made_settings(arguments).built_in.items() if value}
    assert labels == {
        "source": "ansible",
        "actor": labels["actor"],
        "controller": labels["controller"],
        "limit": "web*:!web3",
        "tags": "a2,a10,app",
        "skip_tags": "db,slow",
    }
    assert not any(made_settings({"tags": ("all",)}).built_in[name] for name in ("limit", "tags", "skip_tags"))


@pytest.mark.parametrize(("option", "seconds"), [("auto", None), (" Auto ", None), ("0", 0.0), ("2.5", 2.5)])
def test_how_long_the_end_may_wait(option: str, seconds: float | None) -> None:
    assert asked_seconds(option) == seconds


@pytest.mark.parametrize("option", ["long", "-1", "nan", "True"])
def test_what_is_no_number_of_seconds_is_refused_with_the_value(option: str) -> None:
    with pytest.raises(InvalidConnection, match=f"wait: must be auto or a number of seconds, got '{option}'"):
        asked_seconds(option)


def test_a_description_is_cut_to_what_flashduty_takes(made_settings: Makes) -> None:
    settings = made_settings()
    assert settings.described("why").startswith("why\n")
    assert len(settings.described("x" * 5000)) == DESCRIPTION_MAX
    assert "\x00" not in settings.described("a\x00b")
