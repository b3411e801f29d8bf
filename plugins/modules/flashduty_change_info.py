#!/usr/bin/python
# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flashduty_change_info
short_description: Read changes back from Flashduty
version_added: 1.0.0
author: the flashcat.flashduty contributors (@flashcatcloud)
description:
  - Returns the changes that Flashduty shows, from every source. Needs O(app_key), and no integration key.
  - Runs on the control node, whatever host the task is for. With C(delegate_to) another host, it runs there, which
    then needs Python 3.8 and requests.
  - Options of the connection that the task does not set come from the variables, environment and ansible.cfg of the
    callback P(flashcat.flashduty.flashduty_change#callback).
extends_documentation_fragment:
  - flashcat.flashduty.connection
  - flashcat.flashduty.attributes
attributes:
  diff_mode:
    details: It changes nothing.
options:
  change_key:
    description:
      - Only the change with exactly this key. Cannot be used with O(query).
      - Two integrations may each have a change of that key; see O(integration_ids).
    type: str
  query:
    description: A text or regular expression to find in title, description or change_key. Flashduty searches for it.
    type: str
  start_time:
    description:
      - Only changes that were under way at this time or later, as Unix seconds or ISO 8601 with a time zone.
      - The default is one hour before O(end_time). With O(change_key) and without a window, the last 29 days and the
        next day are searched.
    type: str
  end_time:
    description:
      - Only changes that were under way at this time or before, as Unix seconds or ISO 8601 with a time zone. The
        default is now.
      - Flashduty searches less than 31 days at once.
    type: str
  change_status:
    description: Only changes in one of these states. V(Failed) comes from Flashduty's native integrations only.
    type: list
    elements: str
    choices: [Planned, Ready, Processing, Canceled, Done, Failed]
  labels:
    description: Only changes that have all of these labels with these values.
    type: dict
  integration_ids:
    description: Only changes of these integrations, by the numbers that Flashduty shows and this module returns.
    type: list
    elements: int
  channel_ids:
    description: Only changes of these channels.
    type: list
    elements: int
  include_events:
    description: Whether each change comes with its events.
    type: bool
    default: false
  include_own:
    description: Whether changes that the callback has reported for this run are returned as well.
    type: bool
    default: true
  limit:
    description:
      - Return at most this many changes, up to 10000. If there are more, RV(truncated) is true.
    type: int
    default: 100
  orderby:
    description: Order the changes by their start, or by their last event.
    type: str
    choices: [start_time, last_time]
    default: start_time
  asc:
    description: Whether the oldest comes first.
    type: bool
    default: false
requirements:
  - requests
seealso:
  - module: flashcat.flashduty.flashduty_change
"""

EXAMPLES = r"""
- name: What is in progress at the storefront
  flashcat.flashduty.flashduty_change_info:
    change_status: [Processing]
    labels:
      service: storefront
    app_key: "{{ vaulted_app_key }}"
  register: in_progress

- name: Wait until no other change is in progress there
  flashcat.flashduty.flashduty_change_info:
    change_status: [Processing]
    labels:
      service: storefront
    include_own: false
    app_key: "{{ vaulted_app_key }}"
  register: others
  until: others.changes | length == 0
  retries: 30
  delay: 60

- name: One change, with all its events
  flashcat.flashduty.flashduty_change_info:
    change_key: CHANGE-002
    include_events: true
  register: change

- name: Everything that was rolled back on one day
  flashcat.flashduty.flashduty_change_info:
    start_time: "2026-01-31T00:00:00+08:00"
    end_time: "2026-02-01T00:00:00+08:00"
    change_status: [Canceled]
    limit: 1000
"""

RETURN = r"""
changes:
  description: The changes, as Flashduty shows them.
  returned: success
  type: list
  elements: dict
  contains:
    change_id:
      description: Flashduty's own id of the change.
      type: str
    change_key:
      description: The key of the change.
      type: str
    change_status:
      description: The state it is in; C(Failed) where a native integration of Flashduty says so.
      type: str
    title:
      description: The title.
      type: str
    description:
      description: The description.
      type: str
    link:
      description: Address of the ticket.
      type: str
    labels:
      description: The labels.
      type: dict
    start_time:
      description: When it began, Unix seconds.
      type: int
    end_time:
      description: When it was finished or cancelled, Unix seconds; 0 where it is not.
      type: int
    last_time:
      description: When its last event happened, Unix seconds.
      type: int
    integration_id:
      description: The number of the integration that it was reported to.
      type: int
    events:
      description: Its events, with O(include_events).
      type: list
total:
  description:
    - How many changes Flashduty found for window, query, integrations and channels. The other filters are applied to
      these afterwards.
  returned: success
  type: int
truncated:
  description: Whether there may be more changes than were returned. Raise O(limit), or make the window smaller.
  returned: success
  type: bool
window:
  description: What was searched, as C(start_time) and C(end_time) in Unix seconds.
  returned: success
  type: dict
error:
  description: What Flashduty answered, with its C(code), C(http_status) and C(message).
  returned: when Flashduty could not be read
  type: dict
request_id:
  description: Flashduty's trace id of the request that failed.
  returned: when Flashduty could not be read
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CONNECTION_OPTIONS, QUERY_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import InvalidValue
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import changes_found, find_changes
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import IMPORT_ERROR


def main() -> None:
    """Read from the host that the task is delegated to."""
    module = AnsibleModule({**QUERY_OPTIONS, **CONNECTION_OPTIONS}, supports_check_mode=True)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=IMPORT_ERROR)
    try:
        connection = Connection.for_reading(module.params)
        result: dict[str, Any] = changes_found(
            module.params, lambda query: find_changes(connection, query, connection.timeout)
        )
    except ApiError as error:
        module.fail_json(msg=str(error), **error.result)
    except (InvalidValue, InvalidConnection) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
