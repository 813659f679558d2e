"""The routes of the page that Gradio does not have. They name samples by their number, never by a path.

GET  /sample/12?at=8.5&query=9f1c…   HTML of one sample
GET  /like/12?at=8.5                 HTML of results
GET  /media/12                       its raw file, with range requests
GET  /thumbnail/12?at=8.5            JPEG of one frame
GET  /sheet/12                       JPEG of its contact sheet
GET  /map.json, /static/page.js, /static/page.css
POST /filter                         {"name": "CLIP-Dogs", "keys": […]}; local pages only
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Query, Response
from fastapi.responses import FileResponse, HTMLResponse

from explorer.filter import Filter, write_filtered
from explorer.page.media import Media, media_type
from explorer.page.views import Views
from preprocess.errors import UserError

_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}
_CACHED = {**_HEADERS, "Cache-Control": "private, max-age=3600"}

At = Annotated[float, Query(ge=0, allow_inf_nan=False)]


def add_routes(app: FastAPI, views: Views, media: Media) -> None:
    """Adds the routes to an application, before Gradio is mounted."""
    writing = threading.Lock()

    def known(number: int) -> int:
        if not 0 <= number < len(views.index):
            raise HTTPException(404, "no such sample")
        return number

    def jpeg(data: bytes | None) -> Response:
        if data is None:
            raise HTTPException(404, "no picture")
        return Response(data, media_type="image/jpeg", headers=_CACHED)

    @app.get("/sample/{number}")
    def sample(number: int, at: At = 0, query: str = "") -> HTMLResponse:
        return HTMLResponse(views.sample(known(number), query[:64], at))

    @app.get("/like/{number}")
    def like(number: int, at: At = 0) -> HTMLResponse:
        found = views.index.sample(known(number))
        try:
            query = views.index.query_at(f"{found.key}@{at}")
        except UserError as error:
            return HTMLResponse(views.message(str(error)))
        return HTMLResponse(views.hits(query, views.searcher.find(query, 12, without=[number])))

    @app.get("/media/{number}")
    def file(number: int) -> FileResponse:
        path = media.file(known(number))
        if path is None:
            raise HTTPException(404, "no raw file")
        return FileResponse(path, media_type=media_type(path), headers=_HEADERS)

    @app.get("/thumbnail/{number}")
    def thumbnail(number: int, at: At = 0) -> Response:
        return jpeg(media.thumbnail(known(number), round(at, 3)))

    @app.get("/sheet/{number}")
    def sheet(number: int) -> Response:
        return jpeg(media.sheet(known(number)))

    @app.get("/map.json")
    def points() -> dict[str, Any]:
        return views.map

    @app.get("/static/page.js")
    def script() -> FileResponse:
        return FileResponse(Path(__file__).with_name("page.js"), media_type="text/javascript")

    @app.get("/static/page.css")
    def styles() -> FileResponse:
        return FileResponse(Path(__file__).with_name("page.css"), media_type="text/css")

    if views.writable:

        @app.post("/filter")
        def write(name: Annotated[str, Body()], keys: Annotated[list[str], Body()]) -> dict[str, str]:
            out = views.index.dataset.resolve().parent
            try:
                with writing:
                    write_filtered(views.index, Filter(keys=tuple(dict.fromkeys(keys))), out, name)
            except UserError as error:
                return {"message": str(error)}
            return {"message": f"{len(set(keys)):,} samples in {name}, beside {views.index.dataset.name}"}
