"""The page over HTTP: what it serves, what it refuses, and that no text of a dataset is ever markup."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.index import Index, open_index
from explorer.models import QueryModel
from explorer.page.media import Media
from explorer.page.server import build_app, raw_folder
from explorer.page.views import Views, clock
from explorer.samples import Query
from explorer.search import Searcher
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from tests.cards.small import random_vectors, samples
from tests.explorer.conftest import Make

pytest.importorskip("gradio", reason="Gradio is not installed: make dev")
HOSTILE = "</p><script>alert(1)</script><img src=x onerror=alert(2)> \"'{{ 7 * 7 }}"


def client(index: Index, model: QueryModel, raw: Path | None, *, local: bool = True):
    from starlette.testclient import TestClient

    app = build_app(Searcher(index), model, raw, local=local)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def page(scenes: Layout, scenes_index: Index, scenes_model: QueryModel):
    return client(scenes_index, scenes_model, raw_folder(scenes_index, None))


def test_media_in_whole_and_in_part(page, scenes: Layout, scenes_index: Index) -> None:
    number = scenes_index.number("scenes_112")
    data = (scenes.work / "raw/test/scenes_112.mp4").read_bytes()
    whole = page.get(f"/media/{number}")
    assert (whole.status_code, whole.headers["content-type"], whole.content) == (200, "video/mp4", data)
    part = page.get(f"/media/{number}", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert page.get(f"/media/{number}", headers={"Range": f"bytes={len(data)}-"}).status_code == 416


def test_a_thumbnail_is_the_frame_of_its_second(page, scenes_index: Index) -> None:
    number = scenes_index.number("scenes_112")
    answer = page.get(f"/thumbnail/{number}?at=7")
    assert answer.headers["content-type"] == "image/jpeg"
    pixels = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    assert pixels.shape == (96, 128, 3)
    red = (pixels[..., 0] - pixels[..., 1:].max(axis=2)) > 40
    assert 0.01 < red.mean() < 0.4, "a red diamond on gray"
    for bad in ("-1", "nan", "inf", "soon"):
        assert page.get(f"/thumbnail/{number}?at={bad}").status_code == 422


@pytest.mark.parametrize(
    "path", ["/media/124", "/media/-1", "/sample/124", "/thumbnail/999", "/sheet/999", "/like/999"]
)
def test_numbers_beyond_the_dataset(page, path: str) -> None:
    assert page.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/media/../../etc/passwd", "/media/%2e%2e%2fetc", "/static/server.py", "/static/../app.py"]
)
def test_no_path_is_ever_taken(page, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code in (404, 422) or "root:" not in answer.text
    assert "def " not in answer.text


def test_nothing_beyond_the_raw_folder(make_index: Make, tmp_path: Path) -> None:
    raw, outside = tmp_path / "raw", tmp_path / "outside.mp4"
    (raw / "in").mkdir(parents=True)
    outside.write_bytes(b"secret")
    (raw / "link.mp4").symlink_to(outside)
    (raw / "in" / "fine.mp4").write_bytes(b"fine")
    (raw / "notes.txt").write_text("secret")
    sources = [
        "../outside.mp4",
        str(outside),
        "link.mp4",
        "notes.txt",
        "absent.mp4",
        "https://x.org/a.mp4",
        "in/fine.mp4",
    ]
    ours = [dataclasses.replace(s, split="train", meta={"source": sources[i]}) for i, s in enumerate(samples(7))]
    media = Media(make_index(ours, random_vectors), raw)
    served = {media._index.sample(n).meta["source"]: media.file(n) for n in range(7)}
    assert {source for source, path in served.items() if path} == {"in/fine.mp4"}
    assert Media(media._index, None).file(0) is None


def test_without_raw_files_sheets_and_then_text(scenes: Layout, scenes_index: Index, scenes_model: QueryModel) -> None:
    bare = client(scenes_index, scenes_model, None)
    number = scenes_index.number("scenes_112")
    assert bare.get(f"/media/{number}").status_code == 404
    sheet = bare.get(f"/sheet/{number}")
    assert Image.open(io.BytesIO(sheet.content)).width > 300
    assert bare.get(f"/thumbnail/{number}?at=3").content == sheet.content
    assert f'src="sheet/{number}"' in bare.get(f"/sample/{number}").text
    no_sheets = dataclasses.replace(scenes_index, dataset=scenes.dataset / "assets")
    assert Media(no_sheets, None).kind(number) == "text"
    views = Views(Searcher(no_sheets), Media(no_sheets, None), writable=False)
    assert "The raw files are not at hand" in views.sample(number, None, 0)


def test_other_hosts_are_refused_where_the_page_is_local(page, scenes_index, scenes_model) -> None:
    assert page.get("/map.json", headers={"Host": "evil.example"}).status_code == 400
    assert page.get("/map.json", headers={"Host": "localhost:7860"}).status_code == 200
    space = client(scenes_index, scenes_model, None, local=False)
    assert space.get("/map.json", headers={"Host": "org-space.hf.space"}).status_code == 200
    assert space.post("/filter", json={"name": "CLIP-X", "keys": ["scenes_054"]}).status_code != 200
    assert not (scenes_index.dataset.parent / "CLIP-X").exists()


def test_a_selection_becomes_a_dataset(page, scenes: Layout) -> None:
    answer = page.post("/filter", json={"name": "CLIP-Ticked", "keys": ["scenes_054", "scenes_112"]})
    assert answer.json() == {"message": "2 samples in CLIP-Ticked, beside CLIP-Shapes"}
    assert len(open_index(str(scenes.out / "CLIP-Ticked"))) == 2
    assert (
        "already exists" in page.post("/filter", json={"name": "CLIP-Ticked", "keys": ["scenes_054"]}).json()["message"]
    )
    assert "name of a dataset" in page.post("/filter", json={"name": "../x", "keys": ["scenes_054"]}).json()["message"]
    form = page.post("/filter", data={"name": "CLIP-Form", "keys": "scenes_054"})
    assert form.status_code == 422, "a form of another page is not JSON"


def test_hostile_text_is_text(make_index: Make, tmp_path: Path) -> None:
    ours = [
        dataclasses.replace(s, captions=(HOSTILE, HOSTILE), label=HOSTILE, meta={"source": HOSTILE, "videoID": HOSTILE})
        for s in samples(12)
    ]
    index = make_index(ours, random_vectors)
    searcher = Searcher(index)
    views = Views(searcher, Media(index, None), writable=True)
    query = Query(index.pooled[0], HOSTILE)
    token = views.keep(query)
    rendered = [
        views.hits(query, searcher.find(query, 5)),
        views.sample(0, token, 0),
        views.sample(0, HOSTILE, 0),
        views.pairs(0.0),
        views.message(HOSTILE),
        views.render("selection", writable=True, source=HOSTILE, example=HOSTILE),
        views.render("heading", name=HOSTILE, samples=1, rows=1),
    ]
    for html in rendered:
        assert "<script" not in html
        assert "<img src=x" not in html
        assert "49" not in html.replace("0.49", "") or "{{ 7" in html
    assert "&lt;script&gt;alert(1)" in rendered[0]
    answer = client(index, QueryModel(index.manifest["encoder"]), None).get("/map.json")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["label"]["names"] == [HOSTILE[:80]]


def test_the_map_has_every_sample_once(page, scenes_index: Index) -> None:
    points = page.get("/map.json").json()
    assert sorted(points["numbers"]) == list(range(len(scenes_index)))
    places = np.array(points["places"])
    assert places.shape == (len(scenes_index), 2)
    assert (places.min(), places.max()) == (0, 1)
    assert [points["split"]["names"][i] for i in points["split"]["of"]] == scenes_index.columns["split"].tolist()
    labels = scenes_index.columns["label"].tolist()
    assert points["label"]["names"] == sorted({label for label in labels if label})
    assert [points["label"]["names"][i] if i >= 0 else None for i in points["label"]["of"]] == labels


def test_the_curve_and_the_moments_of_a_sample(page, scenes_index: Index) -> None:
    number = scenes_index.number("scenes_112")
    results = page.get(f"/like/{number}?at=7").text
    token = results.partition('data-query="')[2].partition('"')[0]
    assert 'data-key="scenes_112"' not in results, "more like this, not this"
    html = page.get(f"/sample/{number}?at=7&query={token}").text
    assert "<polyline" in html
    assert "<rect" in html
    assert 'data-seek="6.0"' in html
    assert "a red diamond moving left" in html
    assert "ds_00002.tar" in html
    assert "<polyline" not in page.get(f"/sample/{number}?query=unknown").text


def test_raw_folders(scenes: Layout, scenes_index: Index, tmp_path: Path) -> None:
    assert raw_folder(scenes_index, None) == scenes.work / "raw"
    assert raw_folder(scenes_index, tmp_path) == tmp_path
    with pytest.raises(UserError, match="is not a folder"):
        raw_folder(scenes_index, tmp_path / "none")


def test_times_as_players_write_them() -> None:
    assert [clock(t) for t in (0, 3.25, 59.96, 75, 3723.5)] == ["0:00.0", "0:03.2", "1:00.0", "1:15.0", "1:02:03.5"]
