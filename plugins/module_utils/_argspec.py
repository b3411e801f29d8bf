# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the modules, for the modules and for the actions of the same names.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import STATUSES

_Spec = Dict[str, Dict[str, Any]]  # Python 3.8

CONNECTION_OPTIONS: _Spec = {
    "push_url": {"type": "str", "no_log": True},
    "integration_key": {"type": "str", "no_log": True},
    "integration_key_file": {"type": "path", "no_log": False},
    "app_key": {"type": "str", "no_log": True},
    "api_url": {"type": "str"},
    "plain_http_hosts": {"type": "list", "elements": "str"},
    "validate_certs": {"type": "bool"},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "timeout": {"type": "float"},
    "state_dir": {"type": "path"},
    "outbox_url": {"type": "str", "no_log": True},
    "outbox_url_file": {"type": "path"},
}
CHANGE_OPTIONS: _Spec = {
    "change_status": {"type": "str", "required": True, "choices": list(STATUSES)},
    "change_key": {"type": "str", "no_log": False},
    "title": {"type": "str"},
    "event_time": {"type": "str"},
    "description": {"type": "str"},
    "link": {"type": "str"},
    "labels": {"type": "dict"},
    "force": {"type": "bool", "default": False},
    "cancel_on_exit": {"type": "bool", "default": False},
    "on_delivery_failure": {"type": "str", "choices": ["fail", "queue"], "default": "fail"},
}
PART_OPTIONS: _Spec = {
    "state": {"type": "str", "required": True, "choices": ["started", "done", "failed"]},
    "change_key": {"type": "str", "required": True, "no_log": False},
    "title": {"type": "str"},
    "description": {"type": "str"},
    "link": {"type": "str"},
    "labels": {"type": "dict"},
    "reason": {"type": "str"},
    "failed_task": {"type": "str"},
    "failed_module": {"type": "str"},
    "failed_message": {"type": "str"},
    "rollback": {"type": "str", "choices": ["none", "done", "failed"], "default": "none"},
    "rollback_task": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
    "on_delivery_failure": {"type": "str", "choices": ["fail", "queue"], "default": "queue"},
}
QUERY_OPTIONS: _Spec = {
    "change_key": {"type": "str", "no_log": False},
    "query": {"type": "str"},
    "start_time": {"type": "str"},
    "end_time": {"type": "str"},
    "change_status": {"type": "list", "elements": "str", "choices": [*STATUSES, "Failed"]},
    "labels": {"type": "dict"},
    "integration_ids": {"type": "list", "elements": "int"},
    "channel_ids": {"type": "list", "elements": "int"},
    "include_events": {"type": "bool", "default": False},
    "include_own": {"type": "bool", "default": True},
    "limit": {"type": "int", "default": 100},
    "orderby": {"type": "str", "choices": ["start_time", "last_time"], "default": "start_time"},
    "asc": {"type": "bool", "default": False},
}
OUTBOX_OPTIONS: _Spec = {
    "limit": {"type": "int", "default": 20},
    "state": {
        "type": "list",
        "elements": "str",
        "choices": ["waiting", "sending", "delivered", "refused", "expired", "held"],
    },
    "change_key": {"type": "str", "no_log": False},
    "resend": {"type": "list", "elements": "str"},
    "drop": {"type": "list", "elements": "str"},
}
OUTBOX_DATABASE_OPTIONS: _Spec = {
    "grant_to": {"type": "list", "elements": "str", "default": []},
}
FLUSH_OPTIONS: _Spec = {
    "wait": {"type": "float", "default": 60.0},
    "stale_after": {"type": "str"},
    "stale_integration_id": {"type": "int"},
    "stale_labels": {"type": "dict"},
    "adopt": {"type": "list", "elements": "str"},
    "drop": {"type": "list", "elements": "str"},
}
