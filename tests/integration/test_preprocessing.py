"""Whole runs that start from other runs: their preprocessing and arguments go along, and what they have seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from data.images import write_image
from headstart.data import seen
from headstart.errors import UserError

OVERLAY = "+model.args.pretrained_cfg_overlay={mean:[0.9,0.9,0.9],std:[0.05,0.05,0.05],interpolation:lanczos}"
FIRST = ("model=lenet5", "strategy=scratch", "data.image_size=48", "data.resize=pad", OVERLAY, "data.train_per_class=8")


def test_a_run_goes_on_with_the_preprocessing_of_its_weights(
    run_small: Callable[..., dict], caplog: pytest.LogCaptureFixture
) -> None:
    # it trains on what others test on
    first = run_small(*FIRST, "+model.args.variant=modern", "data.test_fraction=0.1")
    stated = {"image_size": 48, "resize": "pad", "crop_pct": 1.0, "interpolation": "lanczos"}
    stated |= {"mean": [0.9] * 3, "std": [0.05] * 3}
    for name in ("result.json", "config.yaml"):
        written = yaml.safe_load((first["folder"] / name).read_text("utf-8"))
        assert written["preprocessing"] == stated
    caplog.set_level("INFO")
    start = ("model=lenet5", "strategy=feature_extraction", f"model.weights=run:{first['folder']}")
    second = run_small(*start, "data.image_size=null", "data.train_per_class=8", "data.split_seed=3", "cache_dir=null")
    assert second["preprocessing"] == stated
    assert "head kept" in caplog.text
    assert second["digests"]["preprocessing"]
    config = yaml.safe_load((second["folder"] / "config.yaml").read_text("utf-8"))
    assert config["model"]["args"]["variant"] == "modern"
    assert config["data"]["resize"] == "pad"
    assert "test images stand in" not in caplog.text  # test is the same for every split seed
    shared = len(seen.read_seen(second["folder"]))
    assert len(seen.read_seen(first["folder"])) == 80 < shared <= 160
    run_small(*start, "data.train_per_class=8", "data.n_test=400", "data.image_size=48")
    assert "of 400 test images stand in what that run was trained or validated on" in caplog.text


def test_a_difference_is_refused_before_data_is_read(run_small: Callable[..., dict]) -> None:
    first = run_small(*FIRST)
    start = ("model=lenet5", "strategy=finetune", f"model.weights=run:{first['folder']}")
    with pytest.raises(UserError, match=r'variant="modern", but they were trained without it'):
        run_small(*start, "+model.args.variant=modern")
    with pytest.raises(UserError, match=r"holds lenet5, but model\.name=linear"):
        run_small(*start, "model.name=linear")


def test_the_config_of_a_run_states_what_may_be_given_again(run_small: Callable[..., dict]) -> None:
    first = run_small(*FIRST)
    written = json.dumps(yaml.safe_load((first["folder"] / "config.yaml").read_text("utf-8"))["preprocessing"])
    again = run_small(*FIRST, f"+preprocessing={written.replace(' ', '').replace(chr(34), '')}")
    assert again["folder"] == first["folder"]
    with pytest.raises(UserError, match=r"preprocessing\.crop_pct=0\.5: is stated by the run, here crop_pct=1\.0"):
        run_small(*FIRST, "+preprocessing.crop_pct=0.5")


def test_cached_features_are_those_of_their_own_squares(run_small: Callable[..., dict], tmp_path: Path) -> None:
    for at in range(20):
        write_image(tmp_path / "photos" / "ab"[at % 2] / f"{at}.png", 10 * at, size=(90, 30))
    base = ("data=image_folder", f"data.source.root={tmp_path / 'photos'}", "data.n_test=null", "data.image_size=32")
    base += ("model=efficientnet_lite0", "strategy=feature_extraction")
    runs = {resize: run_small(*base, f"data.resize={resize}") for resize in ("auto", "pad", "squash")}
    assert [run["cached"] for run in runs.values()] == [False] * 3
    assert [run["preprocessing"]["resize"] for run in runs.values()] == ["crop", "pad", "squash"]
    assert run_small(*base, "data.resize=crop")["folder"] == runs["auto"]["folder"]
