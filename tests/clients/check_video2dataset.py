"""video2dataset's own output: a list of videos, downloaded and packed by it as WebDataset, is read by us as it is.

The dataset that is handed in is not used.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

# It pins PyTorch 2.2 and NumPy 1, which newer versions of the others do not take.
REQUIREMENTS = ("video2dataset==1.3.0", "pyarrow<20", "pandas<3", "transformers<4.50", "av", "setuptools<81")

ROOT = Path(__file__).resolve().parent.parent.parent
LENGTHS = (12, 5, 9, 7)  # frames
SUFFIXES = ("mp4", "webm", "mkv", "avi")  # mp4 is what it writes all of them as
CAPTION = "a caption, of\ntwo lines: {}"


def level(video: int, frame: int) -> int:
    """A gray level that tells a frame of a video from all others."""
    return 20 + 16 * frame + 5 * video


def write_video(path: Path, video: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "mpeg4", rate=10)
        stream.width, stream.height, stream.bit_rate, stream.pix_fmt = 64, 48, 4_000_000, "yuv420p"
        for frame in range(LENGTHS[video]):
            pixels = np.full((48, 64, 3), level(video, frame), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def pack(folder: Path) -> Path:
    """A CSV file, with a video that is missing, through video2dataset with its defaults but one process."""
    from video2dataset import video2dataset

    with (folder / "videos.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["url", "text", "camera", "views"])
        for video, suffix in enumerate(SUFFIXES):
            write_video(folder / f"{video}.{suffix}", video)
            table.writerow([folder / f"{video}.{suffix}", CAPTION.format(video), "left", "" if video == 1 else video])
        table.writerow([folder / "missing.mp4", "nothing", "left", 9])
    config = folder / "config.yaml"
    config.write_text(
        "subsampling: {}\n"
        "reading: {yt_args: {download_size: 360, download_audio_rate: 44100, yt_metadata_args: null}, "
        "timeout: 60, sampler: null}\n"
        "storage: {number_sample_per_shard: 3, oom_shard_count: 5, captions_are_subtitles: false}\n"
        "distribution: {processes_count: 1, thread_count: 2, subjob_size: 100, distributor: multiprocessing}\n"
    )
    video2dataset(
        url_list=str(folder / "videos.csv"),
        output_folder=str(folder / "packed"),
        output_format="webdataset",
        input_format="csv",
        url_col="url",
        caption_col="text",
        save_additional_columns=["camera", "views"],
        encode_formats={"video": "mp4"},
        config=str(config),
        tmp_dir=str(folder),
    )
    return folder / "packed"


def run(*arguments: object) -> None:
    line = [ROOT / ".venv/bin/python", "-m", "preprocess", *arguments]
    subprocess.run(list(map(str, line)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        packed = pack(Path(temporary))
        tars = sorted(path.name for path in packed.glob("*.tar"))
        assert tars == ["00000.tar", "00001.tar"], tars
        out = Path(temporary, "out")
        run("samples", "webdataset", "--raw", packed, "--out", out, "--name", "CLIP-Packed")
        lines = (out / "work" / "CLIP-Packed" / "samples.jsonl").read_text("utf-8").splitlines()
        samples = {sample["meta"]["camera"] and sample["captions"][0]: sample for sample in map(json.loads, lines)}
        assert sorted(samples) == [CAPTION.format(video) for video in range(len(LENGTHS))], samples
        assert {sample["meta"]["status"] for sample in samples.values()} == {"success"}
        assert [samples[CAPTION.format(video)]["meta"]["views"] for video in range(4)] == [0, None, 2, 3]
        run("frames", "webdataset", "--raw", packed / "{00000..00001}.tar", "--out", out / "frames")
        for video, length in enumerate(LENGTHS):
            folder = out / "frames" / samples[CAPTION.format(video)]["key"]
            levels = [float(np.asarray(Image.open(path)).mean()) for path in sorted(folder.iterdir())]
            assert len(levels) == length
            assert np.abs(np.array(levels) - [level(video, frame) for frame in range(length)]).max() < 4, levels
    sys.exit(0)
