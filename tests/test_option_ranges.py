"""Every number that an option takes: what is out of range is refused at once, before anything is written."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
import typer

from builders.__main__ import app as builders
from dataset_cards.__main__ import app as dataset_cards
from dataset_cards.words import sampling_rule
from explorer.__main__ import app as explorer
from preprocess.__main__ import app as preprocess
from preprocess.console import run
from preprocess.exports.llama_factory import Choice
from preprocess.media.sampling import Sampling
from preprocess.options import parse_sampling

REQUIRED = {
    "samples": "folder --raw {raw} --out {out}",
    "encode": "folder --raw {raw} --out {out}",
    "build": "folder --raw {raw} --out {out}",
    "retry": "folder --out {out}",
    "shards": "folder --out {out}",
    "recheck": "folder --out {out}",
    "frames": "folder --raw {raw} --out {out}",
    "annotations": "folder --raw {raw} --out {out}",
    "llama-factory": "--raw {raw} --out {out}",
    "preview": "folder --raw {raw} --out {out}",
    "long-video scenes": "{out} --raw {raw} --annotations {raw}/none.jsonl",
    "long-video segments": "{out}",
    "long-video import": "{out} --raw {raw} --annotations {raw}/none.jsonl",
    "long-video latents": "{out}",
    "long-video text": "{out}",
    "long-video check": "{raw}/none.jsonl",
    "verify": "{out}",
    "push": "{out} --org me",
    "diff": "{out} {out}",
    "features": "{out} --layout moment-detr --out {out}",
    "evaluate": "folder --out {out}",
    "search": "{out} words",
    "filter": "{out} --name x --out {out}",
    "page": "{out}",
}
"""What each command needs apart from the option under test."""

EVERYWHERE = {float: ("nan", "inf", "-inf", "-2"), int: ("-1", "1" + "0" * 30)}
"""Out of the range of every option with such a value."""

ALSO = (
    ("encode", "--fps", "0"),
    ("encode", "--fps", "1e9"),
    ("encode", "--batch-size", "1000000000"),
    ("encode", "--batch-size", "0"),
    ("encode", "--time-limit", "0"),
    ("encode", "--max-memory", "0.001"),
    ("encode", "--workers", "1000000000"),
    ("encode", "--sampling", "num_frames=100000000000"),
    ("encode", "--sampling", "every_nth=0"),
    ("encode", "--sampling", "segment=nan"),
    ("encode", "--precision", "fp61"),
    ("encode", "--clip-stride", "0"),
    ("encode", "--slice", "0/4"),
    ("encode", "--slice", "5/4"),
    ("encode", "--slice", "x"),
    ("encode", "--device", "gpu"),
    ("retry", "--device", "cpu:x"),
    ("build", "--caption-mode", "frist"),
    ("build", "--processed", "part"),
    ("build", "--split", "nan,0.5,0.5"),
    ("build", "--max-reject-rate", "1.5"),
    ("shards", "--per-shard", "0"),
    ("frames", "--fps", "1e9"),
    ("frames", "--quality", "101"),
    ("long-video scenes", "--threshold", "0"),
    ("long-video segments", "--seconds", "0"),
    ("long-video segments", "--seconds", "4"),
    ("long-video segments", "--seconds", "3000000000"),
    ("long-video segments", "--size", "80000000x80000000"),
    ("long-video segments", "--size", "0x8"),
    ("long-video segments", "--fps", "1000000000"),
    ("long-video import", "--seconds", "-3"),
    ("long-video latents", "--chunk-seconds", "1000000000"),
    ("long-video latents", "--workers", "0"),
    ("long-video text", "--max-tokens", "1000000000"),
    ("long-video text", "--batch-size", "1000000000"),
    ("long-video check", "--fps", "0"),
    ("evaluate", "--near-duplicate", "1.5"),
    ("filter", "--min-score", "nan"),
    ("page", "--port", "65536"),
)


def commands(app: typer.Typer, path: str = "") -> Iterator[tuple[str, inspect.Signature]]:
    for one in app.registered_commands:
        assert one.callback is not None
        name = one.name or one.callback.__name__.replace("_", "-")
        yield f"{path} {name}".strip(), inspect.signature(one.callback, eval_str=True)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, group.name if isinstance(group.name, str) else path)


def numeric(parameter: inspect.Parameter) -> tuple[str, type] | None:
    """The option's name and its type, where that is a number."""
    if get_origin(parameter.annotation) is not Annotated:
        return None
    kind, info = get_args(parameter.annotation)[:2]
    found = {kind, *get_args(kind)} & {int, float}
    # In `Annotated`, Typer keeps the first of the names as the default.
    names = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    return (names[0] if names else f"--{parameter.name.replace('_', '-')}", found.pop()) if found else None


def cases() -> Iterator[tuple[typer.Typer, str, str, str]]:
    apps = (preprocess, builders, dataset_cards, explorer)
    places = {name: app for app in apps for name, _ in commands(app)}
    places["page"] = explorer
    for app in apps:
        for name, signature in commands(app):
            for parameter in signature.parameters.values():
                if option := numeric(parameter):
                    for value in EVERYWHERE[option[1]]:
                        yield app, name, option[0], value
    for name, option_name, value in ALSO:
        yield places[name], name, option_name, value


def refused(app: typer.Typer, line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> str:
    """What the command wrote to stderr; it has to end with exit code 2."""
    monkeypatch.setattr(sys, "argv", ["x", *line])
    with pytest.raises(SystemExit) as end:
        run(app, "x")
    assert end.value.code == 2, line
    errors: str = capsys.readouterr().err
    assert "Traceback" not in errors
    assert "No such option" not in errors
    return errors.splitlines()[-1]


def test_what_is_out_of_range_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    monkeypatch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    Image.new("RGB", (8, 8)).save(raw / "a.png")
    seen = set()
    for app, name, option, value in cases():
        line = [*name.split(), *REQUIRED[name].format(raw=raw, out=out).split(), f"{option}={value}"]
        if not option.startswith("--"):
            line[-1:] = [option, value]
        message = refused(app, line, monkeypatch, capsys)
        words = {option, value, option.lstrip("-").replace("-", " "), str(value).split("=")[-1]}
        if value.lstrip("-").replace(".", "").replace("e", "").isdigit():
            words |= {f"{float(value)!r}", f"{float(value):g}"}
        assert any(word in message for word in words), f"{line}: {message}"
        assert not out.exists(), f"{line} wrote {sorted(out.rglob('*'))}"
        seen.add((name, option))
    assert {
        ("encode", "--fps"),
        ("long-video text", "--seed"),
        ("filter", "--min-score"),
        ("push", "--workers"),
    } <= seen
    assert len(seen) >= 60


def test_a_frame_rate_keeps_its_digits() -> None:
    sampling = parse_sampling(29.97002997, None)
    assert sampling is not None
    assert Sampling.from_json(sampling.to_json()).value == 29.97002997
    assert str(sampling) == "fps=29.97002997"
    assert "29.97002997 frames per second" in sampling_rule(sampling.to_json())
    assert "1 frame per second" in sampling_rule(Sampling.fps(1).to_json())
    assert Choice("train", None, 250, 1234567.25).title == "activitynet_qa_train_250_limit_1234567.25s"
    assert Choice("train", None, 250, 20.0).title == "activitynet_qa_train_250_limit_20s"
