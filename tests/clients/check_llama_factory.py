"""LLaMA-Factory's own loader, template and collator for Qwen2-VL: our questions, through the merged dataset_info.json.

The raw data is made here and exported by our command, as a user would; the dataset that is handed in is not used.
Only the tokenizer is made here, for the real one must be downloaded; the template, the processor's classes and all
else are those that fine-tuning runs through.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", DISABLE_VERSION_CHECK="1")

import av
import numpy as np
from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model.patcher import patch_processor
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.decoders import ByteLevel
from transformers import PreTrainedTokenizerFast, Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

REQUIREMENTS = ("llamafactory==0.9.5", "torch==2.11.0", "torchaudio==2.11.0", "torchvision==0.26.0")

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = {"long_one": 25, "-longer_one": 30, "short_one": 12}
ASKED = (
    ("-longer_one", "is the man outdoors", "yes"),
    ("short_one", "is it short", "yes"),
    ("long_one", "what is he doing?", "playing the flute 🎶"),
    ("gone", "is it there", "no"),
    ("-longer_one", "how many people are there", "2"),
)
OTHERS = {"identity": {"file_name": "identity.json"}, "ünïcode": {"hf_hub_url": "x/y", "ms_hub_url": "x/y"}}


def write_video(path: Path, seconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height = 64, 48
        for frame in range(2 * seconds):
            pixels = np.full((48, 64, 3), 4 * frame, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def export(raw: Path, data: Path) -> str:
    """Makes the raw data and a dataset_info.json, runs our command; returns the name of the dataset."""
    for name, seconds in SECONDS.items():
        write_video(raw / "videos" / f"v_{name}.mp4", seconds)
    rows = list(enumerate(ASKED))
    asked = [{"video_name": video, "question": question, "question_id": f"q{i}"} for i, (video, question, _) in rows]
    answered = [{"question_id": f"q{i}", "answer": answer, "type": 3} for i, (_, _, answer) in rows]
    (raw / "train_q.json").write_text(json.dumps(asked), encoding="utf-8")
    (raw / "train_a.json").write_text(json.dumps(answered), encoding="utf-8")
    data.mkdir(exist_ok=True)
    (data / "dataset_info.json").write_text(json.dumps(OTHERS), encoding="utf-8")
    line = [ROOT / ".venv/bin/python", "-m", "preprocess", "llama-factory", "--raw", raw, "--out", data]
    subprocess.run(list(map(str, line)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    merged = json.loads((data / "dataset_info.json").read_text(encoding="utf-8"))
    name, as_in_the_guide = (entry for entry in merged if entry not in OTHERS)
    assert as_in_the_guide == "activitynet_qa_250_limit_20s"
    assert {**OTHERS, name: merged[name], as_in_the_guide: merged[name]} == merged
    return as_in_the_guide


def small_processor() -> Qwen2VLProcessor:
    """Qwen2-VL's processor over a tokenizer of single bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=special
    )
    small = {"min_pixels": 28 * 28, "max_pixels": 56 * 56}
    return Qwen2VLProcessor(Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(**small))


def check(data: Path, name: str, out: Path) -> None:
    model_args, data_args, training_args, *_ = get_train_args(
        {
            "model_name_or_path": str(out),
            "stage": "sft",
            "do_train": True,
            "dataset": name,
            "dataset_dir": str(data),
            "template": "qwen2_vl",
            "output_dir": str(out),
            "overwrite_cache": True,
            "report_to": "none",
            "video_fps": 1.0,
            "cutoff_len": 10_000,
        }
    )
    processor = small_processor()
    tokenizer = processor.tokenizer
    patch_processor(processor, tokenizer, model_args)
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    module = get_dataset(template, model_args, data_args, training_args, "sft", tokenizer, processor)
    rows = list(module["train_dataset"])
    usable = [row for row in ASKED if SECONDS.get(row[0], 0) > 20]
    assert len(rows) == len(usable) == 3
    pad = tokenizer.convert_tokens_to_ids("<|video_pad|>")
    for row, (video, question, answer) in zip(rows, usable, strict=True):
        text = tokenizer.decode([token for token in row["input_ids"] if token != pad])
        assert f"<|vision_end|>{question.rstrip('?')}?<|im_end|>" in text, text
        learned = tokenizer.decode([token for token in row["labels"] if token >= 0])
        assert learned.strip() == f"{answer}<|im_end|>", learned
        assert [Path(path).stem for path in row["videos"]] == [f"v_{video}"]
        assert row["input_ids"].count(pad) > 0

    collate = SFTDataCollatorWith4DAttentionMask(
        template=template, tokenizer=tokenizer, processor=processor, model=None, padding=True
    )
    batch: dict[str, Any] = collate([dict(row) for row in rows])
    frames, _, _ = batch["video_grid_thw"].T  # in pairs; one frame a second, an even number
    assert frames.tolist() == [SECONDS[video] // 2 + SECONDS[video] % 2 for video, _, _ in usable]
    merge = processor.video_processor.merge_size**2
    tokens = [row["input_ids"].count(pad) for row in rows]
    assert tokens == (batch["video_grid_thw"].prod(-1) // merge).tolist(), "as many places as the video fills"


for place in ("raw", "data/raw"):  # videos beside the data folder have absolute paths, inside it relative ones
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary, "data")
        name = export(Path(temporary, place), data)
        assert (data / "activitynet_qa_train_250_limit_20s.json").is_file()
        check(data, name, Path(temporary, "out"))
