"""Processes that read tars for `verify`, and die."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from builders import verify as verify_module
from builders.shard_check import ShardScan
from preprocess.errors import UserError
from preprocess.runtime.options import RunOptions
from preprocess.runtime.tars import TarItem

ScanTar = verify_module.ScanTar
TWO = RunOptions(workers=2)


@dataclass(frozen=True, slots=True)
class Dying(ScanTar):
    """The real function, in a process that dies on one tar: the first time, or always."""

    def __call__(self, tar: TarItem) -> ShardScan:
        mark = tar.path.parent.parent / "died"
        if tar.key == "ds_00001.tar" and (not mark.exists() or mark.read_text() == "always"):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return ScanTar.__call__(self, tar)


def test_a_process_that_dies_once_costs_nothing_and_twice_is_an_error(
    make_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_dataset()
    expected = verify_module.verify(folder, run=TWO)
    assert not expected.findings
    monkeypatch.setattr(verify_module, "ScanTar", Dying)
    assert verify_module.verify(folder, run=TWO) == expected
    assert (folder.parent / "died").exists()
    (folder.parent / "died").write_text("always")
    with pytest.raises(UserError, match=r"a process that read ds_00001\.tar died twice: .*SIGKILL"):
        verify_module.verify(folder, run=TWO)
