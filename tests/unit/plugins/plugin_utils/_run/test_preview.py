# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events shown instead of sent."""

from __future__ import annotations

import yaml

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import document


def test_a_preview_is_yaml_that_reads_as_the_event() -> None:
    event = ChangeEvent.validated(
        {
            "change_status": "Done",
            "change_key": "CHG-7",
            "title": "发布: [1]",
            "event_time": 1700000000,
            "description": "first\nsecond: 进度100%",
            "labels": {"host": "web1", "version": "1.10", "on": "yes"},
        },
        1700000001,
    )
    text = document(event.to_dict())
    assert "description: |-\n  first\n  second: 进度100%\n" in text
    assert yaml.safe_load(text) == event.to_dict()
