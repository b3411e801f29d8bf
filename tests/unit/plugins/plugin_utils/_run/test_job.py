# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key of a run that is part of a job; how each system tells of its job, test_context.py shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.job import key_within_job


def _key(
    *playbooks: str,
    inventories: tuple[str, ...] = ("hosts,",),
    limit: str | None = None,
    pattern: str = "all",
    **environ: str,
) -> str:
    arguments = {"args": playbooks, "inventory": inventories, "subset": limit}
    return key_within_job("gitlab/shop/7/deploy", arguments, playbooks[0], [pattern], environ)


def test_each_run_of_a_job_has_its_own_key_which_a_retry_has_too() -> None:
    runs: list[Callable[[], str]] = [
        lambda: _key("site.yml"),
        lambda: _key("dc1/site.yml"),
        lambda: _key("dc2/site.yml"),
        lambda: _key("site.yml", "db.yml"),
        lambda: _key("site.yml", inventories=("prod.ini",)),
        lambda: _key("site.yml", inventories=("dr.ini",)),
        lambda: _key("site.yml", inventories=("prod.ini", "dr.ini")),
        lambda: _key("site.yml", limit="web:&prod"),
        lambda: _key("site.yml", limit="db"),
        lambda: _key("site.yml", limit="x" * 100),
        lambda: _key("site.yml", limit="x" * 101),
        lambda: _key("site.yml", pattern="dc1"),
    ]
    keys = [run() for run in runs]
    assert len(set(keys)) == len(runs)
    assert keys == [run() for run in runs]
    assert re.fullmatch("gitlab/shop/7/deploy/site.yml-[0-9a-f]{8}", keys[0])
    assert re.fullmatch("gitlab/shop/7/deploy/site.yml@db-[0-9a-f]{8}", keys[8])
    assert max(map(len, keys)) < 100


@pytest.mark.parametrize("known_by", ["the job", "git", "nothing"])
def test_a_retry_in_another_folder_has_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_by: str
) -> None:
    keys = []
    for runner in ("a", "b"):
        for place in ("dc1", "dc2"):
            folder = tmp_path / runner / place
            folder.mkdir(parents=True)
            for name in ("site.yml", "hosts"):
                (folder / name).touch()
        if known_by == "git":
            (tmp_path / runner / ".git").mkdir()
        environ = {"CI_PROJECT_DIR": str(tmp_path / runner)} if known_by == "the job" else {}
        for place in ("dc1", "dc2"):
            monkeypatch.chdir(tmp_path / runner / place)
            # As ansible-core has them: the playbook as it was given, the inventory with its whole path.
            keys.append(_key("site.yml", inventories=(str(tmp_path / runner / place / "hosts"),), **environ))
    assert len({*keys}) == (4 if known_by == "nothing" else 2)
    assert keys[0] != keys[1]
    assert (keys[:2] == keys[2:]) == (known_by != "nothing")
