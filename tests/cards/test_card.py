"""Every number of a card is in the shards, every anchor and link resolves, every block of code runs."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from builders.verify import verify
from dataset_cards import card
from dataset_cards.card_inputs import read_card_inputs
from dataset_cards.prose import Prose, parse_prose
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from preprocess.samples import DatasetSpec, Reject, Sample
from tests.cards.small import ENCODING, SPEC, pack, samples

LOST = (
    Reject("clip_000", "train", "find", "missing", "videos/clip_000.mp4 does not exist"),
    Reject("clip_005", "train", "decode", "unreadable", "not a container"),
    Reject("clip_002", "val", "decode", "unreadable", "not a container"),
)
NO_PROSE = Prose()


def write(place: Layout, spec: DatasetSpec = SPEC, prose: Prose = NO_PROSE, org: str | None = None) -> str:
    return card.write_card(read_card_inputs(spec, place, org, prose)).read_text()


def body(readme: str) -> str:
    return readme.split("\n---\n", 1)[1]


def render(readme: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(body(readme))


def tables(readme: str) -> list[list[list[str]]]:
    """All tables of the page, as rows of plain text."""
    found = re.findall(r"<table>(.*?)</table>", render(readme), re.DOTALL)
    rows = [re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL) for table in found]
    return [
        [
            [
                html.unescape(re.sub("<.*?>", "", cell))
                for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL)
            ]
            for row in table
        ]
        for table in rows
    ]


def split_table(readme: str) -> dict[str, list[str]]:
    (table,) = (t for t in tables(readme) if t[0][0] == "split")
    return {row[0]: row[1:] for row in table[1:]}


def test_counts_are_those_of_the_tars(out: Path) -> None:
    place = pack(out, samples(), rejects=LOST)
    expected = {}
    for line in place.dataset.joinpath("splits.csv").read_text().splitlines()[1:]:
        file, split = line.split(",")
        counts = expected.setdefault(split, [0, 0, 0])
        with tarfile.open(place.dataset / file) as tar:
            arrays = [np.load(io.BytesIO(tar.extractfile(m).read())) for m in tar if m.name.endswith(".npy")]
        counts[0] += len(arrays)
        counts[1] += sum(map(len, arrays))
        counts[2] += 1
    shown = split_table(write(place))
    assert {split: list(map(int, row[1:4])) for split, row in shown.items()} == expected
    assert shown["train"][4:] == ["1", "1"]
    assert shown["val"][4:] == ["0", "1"]
    assert shown["val"][0] == "validation"


def test_repacking_changes_the_numbers(out: Path) -> None:
    before = split_table(write(pack(out, samples(14))))
    after = split_table(write(pack(out, samples(18))))
    assert before["train"][1] == "8"
    assert before["train"][1:4] != after["train"][1:4]


def test_no_card_of_a_shard_that_was_changed(out: Path) -> None:
    place = pack(out, samples())
    shard = place.dataset / "ds_00001.tar"
    data = bytearray(shard.read_bytes())
    data[data.index(b"clip number")] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=r"ds_00001\.tar does not match manifest\.json"):
        write(place)
    shard.unlink()
    with pytest.raises(UserError, match=r"ds_00001\.tar is missing"):
        write(place)


def test_no_card_of_other_splits_than_the_manifests(out: Path) -> None:
    place = pack(out, samples())
    splits = place.dataset / "splits.csv"
    splits.write_text(splits.read_text().replace(",val", ",test"))
    with pytest.raises(UserError, match="do not list the same tars"):
        write(place)


def test_no_card_where_the_manifest_miscounts(out: Path) -> None:
    place = pack(out, samples())
    path = place.dataset / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["splits"]["val"]["frames"] += 1
    next(s for s in manifest["shards"] if s["split"] == "val")["frames"] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="but the tars hold"):
        write(place)


def test_no_card_before_the_build(out: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.json does not exist"):
        read_card_inputs(SPEC, Layout(out, "CLIP-Test"))


def test_the_same_files_give_the_same_bytes(out: Path) -> None:
    place = pack(out, samples(), rejects=LOST)
    first = write(place)
    readme = place.dataset / "README.md"
    stamp = readme.stat().st_mtime_ns
    assert write(place) == first
    assert readme.stat().st_mtime_ns == stamp


def test_anchors_resolve_and_links_exist(out: Path) -> None:
    place = pack(out, samples(), rejects=LOST)
    readme = write(place, prose=parse_prose("About.\n\n## Source Data\n\nA.\n\n## A / B: `c` & *d*\n\nMore.\n"))
    tokens = MarkdownIt("commonmark").enable("table").parse(body(readme))
    anchors = set()
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            text = "".join(t.content for t in tokens[i + 1].children or [] if t.type in ("text", "code_inline"))
            anchors.add("".join(c for c in text.lower() if c.isalnum() or c in " -_").replace(" ", "-"))
    links = [str(t.attrs["href"]) for token in tokens for t in token.children or [] if t.type == "link_open"]
    inside = [link[1:] for link in links if link.startswith("#")]
    assert len(inside) > 15
    assert set(inside) <= anchors
    assert "a--b-c--d" in inside
    files = [link for link in links if not link.startswith(("#", "https://"))]
    assert files == ["rejects.jsonl"]
    assert [json.loads(line)["key"] for line in (place.dataset / files[0]).open()] == [
        "clip_000",
        "clip_005",
        "clip_002",
    ]


def test_the_list_of_rejects_goes_with_the_rejects(out: Path) -> None:
    place = pack(out, samples(), rejects=LOST)
    assert "3 of 14 samples (21%) could not be used" in write(place)
    assert ["unreadable", "1", "1"] in next(t for t in tables(write(place)) if t[0][0] == "reason")
    readme = write(pack(out, samples()))
    assert "rejects.jsonl" not in readme
    assert "No sample is missing: all 14 annotated samples are included." in readme


def test_the_tree_shows_what_is_there(out: Path) -> None:
    place = pack(out, samples(40), per_shard=4, rejects=LOST)
    readme = write(place)
    top = re.findall(r"^[├└]── (\S+)", readme, re.MULTILINE)
    assert {n.rstrip("/") for n in top if n != "…"} <= {path.name for path in place.dataset.iterdir()}
    assert "…" in top
    assert top[-1] == sorted(place.dataset.glob("*.tar"))[-1].name


@pytest.mark.parametrize("attack", ["<script>alert(1)</script>", "a | b `c` [x](javascript:y)", "```\n# Injected\n```"])
def test_captions_and_names_stay_text(out: Path, attack: str) -> None:
    hostile = [dataclasses.replace(s, captions=(attack,), label=attack, meta={"videoID": attack}) for s in samples()]
    encoding = {**ENCODING, "versions": {attack.replace("\n", " "): attack}}
    spec = dataclasses.replace(SPEC, citation=attack, homepage="javascript:alert(1)")
    readme = write(pack(out, hostile, encoding=encoding), spec)
    page = render(readme)
    assert "<script" not in page
    assert "Injected</h1>" not in page
    assert 'href="javascript' not in page
    assert all(len({len(row) for row in table}) == 1 for table in tables(readme))


def test_labels(out: Path) -> None:
    assert "3 classes with 4 to 6 samples each." in write(pack(out, samples(), hub_name="A"))
    assert "class" not in re.sub(r"class name|video-classification", "", write(pack(out, samples(labels=0))))


def test_a_name_the_template_does_not_find_is_an_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = read_card_inputs(SPEC, pack(out, samples()))
    known = card.context(facts)
    for name in ("hub_name", "total", "evaluation"):
        monkeypatch.setattr(card, "context", lambda *_, name=name: {k: v for k, v in known.items() if k != name})
        with pytest.raises(UndefinedError):
            card.render(facts)


def test_an_id_the_hub_does_not_know_is_an_error(out: Path) -> None:
    place = pack(out, samples())
    with pytest.raises(UserError, match="mitt"):
        write(place, dataclasses.replace(SPEC, license="mitt"))


def test_checksum_is_what_the_card_says_it_is(out: Path) -> None:
    place = pack(out, samples())
    tars = sorted(place.dataset.glob("ds_*.tar"))
    listing = "".join(f"{hashlib.sha256(tar.read_bytes()).hexdigest()}  {tar.name}\n" for tar in tars)
    assert f"| shards sha256 | `{hashlib.sha256(listing.encode()).hexdigest()}` |" in write(place)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="the sha256sum program is not installed")
def test_checksum_is_what_sha256sum_prints(out: Path) -> None:
    place = pack(out, samples())
    tars = sorted(path.name for path in place.dataset.glob("ds_*.tar"))
    each = subprocess.run(["sha256sum", *tars], cwd=place.dataset, capture_output=True, check=True).stdout
    printed = subprocess.run(["sha256sum"], input=each, capture_output=True, check=True).stdout.split()[0].decode()
    assert f"| shards sha256 | `{printed}` |" in write(place)


@pytest.mark.parametrize("lost", [(), LOST])
def test_verify_finds_nothing_wrong(out: Path, lost: tuple[Reject, ...]) -> None:
    layout = pack(out, samples(), rejects=lost)
    write(layout)
    assert verify(layout.dataset).findings == ()
    layout.dataset.joinpath("assets/map.png").unlink()
    assert any("map.png" in finding.problem for finding in verify(layout.dataset).findings)


def test_the_code_on_the_page_runs(out: Path) -> None:
    """In a process of its own, with an empty cache, from the folder that holds `data/`."""
    readme = write(pack(out, samples()))
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 6
    compile(client := blocks.pop(4), "README.md", "exec")  # tests/clients makes the same call of the real reader
    assert "EmbeddingWebDatasetReader" in client
    checks = (
        "assert {k: len(v) for k, v in dataset.items()} == {'train': 8, 'validation': 3, 'test': 3}\n"
        "assert sample['npy'].shape[1] == 8 and sample['json']['views'] % 10 == 0",
        "assert sample['__key__'] == 'vid_00000' and len(sample['npy'][0]) == 8",
        "batch = next(iter(loader))\n"
        "assert batch['embeddings'].shape[::2] == (8, 8) and batch['mask'].sum() == sum(map(len, rows['npy'])) > 8\n"
        "assert not batch['embeddings'][~batch['mask']].any() and len(batch['text']) == 8",
        "assert embeddings.shape[1] == 8 and text == meta['captions'][0]",
        "assert batch['embeddings'].shape == (8, 16, 8) and batch['mask'].any(1).all()",
    )
    program = "\n".join(part for pair in zip(blocks, checks, strict=True) for part in pair)
    env = os.environ | {
        "PYTHONPATH": str(Path(card.__file__).parents[1]),
        "HF_HOME": str(out.parent / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    ran = subprocess.run([sys.executable, "-c", program], cwd=out.parent, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_one_sample_of_one_frame(out: Path) -> None:
    only = Sample(key="a", split="test", media="a.png", captions=("an image",))
    readme = write(pack(out, [only], lambda i, s: np.ones((1, 8), np.float16)))
    assert "contains frame embeddings of 1 video," in readme
    assert list(split_table(readme)) == ["test"]
    assert 'split="test", streaming=True' in readme


def test_image_sets_speak_of_images(out: Path) -> None:
    images = [dataclasses.replace(s, media=f"{s.key}.png") for s in samples()]
    layout = pack(out, images, lambda i, s: np.full((1, 8), i + 1, np.float16), duration=lambda rows: 0.0)
    readme = write(layout)
    page = body(readme)
    assert "contains one embedding for each of 14 images" in page
    assert "14 image embeddings of 8 dimensions" in page
    assert "fps" not in page
    assert "Videos are sampled" not in page
    assert "frames per sample" not in page
    assert "the images themselves are not part" in page.lower()
    assert not (layout.dataset / "assets/frames.png").exists()
    assert [row[0] for row in tables(readme)[0][1:]] == ["captions per sample", "words per caption"]
    assert "Each image is resized" in page
    assert "- image-embeddings\n" in readme
    assert "- video\n" not in readme
    assert verify(layout.dataset).findings == ()


def test_datasets_of_clips_speak_of_clips(out: Path) -> None:
    encoder = {**ENCODING["encoder"], "family": "xclip", "unit": "clip", "clip_frames": 4, "clip_stride": 4}
    spans = {"spans": lambda rows: [[4.0 * i, 4.0 * i + 4] for i in range(rows)]}
    layout = pack(out, samples(), encoding={**ENCODING, "encoder": encoder}, **spans)
    readme = write(layout)
    page = body(readme)
    assert "contains clip embeddings of 14 videos" in page
    assert "sampled frame k is the one on screen k seconds" in page
    assert "clips per sample" in page
    assert "### Clips per Sample" in page
    assert "frame embeddings" not in page
    assert next(t for t in tables(readme) if t[0][0] == "split")[0][3] == "clips"


def test_a_figure_comes_first_and_the_contents_do_not_list_themselves(out: Path) -> None:
    lines = body(write(pack(out, samples()))).split("\n")
    lines = [line for line in lines if line.strip()]
    assert lines[0].startswith("# ")
    assert lines[1].startswith("![")
    assert "Table of Contents" not in lines
