#!/usr/bin/python
# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flashduty_flush
short_description: Deliver the events that wait in the outbox
version_added: 1.0.0
author: the flashcat.flashduty contributors
description:
  - Closes the runs that vanished without a word, with their last known moment as the time of the event, and delivers
    what waits in the outbox for the integration.
  - Runs on the control node. With C(delegate_to) another host, it flushes that host's outbox.
extends_documentation_fragment:
  - flashcat.flashduty.connection
options:
  wait:
    description: How many seconds to wait for the delivery at most.
    type: float
    default: 60
requirements:
  - requests
"""

EXAMPLES = r"""
- name: Deliver what waits
  flashcat.flashduty.flashduty_flush:
    wait: 30
"""

RETURN = r"""
closed:
  description: How many changes of vanished runs were reported as Canceled.
  returned: success
  type: int
delivered:
  description: How many events were delivered.
  returned: success
  type: int
waiting:
  description: How many events still wait.
  returned: success
  type: int
refused:
  description:
    - The events that Flashduty refused for good, with C(change_key), C(change_status), C(http_status), C(request_id)
      and C(error).
  returned: success
  type: list
  elements: dict
"""

import os
import time
import traceback
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.module_utils._flushing import FLUSH_OPTIONS, Flush
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox, OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._reporting import CONNECTION_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from ansible_collections.flashcat.flashduty.plugins.module_utils._delivery import Delivery
except ImportError:
    IMPORT_ERROR = traceback.format_exc()
else:
    IMPORT_ERROR = ""


def main() -> None:
    """Flush the outbox of the host that the task is delegated to."""
    module = AnsibleModule({**FLUSH_OPTIONS, **CONNECTION_OPTIONS}, supports_check_mode=True)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=IMPORT_ERROR)
    folder = module.params["state_dir"] or os.path.expanduser("~/.ansible/flashduty")
    try:
        connection = Connection.from_options(module.params)

        def wait(done: Callable[[Outbox], bool], seconds: float) -> bool:
            with Delivery(folder, connection) as delivery:
                return delivery.wait(done, time.monotonic() + seconds)

        flush = Flush(connection, folder)
        result: dict[str, Any] = flush.preview() if module.check_mode else flush.flush(wait, module.params["wait"])
    except (InvalidConnection, OutboxError, OSError) as error:
        module.fail_json(msg=str(error))
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
