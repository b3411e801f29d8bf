# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import entry

# In a process of its own, for what is registered for forks stays registered.
FORKING = """
import functools, hashlib, os, signal, sys

sys.path[:] = {path!r}
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals, received


def handler(number, frame):
    raise KeyboardInterrupt


signal.signal(signal.SIGALRM, handler)
before = {before}
if before:
    # Both without Python code of their own, so that the signal is still pending when they are through.
    os.register_at_fork(after_in_child=functools.partial(signal.setitimer, signal.ITIMER_REAL, 0.001))
    os.register_at_fork(after_in_child=functools.partial(hashlib.pbkdf2_hmac, "sha256", b"", b"", 500_000))
signals = Signals(signal.set_wakeup_fd)
try:
    child = os.fork()
    if child == 0:
        if not before:
            os.kill(os.getpid(), signal.SIGALRM)
        os._exit(1)
except KeyboardInterrupt:
    os._exit(2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), before or sorted(received(signals.reader)))
try:
    os.kill(os.getpid(), signal.SIGALRM)
except KeyboardInterrupt:
    print(signal.SIGALRM in received(signals.reader))
"""


def _forking(*, before: bool) -> tuple[list[str], str]:
    script = FORKING.format(path=entry.import_path(), before=before)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.splitlines(), done.stderr


def test_a_signal_during_a_fork_raises_where_the_fork_was_called_for() -> None:
    assert _forking(before=True) == (["2 True", "True"], "")


def test_a_signal_to_a_fork_does_not_count() -> None:
    assert _forking(before=False) == (["2 []", "True"], "")
