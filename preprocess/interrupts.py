"""Ctrl-C and SIGTERM: a command ends with one line and exit code 130 or 143, never with a traceback.

A command that is at work is left by an exception, so that every block cleans up. Where an exception might be swallowed
or reported as another error, in the middle of an import, and when a second signal arrives, the process ends at once.
That is safe: files are written completely or not at all, worker processes end with their parent, and the next command
removes temporary files.

All of this is for the process of the command alone. One that a library forks from it, such as a worker of a
`DataLoader` or of a pool that is terminated, gets Python's own handlers: it must neither print nor clean up for its
parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_LINE = "interrupted. Run the same command again to continue: finished work is kept.\n"
_IMPORTING = "<frozen importlib._bootstrap>"

_handler: Callable[[int, FrameType | None], None] | None = None
_forking = threading.local()


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread when a signal arrives; `signal` is its number."""

    def __init__(self, number: int) -> None:
        self.signal = number


def end_at_once() -> None:
    """From now on a signal ends this process at once: while modules load there is nothing to clean up."""
    _on_signals(lambda number, frame: _end(number))


@contextlib.contextmanager
def as_one_line(before_end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """While the block runs, a signal raises `Interrupted`; if that ends the block, so does it the process.

    A block that handles `KeyboardInterrupt` and ends normally, as a server does, is not interrupted.

    Args:
        before_end: Cleans up what must not stay behind, for a process that ends at once.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        again = bool(received)
        received.append(number)
        if again or _is_importing(frame):
            end(number)
        raise Interrupted(number)

    def end(number: int, frame: FrameType | None = None) -> NoReturn:
        before_end()
        _end(number)

    def lost(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, Interrupted):  # it was raised in a callback that cannot raise
            end(unraisable.exc_value.signal)
        sys.__unraisablehook__(unraisable)

    sys.unraisablehook = lost
    _on_signals(handle)
    try:
        yield
    except BaseException as error:
        if not received or (isinstance(error, SystemExit) and not error.code):
            raise
        sys.stderr.write(_LINE)
        sys.exit(128 + received[0])
    finally:
        _on_signals(end)
        sys.unraisablehook = sys.__unraisablehook__


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    global _handler
    _handler = handler
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and the shell's `&` set it
            signal.signal(number, handler)


def _before_fork() -> None:
    # Held back until the child has handlers of its own: Python forgets what arrives earlier, and who sent it, such as
    # `Pool.terminate`, would wait for the child without end.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _after_fork_in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _after_fork_in_child() -> None:
    ours = [number for number in SIGNALS if _handler is not None and signal.getsignal(number) is _handler]
    for number in ours:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)  # what was held back ends the child here
    if signal.SIGINT in ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _end(number: int) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, _LINE.encode())
    os._exit(128 + number)
