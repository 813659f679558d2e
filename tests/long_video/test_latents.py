from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="requirements-long-video.txt is not installed")

from diffusers import AutoencoderKLCogVideoX

from preprocess.long_video.components import find_component, load_vae
from preprocess.long_video.folder import Folder
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.frames import RestartedError, episode_frames
from preprocess.long_video.latents import (
    Encoded,
    EncodeEpisodes,
    LatentSettings,
    chunk_sizes,
    encode_chunks,
    expected_latents,
    model_input,
    one_ahead,
)
from preprocess.long_video.scenes import Scene
from preprocess.long_video.segments import Episode, cut_segments
from preprocess.runtime.runner import Task
from tests.media_files import damage_packets, moving_noise, write_video

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


def chunks_of(pixels: np.ndarray, chunk_frames: int) -> list[np.ndarray]:
    return np.split(pixels, np.cumsum(chunk_sizes(len(pixels), chunk_frames))[:-1])


def diffusers_moments(folder: Path, pixels: np.ndarray, chunk_frames: int, dtype: torch.dtype) -> torch.Tensor:
    """Mean and log-variance as `AutoencoderKLCogVideoX.encode` gives them, all frames at once in memory."""
    vae = AutoencoderKLCogVideoX.from_pretrained(folder / "vae", torch_dtype=dtype)
    vae.num_sample_frames_batch_size = chunk_frames
    values = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(3, 0, 1, 2)[None].to(dtype)
    with torch.inference_mode():
        moments = vae.encode(values).latent_dist.parameters
    return moments[0].transpose(0, 1).to(torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunk_seconds", [1, 2, 3])
def test_latents_are_those_of_diffusers(models: Path, dtype: torch.dtype, chunk_seconds: int) -> None:
    pixels = moving_noise(16 * 6 + 1, (16, 24))
    expected = diffusers_moments(models, pixels, 16 * chunk_seconds, dtype)
    vae = load_vae(find_component(str(models), "vae"), "cpu", dtype)
    latents = encode_chunks(vae, chunks_of(pixels, 16 * chunk_seconds))
    assert latents.dtype == torch.bfloat16
    assert latents.shape == (25, 32, 2, 3)
    assert torch.equal(latents, expected)
    assert latents.float().std() > 0.05


def test_a_quant_convolution_is_not_forgotten(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4}
    # `quant_conv` has 2 * out_channels inputs, so it fits the moments where latent and output channels are the same.
    vae = AutoencoderKLCogVideoX(latent_channels=3, use_quant_conv=True, use_post_quant_conv=True, **small)
    vae.save_pretrained(tmp_path / "vae")
    pixels = moving_noise(33, (16, 16))
    expected = diffusers_moments(tmp_path, pixels, 16, torch.float32)
    loaded = load_vae(find_component(str(tmp_path / "vae"), "vae"), "cpu", torch.float32)
    assert torch.equal(encode_chunks(loaded, chunks_of(pixels, 16)), expected)


def test_only_the_group_norms_tell_chunks_from_a_single_pass(models: Path) -> None:
    pixels = moving_noise(49, (32, 48))
    vae = load_vae(find_component(str(models), "vae"), "cpu", torch.float32)
    apart = (encode_chunks(vae, chunks_of(pixels, 16)).float() - encode_chunks(vae, [pixels]).float()).abs().mean()
    assert apart > 0.01  # the length of a chunk is part of the result

    for name, module in list(vae.named_modules()):
        if isinstance(module, torch.nn.GroupNorm):
            parent, _, own = name.rpartition(".")
            setattr(vae.get_submodule(parent), own, torch.nn.Identity())
    torch.testing.assert_close(
        encode_chunks(vae, chunks_of(pixels, 16)), encode_chunks(vae, [pixels]), rtol=1e-2, atol=1e-5
    )


@pytest.mark.parametrize("seconds", [3, 9, 63])
@pytest.mark.parametrize("chunk_frames", [16, 32, 48])
def test_chunks_are_cut_as_diffusers_cuts_them(seconds: int, chunk_frames: int) -> None:
    class Recorder(AutoencoderKLCogVideoX):
        """Runs diffusers' own loop, and notes how many frames the encoder is given each time."""

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.use_tiling, self.quant_conv, self.num_sample_frames_batch_size = False, None, chunk_frames
            self.seen: list[int] = []

        def encoder(self, x: torch.Tensor, conv_cache: Any) -> tuple[torch.Tensor, None]:
            self.seen.append(x.shape[2])
            return x, None

    recorder = Recorder()
    recorder._encode(torch.zeros(1, 3, 16 * seconds + 1, 1, 1))
    assert chunk_sizes(16 * seconds + 1, chunk_frames) == recorder.seen


@pytest.mark.parametrize("ahead", [False, True])
def test_a_chunk_is_let_go_before_the_next_is_asked_for(models: Path, ahead: bool) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def stream() -> Iterator[np.ndarray]:
        nonlocal most
        for _ in range(8):
            chunk = np.zeros((16, 16, 16, 3), np.uint8)
            alive.append(weakref.ref(chunk))
            gc.collect()
            most = max(most, sum(ref() is not None for ref in alive))
            yield chunk
            del chunk

    vae = load_vae(find_component(str(models), "vae"), "cpu", torch.float32)
    encode_chunks(vae, one_ahead(stream()) if ahead else stream())
    assert len(alive) == 8
    assert most <= 1 + ahead  # one is encoded while one is made


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def peak(vae: Any, n_chunks: int, single: bool) -> int:
    """Bytes by which the resident memory rises while so many chunks are encoded, or as many frames in one pass."""
    most, done = resident(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.001):
            most = max(most, resident())

    before = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    sizes = [16 * n_chunks + 1] if single else chunk_sizes(16 * n_chunks + 1, 16)
    encode_chunks(vae, (np.full((size, 64, 96, 3), 7, np.uint8) for size in sizes))
    done.set()
    watcher.join()
    gc.collect()
    return most - before


def peaks(models: Path) -> tuple[int, int, int]:
    torch.set_num_threads(1)
    vae = load_vae(find_component(str(models), "vae"), "cpu", torch.bfloat16)
    peak(vae, 2, single=False)  # what is allocated once
    return peak(vae, 4, single=False), peak(vae, 24, single=False), peak(vae, 24, single=True)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_episode(models: Path) -> None:
    """One pass takes more the longer the episode is; chunks take the same for any length.

    In a process of its own: in this one, memory that earlier tests have freed may still be resident.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        short, long, whole = fresh.submit(peaks, models).result()
    assert whole > 40e6
    assert long < short + 0.25 * whole


def test_decoding_ahead_passes_items_and_errors_on() -> None:
    assert list(one_ahead(iter(range(5)))) == [0, 1, 2, 3, 4]

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    items = one_ahead(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_pixels_go_from_minus_one_to_one() -> None:
    pixels = np.array([[[[0, 255, 51]]]], np.uint8)
    values = model_input(pixels, "cpu", torch.float32)
    assert values.shape == (1, 3, 1, 1, 1)
    torch.testing.assert_close(values.flatten(), torch.tensor([-1.0, 1.0, -0.6]))


def test_shapes_are_those_of_the_stages() -> None:
    assert expected_latents(63, FrameFormat()).shape == (253, 32, 60, 90)
    assert expected_latents(3, FrameFormat(height=32, width=48)).shape == (13, 32, 4, 6)


def test_a_video_whose_decoding_restarts_is_encoded_from_the_beginning(tmp_path: Path, models: Path) -> None:
    path = damage_packets(write_video(tmp_path / "hurt.mp4", n_frames=250, fps=25), 180, 182)
    episode = Episode("hurt", cut_segments(Scene("hurt.mp4", 0.0, 9.0)))
    frames, vae = FrameFormat(height=16, width=24), find_component(str(models), "vae")
    with pytest.raises(RestartedError):
        list(episode_frames(tmp_path, episode.segments, frames))
    (tmp_path / "latents/09s").mkdir(parents=True)
    settings = LatentSettings(tmp_path, Folder(tmp_path), vae, frames, 3, "fp32", ("cpu",), tmp_path, 1)
    (made,) = EncodeEpisodes(settings)(Task(0, (episode,)), lambda key: None)
    assert isinstance(made, Encoded)
    pixels = np.concatenate(list(episode_frames(path.parent, episode.segments, frames, by_segment=True)))
    expected = encode_chunks(load_vae(vae, "cpu", torch.float32), chunks_of(pixels, 48))
    assert torch.equal(torch.load(tmp_path / "latents/09s/hurt.pt", weights_only=True), expected)
