"""A W&B server in a thread, good enough for an online run: it keeps what it is sent, and misbehaves when told to."""

from __future__ import annotations

import gzip
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = {"id": "UHJv", "name": "p", "entity": {"id": "RW50", "name": "me"}}


@dataclass
class Recorded:
    """What the server holds of one run; lines of a file stand at their offsets, as in W&B's own server."""

    about: dict[str, Any] = field(default_factory=dict)
    lines: dict[int, str] = field(default_factory=dict)  # of the history
    summary: dict[str, Any] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)  # of the machine
    ended: list[int] = field(default_factory=list)
    preempting: bool = False  # said of itself
    uploaded: list[str] = field(default_factory=list)  # names of files, in their order

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for _, line in sorted(self.lines.items())]

    @property
    def config(self) -> dict[str, Any]:
        found = json.loads(self.about["config"])
        return {key: node["value"] for key, node in found.items() if key != "_wandb"}


class Server:
    """A server and what it was sent.

    `weather`: 'good', 'mute' (accepts and never answers) or the status of every answer ('500', '401'); `delay`: the
    seconds that an answer takes; `remembers`: says what it has of a run that is to be resumed. `history`, `summary` and
    `config` are those of the run that was opened last.
    """

    def __init__(self, weather: str = "good", delay: float = 0.0) -> None:
        self.weather, self.delay, self.requests = weather, delay, 0
        self.views: dict[str, dict[str, Any]] = {}  # workspaces and reports, by id
        self.artifacts: list[dict[str, Any]] = []
        self.runs: defaultdict[str, Recorded] = defaultdict(Recorded)
        self.opened = threading.Event()  # an online run was accepted
        self.latest = ""
        self.files: set[str] = set()
        self.remembers = False
        self.sweeps: dict[str, dict[str, Any]] = {}  # their files, by id
        self.commands: list[dict[str, Any]] = []  # what an agent is told to run, one after the other; then it ends
        self.stopped: set[str] = set()  # runs that somebody has stopped in the browser
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
            self.latest = values["name"]
            about = self.runs[values["name"]].about
            about |= {key: value for key, value in values.items() if value not in (None, "")}
            bucket = {"id": "QnVj", "name": values.get("name"), "config": "{}", "project": PROJECT}
            return {"upsertBucket": {"bucket": bucket | {"historyLineCount": 0}, "inserted": True}}
        if "createRunFiles" in body["query"]:
            self.files |= set(values["files"])
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in values["files"]]
            return {"createRunFiles": {"runID": "QnVj", "uploadHeaders": [], "files": files}}
        if "upsertView" in body["query"]:
            known = values.get("id") or f"VmlldzoX{len(self.views)}"
            self.views[known] = dict(values) | {"spec": json.loads(values["spec"])}
            view = {"id": known, "name": values["name"], "displayName": values["displayName"], "spec": values["spec"]}
            place = {"id": "UHJv", "name": "p", "entityName": "me"}
            view |= {"type": values["type"], "description": "", "project": place, "updatedAt": "2026-01-01T00:00:00"}
            return {"upsertView": {"view": view, "inserted": values.get("id") is None}}
        if "Sweep" in body["query"] or "gent" in body["query"]:
            return self._answer_agent(body["query"], values)
        if "GetProjects" in body["query"]:
            node = PROJECT | {"entityName": "me", "createdAt": "2026-01-01", "isBenchmark": False, "user": None}
            page = {"hasNextPage": False, "endCursor": None}
            return {"models": {"pageInfo": page, "edges": [{"node": node | {"__typename": "Project"}}]}}
        if "ProjectInternalId" in body["query"]:
            return {"project": {"id": "UHJv", "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="}}
        if "query ArtifactType(" in body["query"]:
            kinds = {"data-": "dataset", "model-": "model", "weights-": "model"}
            name = str(values.get("name") or values.get("artifactName"))
            kind = next((kind for start, kind in kinds.items() if name.startswith(start)), "run_table")
            return {"project": {"artifact": {"artifactType": {"name": kind}}}}
        if "viewer" in body["query"]:
            return {"viewer": {"id": "VXNl", "entity": "me", "username": "me", "flags": "{}"}}
        if "query ArtifactByID" in body["query"]:
            return {"artifact": describe_artifact(self.artifacts[int(values["id"].partition("-")[2])])}
        if "createArtifact(" in body["query"]:
            self.artifacts.append(values.get("input", values))
            own = f"QXJ0-{len(self.artifacts) - 1}"
            latest = {"id": own, "versionIndex": 0}
            artifact = {
                "id": own,
                "state": "COMMITTED",
                "artifactSequence": {"id": "U2Vx", "latestArtifact": latest},
            }
            return {"createArtifact": {"artifact": artifact}}
        return {}

    def _answer_agent(self, query: str, values: dict[str, Any]) -> dict[str, Any]:
        """Answer `wandb sweep` and `wandb agent`; `commands` are what the sweep's controller would choose."""
        if "upsertSweep" in query:
            name = f"sweep{len(self.sweeps)}"
            self.sweeps[name] = yaml.safe_load(values["config"])
            return {"upsertSweep": {"sweep": {"name": name, "project": PROJECT}, "configValidationWarnings": []}}
        if "SweepWithRuns" in query:
            text = yaml.safe_dump(self.sweeps[values["sweep"]])
            return {
                "project": {"sweep": {"id": "U3dl", "name": values["sweep"], "config": text, "runs": {"edges": []}}}
            }
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "QWdl"}}}
        if json.loads(values["runState"]):  # it has a run; the next one comes after it
            command = []
        elif self.commands:
            command = [self.commands.pop(0)]
        else:
            command = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": values["id"]}, "commands": json.dumps(command)}}

    @property
    def history(self) -> list[dict[str, Any]]:
        return self.runs[self.latest].history

    @property
    def summary(self) -> dict[str, Any]:
        return self.runs[self.latest].summary

    @property
    def config(self) -> dict[str, Any]:
        return dict(json.loads(self.runs[self.latest].about.get("config", "{}")))

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

    def stream(self, body: dict[str, Any], run_id: str) -> dict[str, Any]:
        run, files = self.runs[run_id], body.get("files", {})
        history = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        run.lines |= dict(enumerate(history["content"], start=history["offset"]))
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run.summary = json.loads(line)
        run.events += files.get("wandb-events.jsonl", {}).get("content", [])
        run.uploaded += body.get("uploaded", [])
        run.preempting |= body.get("preempting", False)
        if body.get("complete"):
            self.ended.append(body["exitcode"])
            run.ended.append(body["exitcode"])
        return {"stopped": True} if run_id in self.stopped else {}


def describe_artifact(made: dict[str, Any]) -> dict[str, Any]:
    """What is asked of an artifact that was made."""
    name, kind = made["artifactCollectionName"], made["artifactTypeName"]
    nulls = ("description", "metadata", "historyStep", "commitHash", "updatedAt")
    collection = {
        "__typename": "ArtifactSequence",
        "id": "U2Vx",
        "name": name,
        "project": PROJECT | {"internalId": "MQ=="},
    }
    return dict.fromkeys(nulls) | {
        "__typename": "Artifact",
        "id": "QXJ0",
        "artifactSequence": collection | {"type": {"name": kind}},
        "versionIndex": 0,
        "artifactType": {"name": kind},
        "ttlDurationSeconds": -1,
        "ttlIsInherited": True,
        "tags": [],
        "state": "COMMITTED",
        "size": 1,
        "digest": made["digest"],
        "fileCount": 1,
        "createdAt": "2026-01-01T00:00:00",
        "aliases": [],
    }


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
        self.state._stop.wait(self.state.delay)
        status, reply = 200, {}
        if self.state.weather != "good":
            status, reply = int(self.state.weather), {"errors": [{"message": "no"}]}
        elif self.path.endswith("/graphql"):
            reply = {"data": self.state.graphql(json.loads(raw))}
        elif self.path.endswith("/file_stream"):
            reply = self.state.stream(json.loads(raw), self.path.split("/")[-2])
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


@contextmanager
def serve_this_process(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Server]:
    """A server that W&B in this process finds, without the settings that it saw before."""
    import wandb

    made = Server()
    wandb.teardown()  # it keeps the settings and the address that it saw first
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name, value in {"WANDB_BASE_URL": made.url, "WANDB_API_KEY": "k" * 40, "HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    yield made
    wandb.teardown()
    made.die()
