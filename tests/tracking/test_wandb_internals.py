"""The private parts of W&B are there, and are needed, in the installed version."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart.tracking import wandb_internals
from headstart.tracking.wandb_run import QUIET
from wandb_server import Server

# A run whose process is ended in its middle; then a module on W&B's list is imported.
LOST = """
import os, sys, threading, time
from pathlib import Path
import wandb
from headstart.tracking import wandb_internals
from headstart.tracking.wandb_run import QUIET

folder, counted = sys.argv[1], sys.argv[2] == "counted"
if not counted:
    wandb_internals.count_no_imports()
run = wandb.init(project="p", dir=folder, mode="online", reinit="create_new", settings=wandb.Settings(**QUIET))
threads = [thread.name for thread in threading.enumerate()]
service = os.environ["WANDB_SERVICE"]
wandb_internals.forget_inherited_service()

def services():
    children = [child for file in Path("/proc/self/task").glob("*/children") for child in file.read_text().split()]
    return [child for child in children if b"wandb-core" in Path(f"/proc/{child}/cmdline").read_bytes()]

started = len(services())
wandb_internals.kill_service()
time.sleep(1)
sys.path.insert(0, folder)
from wandb.sdk.lib import telemetry
name = next(name for name in sorted(telemetry.list_telemetry_imports()) if name.isalpha() and name not in sys.modules)
Path(folder, f"{name}.py").write_text("")
try:
    __import__(name)
    failed = ""
except Exception as error:
    failed = type(error).__name__
print(repr({
    "thread": wandb_internals.NEWS_THREAD in threads,
    "kept": os.environ.get("WANDB_SERVICE") == service,
    "started": started,
    "left": len(services()),
    "failed": failed,
}), flush=True)
os._exit(0)
"""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.die()


def run_script(script: str, tmp_path: Path, *arguments: str, **variables: str) -> dict[str, object]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / ".netrc"), "WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *arguments],
        env=kept | home | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, object] = eval(done.stdout.splitlines()[-1])
    return found


def test_the_settings_are_there() -> None:
    import wandb

    assert set(QUIET) <= set(wandb.Settings.model_fields)
    assert set(wandb_internals.SETTINGS) <= set(QUIET)
    settings = wandb.Settings(**QUIET)
    assert {name: getattr(settings, name) for name in QUIET} == QUIET


@pytest.mark.parametrize("import_hooks", ["counted", "not counted"])
def test_a_lost_process_of_wandb(import_hooks: str, tmp_path: Path, server: Server) -> None:
    """Should an import no longer fail where imports are counted, `count_no_imports` may no longer be needed."""
    found = run_script(LOST, tmp_path, import_hooks, WANDB_BASE_URL=server.url, WANDB_API_KEY="k" * 40)
    assert found == {
        "thread": True,  # there is one of that name
        "kept": True,  # a process of one's own is not forgotten
        "started": 1,
        "left": 0,
        "failed": "ConnectionResetError" if import_hooks == "counted" else "",
    }


def test_what_asks_a_lost_process_for_news_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from wandb.sdk.lib import asyncio_manager

    monkeypatch.setattr(logging.getLogger("wandb"), "propagate", True)
    wandb_internals.silence_news()
    manager = asyncio_manager.AsyncioManager()
    manager.start()

    async def fail() -> None:
        raise ConnectionResetError

    manager.run_soon(fail)
    manager.join()
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def test_the_service_of_a_program_around_this_one_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    from wandb.sdk.lib.service.service_token import TCPServiceToken, UnixServiceToken

    for pid, kept in ((os.getpid(), True), (1, False)):
        for token in (UnixServiceToken(parent_pid=pid, path="/tmp/socket"), TCPServiceToken(parent_pid=pid, port=1)):
            monkeypatch.setenv("WANDB_SERVICE", token.env_value)
            wandb_internals.forget_inherited_service()
            assert (os.environ.get("WANDB_SERVICE") == token.env_value) is kept


# `wandb.login` is public: what is relied on is that it asks nobody, and what it says while another run is open.
LOGIN = """
import sys, wandb
wandb.setup(wandb.Settings(silent=True))
answers = [wandb.login(prompt=False, verify=False)]
for mode in ("offline", "disabled"):
    own = wandb.init(project="p", dir=sys.argv[1], mode=mode, settings=wandb.Settings(silent=True))
    answers += [wandb.login(prompt=False, verify=False), wandb.run.offline or wandb.run.disabled]
    own.finish()
print(repr({"answers": answers}))
"""


@pytest.mark.parametrize("key", ["", "k" * 40])
def test_login_tells_whether_there_is_a_key_and_nothing_while_a_run_is_open(key: str, tmp_path: Path) -> None:
    found = run_script(LOGIN, tmp_path, **({"WANDB_API_KEY": key} if key else {}))
    assert found == {"answers": [bool(key), False, True, False, True]}
