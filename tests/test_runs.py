"""Identity, lock and whole files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import compose
from headstart import config as configs
from headstart import runs
from headstart.errors import UserError


def identity(*overrides: str) -> str:
    return runs.identity(configs.plain(compose(*overrides)))


def test_what_cannot_change_a_result_is_not_in_the_identity() -> None:
    same = [
        "logger=none",
        "output_dir=elsewhere",
        "study=other",
        "hardware.workers=3",
        "hardware.threads=1",
        "rerun=true",
    ]
    assert {identity(override) for override in same} == {identity()}


def test_what_can_is() -> None:
    different = [
        "seed=1",
        "data.split_seed=7",
        "epochs=3",
        "optimizer.lr=0.1",
        "model=resnet18",
        "model.weights=x.pth",
        "hardware.precision=bf16",
        "data.image_size=32",
        "strategy=finetune",
        "augment=none",
    ]
    assert len({identity(override) for override in [*different, "seed=0"]}) == len(different) + 1


def test_order_of_keys_does_not_count_but_order_of_rules_does() -> None:
    config = configs.plain(compose())
    assert runs.identity(dict(reversed(config.items()))) == runs.identity(config)
    swapped = json.loads(json.dumps(config))
    phase = swapped["strategy"]["phases"]["head"]
    phase["rates"] = dict(reversed(phase["rates"].items()))
    assert runs.identity(swapped) != runs.identity(config)


def test_the_name_is_readable_and_safe() -> None:
    config = configs.plain(compose("model.name=a/b", "seed=3"))
    assert runs.name(config).startswith("a_b-feature_extraction-digits-s3-")
    assert "/" not in runs.name(config)


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "result.json"
    runs.write_json(target, {"a": float("nan"), "b": [1.5, float("inf")]})
    assert json.loads(target.read_text()) == {"a": None, "b": [1.5, None]}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"result.json \(\d+ bytes\): No space left"):
        runs.write_json(target, {"a": 2})
    assert json.loads(target.read_text())["b"] == [1.5, None]
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


HOLD = """
import sys, time
from headstart import runs
import json
with runs.hold(json.loads(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_that_another_process_holds_is_refused_until_that_dies(tmp_path: Path) -> None:
    config = configs.plain(compose(f"output_dir={tmp_path}"))
    with subprocess.Popen([sys.executable, "-c", HOLD, json.dumps(config)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"pid {other.pid} on "), runs.hold(config):
            pass
        other.kill()
    with runs.hold(config) as run:
        assert run.folder.is_dir()
