"""A Hub on 127.0.0.1: what `huggingface_hub` and `datasets` ask of one, in memory, by the standard library alone.

    python tests/hub/hub_server.py requests.jsonl     prints its address, and notes every request

    {"method": "PUT", "path": "/lfs/5d1c…", "bytes": 120842240}

It knows one token that can write, and read what is private, `hf_writer`; without a token only public repositories are
there. `POST /control` says how it answers from then on: `{"hold_after": 2}` takes two uploads and stops in the middle
of all others, `{"refuse": true}` refuses uploads, `{"limited": 3}` answers the next three requests with 429, and
`{"answer": [500, ""]}` gives every request this status and body, as a broken server or a captive portal does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_writer"
LFS_SUFFIXES = (".tar", ".png", ".jpg", ".parquet")


@dataclass
class File:
    data: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """As the Hub gives it: SHA-256 of LFS files, git's SHA-1 of the others."""
        if self.lfs:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()


@dataclass
class Repo:
    private: bool
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # main and the tags, to commits

    def commit(self, files: dict[str, File]) -> str:
        listing = "".join(f"{path} {file.oid}\n" for path, file in sorted(files.items()))
        oid = hashlib.sha1(f"{len(self.commits)}\n{listing}".encode()).hexdigest()
        self.commits[oid] = files
        self.refs["main"] = oid
        return oid

    def resolve(self, revision: str) -> str | None:
        oid = self.refs.get(revision, revision)
        return oid if oid in self.commits else None


class Hub:
    """The state behind all requests."""

    def __init__(self, log: str) -> None:
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.hold_after: int | None = None
        self.refuse = False
        self.limited = 0
        self.canned: tuple[int, str] | None = None
        self.log = Path(log).open("a", buffering=1)  # noqa: SIM115 - as long as the server
        self.lock = threading.Lock()


class Refused(Exception):
    def __init__(self, status: int, code: str, commit: str = "") -> None:
        self.status, self.code, self.commit = status, code, commit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self) -> None:
        url = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        if self.command == "PUT" and self.is_held():
            self.rfile.read(size // 2)
            threading.Event().wait()  # for ever: the client has to give up
        body = self.rfile.read(size) if size else self.chunks()
        with self.hub.lock:
            entry = {"method": self.command, "path": unquote(self.path), "bytes": len(body)}
            self.hub.log.write(json.dumps(entry) + "\n")
            if self.path != "/control" and self.hub.limited:
                self.hub.limited -= 1
                self.reply(429, b"Too Many Requests", {"Content-Type": "text/plain", "Retry-After": "0"})
                return
            if self.path != "/control" and self.hub.canned:
                status, text = self.hub.canned
                self.reply(status, text.encode(), {"Content-Type": "text/html"})
                return
            try:
                self.route(unquote(url.path), {k: v[0] for k, v in parse_qs(url.query).items()}, body)
            except Refused as refused:
                headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.code}
                if refused.commit:
                    headers["X-Repo-Commit"] = refused.commit
                self.reply(refused.status, json.dumps({"error": refused.code}).encode(), headers)

    def chunks(self) -> bytes:
        """A body without a length."""
        data = b""
        while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
            data += self.rfile.read(size)
            self.rfile.readline()
        return data

    def is_held(self) -> bool:
        """Whether this upload is to stop half-way."""
        with self.hub.lock:
            if self.hub.hold_after is None:
                return False
            self.hub.hold_after -= 1
            return self.hub.hold_after < 0

    def reply(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def json(self, value: Any, status: int = 200) -> None:
        self.reply(status, json.dumps(value).encode())

    # --- who may do what ----------------------------------------------------------------------------------------------

    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def need_writer(self) -> None:
        if self.token() != TOKEN:
            raise Refused(401 if not self.token() else 403, "Unauthorized")

    def repo(self, id_: str) -> Repo:
        repo = self.hub.repos.get(id_)
        if repo is None or (repo.private and self.token() != TOKEN):  # the Hub does not tell one from the other
            raise Refused(401 if repo is None or not self.token() else 404, "RepoNotFound")
        return repo

    def commit(self, repo: Repo, revision: str) -> tuple[str, dict[str, File]]:
        oid = repo.resolve(revision)
        if oid is None:
            raise Refused(404, "RevisionNotFound")
        return oid, repo.commits[oid]

    # --- what is asked ------------------------------------------------------------------------------------------------

    def route(self, path: str, query: dict[str, str], body: bytes) -> None:
        for pattern, method in ROUTES:
            if (match := pattern.fullmatch(path)) is not None:
                method(self, *match.groups(), query=query, body=body)
                return
        raise Refused(404, f"NoSuchRoute {self.command} {path}")

    def control(self, query: dict[str, str], body: bytes) -> None:
        asked = json.loads(body)
        self.hub.hold_after, self.hub.refuse = asked.get("hold_after"), asked.get("refuse", False)
        self.hub.limited = asked.get("limited", 0)
        self.hub.canned = tuple(asked["answer"]) if "answer" in asked else None
        self.json({})

    def create(self, query: dict[str, str], body: bytes) -> None:
        self.need_writer()
        asked = json.loads(body)
        id_ = f"{asked['organization']}/{asked['name']}"
        url = f"http://{self.headers['Host']}/{asked.get('type', 'dataset')}s/{id_}"
        exists = id_ in self.hub.repos
        if not exists:
            repo = self.hub.repos[id_] = Repo(private=asked.get("visibility") == "private")
            repo.commit({".gitattributes": File(b"*.tar filter=lfs diff=lfs merge=lfs -text\n", lfs=False)})
        self.json({"url": url, "name": id_, "id": id_}, 409 if exists else 200)

    def validate_yaml(self, query: dict[str, str], body: bytes) -> None:
        self.json({"errors": [], "warnings": []})

    def preupload(self, id_: str, revision: str, query: dict[str, str], body: bytes) -> None:
        self.need_writer()
        _, files = self.commit(self.repo(id_), revision)
        self.json(
            {
                "files": [
                    {
                        "path": asked["path"],
                        "uploadMode": "lfs" if asked["path"].endswith(LFS_SUFFIXES) else "regular",
                        "shouldIgnore": False,
                        **({"oid": files[asked["path"]].oid} if asked["path"] in files else {}),
                    }
                    for asked in json.loads(body)["files"]
                ]
            }
        )

    def lfs_batch(self, id_: str, query: dict[str, str], body: bytes) -> None:
        self.need_writer()
        objects = []
        for asked in json.loads(body)["objects"]:
            there = asked["oid"] in self.hub.lfs
            actions = {"upload": {"href": f"http://{self.headers['Host']}/lfs/{asked['oid']}"}}
            objects.append({**asked, **({} if there else {"actions": actions})})
        self.json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str, query: dict[str, str], body: bytes) -> None:
        if self.hub.refuse:
            raise Refused(403, "QuotaExceeded")
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "WrongChecksum")
        self.hub.lfs[oid] = body
        self.reply(200)

    def add_commit(self, id_: str, revision: str, query: dict[str, str], body: bytes) -> None:
        self.need_writer()
        repo = self.repo(id_)
        files = dict(self.commit(repo, revision)[1])
        for line in body.splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    raise Refused(400, "LfsObjectMissing")
                files[value["path"]] = File(self.hub.lfs[value["oid"]], lfs=True)
            elif key == "deletedFile":
                del files[value["path"]]
            elif key == "deletedFolder":
                files = {path: file for path, file in files.items() if not path.startswith(value["path"])}
        oid = repo.commit(files)
        self.json({"commitOid": oid, "commitUrl": f"http://{self.headers['Host']}/datasets/{id_}/commit/{oid}"})

    def info(self, id_: str, revision: str | None = None, *, query: dict[str, str], body: bytes) -> None:
        repo = self.repo(id_)
        oid, files = self.commit(repo, revision or "main")
        siblings = [{"rfilename": path} for path in sorted(files)]
        self.json({"id": id_, "sha": oid, "private": repo.private, "gated": False, "siblings": siblings})

    def refs(self, id_: str, query: dict[str, str], body: bytes) -> None:
        repo = self.repo(id_)
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in repo.refs.items()
            if name != "main"
        ]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.refs["main"]}
        self.json({"branches": [main], "converts": [], "tags": tags})

    def tree(self, id_: str, revision: str, folder: str | None, query: dict[str, str], body: bytes) -> None:
        oid, files = self.commit(self.repo(id_), revision)
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, Any] = {}
        for path, file in sorted(files.items()):
            if not path.startswith(prefix):
                continue
            first, slash, _ = path[len(prefix) :].partition("/")
            if slash:
                entries[prefix + first] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": prefix + first}
            if not slash or query.get("recursive", "").lower() in ("1", "true"):
                entries[path] = self.entry(path, file)
        if folder and not entries:
            raise Refused(404, "EntryNotFound", oid)
        self.json(list(entries.values()))

    def paths_info(self, id_: str, revision: str, query: dict[str, str], body: bytes) -> None:
        _, files = self.commit(self.repo(id_), revision)
        asked = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
        self.json([self.entry(path, files[path]) for path in asked if path in files])

    @staticmethod
    def entry(path: str, file: File) -> dict[str, Any]:
        size = len(file.data)
        lfs = {"lfs": {"oid": file.oid, "size": size, "pointerSize": 130}} if file.lfs else {}
        return {"type": "file", "oid": file.oid, "size": size, "path": path, **lfs}

    def tag(self, id_: str, revision: str, query: dict[str, str], body: bytes) -> None:
        self.need_writer()
        repo, name = self.repo(id_), json.loads(body)["tag"]
        if name in repo.refs:
            raise Refused(409, "TagExists")
        repo.refs[name] = self.commit(repo, revision)[0]
        self.json({})

    def download(self, id_: str, revision: str, path: str, query: dict[str, str], body: bytes) -> None:
        oid, files = self.commit(self.repo(id_), revision)
        if path not in files:
            raise Refused(404, "EntryNotFound", oid)
        file = files[path]
        headers = {"X-Repo-Commit": oid, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.data))}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if self.command == "HEAD":
            self.reply(200, b"", headers | {"Content-Length": str(len(file.data))})
        elif wanted is None:
            self.reply(200, file.data, headers)
        else:
            first, last = int(wanted[1]), min(int(wanted[2] or len(file.data)), len(file.data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(file.data)}"
            self.reply(206, file.data[first : last + 1], headers)


_ID = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (re.compile(pattern.replace("ID", _ID)), method)
    for pattern, method in (
        (r"/control", Handler.control),
        (r"/api/repos/create", Handler.create),
        (r"/api/validate-yaml", Handler.validate_yaml),
        (r"/api/(?:datasets|spaces)/ID/preupload/([^/]+)", Handler.preupload),
        (r"/(?:datasets|spaces)/ID\.git/info/lfs/objects/batch", Handler.lfs_batch),
        (r"/lfs/([0-9a-f]{64})", Handler.lfs_put),
        (r"/api/(?:datasets|spaces)/ID/commit/([^/]+)", Handler.add_commit),
        (r"/api/(?:datasets|spaces)/ID/refs", Handler.refs),
        (r"/api/(?:datasets|spaces)/ID/tree/([^/]+)(?:/(.+))?", Handler.tree),
        (r"/api/(?:datasets|spaces)/ID/paths-info/([^/]+)", Handler.paths_info),
        (r"/api/(?:datasets|spaces)/ID/tag/([^/]+)", Handler.tag),
        (r"/api/(?:datasets|spaces)/ID", Handler.info),
        (r"/api/(?:datasets|spaces)/ID/revision/([^/]+)", Handler.info),
        (r"/(?:datasets|spaces)/ID/resolve/([^/]+)/(.+)", Handler.download),
    )
]


def main() -> None:
    Handler.hub = Hub(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
