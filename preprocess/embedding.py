"""Videos and images to embeddings in Python, without a dataset: what a build writes to `.npy`, as an array.

from preprocess import embed

e = embed("video.mp4", fps=2)
e.vectors, e.timestamps_s            # float16 (T, 512), float64 (T,)
for e in embed(["a.mp4", "https://example.org/b.jpg"], model="google/siglip2-base-patch16-224"):
    e.source, e.vectors.shape
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from preprocess.addresses import public_address
from preprocess.errors import MediaError, UserError
from preprocess.samples import DEFAULT_ENCODER, Sample, is_url

if TYPE_CHECKING:
    from preprocess.encoders import Encoder, EncoderSpec
    from preprocess.encoders.engines import Engine
    from preprocess.media.sampling import Sampling
    from preprocess.pipeline.batches import Embedded

_DECIMALS = 6  # microseconds, as in the metadata of a build

Media = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The embedding of one video or image.

    Attributes:
        source: The path that was given, or the URL without user, password and query.
        vectors: float16 or float32 `(T, D)`, one row per sampled frame or clip; one row for an image. Not normalized.
        timestamps_s: float64 `(T,)`: time of each row (the start of a clip), in seconds from the first frame.
        spans_s: float64 `(T, 2)`: start and end of the clip of each row; None for encoders of frames.
        duration_s: Seconds of the part embedded; 0 for an image.
        truncated: Whether the file was cut off, and only its beginning is embedded.
    """

    source: str
    vectors: NDArray[np.floating[Any]]
    timestamps_s: NDArray[np.float64]
    spans_s: NDArray[np.float64] | None
    duration_s: float
    truncated: bool


@overload
def embed(  # type: ignore[overload-overlap]  # a str is a sequence of str, too
    media: Media,
    *,
    model: str = ...,
    revision: str | None = ...,
    fps: float | None = ...,
    num_frames: int | None = ...,
    start_s: float | None = ...,
    end_s: float | None = ...,
    clip_stride: int | None = ...,
    dtype: str = ...,
    precision: str = ...,
    device: str = ...,
    engine: str = ...,
    threads: int = ...,
) -> Embedding: ...
@overload
def embed(
    media: Sequence[Media],
    *,
    model: str = ...,
    revision: str | None = ...,
    fps: float | None = ...,
    num_frames: int | None = ...,
    start_s: float | None = ...,
    end_s: float | None = ...,
    clip_stride: int | None = ...,
    dtype: str = ...,
    precision: str = ...,
    device: str = ...,
    engine: str = ...,
    threads: int = ...,
) -> list[Embedding]: ...
def embed(
    media: Media | Sequence[Media],
    *,
    model: str = DEFAULT_ENCODER,
    revision: str | None = None,
    fps: float | None = None,
    num_frames: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    clip_stride: int | None = None,
    dtype: str = "float16",
    precision: str = "auto",
    device: str = "auto",
    engine: str = "torch",
    threads: int = 1,
) -> Embedding | list[Embedding]:
    """Embeds a video or image, or several; the model is loaded once and kept for the next calls.

    The rows are those that a build writes with the same options on the same device.

    Args:
        media: A path or URL (http, https, s3, …), or a sequence of them, whose frames share batches.
        model: Hub id, folder, or `tiny-clip`, the model that is part of this package.
        revision: Revision of the model on the Hub.
        fps: Frames per second, by time; 1 if neither this nor `num_frames` is given.
        num_frames: So many frames spread evenly over each video, instead of `fps`.
        start_s: Start of the part to embed, in seconds from the first frame.
        end_s: End of that part, exclusive.
        clip_stride: Sampled frames between the starts of two clips, for encoders of clips; default: a clip's length.
        dtype: Of the vectors: `float16` or `float32`.
        precision: `auto`, `fp32`, `bf16`, `fp16` or `int8`, as for a build.
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.
        engine: What runs the model: `torch`, or `openvino` on a CPU.
        threads: Of the engine on a CPU. With one, the rows are bit for bit those of a build on this machine.

    Returns:
        One `Embedding`, or a list in the order of `media`.

    Raises:
        MediaError: A file is missing or cannot be decoded; its message names the file.
        UserError: The model is unavailable, or an option is out of range.
    """
    from preprocess.encoders.devices import choose_device
    from preprocess.encoders.engines import check_engine, engine_device
    from preprocess.pipeline.settings import EncodeOptions, clip_settings

    sources = [media] if isinstance(media, str | os.PathLike) else list(media)
    sampling = _sampling(fps, num_frames)
    EncodeOptions(sampling=sampling, dtype=dtype, clip_stride=clip_stride)  # checks them
    if threads < 1:
        raise UserError(f"threads must be at least 1, got {threads!r}", "Leave threads out for the rows of a build.")
    samples = [_sample(source, number, start_s, end_s) for number, source in enumerate(sources)]
    runs_on = check_engine(engine)
    place = choose_device(engine_device(runs_on, device))[0]
    with _torch_threads(threads) if place == "cpu" else nullcontext():
        spec, encoder = _load(model, revision, precision, place, runs_on, None if runs_on == "torch" else threads)
        stride = clip_settings(spec, clip_stride, model).get("clip_stride")
        done = _encode(samples, sampling, spec, encoder, stride)  # in the order of the samples, as batches are filled
        found = [_result(embedded, spec, stride, dtype) for embedded in done]
    return found[0] if isinstance(media, str | os.PathLike) else found


def _sampling(fps: float | None, num_frames: int | None) -> Sampling:
    from preprocess.media.sampling import Sampling

    if fps is not None and num_frames is not None:
        raise UserError(f"{fps = } and {num_frames = } were both given", "Give one of them.")
    return Sampling.parse(f"fps={1 if fps is None else fps!r}" if num_frames is None else f"num_frames={num_frames!r}")


def _sample(source: Media, number: int, start_s: float | None, end_s: float | None) -> Sample:
    place = os.fspath(source)
    name = public_address(place)
    address = place if is_url(place) else f"file://{Path(place).expanduser().absolute()}"
    try:
        return Sample(str(number), "test", address, (name,), None, start_s, end_s, {"source": name})
    except ValueError:
        raise UserError(f"{start_s = } and {end_s = } are not a part of a video", "Use 0 <= start_s < end_s.") from None


@functools.lru_cache(maxsize=4)
def _load(
    model: str, revision: str | None, precision: str, device: str, engine: Engine, threads: int | None
) -> tuple[EncoderSpec, Encoder]:
    """The encoder, kept for the next calls; for each number of threads where the engine is loaded for that number."""
    from preprocess.encoders import encoder_spec, load_encoder
    from preprocess.encoders.devices import choose_precision, default_batch_size
    from preprocess.encoders.models import resolve

    files = resolve(model, revision)
    spec = encoder_spec(files)
    chosen = choose_precision(precision, device, spec.precisions)
    return spec, load_encoder(files, device, chosen, default_batch_size(spec, device), engine)


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _encode(
    samples: Sequence[Sample], sampling: Sampling, spec: EncoderSpec, encoder: Encoder, stride: int | None
) -> Iterator[Embedded]:
    """Decodes one file after another, and fills batches across them."""
    from preprocess.media.transforms import resize_crop
    from preprocess.pipeline.batches import Batcher, Embedded
    from preprocess.pipeline.read_sample import read_sample
    from preprocess.samples import Reject

    batcher = Batcher(0, encoder, stride)
    transform = resize_crop(spec.preprocessing)
    for sample in samples:
        media = read_sample(sample, "", sampling, transform)
        if isinstance(media, Reject):
            raise MediaError(media.reason, f"{sample.meta['source']}: {media.message}")
        yield from batcher.add(Embedded.of(sample, media), media.frames.pixels)
    yield from batcher.flush()


def _result(embedded: Embedded, spec: EncoderSpec, stride: int | None, dtype: str) -> Embedding:
    from preprocess.media.clips import clip_spans, clip_windows

    times, spans = embedded.timestamps_s, None
    if stride is not None:
        windows = clip_windows(len(times), spec.clip_frames, stride)
        spans = np.array(clip_spans(times, windows, embedded.end_s)[0]).reshape(-1, 2)
        times = times[windows[:, 0]]
    vectors = embedded.vectors[0].astype(dtype)
    source = str(embedded.sample.meta["source"])
    spans = None if spans is None else spans.round(_DECIMALS)
    duration_s = round(embedded.duration_s, _DECIMALS)
    return Embedding(source, vectors, times.round(_DECIMALS), spans, duration_s, embedded.truncated)
