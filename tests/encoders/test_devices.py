"""Devices and number formats: what is chosen, what is refused."""

from __future__ import annotations

import pytest
import torch

from preprocess.encoders.devices import choose_device, choose_precision
from preprocess.errors import UserError


def test_devices_and_precisions_are_checked_at_the_door() -> None:
    assert choose_device("cpu") == ("cpu",)
    with pytest.raises(UserError, match="'gpu9'"):
        choose_device("gpu9")
    assert choose_precision("fp32", "cpu") == "fp32"
    assert choose_precision("auto", "cpu") in ("fp32", "bf16")
    with pytest.raises(UserError, match="'fp8'"):
        choose_precision("fp8", "cpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == ("cpu",)
        with pytest.raises(UserError, match="'cuda:0' cannot be used"):
            choose_device("cuda:0")


def test_auto_stays_within_what_is_safe_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)  # an older GPU
    assert choose_precision("auto", "cuda:0") == "fp16"
    assert choose_precision("auto", "cuda:0", ("fp32", "bf16")) == "fp32"
    assert choose_precision("auto", "cpu", ("fp32",)) == "fp32"
