"""A W&B server in a thread, good enough for an online run: it keeps what it is sent, and misbehaves when told to."""

from __future__ import annotations

import gzip
import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROJECT = {"id": "UHJv", "name": "p", "entity": {"id": "RW50", "name": "me"}}


class Server:
    """`weather`: 'good', 'mute' (accepts and never answers) or the status of every answer ('500', '401')."""

    def __init__(self, weather: str = "good") -> None:
        self.weather, self.requests = weather, 0
        self.opened = threading.Event()  # an online run was accepted
        self.history: list[dict[str, Any]] = []
        self.ended: list[int] = []
        self._stop = threading.Event()
        handler = type("Bound", (_Handler,), {"state": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def die(self) -> None:
        """Answer nobody any more, and refuse connections."""
        self._stop.set()
        self.weather = "mute"
        self._http.shutdown()
        self._http.server_close()

    def graphql(self, body: dict[str, Any]) -> dict[str, Any]:
        values = body.get("variables") or {}
        if "upsertBucket" in body["query"]:
            self.opened.set()
            bucket = {"id": "QnVj", "name": values.get("name"), "config": "{}", "project": PROJECT}
            return {"upsertBucket": {"bucket": bucket | {"historyLineCount": 0}, "inserted": True}}
        if "createRunFiles" in body["query"]:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in values["files"]]
            return {"createRunFiles": {"runID": "QnVj", "uploadHeaders": [], "files": files}}
        if "query ArtifactType(" in body["query"]:
            return {"project": {"artifact": {"artifactType": {"name": "run_table"}}}}
        if "viewer" in body["query"]:
            return {"viewer": {"id": "VXNl", "entity": "me", "username": "me", "flags": "{}"}}
        if "createArtifact(" in body["query"]:
            latest = {"id": "QXJ0", "versionIndex": 0}
            artifact = {
                "id": "QXJ0",
                "state": "COMMITTED",
                "artifactSequence": {"id": "U2Vx", "latestArtifact": latest},
            }
            return {"createArtifact": {"artifact": artifact}}
        return {}

    def stream(self, body: dict[str, Any]) -> None:
        for line in body.get("files", {}).get("wandb-history.jsonl", {}).get("content", []):
            self.history.append(json.loads(line))
        if body.get("complete"):
            self.ended.append(body["exitcode"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        raw = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
        self.state.requests += 1
        if self.state.weather == "mute":
            self.state._stop.wait(60)
            self.close_connection = True
            return
        status, reply = 200, {}
        if self.state.weather != "good":
            status, reply = int(self.state.weather), {"errors": [{"message": "no"}]}
        elif self.path.endswith("/graphql"):
            reply = {"data": self.state.graphql(json.loads(raw))}
        elif self.path.endswith("/file_stream"):
            self.state.stream(json.loads(raw))
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST

    def handle(self) -> None:
        with suppress(ConnectionError):  # a killed client's
            super().handle()

    def log_message(self, *_: object) -> None:
        pass
