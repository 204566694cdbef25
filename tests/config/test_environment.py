"""Values of `${oc.env:NAME}` are used, and stand in no file, log or dashboard."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from PIL import Image

import fork_server
from conftest import compose
from headstart.config import environment
from headstart.config.schema import from_plain, to_plain
from headstart.preflight import command
from headstart.storage.identity import compute_identity
from headstart.storage.redact import Formatter, mask, refuse_secrets

PEM = "-----BEGIN KEY-----\nq1w2'e3\"r4\\t5é\n-----END KEY-----"
VALUES = {"DB_PASS": "correct horse", "SHORT_ONE": "zx81", "PRIVATE_KEY_PEM": PEM, "PHOTOS": "/srv/people/"}


@pytest.fixture(autouse=True)
def _nothing_stays_remembered() -> Iterator[None]:
    yield
    environment.forget()


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_names", {})
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)


def composed_tags() -> dict[str, Any]:
    """A config that has each of the values in it."""
    config = compose()
    config.logger.tags = OmegaConf.to_object(OmegaConf.create([f"a ${{oc.env:{name}}}" for name in VALUES]))
    return to_plain(config)


@pytest.mark.usefixtures("planted")
def test_a_hidden_config_has_no_value_and_gives_each_again(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = composed_tags()
    hidden = environment.hide(plain)
    text = OmegaConf.to_yaml(OmegaConf.create(hidden)) + json.dumps(hidden)
    assert not [value for value in VALUES.values() if value in text or json.dumps(value)[1:-1] in text]
    assert hidden["logger"]["tags"][0].startswith("a ${headstart_env:DB_PASS,")
    assert to_plain(from_plain(hidden)) == plain
    monkeypatch.setenv("DB_PASS", "another horse")
    with pytest.raises(Exception, match="DB_PASS has another value now"):
        from_plain(hidden)


@pytest.mark.usefixtures("planted")
def test_two_values_are_two_runs_and_two_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {"data": "d", "weights": None}
    found = []
    for value in ("/data/one", "/data/two"):
        monkeypatch.setenv("PHOTOS", value)
        config = to_plain(compose("data=image_folder", "data.source.root='${oc.env:PHOTOS}'"))
        assert config["data"]["source"]["root"] == value
        found.append((compute_identity(config, digests), environment.hide(config)["data"]["source"]["root"]))
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]
    same = to_plain(compose("data=image_folder", "data.source.root=/data/two"))
    assert compute_identity(same, digests) == found[1][0]


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("cannot log in with correct horse", "cannot log in with ${DB_PASS}"),
        ("/srv/people/train/1.jpg in /srv/people", "${PHOTOS}train/1.jpg in ${PHOTOS}"),
        ("the zx81, zx81x and a-zx81", "the ${SHORT_ONE}, zx81x and a-${SHORT_ONE}"),
        (f"got {PEM!r}", "got '${PRIVATE_KEY_PEM}'"),
        (f"got {json.dumps(PEM)}", 'got "${PRIVATE_KEY_PEM}"'),
        ("line 2: q1w2'e3\"r4\\t5é", "line 2: ${PRIVATE_KEY_PEM}"),
        ("val 0.1 epoch 2", "val 0.1 epoch 2"),
    ],
)
def test_no_line_shows_a_value(line: str, shown: str) -> None:
    composed_tags()
    assert mask(line) == shown
    record = logging.LogRecord("x", 40, "", 0, "%s", (line,), None)
    assert Formatter("%(message)s").format(record) == shown


def test_a_value_that_did_not_come_into_the_config_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_names", {})
    monkeypatch.setenv("UNUSED_ONE", "epochs")
    assert mask("3 epochs") == "3 epochs"
    assert environment.hide({"a": "epochs"}) == {"a": "epochs"}


@pytest.mark.slow
def test_a_run_leaves_none(tmp_path: Path) -> None:
    """Nor its skipped and mispredicted images, whose names are paths; the same command finds the run again."""
    place = tmp_path / "hush-hush-place"
    for part, count in (("train", 6), ("test", 3)):
        for label, grey in (("cat", 60), ("dog", 190)):
            (place / part / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (32, 32), (grey, grey, number)).save(place / part / label / f"{number}.png")
    (place / "train" / "cat" / "0.png").write_bytes(b"no image")
    work = tmp_path / "work"
    work.mkdir()
    values = {"PHOTO_PLACE": str(place), "DB_PASS": "correct-horse-battery", "WANDB_MODE": "offline"}
    options = ["model=lenet5", "strategy=scratch", "data=image_folder", "data.source.root=${oc.env:PHOTO_PLACE}/",
               "data.image_size=32", "data.on_bad_image=skip", "epochs=1", "hardware=cpu", "hardware.threads=1",
               "logger.tags=['${oc.env:DB_PASS}']",
               "hydra.job.env_copy=[DB_PASS]", "hydra.output_subdir=.hydra"]  # fmt: skip
    done = fork_server.run("train", *options, cwd=work, env=os.environ | values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "correct-horse" not in done.stdout + done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    files = [path for path in work.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"config.yaml", "predictions.csv", "result.json", "train.log", "hydra.yaml"} <= names
    assert [path for path in files if path.suffix == ".wandb"]
    for word in (b"correct-horse", b"hush-hush"):
        assert [path for path in files if word in path.read_bytes()] == []
    again = fork_server.run("train", *options, cwd=work, env=os.environ | values)
    assert "is complete" in again.stdout


def test_a_later_command_may_type_what_an_earlier_one_took_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PHOTOS", "my/own/photos")
    command.examine(["data=image_folder", "data.source.root=${oc.env:PHOTOS}"], libraries=False)
    assert environment.hide_in_text("in my/own/photos") == "in ${PHOTOS}"
    refuse_secrets(["data.source.root=my/own/photos"])
    command.examine(["data=image_folder", "data.source.root=my/own/photos"], libraries=False)
    assert environment.hide_in_text("in my/own/photos") == "in my/own/photos"


def test_what_was_hidden_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWORK", "resnet18")
    environment.remember("NETWORK", "resnet18")
    hidden = environment.hide({"model": {"name": "resnet18", "args": [1]}})
    assert hidden["model"]["name"].startswith("${headstart_env:NETWORK,")
    assert environment.reveal(hidden) == {"model": {"name": "resnet18", "args": [1]}}
    monkeypatch.setenv("NETWORK", "resnet34")
    with pytest.raises(ValueError, match="NETWORK has another value now"):
        environment.reveal(hidden)
