"""A loopback server that speaks the part of the Hugging Face Hub's API that postbias uses.

Repositories, commits, files in git and in LFS, tokens, private repositories, revisions and ranges;
transfers break on command.
"""

# ruff: noqa: D102 - handlers are named by the base class

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

LFS_FROM = 2_000  # bytes
WRITER, READER = "hf_writer", "hf_reader"

Json = dict[str, Any]


@dataclass
class HubRepo:
    """A repository: the files of each commit by path."""

    is_private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        oid = hashlib.sha1(repr(sorted(files)).encode() + str(len(self.commits)).encode())  # noqa: S324
        self.commits[oid.hexdigest()] = files
        self.refs["main"] = oid.hexdigest()
        return oid.hexdigest()

    def find(self, revision: str) -> str | None:
        oid = self.refs.get(revision, revision)
        return oid if oid in self.commits else None


class HubServer:
    """Runs in a thread while its block runs.

    Attributes:
        repos: Repositories by `models/owner/name` or `datasets/owner/name`.
        objects: LFS objects by SHA-256.
        uploads: Number of uploads by LFS object.
        break_downloads: Number of downloads of LFS objects to cut in the middle.
        refuse_uploads: Number of uploads of LFS objects to refuse for good.
    """

    def __init__(self) -> None:
        """Start with no repositories."""
        self.repos: dict[str, HubRepo] = {}
        self.objects: dict[str, bytes] = {}
        self.uploads: Counter[str] = Counter()
        self.break_downloads = self.refuse_uploads = 0
        handler = type("Handler", (_HubHandler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        # As on the real hub, large files are on another host.
        self.storage_url = self.url.replace("127.0.0.1", "localhost")

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _HubHandler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._lfs_batch(json.loads(body))
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["size"] >= LFS_FROM else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for one in files
            ]
            self._json({"files": modes})
        elif "/commit/" in path:
            self._commit(path, body)
        elif path.startswith("/api/validate-yaml"):
            self._json({"errors": [], "warnings": []})
        else:
            self._error(404, "EntryNotFound")

    def do_PUT(self) -> None:
        body = self._body()
        oid = self._path().rpartition("/")[2]
        if self.hub.refuse_uploads:
            self.hub.refuse_uploads -= 1
            self._error(400, "")
            return
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.uploads[oid] += 1
        self.hub.objects[oid] = body
        self._json({})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._path()
        if path.startswith("/lfs/"):
            self._send_object(self.hub.objects[path.rpartition("/")[2]])
        elif path.startswith("/api/"):
            self._api(path)
        else:
            self._resolve(path)

    def _path(self) -> str:
        return unquote(urlsplit(self.path).path)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    @property
    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _json(self, content: Json | list[Json], status: int = 200, **headers: str) -> None:
        self._send(json.dumps(content).encode(), status, **headers)

    def _error(self, status: int, code: str) -> None:
        self._json({"error": code}, status, **({"X-Error-Code": code} if code else {}))

    def _send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _repo(self, key: str) -> HubRepo | None:
        """Find a repository that the caller may read; else answer with an error."""
        repo = self.hub.repos.get(key)
        if repo is None or (repo.is_private and self._token not in {WRITER, READER}):
            # The hub does not tell a stranger whether a private repository exists.
            self._error(404 if self._token else 401, "RepoNotFound")
            return None
        return repo

    def _create(self, request: Json) -> None:
        if self._token != WRITER:
            self._error(403 if self._token else 401, "")
            return
        key = f"{request.get('type', 'model')}s/{request['organization']}/{request['name']}"
        name = key.partition("/")[2]
        if key in self.hub.repos:
            self._json({"error": "exists", "url": f"{self.hub.url}/{name}"}, 409)
            return
        repo = self.hub.repos[key] = HubRepo(request.get("visibility") == "private")
        repo.commit({".gitattributes": b"*.onnx filter=lfs"})
        self._json({"url": f"{self.hub.url}/{name}", "name": name})

    def _lfs_batch(self, request: Json) -> None:
        objects = []
        for one in request["objects"]:
            upload = {"upload": {"href": f"{self.hub.storage_url}/lfs/{one['oid']}", "header": {}}}
            is_known = one["oid"] in self.hub.objects
            objects.append(one | ({} if is_known else {"actions": upload}))
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, path: str, body: bytes) -> None:
        key = path.removeprefix("/api/").partition("/commit/")[0]
        if self._token != WRITER:
            self._error(403, "")
            return
        repo = self.hub.repos[key]
        files = dict(repo.commits[repo.refs["main"]])
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        oid = repo.commit(files)
        url = f"{self.hub.url}/{key.partition('/')[2]}/commit/{oid}"
        self._json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    def _api(self, path: str) -> None:
        parts = path.removeprefix("/api/").split("/")
        key, rest = "/".join(parts[:3]), parts[3:]
        if (repo := self._repo(key)) is None:
            return
        revision = rest[1] if len(rest) > 1 else "main"
        oid = repo.find(revision)
        if oid is None:
            self._error(404, "RevisionNotFound")
            return
        files = repo.commits[oid]
        if rest[:1] == ["tree"]:
            self._json([_tree_entry(name, content) for name, content in sorted(files.items())])
            return
        self._json(
            {
                "id": "/".join(parts[1:3]),
                "sha": oid,
                "private": repo.is_private,
                "siblings": [{"rfilename": name} for name in files],
                "tags": [],
                "downloads": 0,
            }
        )

    def _resolve(self, path: str) -> None:
        prefix, _, rest = path.partition("/resolve/")
        key = prefix.strip("/")
        key = key if key.startswith("datasets/") else f"models/{key}"
        if (repo := self._repo(key)) is None:
            return
        revision, _, name = rest.partition("/")
        oid = repo.find(revision)
        if oid is None:
            self._error(404, "RevisionNotFound")
            return
        content = repo.commits[oid].get(name)
        if content is None:
            self._json({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=oid)
            return
        sha = hashlib.sha256(content).hexdigest()
        if len(content) >= LFS_FROM:
            self._send(
                b"",
                302,
                X_Repo_Commit=oid,
                X_Linked_Etag=f'"{sha}"',
                X_Linked_Size=str(len(content)),
                Location=f"{self.hub.storage_url}/lfs/{sha}",
            )
        else:
            self._send(content, X_Repo_Commit=oid, ETag=f'"{sha[:40]}"')

    def _send_object(self, content: bytes) -> None:
        asked = self.headers.get("Range", "")
        start = 0
        if asked and self.command == "GET":
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        rest = content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(rest)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.break_downloads:
            self.hub.break_downloads -= 1
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return
        self.wfile.write(rest)


def _tree_entry(name: str, content: bytes) -> Json:
    entry: Json = {"type": "file", "path": name, "size": len(content), "oid": _git_oid(content)}
    if len(content) >= LFS_FROM:
        sha = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 130}
    return entry


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324
