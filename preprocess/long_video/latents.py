"""Frames to latents with the CogVideoX VAE, a second at a time, with memory that does not grow with the episode.

`16·L + 1` frames go through the encoder in chunks of 17, 16, 16, … frames. Its convolutions look back over the edge of
a chunk through their cache, so the chunks join without a seam. Its group norms see one chunk: the length of a chunk is
part of the result, and is recorded. What comes out is what `AutoencoderKLCogVideoX.encode` gives with
`num_sample_frames_batch_size` set to the frames of a chunk: mean and log-variance, unscaled.

    bfloat16 (16·L/4 + 1, 32, 60, 90)

`benchmarks/latent_chunks.py` measures the distance to a single pass.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from preprocess.errors import MediaError, UserError
from preprocess.formats.layout import read_json, write_json
from preprocess.long_video.components import Component, load_vae
from preprocess.long_video.devices import DTYPES, claim_device
from preprocess.long_video.folder import Folder
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.frames import Pixels, RestartedError, episode_frames, regroup
from preprocess.long_video.segments import Episode
from preprocess.long_video.tensors import TensorSpec, fault, save_tensor, tensor_fault
from preprocess.media.stamps import media_stamp
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task
from preprocess.samples import JSON, Reject, Stage

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

LATENT_CHANNELS = 32
"""16 of the mean and 16 of the log-variance."""


def expected_latents(seconds: int, frames: FrameFormat) -> TensorSpec:
    """What the latents of an episode have to be: `(16·L/4 + 1, 32, 60, 90)` for 480x720 at 16 frames per second."""
    shape = (frames.fps * seconds // 4 + 1, LATENT_CHANNELS, frames.height // 8, frames.width // 8)
    return TensorSpec(shape, latents=True)


def chunk_sizes(n_frames: int, chunk_frames: int) -> list[int]:
    """Frames of each chunk, as `AutoencoderKLCogVideoX._encode` cuts them: what is left over goes into the first.

    Examples:
        >>> chunk_sizes(49, 16)
        [17, 16, 16]
        >>> chunk_sizes(49, 32)
        [49]
    """
    chunks = max(n_frames // chunk_frames, 1)
    first = n_frames - (chunks - 1) * chunk_frames
    return [first, *[chunk_frames] * (chunks - 1)]


def encode_chunks(vae: Any, chunks: Iterable[Pixels]) -> torch.Tensor:
    """Encodes a video that comes in chunks.

    Args:
        vae: An `AutoencoderKLCogVideoX`.
        chunks: uint8 `(n, H, W, 3)` each, cut by `chunk_sizes`.

    Returns:
        bfloat16 `(T, 2C, H/8, W/8)` on the CPU: C means, then C log-variances, of each latent frame.
    """
    import torch

    moments, cache = [], None
    with torch.inference_mode():
        for pixels in chunks:
            values = model_input(pixels, vae.device, vae.dtype)
            encoded, cache = vae.encoder(values, conv_cache=cache)
            if vae.quant_conv is not None:
                encoded = vae.quant_conv(encoded)
            moments.append(encoded[0].transpose(0, 1).to("cpu", torch.bfloat16))
            # What was a chunk is let go before the next comes, or two would be held at once.
            del pixels, values, encoded
    return torch.cat(moments)


def model_input(pixels: Pixels, device: torch.device | str, dtype: torch.dtype) -> torch.Tensor:
    """uint8 `(n, H, W, 3)` to `(1, 3, n, H, W)` from -1 to 1.

    Pixels travel as bytes and are scaled where the model is.
    """
    import torch

    values = torch.from_numpy(pixels).to(device).permute(3, 0, 1, 2).unsqueeze(0)
    return (values.to(torch.float32) / 127.5 - 1.0).to(dtype)


@dataclass(frozen=True, slots=True)
class LatentSettings:
    """All that a worker needs to know.

    Attributes:
        raw: The folder of the videos.
        folder: Of the training set.
        vae: The model's files.
        chunk_seconds: Length of a chunk.
        precision: `fp32`, `bf16` or `fp16`.
        devices: One for each worker of a machine; a worker claims one for its life.
        claims: Name of a folder of this run alone, for these claims, among the temporary files of each machine.
        threads: Of torch, in a worker on the CPU.
    """

    raw: Path
    folder: Folder
    vae: Component
    frames: FrameFormat
    chunk_seconds: int
    precision: str
    devices: tuple[str, ...]
    claims: str
    threads: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Latents that are on disk; `made` says whether this run made them, `changed` whether a video was replaced."""

    key: str
    frames: int
    made: bool
    changed: bool = False


@dataclass(frozen=True, slots=True)
class EncodeEpisodes:
    """Encodes the episodes of a task, in one worker process that holds one device."""

    settings: LatentSettings

    def __call__(self, task: Task[Episode], watch: Watch) -> Iterator[Encoded | Reject]:
        """Yields what became of each episode; a file that is there and good is left alone.

        Raises:
            UserError: The device has not enough memory for a chunk.
        """
        for episode in task.items:
            path = self.settings.folder.latents(episode.seconds) / f"{episode.key}.pt"
            expected = expected_latents(episode.seconds, self.settings.frames)
            note = self.settings.folder.latents_media(episode.seconds) / f"{episode.key}.json"
            before, now = read_json(note), _stamps(episode, self.settings.raw)
            changed = any(now.get(video, stamp) != stamp for video, stamp in before.items())
            if not changed and path.is_file() and fault(path, expected) is None:
                if not before:  # made by an older version
                    _write_note(note, now)
                yield Encoded(episode.key, 0, made=False)
                continue
            vae = _worker_vae(self.settings)  # before the watch: no episode is to blame if it cannot be loaded
            watch(episode.key)
            path.unlink(missing_ok=True)
            _write_note(note, now)  # after the old latents are gone, before the new ones are there
            report = _encode_one(vae, episode, path, expected, self.settings)
            yield replace(report, changed=changed) if isinstance(report, Encoded) else report
            watch(None)


def _write_note(note: Path, stamps: JSON) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    write_json(note, stamps)


def _stamps(episode: Episode, raw: Path) -> JSON:
    """Size and modification time of the videos of an episode, where they are there."""
    videos = dict.fromkeys(segment.video for segment in episode.segments)
    return {video: list(stamp) for video in videos if (stamp := media_stamp(str(raw), video)) is not None}


def _encode_one(
    vae: Any, episode: Episode, path: Path, expected: TensorSpec, settings: LatentSettings
) -> Encoded | Reject:
    import torch

    count = settings.frames.fps * episode.seconds + 1
    sizes = chunk_sizes(count, settings.frames.fps * settings.chunk_seconds)
    try:
        try:
            latents = encode_chunks(vae, one_ahead(regroup(_decoded(episode, settings), sizes)))
        except RestartedError:
            latents = encode_chunks(vae, one_ahead(regroup(_decoded(episode, settings, by_segment=True), sizes)))
    except MediaError as error:
        stage: Stage = "find" if error.reason == "missing" else "decode"
        return Reject(episode.key, "train", stage, error.reason, str(error))
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{settings.chunk_seconds} s of {settings.frames.height}x{settings.frames.width} do not fit into the "
            f"memory of {vae.device}",
            "Use --chunk-seconds 1 if it is longer, --precision bf16, a smaller --size, or a larger device.",
        ) from error
    wrong = tensor_fault(latents, expected)
    if wrong is not None and wrong.code in ("not_finite", "out_of_range"):
        return Reject(episode.key, "train", "encode", wrong.code, f"the latents {wrong.message}")
    if wrong is not None:
        raise UserError(f"the latents of the VAE {settings.vae.id!r} {wrong.message}", "Use the VAE of CogVideoX.")
    save_tensor(path, latents)
    return Encoded(episode.key, count, made=True)


def _decoded(episode: Episode, settings: LatentSettings, *, by_segment: bool = False) -> Iterator[Pixels]:
    """The frames of an episode, with every fault of decoding as a `MediaError`."""
    try:
        yield from episode_frames(settings.raw, episode.segments, settings.frames, by_segment=by_segment)
    except (MediaError, UserError, OSError, RestartedError):
        raise
    except Exception as error:  # a fault in a decoder library must not end the run
        raise MediaError("decoder_crashed", f"{type(error).__name__}: {error}") from error


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Makes the next item in a thread while the present one is used: decoding goes on while the model encodes."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]  # `end` is ruled out, which mypy cannot see
            del item


@functools.lru_cache(maxsize=1)
def _worker_vae(settings: LatentSettings) -> Any:
    """The VAE of this worker process, on the device that it claimed."""
    import torch

    claims = Path(tempfile.gettempdir()) / settings.claims
    claims.mkdir(exist_ok=True)
    device = claim_device(settings.devices, claims)
    if device == "cpu":
        torch.set_num_threads(settings.threads)
    return load_vae(settings.vae, device, getattr(torch, DTYPES[settings.precision]))
