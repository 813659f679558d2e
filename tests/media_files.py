"""Small real videos, made with PyAV for the tests that need any video rather than an awkward one."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.object_store import local_source, local_target


def moving_noise(n_frames: int, size: tuple[int, int] = (48, 64), seed: int = 0) -> NDArray[np.uint8]:
    """uint8 `(T, H, W, 3)`: coarse noise that drifts, so that every frame differs from every other."""
    rng = np.random.default_rng(seed)
    height, width = size
    noise = rng.integers(0, 256, (height // 8 + 1, width // 8 + n_frames + 1, 3), dtype=np.uint8)
    large = noise.repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([large[:height, 3 * t : 3 * t + width] for t in range(n_frames)])


def write_video(path: Path, n_frames: int, fps: int = 10, seed: int = 0, codec: str = "libx264") -> Path:
    """A video file of `n_frames` frames of drifting noise."""
    frames = moving_noise(n_frames, seed=seed)
    with local_target(path) as local, av.open(str(local), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """A file with a second of sound and no video stream."""
    with local_target(path) as local, av.open(str(local), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(16):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def all_frames(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Every frame of a video by a plain sequential decode, with its time from the first frame in seconds."""
    with local_source(path) as local, av.open(str(local)) as container:
        stream = container.streams.video[0]
        decoded = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(stream)]
    times = np.array([time for _, time in decoded], np.float64)
    return np.stack([pixels for pixels, _ in decoded]), times - times[0]


def damage_packets(path: Path, first: int, last: int) -> Path:
    """Overwrites the content of some packets of a video, in decoding order; their sizes stay plausible."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        sizes = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for position, size in sizes[first:last]:
        data[position + 4 : position + size] = b"\xff" * (size - 4)
    path.write_bytes(data)
    return path
