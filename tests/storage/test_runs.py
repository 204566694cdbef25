"""Identity, lock and whole files."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import compose
from headstart.config import schema
from headstart.config.schema import to_plain
from headstart.errors import RunFailed, UserError
from headstart.storage import runs
from headstart.storage.files import write_json
from headstart.storage.identity import compute_identity, make_name

DIGESTS = {"data": "d1", "weights": None}
CONFIG = schema.to_plain(compose())


def identity(*overrides: str) -> str:
    return compute_identity(schema.to_plain(compose(*overrides)), DIGESTS)


def test_what_cannot_change_a_result_is_not_in_the_identity() -> None:
    same = [
        "logger=none",
        "output_dir=elsewhere",
        "study=other",
        "hardware.workers=3",
        "checkpoint_every=5",
        "rerun=true",
        "+preprocessing.image_size=64",
    ]
    assert {identity(override, "data.resize=crop") for override in same} == {identity("data.resize=crop")}
    folder = ("data=image_folder", "data.source.root=photos")  # what a layout changes is in the digest of the data
    assert identity(*folder, "data.source.layout=classes") == identity(*folder, "~data.source.layout")


def test_what_came_later_is_in_no_identity_until_it_is_used() -> None:
    """Identities of runs that earlier versions made stay as they were."""
    before = schema.to_plain(compose("data.resize=crop"))
    del before["data"]["resize"], before["preprocessing"]
    assert identity("data.resize=crop") == compute_identity(before, DIGESTS) != identity("data.resize=pad")


def test_what_can_is() -> None:
    different = [
        "seed=1",
        "data.split_seed=7",
        "epochs=3",
        "optimizer.lr=0.1",
        "model=resnet18",
        "model.weights=x.pth",
        "hardware.precision=bf16",
        "hardware.threads=1",
        "hardware.devices=2",
        "data.image_size=32",
        "strategy=scratch",
        "augment=none",
    ]
    assert len({identity("strategy=finetune", override) for override in [*different, "seed=0"]}) == len(different) + 1


def test_order_of_keys_does_not_count_but_order_of_rules_does() -> None:
    config = schema.to_plain(compose())
    assert compute_identity(dict(reversed(config.items())), DIGESTS) == compute_identity(config, DIGESTS)
    swapped = json.loads(json.dumps(config))
    phase = swapped["strategy"]["phases"]["head"]
    phase["rates"] = dict(reversed(phase["rates"].items()))
    assert compute_identity(swapped, DIGESTS) != compute_identity(config, DIGESTS)


def test_content_of_data_and_weights_counts() -> None:
    config = schema.to_plain(compose())
    contents = [DIGESTS, {"data": "d2", "weights": None}, {"data": "d1", "weights": "w"}]
    assert len({compute_identity(config, digests) for digests in contents}) == 3


def shuffled(node: Any, order: random.Random) -> Any:
    """The same mapping with its keys in another order, but for the rules, whose order is their meaning."""
    if not isinstance(node, dict):
        return node
    keys = list(node)
    order.shuffle(keys)
    return {key: node[key] if key in ("rates", "phases") else shuffled(node[key], order) for key in keys}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    order=st.randoms(use_true_random=False),
    irrelevant=st.fixed_dictionaries(
        {
            "study": st.text(),
            "output_dir": st.text(),
            "cache_dir": st.none() | st.text(),
            "rerun": st.booleans(),
            "checkpoint_every": st.floats(0, 1e6),
            "logger": st.dictionaries(st.text(), st.integers()),
        }
    ),
    workers=st.integers(0, 64),
    seed=st.integers(1, 2**32 - 1),
)
def test_neither_order_nor_irrelevant_keys_change_the_identity(
    order: random.Random, irrelevant: dict[str, Any], workers: int, seed: int
) -> None:
    config = CONFIG | irrelevant
    config["hardware"] = CONFIG["hardware"] | {"workers": workers}
    assert compute_identity(shuffled(config, order), DIGESTS) == compute_identity(CONFIG, DIGESTS)
    assert compute_identity(config | {"seed": seed}, DIGESTS) != compute_identity(CONFIG, DIGESTS)


def test_the_name_is_readable_and_safe() -> None:
    config = schema.to_plain(compose("seed=3")) | {"model": {"name": "a/b"}}
    assert make_name(config, DIGESTS).startswith("a_b-feature_extraction-digits-s3-")
    assert "/" not in make_name(config, DIGESTS)


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "result.json"
    write_json(target, {"a": float("nan"), "b": [1.5, float("inf")]})
    assert json.loads(target.read_text()) == {"a": None, "b": [1.5, None]}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunFailed, match=r"result.json \(\d+ bytes\): No space left"):
        write_json(target, {"a": 2})
    assert json.loads(target.read_text())["b"] == [1.5, None]
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


HOLD = """
import sys, time
from headstart.storage import runs
import json
with runs.lock_run(json.loads(sys.argv[1]), {}):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_that_another_process_holds_is_refused_until_that_dies(tmp_path: Path) -> None:
    config = schema.to_plain(compose(f"output_dir={tmp_path}"))
    with subprocess.Popen([sys.executable, "-c", HOLD, json.dumps(config)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"pid {other.pid} on "), runs.lock_run(config, {}):
            pass
        other.kill()
    with runs.lock_run(config, {}) as run:
        assert run.folder.is_dir()


def test_the_choice_is_part_of_the_identity() -> None:
    both = (compose("data=digits", f"data.on_bad_image={choice}") for choice in ("raise", "skip"))
    assert len({compute_identity(to_plain(config), {}) for config in both}) == 2
    with pytest.raises(UserError, match=r"data\.on_bad_image=skp: must be one of raise, skip; did you mean skip\?"):
        compose("data.on_bad_image=skp")


@pytest.mark.parametrize("meets", ["the lock", "a folder that the new owner has removed"])
def test_a_run_that_was_taken_over_leaves_its_files_to_the_new_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meets: str
) -> None:
    def no_flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def lose() -> None:
        with runs.lock_run(schema.to_plain(compose(f"output_dir={tmp_path}")), {}) as run:
            run.update_state(status="running")
            (run.folder / runs.LOCK).write_text("pid 7 on elsewhere\nlease 3 since 2030-01-02 03:04:05\n")
            if meets != "the lock":
                raise RunFailed("cannot write the checkpoint: No such file or directory")
            run.complete({"status": "completed"})

    monkeypatch.setattr("fcntl.flock", no_flock)
    with pytest.raises(RunFailed, match=r"pid 7 on elsewhere.* over at 2030-01-02 03:04:05.*its result counts"):
        lose()
    (folder,) = (path.parent for path in tmp_path.rglob("state.json"))
    assert json.loads((folder / "state.json").read_text()) == {"status": "running"}
    assert not (folder / "result.json").exists()
    assert "pid 7 on elsewhere" in (folder / "train.log").read_text()
    assert (folder / runs.LOCK).read_text().startswith("pid 7"), "nor is the lease given back for it"


@pytest.mark.parametrize("name", ["", "figures", "wandb", "checkpoints", "checkpoints/all"])
def test_a_run_writes_through_no_link(name: str, tmp_path: Path) -> None:
    """A hidden file of the place that it points to is not taken for a half-written one either."""
    config = to_plain(compose(f"output_dir={tmp_path / 'outputs'}"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".profile").write_text("kept")
    link = tmp_path / "outputs" / config["study"] / make_name(config, DIGESTS) / name
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a symbolic link to"), runs.lock_run(config, DIGESTS) as run:
        run.begin(config, [])
    assert [path.name for path in elsewhere.iterdir()] == [".profile"]


def test_code_of_ones_own_counts_by_its_digest_alone() -> None:
    config = to_plain(compose("imports=[mylab.nets]"))
    assert compute_identity(config, DIGESTS) == compute_identity(CONFIG, DIGESTS)
    changed = {compute_identity(config, DIGESTS | {"code": code}) for code in ("one", "two")}
    assert len(changed | {compute_identity(config, DIGESTS)}) == 3


def test_a_run_keeps_its_id_in_trackers_until_it_begins_anew_or_elsewhere(tmp_path: Path) -> None:
    """Of one config in two output folders, and of a run and its rerun, trackers have two runs."""

    def begin(folder: str, rerun: bool = False) -> str:
        with runs.lock_run(CONFIG | {"output_dir": str(tmp_path / folder)}, DIGESTS) as run:
            run.begin(CONFIG, [], rerun)
            return run.id

    first = begin("here")
    assert begin("here") == first, "an interrupted attempt goes on"
    elsewhere = begin("there")
    with runs.lock_run(CONFIG | {"output_dir": str(tmp_path / "here")}, DIGESTS) as run:
        run.complete({"status": "completed"})
    again = begin("here", rerun=True)
    assert len({first, elsewhere, again}) == 3
    assert {text.rpartition("-")[0] for text in (first, elsewhere, again)} == {first.rpartition("-")[0]}
