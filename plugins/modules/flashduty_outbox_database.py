# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flashduty_outbox_database
short_description: Make the tables of the outbox that control nodes share
version_added: 1.0.0
author: the flashcat.flashduty contributors (@flashcatcloud)
description:
  - Makes the tables of the shared outbox in the PostgreSQL that O(outbox_url) names, in a schema of their own, and
    brings tables of an older version up to date. The playbook C(flashcat.flashduty.outbox_database) runs it.
  - The role in O(outbox_url) must be allowed to create a schema in that database, such as its owner. Control nodes need
    less, which O(grant_to) gives to their role.
  - The database itself and its roles must be there.
  - Needs no key. Runs on the control node only.
extends_documentation_fragment:
  - flashcat.flashduty.connection
  - flashcat.flashduty.attributes
options:
  grant_to:
    description:
      - The roles of the database that control nodes use. Each may read and write the tables afterwards, and no more.
      - A role that makes the tables owns them, and need not be listed.
    type: list
    elements: str
    default: []
requirements:
  - psycopg 3 on the control node
"""

EXAMPLES = r"""
- name: Make the tables, and let control nodes use them
  flashcat.flashduty.flashduty_outbox_database:
    outbox_url: "postgresql://owner:{{ vaulted_password | urlencode }}@db.example.com/flashduty?sslmode=verify-full"
    grant_to: [flashduty]
"""

RETURN = r"""
done:
  description: What was done, or in check mode would be, a sentence each. Empty where nothing was to do.
  returned: success
  type: list
  elements: str
"""
