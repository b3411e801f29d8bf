# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import entry
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import interrupts_held_back

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


def _interrupted(steps: list[str]) -> None:
    with interrupts_held_back():
        signal.raise_signal(signal.SIGINT)
        steps.append("the rest")


def test_a_ctrl_c_is_held_back_until_the_rest_is_done() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted(steps)
    assert steps == ["the rest"]
    # The next one is raised where it comes.
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_error_does_not_keep_it_from_being_raised() -> None:
    def fails() -> None:
        with interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
            raise OSError("no more processes")

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_it_or_is_another_thread_has_nothing_to_hold_back() -> None:
    def entered() -> object:
        with interrupts_held_back():
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(entered).result() is signal.default_int_handler
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert entered() is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
