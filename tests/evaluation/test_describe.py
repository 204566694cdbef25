"""What dashboards are told of a run beside its settings: the machine, versions, digests, and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import compose
from headstart.config import flat
from headstart.config.schema import to_plain
from headstart.evaluation.result import describe_attempt
from headstart.storage import runs

DIGESTS = {"data": "d1", "weights": None}


def describe(folder: Path, *overrides: str) -> dict[str, Any]:
    config = compose(f"output_dir={folder}", *overrides)
    with runs.lock_run(to_plain(config), DIGESTS) as run:
        run.begin(to_plain(config), [])
        return flat.flatten(config) | describe_attempt(config, run, DIGESTS)


def test_a_run_is_told_with_its_machine_versions_digests_and_places(tmp_path: Path) -> None:
    found = describe(tmp_path, "hardware.accelerator=cpu")
    machine = {"host", "platform", "device", "gpu", "cores", "torch_threads"}
    versions = {
        f"version_{name}" for name in ("headstart", "torch", "timm", "torchvision", "pytorch_lightning", "wandb")
    }
    digests = {f"digest_{kind}" for kind in ("data", "content", "weights", "code", "preprocessing")}
    assert found.keys() >= {*machine, *versions, *digests, "config_hash", "attempts", "folder", "report"}
    assert (found["gpu"], found["digest_data"], found["digest_weights"]) == ("none", "d1", "none")
    assert Path(found["folder"]).is_dir()
    assert Path(found["report"]) == Path(found["folder"]).parent / "report" / "index.html"
    assert not [key for key, value in found.items() if "." in key or value is None]
    again = describe(tmp_path, "hardware.accelerator=cpu")
    assert (found["attempts"], again["attempts"]) == (1, 2)
    other = describe(tmp_path, "strategy=head_then_all", "data=cifar10", "optimizer=sgd")
    assert list(other) == list(found), "the same keys for every run"
