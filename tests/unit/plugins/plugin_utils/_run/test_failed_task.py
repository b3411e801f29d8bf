# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At which task a host failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.failed_task import failed_task


@pytest.mark.parametrize("start", ["", "_"], ids=["since 2.19", "before"])
def test_a_failed_task_is_read_by_the_names_that_core_has(start: str) -> None:
    task = SimpleNamespace(
        no_log=False,
        action="x",
        name="",
        get_name=lambda: "Stop",
        get_path=lambda: "/a/site.yml:3",
        get_ds=lambda: None,
    )
    found = failed_task(SimpleNamespace(**{f"{start}task": task, f"{start}result": {"msg": "no"}}), True)
    assert (found.module, found.path, found.message) == ("x", "site.yml:3", "no")


def _failed(result: dict[str, Any]) -> str:
    task = SimpleNamespace(
        no_log=False, action="x", name="", get_name=lambda: "", get_path=lambda: None, get_ds=lambda: None
    )
    return failed_task(SimpleNamespace(_task=task, _result=result), True).message


def test_the_message_of_a_loop() -> None:
    summary = "One or more items failed"
    item = {"failed": True, "msg": "no space"}
    assert _failed({"msg": summary, "results": [{"msg": "All fine"}, item]}) == "no space"
    assert _failed({"msg": summary, "results": [{"unreachable": True, "msg": "gone"}]}) == "gone"
    assert _failed({"msg": summary, "results": [{**item, "_ansible_no_log": True}]}) == ""
    assert _failed({"msg": summary, "results": [{"failed": True, "censored": "hidden"}]}) == ""
    assert _failed({"censored": "hidden", "results": [item]}) == ""
    # What a module returns under that name.
    assert _failed({"msg": "No package", "results": ["x"]}) == "No package"
