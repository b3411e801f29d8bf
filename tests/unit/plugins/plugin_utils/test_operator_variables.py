# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that the operator has written, told from what hosts have answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import (
    manager_without_answers,
    of_play,
)

TASKS = [{"hosts": "web", "gather_facts": False, "vars": {"of_play": "play"}, "tasks": [{"debug": {"msg": "x"}}]}]


@pytest.fixture
def run(tmp_path: Path) -> Loaded:
    return Loaded(tmp_path, TASKS, extra={"of_command_line": "extra"})


def test_answers_of_hosts_do_not_count_and_the_managers_own_ones_stay(run: Loaded) -> None:
    run.write("group_vars/web.yml", "flashduty_title: written")
    run.answer("web1", flashduty_title="answered", only_answered="x")
    written = manager_without_answers(run.manager).get_vars(play=run.play, host=run.host("web1"))
    assert written["flashduty_title"] == "written"
    assert "only_answered" not in written
    assert "ansible_distribution" not in written
    assert run.task_variables()["flashduty_title"] == "answered"


def test_templates_see_other_hosts_without_their_answers(run: Loaded) -> None:
    run.answer("web2", of_another="answered")
    manager = manager_without_answers(run.manager)
    hostvars = manager.get_vars(play=run.play, host=run.host("web1"))["hostvars"]
    assert "of_another" not in hostvars["web2"]
    assert run.task_variables()["hostvars"]["web2"]["of_another"] == "answered"


def test_a_play_reads_as_its_first_host(run: Loaded) -> None:
    run.write("host_vars/web1.yml", "service: one")
    run.write("host_vars/web2.yml", "service: two")
    variables = of_play(run.play, run.hosts(), run.manager, Notices())
    assert (variables["service"], variables["of_play"], variables["of_command_line"]) == ("one", "play", "extra")


def test_without_hosts_a_play_reads_what_it_says_itself(run: Loaded) -> None:
    run.write("group_vars/web.yml", "service: shop")
    variables = of_play(run.play, [], run.manager, Notices())
    assert variables["of_play"] == "play"
    assert "service" not in variables


@pytest.mark.parametrize("broken", ["host_vars/web1.yml", "group_vars/web.yml"])
def test_what_cannot_be_read_is_told_once_and_costs_no_more_than_it_must(run: Loaded, broken: str) -> None:
    run.write(broken, "- no map")
    run.write("group_vars/all.yml", "service: shop")
    notices = Notices()
    for _play in range(2):
        variables = of_play(run.play, [*run.hosts(), run.host("db1")], run.manager, notices)
        assert variables["service"] == "shop"
    (notice,) = notices.take()
    assert notice.level == "warning"
    assert "web1" in notice.text


def test_where_nothing_can_be_read_the_command_line_still_counts(run: Loaded) -> None:
    (run.path.parent / "broken.yml").write_text("- no map")
    run.play.vars_files = ["broken.yml"]
    notices = Notices()
    assert of_play(run.play, run.hosts(), run.manager, notices) == {"of_command_line": "extra"}
    assert len(notices.take()) == 1
