# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which signals reached ansible-playbook, without a handler that would change what they do; and a Ctrl-C that waits.

Python writes the number of each signal that it handles into a socket. The holder of the other end, as the courier is,
knows of a Ctrl-C also where a second one left ansible-playbook no time to say so.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Signals:
    """The signals that this process gets from now on; those of its forks do not count.

    :ivar reader: file descriptor for :func:`received`.
    """

    def __init__(self, set_wakeup_fd: Callable[..., int]) -> None:
        """Begin.

        :param set_wakeup_fd: :func:`signal.set_wakeup_fd`, to be called in the main thread.
        :raises ValueError: this is not the main thread.
        """
        self._interrupt_handler = signal.getsignal(signal.SIGINT)
        ends = socket.socketpair()
        self.reader, writer = (end.detach() for end in ends)
        os.set_blocking(writer, False)
        previous = set_wakeup_fd(writer, warn_on_full_buffer=False)
        if previous != -1:
            # Somebody else has use for them.
            set_wakeup_fd(previous)
            return
        # Nothing in Python: a signal that arrives while a worker is forked would raise ansible-core's exception there,
        # where the interpreter drops it and shows it as a fault of this file.
        os.register_at_fork(after_in_child=functools.partial(set_wakeup_fd, -1))

    def forget(self) -> None:
        """The run goes on: what came so far was not its end, and is not the reason of an end to come."""
        came = received(self.reader)
        if came:
            if signal.getsignal(signal.SIGINT) == signal.SIG_DFL and callable(self._interrupt_handler):
                # ansible-core handles one SIGINT only. The next would end the process at once: nothing would be
                # tidied up, and nobody would know of it.
                signal.signal(signal.SIGINT, self._interrupt_handler)
            os.read(self.reader, len(came))


def received(reader: int) -> bytes:
    """The numbers of the signals so far, in order; asking leaves them there for others to ask."""
    with socket.socket(fileno=os.dup(reader)) as end:
        try:
            return end.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """A Ctrl-C within it is raised at its end: anywhere else, Python would leave half of what is done here."""
    handler = signal.getsignal(signal.SIGINT)
    # Other threads get none.
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[Any] = []
    signal.signal(signal.SIGINT, lambda *given: came.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])
