"""Servers of object stores on this machine, which worker processes reach over HTTP; file operations that work on all.

S3 is moto, Google Cloud Storage is gcp-storage-emulator, each in a thread; Azure Blob Storage is Azurite, a process.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preprocess.storage import is_remote

BUCKET = "tests"
ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}
"""The environment variable with the address of the server, by scheme."""

AZURITE = "azurite-blob"
_LISTENS = re.compile(r"listens on (http://\S+)")


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables, while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an empty bucket. Endpoint and credentials are in the environment while it lasts."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with environment(
            AWS_ENDPOINT_URL=f"http://{host}:{port}",
            AWS_ACCESS_KEY_ID="nobody",
            AWS_SECRET_ACCESS_KEY="nothing",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
        ):
            fsspec.filesystem("s3", use_listings_cache=False).mkdir(BUCKET)
            yield f"s3://{BUCKET}"
    finally:
        server.stop()


@contextmanager
def gcs_server() -> Iterator[str]:
    """The address of an empty bucket. The endpoint is in the environment while it lasts; there are no credentials."""
    from gcp_storage_emulator.server import create_server

    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    with create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET) as server:
        port = server._api._httpd.server_address[1]  # of its choice; nothing public says it
        with environment(STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{port}"):
            yield f"gs://{BUCKET}"


@contextmanager
def azure_server() -> Iterator[str]:
    """The address of an empty container. The connection string is in the environment while it lasts."""
    import fsspec

    line = [
        AZURITE,
        "--blobPort",
        "0",
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--silent",
    ]
    name, key = "tests", base64.b64encode(b"the key of the tests").decode()
    accounts = {**os.environ, "AZURITE_ACCOUNTS": f"{name}:{key}"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=accounts) as server:
        try:
            assert server.stdout is not None
            address = next(found[1] for printed in server.stdout if (found := _LISTENS.search(printed)))
            account = f"AccountName={name};AccountKey={key};BlobEndpoint={address}/{name}"
            with environment(AZURE_STORAGE_CONNECTION_STRING=f"DefaultEndpointsProtocol=http;{account}"):
                fsspec.filesystem("az", use_listings_cache=False).mkdir(BUCKET)
                yield f"az://{BUCKET}"
        finally:
            server.terminate()


@contextmanager
def local_target(path: Path) -> Iterator[Path]:
    """A local path whose file goes to `path` when the block ends; a local folder is made."""
    if not is_remote(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, path.name)
        yield local
        path.write_bytes(local.read_bytes())


@contextmanager
def local_source(path: Path) -> Iterator[Path]:
    """A local path of a file."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, path.name)
        local.write_bytes(path.read_bytes())
        yield local


def copy_folder(source: Path, target: Path) -> None:
    """Copies all files below a folder."""
    for path in source.rglob("*"):
        if path.is_file():
            to = target / str(path.relative_to(source))
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())


def remove_folder(folder: Path) -> None:
    """Removes a folder and all below it, if it is there."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        folder.fs.rm(folder.path, recursive=True)  # type: ignore[attr-defined]
