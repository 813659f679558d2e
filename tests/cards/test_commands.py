"""The command line, as a user calls it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_cards.__main__ import app
from preprocess import console
from preprocess.samples import canonical_json
from tests.cards.small import pack, samples

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`python -m dataset_cards …` in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dataset_cards", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            console.run(app, "python -m dataset_cards")
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_card_and_page(out: Path, call: Call) -> None:
    layout = pack(out, samples(), hub_name="CLIP-Shapes")
    assert call("card", "demo", "--out", out, "--org", "someone")[:2] == (0, f"{layout.dataset / 'README.md'}\n")
    readme = layout.dataset.joinpath("README.md").read_text()
    assert 'load_dataset("someone/CLIP-Shapes")' in readme
    assert "https://huggingface.co/datasets/someone/CLIP-Shapes/resolve/main/ds_{00000..00001}.tar" in readme
    assert str(out) not in readme
    _, page, _ = call("page", "demo", "--out", out)
    assert Path(page.strip()).read_text().count("<img") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["card", "demos"], "error: unknown dataset 'demos'. Did you mean 'demo'?"),
        (["card", "demo"], "manifest.json does not exist"),
        (["evaluate", "demo", "--task", "zero-shoot"], "unknown task 'zero-shoot'. Did you mean 'zero-shot'?"),
        (["evaluate", "demo", "--templates", "absent.txt"], "absent.txt cannot be read"),
        (["evaluate", "demo", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (["page", "demo"], "Write the card first"),
    ],
)
def test_mistakes_are_one_line(out: Path, call: Call, arguments: list[str], message: str) -> None:
    code, _, printed = call(*arguments, "--out", out)
    assert code == 2
    assert message in printed
    assert printed.count("\n") == 1


def test_the_module_runs(root: Path) -> None:
    ran = subprocess.run([sys.executable, "-m", "dataset_cards", "--help"], cwd=root, capture_output=True, text=True)
    assert ran.returncode == 0
    assert "evaluate" in ran.stdout


def test_help_names_every_command() -> None:
    assert [command.callback.__name__ for command in app.registered_commands] == ["card", "evaluate", "page"]


def test_source_size_is_counted_once_and_kept(out: Path, call: Call, tmp_path: Path) -> None:
    ours = samples()
    layout = pack(out, ours, hub_name="CLIP-Shapes")
    raw = tmp_path / "raw"
    for sample in ours:
        raw.joinpath(sample.media).parent.mkdir(parents=True, exist_ok=True)
        raw.joinpath(sample.media).write_bytes(bytes(10_000))
    layout.samples.write_text("".join(canonical_json(s.to_json()) + "\n" for s in ours))
    layout.source.write_text(canonical_json({"raw": str(raw)}))
    assert call("card", "demo", "--out", out)[0] == 0
    readme = layout.dataset / "README.md"
    first = readme.read_text()
    assert "The source files take 140.0 kB; the embeddings are " in first
    for sample in ours:
        raw.joinpath(sample.media).unlink()
    assert call("card", "demo", "--out", out)[0] == 0
    assert readme.read_text() == first
