# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the sandbox from its folder, wherever that is."""

from __future__ import annotations

import sys
from pathlib import Path

# The folder beside which the package lies takes the place of the package's own, where Python looks otherwise.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from flashduty_sandbox.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
