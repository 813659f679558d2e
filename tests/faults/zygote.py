"""Runs command lines in forked processes of one that has imported what they need: tenths of a second each.

    {"module": "preprocess", "arguments": ["list"], "fault": null, "output": "/tmp/x"}   one line in
    0                                                                                    the exit status out

Standard output and error of the command go to `<output>.out` and `<output>.err`. With `"here": true` the command runs
in the process itself, so that those that are forked later find everything imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import traceback
from typing import Any

from tests.faults.hook import Fault, install


def main() -> None:
    if hasattr(os, "sched_setaffinity"):  # one core, so that torch starts no threads: they do not survive a fork
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for line in sys.stdin:
        job = json.loads(line)
        if job.get("here"):
            with contextlib.redirect_stdout(io.StringIO()):
                status = _status_of(job)
            print(status, flush=True)
            continue
        child = os.fork()
        if not child:
            _run(job)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(job: dict[str, Any]) -> None:
    for stream, suffix in ((1, "out"), (2, "err")):
        descriptor = os.open(f"{job['output']}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if job["fault"]:
        install(Fault(**{**job["fault"], "roots": tuple(job["fault"]["roots"])}))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # renews its thread pool, which a fork invalidates, before several threads ask for it
    status = _status_of(job)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _status_of(job: dict[str, Any]) -> int:
    sys.argv = ["x", *job["arguments"]]
    try:
        runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
