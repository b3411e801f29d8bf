# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events shown instead of sent."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run import preview
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
    text = document(event.to_dict(), Notices())
    assert "description: |-\n  first\n  second: 进度100%\n" in text
    assert yaml.safe_load(text) == event.to_dict()


def test_it_says_that_what_ansible_core_masks_would_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    event = ChangeEvent("Done", "CHG-7", "t", labels={"service": "storefront"}).to_dict()
    monkeypatch.setattr(preview, "mask_secrets", lambda text: text.replace("storefront", "$REDACTED$"))
    text = document(event, Notices())
    assert "# ansible-core prints $REDACTED$ for what a vault held; the value itself would be sent\n" in text
    assert yaml.safe_load(text) == event
    assert "REDACTED" not in document({**event, "labels": {}}, Notices())
