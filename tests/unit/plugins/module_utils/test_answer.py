# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An answer that was no success, on its way between processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils import _answer
from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError

FULL = ApiError("RequestTooFrequently: slow down", True, 429, "RequestTooFrequently", "r-1", 2.5, 1_800_000_000.0)


@pytest.mark.parametrize("error", [FULL, ApiError("no answer", retry=True), ApiError("no", retry=False, status=400)])
def test_an_error_is_the_same_on_the_other_side_of_a_pipe(error: ApiError) -> None:
    there = ApiError.from_dict(json.loads(json.dumps(error.to_dict())))
    assert str(there) == str(error) == error.message
    assert vars(there) == vars(error)


def test_what_is_sent_is_a_copy() -> None:
    FULL.to_dict()["message"] = "another"
    assert FULL.message == "RequestTooFrequently: slow down"


def test_a_field_that_is_not_known_is_an_error_and_not_lost() -> None:
    with pytest.raises(TypeError):
        ApiError.from_dict({**FULL.to_dict(), "newer": 1})


def test_it_needs_nothing_that_ansible_playbook_must_not_import() -> None:
    script = f"import runpy, sys; runpy.run_path({_answer.__file__!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert {"requests", "urllib3", "ssl", "ansible"}.isdisjoint(done.stdout.split())
