"""Decoders of other projects, as references: OpenCV, and torchcodec where it finds FFmpeg."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray


def opencv_frames(path: Path) -> NDArray[np.uint8]:
    """Every frame as OpenCV shows it, uint8 (T, H, W, 3) RGB; rotated as the file says, but never mirrored.

    The wheel of opencv-python-headless brings its own FFmpeg, so this reference runs on every machine.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert capture.isOpened(), path
    frames = []
    try:
        while (read := capture.read())[0]:
            frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    return np.stack(frames).astype(np.uint8, copy=False)


def torchcodec_decoder(path: Path) -> Any:
    """A `torchcodec.decoders.VideoDecoder` of (T, H, W, 3); skips the test where torchcodec finds no FFmpeg libraries.

    torchcodec looks for those libraries when the first decoder is opened, one FFmpeg version after the other. Anything
    else that keeps it from loading, such as another version of torch, is a failure, not a reason to skip.
    """
    from torchcodec.decoders import VideoDecoder

    try:
        return VideoDecoder(path, dimension_order="NHWC")
    except RuntimeError as error:
        causes = re.findall(r"^OSError: (?!Could not load)(.*)", str(error), re.MULTILINE)
        if not causes or not all(re.search(r"\blib(av|sw)[a-z]+\.so\.\d+: ", cause) for cause in causes):
            raise
        pytest.skip("torchcodec finds no FFmpeg libraries on this machine; OpenCV is compared instead")
