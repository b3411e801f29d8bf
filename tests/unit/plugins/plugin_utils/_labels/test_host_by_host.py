# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where it cannot be told otherwise, ansible-core is asked for each host, and for only so many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inventories import PLAY, Run, inventory_of, write

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import files


def test_vars_files_whose_names_cannot_be_read_are_asked_for_host_by_host(tmp_path: Path) -> None:
    play = [{**PLAY[0], "vars_files": ["{{ lookup('vars', 'env') }}.yml"]}]
    groups: dict[str, Any] = {
        env: {"hosts": {f"{env}{n}": {} for n in range(3)}, "vars": {"env": env}} for env in ("prod", "test")
    }
    write(tmp_path, site=play, prod={"service": "p"}, test={"service": "t"}, hosts=inventory_of({}, groups))
    run = Run(tmp_path)
    assert run.values() == run.core_values()
    assert run.values()["prod1"] == {"service": "p"}
    assert [notice.level for notice in run.notices.take()] == ["debug"]
    run = Run(tmp_path)
    limited = run.values(limit=2)
    assert {host: values for host, values in limited.items() if values} == {
        "prod0": {"service": "p"},
        "test0": {"service": "t"},
    }
    (notice,) = run.notices.take()
    assert notice.level == "warning"
    assert "2 of 6 hosts" in notice.text


@pytest.mark.parametrize("broken", ["sort_groups", "get_vars_from_path", "vars_loader"])
def test_where_cores_interfaces_changed_core_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    write(
        tmp_path, site=PLAY, hosts=inventory_of({"web1": {"service": "{{ region }}"}}), group_vars__all={"region": "nj"}
    )
    monkeypatch.setattr(files, broken, None)
    run = Run(tmp_path)
    assert run.values() == {"web1": {"service": "nj", "region": "nj"}}
    (notice,) = run.notices.take()
    assert notice.level == "debug"
    assert "host by host" in notice.text


def test_where_core_cannot_say_either_there_are_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, site=PLAY, hosts=inventory_of({"web1": {"service": "x"}}))
    run = Run(tmp_path)

    def broken(**arguments: Any) -> None:
        raise AssertionError("core is broken")

    monkeypatch.setattr(run.manager, "get_vars", broken)
    assert run.values() == {"web1": {}}
    assert run.notices.take()[-1].text == (
        "variables of web1 cannot be read, labels and settings in them are missing: AssertionError: core is broken"
    )
