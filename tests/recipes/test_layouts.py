"""The other layouts in which datasets are published, as they are: nothing is renamed, nothing is asked for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from preprocess import recipes
from preprocess.errors import AnnotationError, RawDataError
from preprocess.samples import RecipeOptions, Sample


def read(name: str, raw: Path, **options: Any) -> list[Sample]:
    entries = recipes.load(name).samples(raw, RecipeOptions(**options))
    return [entry for entry in entries if isinstance(entry, Sample)]


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def touch(raw: Path, *paths: str) -> None:
    for path in paths:
        write(raw / path, "")


def test_coco_as_a_bare_list_of_captions(tmp_path: Path) -> None:
    touch(tmp_path, "train2014/COCO_train2014_000000318556.jpg")
    told = [(318556, "A bathroom."), (9, "Food."), (318556, "A clean bathroom.")]
    bare = [{"image_id": image, "id": 48 + i, "caption": text} for i, (image, text) in enumerate(told)]
    write(tmp_path / "captions_train.json", bare)
    write(tmp_path / "captions_val.json", bare[1:2])
    found = {(s.key, s.split, s.media, s.captions) for s in read("mscoco2014", tmp_path)}
    assert found == {
        (
            "COCO_train2014_000000318556",
            "train",
            "train2014/COCO_train2014_000000318556.jpg",
            ("A bathroom.", "A clean bathroom."),
        ),
        ("COCO_train2014_000000000009", "train", "mscoco2014/train2014/COCO_train2014_000000000009.jpg", ("Food.",)),
        ("COCO_val2014_000000000009", "val", "mscoco2014/val2014/COCO_val2014_000000000009.jpg", ("Food.",)),
    }
    write(tmp_path / "captions_train.json", [{**bare[0], "image_id": "318556"}])
    with pytest.raises(AnnotationError, match=r"captions_train\.json: entry 0: image_id: got '318556'"):
        read("mscoco2014", tmp_path)


def karpathy(*rows: tuple[str, str]) -> object:
    sentences = [{"raw": "A man.", "tokens": ["a", "man"]}, {"raw": "A person."}]
    return {"images": [{"filename": name, "split": split, "sentences": sentences} for name, split in rows]}


@pytest.mark.parametrize("folder", ["flickr30k_images/flickr30k_images", "flickr30k-images", "images"])
def test_flickr_as_karpathys_json(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, f"{folder}/1.jpg", f"{folder}/2.jpg")
    write(tmp_path / "dataset_flickr30k.json", karpathy(("1.jpg", "train"), ("2.jpg", "val"), ("3.jpg", "test")))
    write(tmp_path / "captions.txt", "image,caption\n1.jpg,of no concern\n")
    assert [(s.key, s.split, s.media, s.captions) for s in read("flickr30k", tmp_path)] == [
        ("1", "train", f"{folder}/1.jpg", ("A man.", "A person.")),
        ("2", "val", f"{folder}/2.jpg", ("A man.", "A person.")),
        ("3", "test", "flickr/3.jpg", ("A man.", "A person.")),
    ]
    write(tmp_path / "dataset_flickr30k.json", karpathy(("1.jpg", "dev")))
    with pytest.raises(AnnotationError, match=r"dataset_flickr30k\.json: images\[0\]\.split: got 'dev'"):
        read("flickr30k", tmp_path)


TABLES = {
    "captions.txt": 'image,caption\n1.jpg,"A man, standing ."\n1.jpg,A person .\n2.jpg,A dog .\n',
    "captions.txt with numbers": "image_name,comment_number,comment\n1.jpg, 0, A man, standing .\n"
    "1.jpg, 1, A person .\n2.jpg, 0, A dog .\n",
    "results.csv": "image_name| comment_number| comment\n1.jpg| 0| A man, standing .\n1.jpg| 4   A person .\n"
    "2.jpg| 0| A dog .\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_flickr_as_kaggles_table(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "flickr30k_images/1.jpg")
    write(tmp_path / name.partition(" ")[0], TABLES[name])
    found = read("flickr30k", tmp_path, split=(0, 0, 1))
    assert [(s.key, s.split, s.captions) for s in found] == [
        ("1", "test", ("A man, standing .", "A person .")),
        ("2", "test", ("A dog .",)),
    ]
    assert "split by a hash" in caplog.text
    assert {s.split for s in read("flickr30k", tmp_path, split=(1, 0, 0))} == {"train"}


def test_a_table_that_is_wrong_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path / "captions.txt", "picture,words\n1.jpg,A man\n")
    with pytest.raises(AnnotationError, match=r"captions\.txt: line 1: the header is 'picture,words'"):
        read("flickr30k", tmp_path)
    write(table, "image,caption\n1.jpg\n")
    with pytest.raises(AnnotationError, match=r"captions\.txt: line 2: the row is '1\.jpg'"):
        read("flickr30k", tmp_path)
    write(table, "image,caption\n1.jpg,\n")
    with pytest.raises(AnnotationError, match=r"1\.jpg: the image has no caption"):
        read("flickr30k", tmp_path)
    write(table, "image,caption\n../1.jpg,x\n")
    with pytest.raises(AnnotationError, match=r"line 2: got '\.\./1\.jpg'\. Expected a path below the raw folder"):
        read("flickr30k", tmp_path)


def test_mini_imagenet_in_the_split_of_ravi_and_larochelle(tmp_path: Path) -> None:
    image = "n0153282900000005.jpg"
    touch(tmp_path, f"images/{image}")
    write(tmp_path / "train.csv", f"filename,label\n{image},n01532829\nn0185567200000001.jpg,n01855672\n")
    write(tmp_path / "test.csv", "filename,label\n7.jpg,n01930112\n")
    found = {s.key: s for s in read("mini_imagenet", tmp_path)}
    assert {key: (s.split, s.media, s.label) for key, s in found.items()} == {
        "n0153282900000005": ("train", f"images/{image}", "n01532829"),
        "n0185567200000001": ("train", "mini-imagenet/images/n0185567200000001.jpg", "n01855672"),
        "n01930112_7": ("test", "mini-imagenet/images/7.jpg", "n01930112"),
    }
    write(tmp_path / "classnames.txt", "n01532829 house finch\n")
    assert {s.label for s in read("mini_imagenet", tmp_path)} == {"house finch", "n01855672", "n01930112"}
    write(tmp_path / "val.csv", f"filename,label\n{image},n01532829\n")
    with pytest.raises(AnnotationError, match=rf"'{image}' was already given in"):
        read("mini_imagenet", tmp_path)


@pytest.fixture
def msrvtt_zip(tmp_path: Path) -> Path:
    raw = tmp_path / "MSRVTT"
    touch(raw, *(f"videos/all/video{number}.mp4" for number in (0, 1, 2)))
    sentences = [{"image_id": f"video{n}", "caption": f"sentence {i}", "id": i} for i in range(2) for n in range(3)]
    write(raw / "annotation/MSR_VTT.json", {"info": {}, "images": [], "annotations": sentences})
    write(raw / "structured-symlinks/train_list_jsfusion.txt", "video0\nvideo1\n")
    write(raw / "structured-symlinks/val_list_jsfusion.txt", "video2\n")
    for split, number in (("train", 0), ("val", 1), ("test", 2)):
        write(raw / f"structured-symlinks/{split}_list_full.txt", f"video{number}\n")
    write(raw / "structured-symlinks/jsfusion_val_caption_idx.pkl", "cos\nsystem\n(S'false'\ntR.")
    return tmp_path


def test_msrvtt_from_its_zip_alone(msrvtt_zip: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read("msrvtt", msrvtt_zip)
    assert {s.key: (s.split, s.media) for s in found} == {
        "video0": ("train", "MSRVTT/videos/all/video0.mp4"),
        "video1": ("train", "MSRVTT/videos/all/video1.mp4"),
        "video2": ("test", "MSRVTT/videos/all/video2.mp4"),
    }
    assert {s.captions for s in found} == {("sentence 0", "sentence 1")}
    assert "test videos keep all their sentences" in caplog.text
    full = Counter(s.split for s in read("msrvtt", msrvtt_zip, split_protocol="full"))
    assert full == {"train": 1, "val": 1, "test": 1}
    write(msrvtt_zip / "MSRVTT_JSFUSION_test.csv", "key,vid_key,video_id,sentence\nret0,msr2,video2,the one\n")
    assert [s.captions for s in read("msrvtt", msrvtt_zip) if s.split == "test"] == [("the one",)]


def test_what_the_zip_lacks_is_said_with_what_was_found(msrvtt_zip: Path) -> None:
    with pytest.raises(RawDataError, match=r"has none of MSRVTT_train\.7k\.csv; found: MSRVTT/ \(\d+ files\)"):
        read("msrvtt", msrvtt_zip, split_protocol="7k")
    (msrvtt_zip / "MSRVTT/structured-symlinks/val_list_full.txt").unlink()
    with pytest.raises(RawDataError, match=r"has none of val_list_full\.txt"):
        read("msrvtt", msrvtt_zip, split_protocol="full")
    write(msrvtt_zip / "MSRVTT/structured-symlinks/val_list_jsfusion.txt", "video0\n")
    with pytest.raises(AnnotationError, match=r"val_list_jsfusion\.txt: video0: the video is in the train list too"):
        read("msrvtt", msrvtt_zip)
