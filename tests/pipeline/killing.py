"""A child process that is killed at an operation on files; for programs that the tests run, as audit hooks stay."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def killed_before(n: int, action: Callable[[], object]) -> bool:
    """Runs an action in a child process, which is killed when it makes, renames or removes a file for the n-th time.

    Returns:
        Whether it was killed; False if it has fewer such operations, and succeeded.
    """
    pid = os.fork()
    if not pid:
        try:
            _kill_at(n)
            action()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return status != 0


def _kill_at(n: int) -> None:
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event in ("os.rename", "os.remove") or (event == "open" and args[1] and args[1][0] in "wx"):
            count += 1
            if count == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
