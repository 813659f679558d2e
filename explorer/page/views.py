"""What the page shows, as HTML: hits, one sample, pairs. Jinja escapes every value; no value is ever markup.

The score curve of a video, in the units of its SVG (600 wide, 80 high):

    Curve(points="0.0,61.2 25.5,61.2 …", moments=((212.0, 90.5), …), low=0.11, high=0.31, start_s=0.0, end_s=23.5)
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from dataset_cards.evaluation.moments import Moment
from explorer.choose import Pair, duplicate_pairs
from explorer.page.media import Media
from explorer.samples import Query
from explorer.search import Hit, Searcher

WIDTH, HEIGHT = 600.0, 80.0
MAP_POINTS = 20_000
PAIR_SAMPLES = 20_000
PAIRS = 50
KEPT_QUERIES = 256
CURVE_POINTS = 1200


@dataclass(frozen=True, slots=True)
class Curve:
    """Scores over the whole of one video, and its moments.

    Attributes:
        points: Of an SVG polyline; the score of a row holds for the whole time that the row stands for.
        moments: Left edge and width of each moment.
        low, high: Smallest and largest score.
        start_s, end_s: The times at the left and the right edge.
    """

    points: str
    moments: tuple[tuple[float, float], ...]
    low: float
    high: float
    start_s: float
    end_s: float


def clock(seconds: float) -> str:
    """A time as players write it.

    Examples:
        >>> clock(3.25), clock(75.0), clock(3723.5)
        ('0:03.2', '1:15.0', '1:02:03.5')
    """
    tenths = round(max(seconds, 0) * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{tenths / 10:04.1f}" if hours else f"{minutes}:{tenths / 10:04.1f}"


class Views:
    """Renders fragments of the page for one dataset, and remembers recent queries to show samples for."""

    def __init__(self, searcher: Searcher, media: Media, writable: bool) -> None:
        self.searcher = searcher
        self.index = searcher.index
        self.media = media
        self.writable = writable
        self._queries: OrderedDict[str, Query] = OrderedDict()
        loader = jinja2.FileSystemLoader(Path(__file__).parent)
        self._templates = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._templates.filters["clock"] = clock

    def render(self, template: str, **values: Any) -> str:
        """A template of this folder, every value escaped."""
        return self._templates.get_template(f"{template}.html.jinja").render(**values)

    def message(self, text: str) -> str:
        """One line in place of results."""
        return self.render("message", text=text)

    def hits(self, query: Query, hits: Sequence[Hit]) -> str:
        """The results of a search, best first."""
        token = self.keep(query)
        rows = [
            {
                "sample": (sample := self.index.sample(hit.number)),
                "hit": hit,
                "caption": sample.caption_of(hit.moment),
                "curve": self.curve(hit.number, query, [hit.moment]),
                "kind": self.media.kind(hit.number),
            }
            for hit in hits
        ]
        return self.render("hits", rows=rows, name=query.name, token=token)

    def sample(self, number: int, token: str | None, at_s: float) -> str:
        """Everything about one sample: player, curve, moments, captions, provenance."""
        sample, query = self.index.sample(number), self._queries.get(token or "")
        filled = self.index.rows(number).start < self.index.rows(number).stop
        moments = self.searcher.moments(number, query) if query and filled else []
        windows = sample.windows or [[] for _ in sample.captions]
        captions = [(text, of[0] if of else None) for text, of in zip(sample.captions, windows, strict=True)]
        encoder = self.index.manifest["encoder"]
        provenance = {
            "dataset": self.index.manifest["dataset"],
            "split": sample.split,
            "key": sample.key,
            "source": sample.meta.get("source"),
            "shard": f"{sample.shard}: {sample.id}",
            "rows": self.index.rows(number).stop - self.index.rows(number).start,
            "duration": f"{sample.duration_s:g} s",
            "encoder": encoder["model"],
            "sampling": " ".join(str(value) for value in self.index.manifest["sampling"].values()),
        }
        return self.render(
            "sample",
            sample=sample,
            at_s=at_s,
            token=token if query else "",
            name=query.name if query else "",
            kind=self.media.kind(number),
            curve=self.curve(number, query, moments) if query and filled else None,
            moments=[(moment, self.searcher.first_s(number, moment)) for moment in moments],
            captions=captions,
            provenance={name: value for name, value in provenance.items() if value not in (None, "")},
        )

    def pairs(self, threshold: float) -> str:
        """Near-duplicate pairs side by side."""
        numbers = self._spread(PAIR_SAMPLES)
        found = duplicate_pairs(self.index.pooled[numbers], threshold, PAIRS)
        pairs = [Pair(int(numbers[p.first]), int(numbers[p.second]), p.similarity) for p in found]
        rows = [
            (pair, [(self.index.sample(n), self.media.kind(n)) for n in (pair.first, pair.second)]) for pair in pairs
        ]
        return self.render(
            "pairs", rows=rows, threshold=threshold, compared=len(numbers), samples=len(self.index), most=PAIRS
        )

    @cached_property
    def map(self) -> dict[str, Any]:
        """Points of the map for the script of the page: position in the unit square, split and label by number."""
        from dataset_cards.figures import principal_plane

        numbers = self._spread(MAP_POINTS)
        directions = np.asarray(self.index.pooled[numbers])
        if len(numbers) > 2:
            plane = principal_plane(directions)[0]
        else:
            plane = np.stack((np.arange(len(numbers)), np.zeros(len(numbers))), axis=1)
        low, high = plane.min(axis=0), plane.max(axis=0)
        places = np.round((plane - low) / np.maximum(high - low, 1e-12), 4)
        groups: dict[str, Any] = {}
        for name in ("split", "label"):
            values = [None if v is None else str(v)[:80] for v in self.index.columns[name][numbers]]
            names = sorted({value for value in values if value is not None})
            place = {value: i for i, value in enumerate(names)}
            groups[name] = {"names": names, "of": [-1 if value is None else place[value] for value in values]}
        texts = [str(text)[:120] for text in self.index.samples["text"].take(numbers).to_pylist()]
        keys = self.index.samples["key"].take(numbers).to_pylist()
        return {"numbers": numbers.tolist(), "places": places.tolist(), "texts": texts, "keys": keys, **groups}

    def _spread(self, most: int) -> Any:
        """Numbers of samples that have rows, at most so many, evenly over the dataset."""
        filled = np.flatnonzero(np.diff(self.index.first_rows))
        return filled[:: -(-len(filled) // most)]

    def keep(self, query: Query) -> str:
        """Remembers a query; the token by which `sample` finds it."""
        token = hashlib.sha256(query.vector.tobytes() + query.name.encode()).hexdigest()[:16]
        self._queries[token] = query
        self._queries.move_to_end(token)
        while len(self._queries) > KEPT_QUERIES:
            self._queries.popitem(last=False)
        return token

    def curve(self, number: int, query: Query, moments: Sequence[Moment]) -> Curve:
        """The curve of one sample that has rows."""
        scores = self.searcher.scores(number, query).astype(np.float64)
        spans = self.index.times[self.index.rows(number), 1:].astype(np.float64)
        start, end = float(spans[0, 0]), float(spans[-1, 1])
        low, high = float(scores.min()), float(scores.max())
        scale = WIDTH / max(end - start, 1e-9)
        x = np.clip((spans - start) * scale, 0, WIDTH)
        x[-1, 1] = WIDTH
        y = 4 + (HEIGHT - 8) * (high - scores) / max(high - low, 1e-9)
        step = max(1, len(scores) // CURVE_POINTS)
        points = " ".join(
            f"{left:.1f},{top:.1f} {right:.1f},{top:.1f}"
            for (left, right), top in zip(x[::step], y[::step], strict=True)
        )
        shaded = tuple(
            (round((m.start_s - start) * scale, 1), round(max((m.end_s - m.start_s) * scale, 2), 1)) for m in moments
        )
        return Curve(points, shaded, low, high, start, end)
