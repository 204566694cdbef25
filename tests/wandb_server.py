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
    """`weather`: 'good', 'mute' (accepts and never answers) or the status of every answer ('500', '401').

    `remembers`: says what it has of a run that is to be resumed.
    """

    def __init__(self, weather: str = "good") -> None:
        self.weather, self.requests = weather, 0
        self.opened = threading.Event()  # an online run was accepted
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.files: set[str] = set()
        self.remembers = False
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
        if "RunResumeStatus" in body["query"] and self.remembers:
            return {"model": {"bucket": self._describe_run(values["name"])}}
        if "upsertBucket" in body["query"]:
            self.opened.set()
            self.config = json.loads(values.get("config") or "{}")
            bucket = {"id": "QnVj", "name": values.get("name"), "config": "{}", "project": PROJECT}
            return {"upsertBucket": {"bucket": bucket | {"historyLineCount": 0}, "inserted": True}}
        if "createRunFiles" in body["query"]:
            self.files |= set(values["files"])
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

    def _describe_run(self, name: str) -> dict[str, Any]:
        """What W&B's server says of a run that it has."""
        last = [json.dumps(point) for point in self.history[-1:]]
        return {
            "id": "QnVj",
            "name": name,
            "displayName": name,
            "summaryMetrics": json.dumps(self.summary),
            "config": json.dumps(self.config),
            "logLineCount": 0,
            "eventsLineCount": 0,
            "historyLineCount": len(self.history),
            "historyTail": json.dumps(last),
            "eventsTail": "[]",
            "tags": [],
            "wandbConfig": '{"t":1}',
        }

    def stream(self, body: dict[str, Any]) -> None:
        """Take lines where they belong, as W&B does: at their offset, over what is there."""
        history = body.get("files", {}).get("wandb-history.jsonl", {})
        lines, start = [json.loads(line) for line in history.get("content", [])], history.get("offset", 0)
        self.history[start : start + len(lines)] = lines
        for line in body.get("files", {}).get("wandb-summary.json", {}).get("content", []):
            self.summary = json.loads(line)
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
