# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plays to come will target, as far as it can be told before they start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.later_plays import new_hosts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices


def play(hosts: Any, **keywords: Any) -> dict[str, Any]:
    return {"hosts": hosts, "gather_facts": False, "tasks": [], **keywords}


def found(
    folder: Path, *plays: dict[str, Any], known: tuple[str, ...] = (), notices: Notices | None = None, **more: Any
) -> list[list[str]]:
    run = Loaded(folder, [play("web1"), *plays], **more)
    later = new_hosts(run.plays[1:], known, run.loader, notices or Notices())
    return [[host.name for host in hosts] for _play, _patterns, hosts in later]


def test_each_host_comes_with_the_first_play_that_targets_it(tmp_path: Path) -> None:
    assert found(tmp_path, play("web"), play("all"), play("db"), known=("web1",)) == [["web2"], ["db1"]]


def test_the_play_comes_with_its_hosts(tmp_path: Path) -> None:
    run = Loaded(tmp_path, [play("web"), play("db", name="the database")])
    ((later, patterns, _hosts),) = new_hosts(run.plays[1:], ("web1", "web2"), run.loader, Notices())
    assert (later.get_name(), patterns) == ("the database", ["db"])


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        ("web:!web1", ["web2"]),
        ("web:&db", []),
        (["web1", "db"], ["web1", "db1"]),
        ("~db.", ["db1"]),
        ("localhost", ["localhost"]),
    ],
)
def test_patterns_mean_what_they_mean_to_ansible(tmp_path: Path, hosts: Any, names: list[str]) -> None:
    assert found(tmp_path, play(hosts)) == ([names] if names else [])


def test_a_limit_of_the_command_line_counts(tmp_path: Path) -> None:
    run = Loaded(tmp_path, [play("web1"), play("all")])
    run.inventory.subset("web2,db1")
    ((_play, _patterns, hosts),) = new_hosts(run.plays[1:], (), run.loader, Notices())
    assert [host.name for host in hosts] == ["web2", "db1"]


@pytest.mark.parametrize("pattern", ["made_by_group_by", "web:made_by_group_by", "web:!made_by_group_by"])
def test_what_a_play_before_it_may_make_is_not_asked_for(
    tmp_path: Path, pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert found(tmp_path, play(pattern), play("db")) == [["db1"]]
    # ansible-core would warn of a pattern that matches nothing yet.
    assert capfd.readouterr() == ("", "")


def test_a_template_is_worked_out_from_what_is_known_now(tmp_path: Path) -> None:
    plays = [play("{{ target }}"), play("{{ ['db1', 'web2'] if deep else 'none' }}", vars={"deep": True})]
    assert found(tmp_path, *plays, extra={"target": "web2"}) == [["web2"], ["db1"]]


def test_a_template_that_cannot_be_worked_out_yet_costs_that_play_alone(tmp_path: Path) -> None:
    notices = Notices()
    plays = [play("{{ registered.stdout }}"), play("{{ target }}"), play("db")]
    assert found(tmp_path, *plays, extra={"target": "made_later"}, notices=notices) == [["db1"]]
    assert [notice.level for notice in notices.take()] == ["debug"]


@pytest.mark.parametrize("vars_", [{"flashduty_enabled": False}, {"flashduty_enabled": "{{ not yes_ }}", "yes_": True}])
def test_a_play_that_is_not_to_be_reported_is_left_out(tmp_path: Path, vars_: dict[str, Any]) -> None:
    assert found(tmp_path, play("web2", vars=vars_), play("all")) == [["web1", "web2", "db1"]]
