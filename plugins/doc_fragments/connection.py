# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

# A file of the control node, which no play or host may choose.
_WITHOUT_VARIABLE = ("integration_key_file", "state_dir", "outbox_url_file")


def _for_plugin(documentation: str) -> str:
    """The same options, each with the environment variable, key of ansible.cfg and variable that sets it."""

    def with_sources(option: re.Match[str]) -> str:
        name = option[1]
        sources = [
            *("env:", f"  - name: FLASHDUTY_{name.upper()}"),
            *("ini:", "  - section: callback_flashduty_change", f"    key: {name}"),
        ]
        if name not in _WITHOUT_VARIABLE:
            sources += ["vars:", f"  - name: flashduty_{name}"]
        return option[0] + "".join(f"    {line}\n" for line in sources)

    return re.sub(r"^  (\w+):\n(?:    .*\n)+", with_sources, documentation, flags=re.MULTILINE)


class ModuleDocFragment:
    """Where Flashduty is and with which key: for modules, and (``PLUGIN``) for the callback."""

    DOCUMENTATION = r"""
options:
  push_url:
    description:
      - The Push URL of the change integration as the Flashduty console shows it, address and key in one.
      - Of O(push_url), O(integration_key) and O(integration_key_file), one is needed.
    type: str
  integration_key:
    description: The key of the change integration. It is never printed and never stored.
    type: str
  integration_key_file:
    description: A file that contains only the key or the Push URL of the change integration.
    type: path
  app_key:
    description:
      - An APP key of the Flashduty account, to read changes. It carries all permissions of its user, so treat
        it as a password. It is never printed and never stored.
    type: str
  api_url:
    description:
      - Address of the API, used with O(integration_key) and O(integration_key_file).
        The default is V(https://api.flashcat.cloud).
    type: str
  plain_http_hosts:
    description:
      - Hosts to which plain http is allowed, although it shows the key to the network. This machine is always allowed.
    type: list
    elements: str
  validate_certs:
    description: Whether to check the server's certificate. The default is V(true).
    type: bool
  ca_path:
    description: A file of certificates to trust instead of the system's.
    type: path
  client_cert:
    description: A client certificate in PEM format.
    type: path
  client_key:
    description: The private key of O(client_cert), if it is not in the same file.
    type: path
  timeout:
    description: The maximum time that one delivery takes, in seconds. The default is V(10).
    type: float
  state_dir:
    description:
      - The folder of the outbox. The default is C(flashduty) in Ansible's home folder.
      - If another user can change what is in it, it is not used, and a warning says why.
      - Several users can share a folder with mode 1777, as they share C(/tmp). Each user has a folder below it.
    type: path
  outbox_url:
    description:
      - Address of a PostgreSQL that several control nodes share, such as
        V(postgresql://flashduty@db.example.com/flashduty?sslmode=verify-full). What they report is entered there too,
        so that each of them closes and delivers what another left behind.
      - The password may be in the address, where it is never printed and never stored, or come in one of the other ways
        of libpq, such as E(PGPASSFILE).
      - The playbook C(flashcat.flashduty.outbox_database) makes its tables. Needs the Python package C(psycopg) on the
        control node. Without this option, a control node knows of itself alone.
    type: str
  outbox_url_file:
    description: A file that contains only the address for O(outbox_url), which is used where that is not set.
    type: path
"""

    # With its type, because ansible-test takes each plain assignment here for a literal text.
    PLUGIN: str = _for_plugin(DOCUMENTATION)
