from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from preprocess.addresses import public_address
from preprocess.errors import DamagedFileError, UnknownNameError
from preprocess.formats import triple_files, triples
from preprocess.formats.triples import META_KEYS, many_vectors, npy_array, npy_bytes, parse_jsons, triple_meta
from preprocess.samples import Sample, Triple

VECTORS = hnp.arrays(
    st.sampled_from([np.float16, np.float32]), st.tuples(st.integers(0, 40), st.integers(1, 16)), elements=st.just(0.5)
)


def saved(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def sample(**changes: Any) -> Sample:
    fields: dict[str, Any] = {"key": "k", "split": "train", "media": "videos/k.mp4", "captions": ("one", "two")}
    return Sample(**{**fields, **changes})


@given(VECTORS)
def test_npy_is_what_numpy_saves_and_loads(vectors: np.ndarray[Any, Any]) -> None:
    data = npy_bytes(vectors)
    assert data == saved(vectors)
    for back in (npy_array(data), npy_array(memoryview(data)), np.load(io.BytesIO(data), allow_pickle=False)):
        assert back.dtype == vectors.dtype
        np.testing.assert_array_equal(back, vectors)


def test_npy_is_little_endian_and_c_order_whatever_comes_in() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert npy_bytes(values.astype(">f4")) == npy_bytes(np.asfortranarray(values)) == saved(values)


@pytest.mark.parametrize("bad", [np.zeros(3, np.float32), np.zeros((2, 2)), np.zeros((2, 2), np.int16)])
def test_npy_of_another_type_or_shape_is_refused(bad: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"float16 or float32 \(T, D\)"):
        npy_bytes(bad)


def test_npy_in_fortran_order_and_version_2_are_read() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asfortranarray(values), version=(2, 0))
    np.testing.assert_array_equal(npy_array(buffer.getvalue()), values)


@pytest.mark.parametrize("version", [1, 2])
def test_npy_whose_header_has_118_bytes_in_both_versions(version: int) -> None:
    """What 118 bytes follow begins at 128 in version 1 alone."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".ljust(117) + b"\n"
    length = len(header).to_bytes(2 * version, "little")
    data = b"\x93NUMPY" + bytes((version, 0)) + length + header + np.array([3, 4], np.float32).tobytes()
    assert np.load(io.BytesIO(data)).tolist() == npy_array(data).tolist() == [[3, 4]]


def test_npy_is_a_view() -> None:
    data = bytearray(npy_bytes(np.ones((2, 3), np.float32)))
    array = npy_array(memoryview(data))
    data[-4:] = b"\0\0\0\0"
    assert array[1, 2] == 0


def test_npy_of_objects_is_never_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object))
    with pytest.raises(DamagedFileError, match="objects is never unpickled"):
        npy_array(buffer.getvalue())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"hello world, this is no array",
        npy_bytes(np.ones((2, 3), np.float32))[:-1],
        saved(np.ones(3))[:60],
    ],
)
def test_npy_that_is_damaged_is_named(data: bytes) -> None:
    with pytest.raises(DamagedFileError, match=r"train/k\.npy"):
        npy_array(data, "train/k.npy")


@pytest.mark.parametrize("shape", [(0, 10**17), (10**9, 0, 10**9), (1,) * 33, (0,) * 40], ids=str)
def test_npy_of_a_shape_that_no_array_has_is_named(shape: tuple[int, ...]) -> None:
    """Without a single number, so that the size of the file fits: numpy itself would fail while it makes the array."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4 * math.prod(shape))
    with pytest.raises(DamagedFileError, match="is too large"):
        npy_array(data)


def padded(shape: tuple[int, int]) -> bytes:
    """float16 of that shape behind a header of 192 bytes, of which the first 128 do not say the shape."""
    header = b"{'descr': '<f2', 'fortran_order': False, " + b" " * 90 + f"'shape': {shape}, }}".encode()
    data = b"\x93NUMPY\x01\x00" + (182).to_bytes(2, "little") + header.ljust(181) + b"\n"
    return data + np.arange(math.prod(shape), dtype=np.float16).tobytes()


def test_many_npy_are_read_as_each_of_them() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((2, 3), (2, 3), (3, 3), (0, 3), (2, 3), (3, 2), (2, 3))]
    contents = [saved(array.astype(np.float16)) for array in arrays]
    contents += [saved(array.astype(np.float32)) for array in arrays]
    contents += [saved(np.asfortranarray(array.astype(np.float16))) for array in arrays]
    contents += [padded((2, 3)), padded((3, 2)), padded((2, 3))]
    read = many_vectors([memoryview(content) for content in contents], str)
    for array, content in zip(read, contents, strict=True):
        expected = np.load(io.BytesIO(content))
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    assert many_vectors([], str) == []


@pytest.mark.parametrize("damaged", [saved(np.ones((2, 3), np.float32))[:-1], saved(np.ones((2, 3), np.int16)), b""])
def test_of_many_npy_the_damaged_one_is_named(damaged: bytes) -> None:
    whole = memoryview(saved(np.ones((2, 3), np.float32)))
    with pytest.raises(DamagedFileError, match="number 2"):
        many_vectors([whole, whole, memoryview(damaged), whole], lambda i: f"number {i}")


def test_meta_has_the_fixed_keys_then_the_recipes_own_sorted() -> None:
    made = sample(label="dog", start_s=3, end_s=13.1234567, meta={"z": 1, "a": None, "videoID": "v1"})
    meta = triple_meta(made, 2, np.array([3.0, 4.0000000001]), 10.123456789, False)
    assert tuple(meta) == (*META_KEYS, "a", "z")
    assert meta == {
        "key": "k",
        "videoID": "v1",
        "start_time": 3.0,
        "end_time": 13.123457,
        "duration": 10.123457,
        "captions": ["one", "two"],
        "label": "dog",
        "n_frames": 2,
        "timestamps": [3.0, 4.0],
        "source": "videos/k.mp4",
        "truncated": False,
        "a": None,
        "z": 1,
    }
    assert isinstance(meta["start_time"], float)


def test_meta_of_a_recipe_replaces_what_would_be_derived() -> None:
    own = {"start_time": 1, "end_time": None, "source": "https://www.youtube.com/watch?v=x"}
    meta = triple_meta(sample(start_s=5.0, end_s=float("inf"), meta=own), 0, [], 0, True)
    assert (meta["start_time"], meta["end_time"]) == (1.0, None)
    assert meta["source"] == "https://www.youtube.com/watch?v=x"
    assert triple_meta(sample(end_s=float("inf")), 0, [], 0, True)["end_time"] is None


@pytest.mark.parametrize("key", ["n_frames", "key", "captions", "caption_index"])
def test_meta_of_a_recipe_may_not_replace_what_is_measured(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        triple_meta(sample(meta={key: 1}), 0, [], 0, False)


def test_meta_needs_one_timestamp_per_row() -> None:
    with pytest.raises(ValueError, match="got 1 for 2 rows"):
        triple_meta(sample(), 2, [0.0], 1.0, False)


@pytest.mark.parametrize(
    ("media", "public"),
    [
        ("a/b c.mp4", "a/b c.mp4"),
        ("https://me:pw@host.org:8080/a/b.mp4?token=1&x=2#t", "https://host.org:8080/a/b.mp4"),
        ("https://host.org?token=1", "https://host.org"),
        ("s3://bucket/a.mp4", "s3://bucket/a.mp4"),
        ("hf://datasets/org/name@main/a.mp4", "hf://datasets/org/name@main/a.mp4"),
        ("file:///home/me/a.mp4", "a.mp4"),
        ("FILE://C:\\Users\\me\\a.mp4", "a.mp4"),
        ("local://home/me/a.mp4", "a.mp4"),
        ("zip://a.mp4::file:///home/me/x.zip", "zip://a.mp4"),
        ("s3://key:secret@bucket/a.mp4", "s3://bucket/a.mp4"),
        ("file:///home/me/a#1?.mp4", "a#1?.mp4"),
        ("http://[half/a.mp4", "http://[half/a.mp4"),
    ],
)
def test_source_gives_nothing_away(media: str, public: str) -> None:
    assert public_address(media) == public
    assert triple_meta(sample(media=media), 0, [], 0, False)["source"] == public


def test_clips_add_their_spans_behind_the_keys_that_are_always_there() -> None:
    spans = [[0, 2.0000000001], [2, 3.5]]
    meta = triple_meta(sample(meta={"a": 1}), 2, [0.0, 2.0], 3.5, False, spans, 3)
    assert tuple(meta) == (*META_KEYS, *triples.CLIP_KEYS, "a")
    assert meta["spans"] == [[0.0, 2.0], [2.0, 3.5]]
    assert meta["padded_frames"] == 3
    with pytest.raises(ValueError, match=r"one span per row of .*, got 1 for 2 rows"):
        triple_meta(sample(), 2, [0.0, 2.0], 3.5, False, spans[:1])
    with pytest.raises(ValueError, match="may not set"):
        triple_meta(sample(meta={"spans": []}), 1, [0.0], 1.0, False)


def test_own_meta_keys_are_the_sorted_union() -> None:
    made = [sample(meta={"b": 1, "videoID": "x"}), sample(), sample(meta={"a": 1, "source": "y"})]
    assert triples.own_meta_keys(made) == ("a", "b")


def test_caption_modes() -> None:
    captions = ("a; b", "c")
    assert triples.caption_text(captions, "first") == "a; b"
    assert triples.caption_text(captions, "each") == "a; b"
    assert triples.caption_text(captions, "concat") == "a; b c"
    assert triples.caption_text(captions, "join").split(";") == ["a, b", "c"]
    with pytest.raises(UnknownNameError, match="Did you mean 'first'"):
        triples.caption_text(captions, "frist")  # type: ignore[arg-type]


def written(folder: Path, key: str = "k") -> Triple:
    made = sample(key=key, captions=("a – ü",), meta={"n": [1, None]})
    triple = Triple(key, np.full((2, 4), 0.5, np.float16), "a – ü", triple_meta(made, 2, [0, 1], 2.0, False))
    (folder / "train").mkdir(parents=True, exist_ok=True)
    size = triple_files.write_triple(folder, "train", triple)
    assert size == sum(p.stat().st_size for p in (folder / "train").glob(f"{key}.*"))
    return triple


def test_a_triple_comes_back_as_it_went(tmp_path: Path) -> None:
    triple = written(tmp_path)
    back = triple_files.read_triple(tmp_path, "train", "k")
    assert (back.key, back.text, back.meta) == (triple.key, triple.text, triple.meta)
    np.testing.assert_array_equal(back.vectors, triple.vectors)
    assert (tmp_path / "train" / "k.txt").read_text("utf-8") == "a – ü"
    assert json.loads((tmp_path / "train" / "k.json").read_text("utf-8"))["captions"] == ["a – ü"]


def test_a_triple_exists_when_its_json_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "done")
    real = triple_files.write_atomic

    def dies_at_the_json(path: Path, data: bytes, *, durable: bool) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        real(path, data, durable=durable)

    monkeypatch.setattr(triple_files, "write_atomic", dies_at_the_json)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, "half")
    (tmp_path / "train" / ".new.json.00.json").touch()
    assert (tmp_path / "train" / "half.npy").exists()
    assert triple_files.done_keys(tmp_path, "train") == {"done"}
    assert triple_files.done_keys(tmp_path, "val") == set()


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b""])
def test_a_damaged_json_is_named(tmp_path: Path, data: bytes) -> None:
    written(tmp_path)
    (tmp_path / "train" / "k.json").write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"train/k\.json"):
        triple_files.read_triple(tmp_path, "train", "k")


def test_many_jsons_are_parsed_as_each_of_them() -> None:
    contents = [f'{{"n": {i}, "caption": "\\u00e9}},{{"}}'.encode() for i in range(5)]
    assert parse_jsons(contents, str) == [json.loads(content) for content in contents]
    assert parse_jsons([b'{"deep": ' + b"[" * 195 + b"]" * 195 + b"}"], str)[0]["deep"] is not None
    assert parse_jsons([], str) == []


@pytest.mark.parametrize(
    "contents",
    [
        [b'{"a": [{}', b"{}]}", b"{},{}"],
        [b'{"a": [1', b"2]}", b"{},{},{}"],
        [b"{},1,{}", b'{"a": 2', b"}"],
        [b"{}", b"{},{}", b""],
        [b"{}", b"3"],
        [b"{}", b"{"],
        [b"{}", b'{"a": 1e999}'],
    ],
    ids=str,
)
def test_of_many_jsons_the_damaged_one_is_named(contents: list[bytes]) -> None:
    """Also where those beside it would complete it."""
    damaged = next(i for i, content in enumerate(contents) if not is_object(content))
    with pytest.raises(DamagedFileError, match=rf"number {damaged}\b"):
        parse_jsons(contents, lambda i: f"number {i}")


def is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict) and b"999" not in content
    except ValueError:
        return False
