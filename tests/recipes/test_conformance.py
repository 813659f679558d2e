"""What holds for every recipe, found by discovery: a new one is covered by its fixture alone.

`fixtures/<name>.py` has `make(raw) -> Path` (builds a tiny raw tree of text and empty files, returns what RAW is),
`BREAKABLE` (files that are an `AnnotationError` when they are garbage), `REQUIRED` (sets of files; without all of a set
the raw data is incomplete) and `LISTS_MEDIA` (true where annotations, not the folder, say which media there are).
A recipe with `prepare` makes its own raw data and needs no fixture.
"""

from __future__ import annotations

import importlib
import random
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from preprocess import recipes
from preprocess.errors import AnnotationError, RawDataError
from preprocess.readers.files import MEDIA_SUFFIXES, split_suffix
from preprocess.samples import KEY_PATTERN, SPLITS, RecipeOptions, Sample, canonical_json

NAMES = recipes.names()
FIXTURES = Path(__file__).parent / "fixtures"
OWN_DATA = {"folder", "table", "webdataset", "hub", "lerobot", "demo"}  # the user's own or rendered: nothing to cite
OPTIONS = RecipeOptions()
DERIVED = {
    "videoID",
    "start_time",
    "end_time",
    "source",
}  # always in a triple's JSON, whether the recipe says them or not

# Ids that the Hub accepts in a dataset card, as far as the recipes use them.
LICENSES = {
    "apache-2.0",
    "mit",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "other",
    "unknown",
}
TASKS = {
    "feature-extraction",
    "image-feature-extraction",
    "image-classification",
    "image-to-text",
    "text-retrieval",
    "text-to-image",
    "text-to-video",
    "video-classification",
    "video-text-to-text",
    "visual-question-answering",
    "zero-shot-classification",
    "zero-shot-image-classification",
}


@dataclass(frozen=True)
class Tree:
    """A raw folder and what of it is handed to the recipe."""

    folder: Path
    raw: Path
    breakable: tuple[str, ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    lists_media: bool = False

    def copy(self, to: Path) -> Tree:
        """The same tree elsewhere, its files made in another order."""
        files = sorted(path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        random.Random(7).shuffle(files)
        for file in files:
            (to / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / file, to / file)
        return Tree(to, to / self.raw.relative_to(self.folder), self.breakable, self.required, self.lists_media)


def build(name: str, folder: Path) -> Tree:
    path = FIXTURES / f"{name}.py"
    if not path.is_file():
        prepare = getattr(recipes.load(name), "prepare", None)
        assert prepare, f"the recipe {name} has no fixture: write {path}"
        prepare(folder)
        return Tree(folder, folder)
    module = importlib.import_module(f"tests.recipes.fixtures.{name}")
    return Tree(folder, module.make(folder), module.BREAKABLE, module.REQUIRED, module.LISTS_MEDIA)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def original(name: str, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp(name) / "raw"
    folder.mkdir()
    return build(name, folder)


@pytest.fixture
def tree(original: Tree, tmp_path: Path) -> Tree:
    return original.copy(tmp_path / "copy")


def run(name: str, tree: Tree) -> list[Sample]:
    return [entry for entry in recipes.entries(recipes.load(name), tree.raw, OPTIONS) if isinstance(entry, Sample)]


def test_spec(name: str) -> None:
    spec = recipes.load(name).SPEC
    assert spec.license in LICENSES
    assert set(spec.task_categories) <= TASKS
    assert spec.task_categories
    assert all(re.fullmatch(r"[a-z]{2}", language) for language in spec.languages)
    assert spec.raw_layout.strip()
    if name not in OWN_DATA:
        assert re.match(r"@\w+\{\w+,", spec.citation)
        assert spec.citation.count("{") == spec.citation.count("}")
        assert spec.homepage.startswith("https://")
        assert spec.languages
        assert spec.remotes
    for remote in spec.remotes:
        assert re.match(r"https?://[\w.-]+/", remote.url)
        assert not remote.path.startswith("/")
        assert ".." not in remote.path


def test_titles_are_unique() -> None:
    titles = [recipes.load(each).SPEC.title for each in NAMES]
    assert len(set(titles)) == len(titles)


def test_card_prose_is_there(name: str, root: Path) -> None:
    prose = (root / "dataset_cards" / f"{name}.md").read_text(encoding="utf-8")
    assert len(prose.split()) >= 30
    assert not prose.startswith("---")


def test_samples_are_sound(name: str, original: Tree) -> None:
    samples = run(name, original)
    keys = [sample.key for sample in samples]
    assert keys
    assert len(set(keys)) == len(keys)
    assert all(KEY_PATTERN.fullmatch(key) for key in keys)
    order = [(SPLITS.index(sample.split), sample.key) for sample in samples]
    assert order == sorted(order)
    for sample in samples:
        assert sample.captions
        assert all(caption.strip() for caption in sample.captions)
        assert sample.meta.get("videoID", sample.key)
        assert Sample.from_json(sample.to_json()) == sample
        assert canonical_json(sample.to_json())
    own = {frozenset(sample.meta) - DERIVED for sample in samples}
    assert len(own) == 1, f"the metadata keys differ between samples: {own}"


def test_no_file_is_in_two_splits(name: str, original: Tree) -> None:
    where = {(sample.media, sample.split) for sample in run(name, original)}
    assert len(where) == len({media for media, _ in where})


def test_order_does_not_depend_on_the_folder(name: str, original: Tree, tree: Tree) -> None:
    there, here = run(name, original), run(name, tree)
    assert [s.key for s in there] == [s.key for s in here]
    if not any(s.media.startswith("file://") for s in here):
        assert there == here
    assert run(name, tree) == here


def test_missing_media_is_still_a_sample(name: str, original: Tree, tree: Tree) -> None:
    for path in tree.folder.rglob("*"):
        if split_suffix(path.name)[1] in MEDIA_SUFFIXES:
            path.unlink()
            if not tree.lists_media:  # the folder itself says which media there are: a link that leads nowhere
                path.symlink_to(tree.folder / "nowhere")
    assert [(s.key, s.split, s.captions) for s in run(name, tree)] == [
        (s.key, s.split, s.captions) for s in run(name, original)
    ]


def test_garbage_is_an_error_that_names_the_file(name: str, tree: Tree) -> None:
    for file in tree.breakable:
        path = tree.folder / file
        whole = path.read_bytes()
        kinds = [whole + b"\xff\xfe"]
        if path.suffix in (".json", ".csv", ".jsonl"):
            kinds.append(b"")
        if path.suffix == ".json":
            kinds += [whole[: len(whole) // 2], b"3", b'{"a": 1, "a": 2}']
        for garbage in kinds:
            path.write_bytes(garbage)
            with pytest.raises(AnnotationError, match=re.escape(path.name)) as error:
                run(name, tree)
            assert "Expected" in str(error.value)
            assert "\n" not in str(error.value)
            assert recipes.load(name).SPEC.raw_layout.strip() in error.value.layout
        path.write_bytes(whole)
    assert run(name, tree)


def test_incomplete_raw_data_is_an_error_with_the_tree(name: str, tree: Tree) -> None:
    layout = recipes.load(name).SPEC.raw_layout.strip()
    for files in tree.required:
        contents = {file: (tree.folder / file).read_bytes() for file in files}
        for file in files:
            (tree.folder / file).unlink()
        with pytest.raises(RawDataError) as error:
            run(name, tree)
        assert layout in error.value.layout
        for file, content in contents.items():
            (tree.folder / file).write_bytes(content)


def test_no_raw_data_is_an_error_with_the_tree(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    if hasattr(recipe, "prepare"):
        return  # it makes its raw data itself, wherever RAW is
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for raw in (tmp_path / "nowhere", tmp_path / "empty", tmp_path / "file"):
        with pytest.raises(RawDataError) as error:
            list(recipe.samples(raw, OPTIONS))
        assert str(raw) in str(error.value)
        assert recipe.SPEC.raw_layout.strip() in error.value.layout
