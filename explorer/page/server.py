"""The page as a web application: Gradio below `/`, the routes of `explorer.page.routes` before it, on 127.0.0.1."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.index import Index
from explorer.models import QueryModel
from explorer.page.media import Media
from explorer.page.views import Views
from explorer.search import Searcher
from preprocess.errors import UserError
from preprocess.formats.layout import Layout, read_json

if TYPE_CHECKING:
    import fastapi

LOCAL = "127.0.0.1"
INSTALL = (
    'Use `make explore` in a checkout; else: pip install "video-embedding-datasets[explore]", then '
    "pip install --no-deps gradio==6.31.0"
)
"""How to install what the page needs; the version is that of requirements-gradio.txt, which the wheel does not hold."""


def raw_folder(index: Index, raw: Path | None) -> Path | None:
    """The folder of the raw files: the one that was named, else that of the build; None where it does not exist.

    Raises:
        UserError: The folder that was named is not one.
    """
    if raw is not None:
        if not raw.is_dir():
            raise UserError(f"{raw} is not a folder", "Give the folder of the raw files, or leave --raw out.")
        return raw
    layout = Layout(index.dataset.resolve().parent, index.dataset.resolve().name)
    noted = read_json(layout.source).get("raw")
    folder = Path(noted) if noted else layout.work / "raw"
    return folder if folder.is_dir() else None


def build_app(searcher: Searcher, models: QueryModel, raw: Path | None, *, local: bool) -> fastapi.FastAPI:
    """The whole application.

    Args:
        searcher: Answers queries on the dataset.
        models: Encodes queries.
        raw: Folder of the raw files, or None.
        local: Whether it is for the user of this machine alone: then new datasets can be written, and requests that
            name another host are refused, which other pages in the same browser could otherwise send.

    Raises:
        UserError: Gradio is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio as gr
    except ImportError as error:
        raise UserError(f"Gradio is not installed ({error})", INSTALL) from None
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from explorer.page.app import appearance, build_blocks
    from explorer.page.routes import add_routes

    media = Media(searcher.index, raw)
    views = Views(searcher, media, writable=local and "://" not in searcher.index.source)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if local:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOCAL, "localhost"])
    add_routes(app, views, media)
    mounted: fastapi.FastAPI = gr.mount_gradio_app(
        app, build_blocks(views, models), path="/", ssr_mode=False, **appearance()
    )
    return mounted


def serve(searcher: Searcher, models: QueryModel, raw: Path | None, *, port: int, show: bool) -> None:
    """Serves the page on 127.0.0.1 until it is interrupted.

    Raises:
        UserError: The port is taken.
    """
    import uvicorn

    app = build_app(searcher, models, raw, local=True)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOCAL, port))
    except OSError as error:
        listener.close()
        raise UserError(f"port {port} cannot be used ({error.strerror})", "Name another one: --port 0.") from None
    address = f"http://{LOCAL}:{listener.getsockname()[1]}/"
    print(f"{address}  (Ctrl-C ends it)", flush=True)
    if show:
        import typer

        threading.Timer(1.0, typer.launch, (address,)).start()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def serve_space(source: str, port: int = 7860) -> None:
    """Serves the page of a dataset on all addresses: for the container of a Space, never for a user's machine."""
    import uvicorn

    from explorer.index import open_index

    index = open_index(source)
    app = build_app(Searcher(index), QueryModel(index.manifest["encoder"]), None, local=False)
    uvicorn.run(app, host="0.0.0.0", port=port, log_level="warning")  # noqa: S104 - the container is the border
