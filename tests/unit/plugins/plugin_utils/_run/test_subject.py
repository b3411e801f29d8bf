# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run runs, and where, as the title and the description of its first event say it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Messages
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject


class Play:
    """A play as ansible-core holds it."""

    def __init__(self, hosts: str | list[str], name: str = "") -> None:
        self.hosts = hosts
        self._uuid = f"{hosts} {name}"
        self._name = name

    def get_name(self) -> str:
        return self._name or (self.hosts if isinstance(self.hosts, str) else ",".join(self.hosts))


def title(path: str, plays: Sequence[Play], **arguments: Any) -> str:
    return Messages("en").title(Subject.of(path, plays, plays[0], arguments), "run", "")


@pytest.mark.parametrize(
    ("plays", "arguments", "expected"),
    [
        ([Play(["web"], "Deploy storefront")], {}, "Deploy storefront · deploy.yml on web"),
        ([Play("web")], {}, "deploy.yml on web"),
        ([Play(["web", "db"])], {}, "deploy.yml on web, db"),
        # One of several plays is not the run.
        ([Play(["all"], "Gather facts"), Play(["web"], "Deploy"), Play(["web"])], {}, "deploy.yml on all"),
        ([Play(["a"]), Play(["b"]), Play(["c"]), Play(["d"]), Play(["e"])], {}, "deploy.yml on a, b, c +2"),
        ([Play(["web"]), Play(["{{ target }}"], "To {{ target }}")], {}, "deploy.yml on web"),
        ([Play(["web"])], {"subset": "web1,web2"}, "deploy.yml on web1,web2"),
        ([Play(["web"], "Deploy")], {"args": ["deploy.yml", "x/check.yml"]}, "deploy.yml, check.yml"),
        ([Play(["web"], "Deploy")], {"args": ["deploy.yml"]}, "Deploy · deploy.yml on web"),
    ],
)
def test_titles(plays: list[Play], arguments: dict[str, Any], expected: str) -> None:
    assert title("/srv/shop/deploy.yml", plays, **arguments) == expected


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/lamp_haproxy/site.yml", "lamp_haproxy/site.yml"),
        ("/srv/lamp_haproxy/main.yaml", "lamp_haproxy/main.yaml"),
        ("/srv/lamp_haproxy/upgrade.yml", "upgrade.yml"),
        # A folder that says nothing either.
        ("/srv/playbooks/site.yml", "site.yml"),
        ("/runner/project/site.yml", "site.yml"),
        ("/site.yml", "site.yml"),
        ("/x/ansible_collections/flashcat/flashduty/playbooks/flush.yml", "flashcat.flashduty.flush"),
        ("/srv/" + "x" * 200 + ".yml", "x" * 79 + "…"),
    ],
)
def test_a_playbook_has_the_name_that_says_most(path: str, name: str) -> None:
    assert title(path, [Play(["web"])]) == f"{name} on web"


def test_a_relative_path_is_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "storefront").mkdir()
    monkeypatch.chdir(tmp_path / "storefront")
    assert title("site.yml", [Play(["web"])]) == "storefront/site.yml on web"


def test_the_description_of_the_start_stays_true() -> None:
    plays = [Play(["web"], "Prepare"), Play(["db"], "Migrate {{ version }}"), Play(["web"], "Deploy"), Play(["web"])]
    arguments = {"subset": "web1", "tags": ("all", "deploy"), "skip_tags": ("slow", "docs")}
    subject = Subject.of("deploy.yml", plays, plays[0], arguments)
    assert Messages("en").what(subject) == "Playbook deploy.yml, plays: Prepare, Deploy."
    assert Messages("en").on_hosts(["web1"]) == "1 host at the start: web1."
    assert Messages("en").narrowed(subject) == "Limit: web1. Tags: deploy. Skipped tags: docs,slow."
    assert Messages("zh").what(subject) == "Playbook deploy.yml，play：Prepare、Deploy。"
    assert Messages("zh").narrowed(subject) == "限定：web1。tags：deploy。跳过的 tags：docs,slow。"


def test_the_part_of_a_host_or_group_says_so_first() -> None:
    subject = Subject("site.yml", "Deploy", target="web")
    assert Messages("en").title(subject, "host", "web1") == "web1: Deploy · site.yml"
    assert Messages("en").title(subject, "group", "web") == "group web: Deploy · site.yml"
    assert Messages("zh").title(subject, "group", "web") == "主机组 web：Deploy · site.yml"
    assert Messages("zh").title(subject, "run", "") == "Deploy · site.yml（web）"
