"""What `hardware.tune` measures, picks, keeps and pins."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import SMALL, compose
from headstart import train
from headstart.config.schema import HardwareConfig, RunConfig
from headstart.errors import RunFailed, UserError
from headstart.models import factory, preprocessing
from headstart.strategy import plan
from headstart.tuning import tune
from headstart.tuning.resolve import resolve_auto
from headstart.tuning.timing import Setting, Timing, Trial
from tuning.settings import BF16, LAST, LIVE, PLAIN, config

HEAD_ALONE = ("strategy=finetune", "strategy.start=scratch", "strategy.phases.all.rates.backbone=null")


def settle(config: RunConfig, n_train: int = 32, asked: str = "auto") -> tuple[HardwareConfig, dict[str, Any] | None]:
    """What a run settles on, for data of ten classes at 32 px."""
    data: Any = SimpleNamespace(sizes={"train": n_train}, classes=list(range(10)), image_size=32, streamed=False)
    hardware_ = replace(config.hardware, precision=asked)
    spec = preprocessing.expected_input(config.model)
    settled, picks = resolve_auto(replace(config, hardware=hardware_), data, planned(config), spec)
    return settled.hardware, picks.tuned


def planned(config: RunConfig) -> list[plan.Phase]:
    """The phases of a run, as of the network's outline."""
    return plan.plan_phases(factory.build_outline(config.model), config.strategy.phases)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[Setting, Timing]], list[list[Setting]]]:
    """Gives trials these timings; returns the list of what each of them was asked for."""

    def given(times: dict[Setting, Timing]) -> list[list[Setting]]:
        asked: list[list[Setting]] = []

        def time(self: Trial, settings: Any) -> dict[Setting, Timing]:
            asked.append(list(settings))
            return {setting: times[setting] for setting in settings}

        monkeypatch.setattr(Trial, "time", time)
        return asked

    return given


def test_only_what_may_change_numbers_is_tried() -> None:
    cpu = HardwareConfig(accelerator="cpu", precision="32")
    assert tune.list_candidates(cpu, "auto") == [LAST, PLAIN]
    free = replace(cpu, allow_bf16=True)
    assert tune.list_candidates(free, "auto") == [LAST, PLAIN, BF16, Setting("contiguous", "bf16")]
    assert {each.precision for each in tune.list_candidates(replace(free, precision="bf16"), "bf16")} == {"bf16"}
    gpu = HardwareConfig(accelerator="gpu", precision="bf16")
    assert {each.precision for each in tune.list_candidates(gpu, "auto")} == {"bf16"}
    free_gpu = replace(gpu, allow_bf16=True)
    assert {each.precision for each in tune.list_candidates(free_gpu, "auto")} == {"bf16", "32", "16"}


def test_ties_go_to_the_plainer_setting() -> None:
    assert tune.choose_setting({LAST: Timing(1.02), PLAIN: Timing(1.0)}) == LAST
    assert tune.choose_setting({LAST: Timing(1.05), PLAIN: Timing(1.0)}) == PLAIN
    assert tune.choose_setting({LAST: Timing(failed="broken"), PLAIN: Timing(9.0)}) == PLAIN
    assert tune.choose_setting({LAST: Timing(failed="broken")}) is None


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ((), 2 * 7),
        (("strategy=feature_extraction",), 0),
        (("strategy=head_then_all",), 2 * 7),
        (("hardware.devices=2",), 2 * 4),
        (HEAD_ALONE, 2 * 7),
        ((*HEAD_ALONE, "augment=none"), 0),
        (("strategy=partial", "strategy.start=scratch"), 0),
        (("strategy=partial", "strategy.start=scratch", "strategy.phases.tail.cache=false"), 2 * 7),
        (("strategy=first_layers", "strategy.start=scratch", "augment=none"), 2 * 7),  # the stem learns
        (("strategy=norm_only", "strategy.start=scratch", "augment=none"), 2 * 7),
    ],
)
def test_steps_that_are_worth_a_compiler(overrides: tuple[str, ...], steps: int) -> None:
    config = compose(*SMALL, *LIVE, *overrides)
    images_per_step = config.data.batch_size * config.hardware.devices
    assert tune.count_live_steps(planned(config), config.augment, 100, images_per_step) == steps


def test_compiles_where_the_run_is_long_enough(tmp_path: Path, measured: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    compiled = replace(PLAIN, compile=True)
    asked = measured({LAST: Timing(0.5), PLAIN: Timing(0.4), compiled: Timing(0.3, starting=20.0)})
    short, pin = settle(config(tmp_path, "study=short"), n_train=32)  # 4 steps
    assert (short.memory_format, short.compile) == ("contiguous", False)
    assert asked == [[LAST, PLAIN]], "it is not even tried"
    middle, _ = settle(config(tmp_path, "study=middle"), n_train=16 * 95)  # 190 steps: 19 s saved
    assert (middle.compile, asked[1:]) == (False, [[PLAIN, compiled]]), "the others are in the cache"
    long, pin = settle(config(tmp_path, "study=long"), n_train=16 * 105)  # 210 steps: 21 s saved
    assert (long.compile, len(asked)) == (True, 2)
    assert pin is not None
    assert pin["images_per_second"] == {
        "32 channels_last": 32.0, "32 contiguous": 40.0, "32 contiguous compiled": pytest.approx(53.33)
    }  # fmt: skip
    assert caplog.text.count("compiling saves 21 s and costs 20 s") == 1
    assert "compiling is not tried: over 4 steps it saves 1 s at best, and takes about " in caplog.text
    assert "compiling is tried: over 190 steps it saves 25 s at best, and takes about " in caplog.text


def test_a_study_keeps_what_its_first_run_picked(tmp_path: Path, measured: Any) -> None:
    asked = measured(
        {
            LAST: Timing(0.5),
            PLAIN: Timing(0.4),
            BF16: Timing(0.1),
            replace(BF16, memory_format="contiguous"): Timing(0.2),
        }
    )
    assert settle(config(tmp_path))[0].memory_format == "contiguous"
    (kept,) = (tmp_path / "outputs" / ".cache" / "tune").glob("*.json")
    kept.write_text(kept.read_text().replace('"seconds": 0.4', '"seconds": 4.0'))
    later, _ = settle(config(tmp_path, "seed=3", "strategy=finetune", "model.weights=imagenet", "epochs=9"), 64)
    assert later.memory_format == "contiguous"
    assert settle(config(tmp_path, "study=other"))[0].memory_format == "channels_last", "by the cache"
    assert len(asked) == 1
    assert settle(config(tmp_path, "hardware.allow_bf16=true"))[0].precision == "bf16", "it asks for something else"
    trials = len(asked)
    settle(config(tmp_path, "model.name=resnet34"))
    assert len(asked) == trials + 1, "each network has its own"


def test_a_run_without_live_steps_leaves_compile_open(tmp_path: Path, measured: Any) -> None:
    compiled = replace(PLAIN, compile=True)
    measured({LAST: Timing(0.5), PLAIN: Timing(0.4), compiled: Timing(0.1, starting=20.0)})
    probe, _ = settle(config(tmp_path, "strategy=feature_extraction"), n_train=16 * 100)
    assert (probe.memory_format, probe.compile) == ("contiguous", False)
    measured({PLAIN: Timing(0.9), compiled: Timing(0.1, starting=20.0)})
    assert settle(config(tmp_path), n_train=16 * 100)[0].compile
    assert settle(config(tmp_path), n_train=16)[0].compile, "later runs follow"
    probe, pin = settle(config(tmp_path, "strategy=feature_extraction"), n_train=16 * 100)
    assert pin is not None
    assert (probe.compile, pin["setting"]["compile"]) == (False, False), "what is written down is what it ran with"
    assert "compiled" not in tune.describe_pin(pin).partition("|")[0]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"times": [{"seconds": 1}]}', '{"times": 3}'])
def test_damaged_files_are_not_believed(
    text: str, tmp_path: Path, measured: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked = measured({LAST: Timing(0.5), PLAIN: Timing(0.4)})
    settle(config(tmp_path))
    (kept,) = (tmp_path / "outputs" / ".cache" / "tune").glob("*.json")
    for path in (kept, tmp_path / "outputs" / "runs" / ".tune.json"):
        path.write_text(text)
    assert settle(config(tmp_path))[0].memory_format == "contiguous"
    assert caplog.text.count("is damaged and is not used") == 2
    assert len(asked) == 2


def test_two_runs_that_start_at_once_share_one_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([0.5, 0.4, 0.4, 0.5])  # a second trial would find the opposite
    asked: list[Any] = []

    def time(self: Trial, settings: Any) -> dict[Setting, Timing]:
        asked.append(settings)
        return {setting: Timing(next(speeds)) for setting in settings}

    monkeypatch.setattr(Trial, "time", time)
    runs = [config(tmp_path, f"seed={seed}", "cache_dir=null") for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(settle, runs))
    assert [each.memory_format for each, _ in found] == ["contiguous"] * 2
    assert len(asked) == 1


def test_a_trial_that_another_process_took_over_pins_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def take_over(self: Trial, settings: Any) -> dict[Setting, Timing]:
        (lock,) = (tmp_path / "outputs").rglob(tune.LOCK)
        lock.write_text("pid 7 on elsewhere\nlease 3 since 2030-01-02 03:04:05\n")
        return {setting: Timing(1.0) for setting in settings}

    monkeypatch.setattr("fcntl.flock", no_flock)
    monkeypatch.setattr(Trial, "time", take_over)
    with pytest.raises(RunFailed, match=r"pid 7 on elsewhere.* over at 2030-01-02 03:04:05"):
        settle(config(tmp_path))
    assert not list((tmp_path / "outputs").rglob(tune.PINS))


def test_a_pin_that_this_machine_cannot_follow_is_an_error(
    tmp_path: Path, measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured({LAST: Timing(0.5), PLAIN: Timing(0.6), replace(LAST, compile=True): Timing(0.1)})
    assert settle(config(tmp_path), n_train=10_000)[0].compile
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no compiler for them: install one \(g\+\+"):
        settle(config(tmp_path))


def test_a_run_records_what_was_picked_and_is_found_again(
    run_small: Callable[..., dict], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = run_small(*LIVE, "epochs=1")
    tuned = first["hardware"]["tuned"]
    assert set(tuned["images_per_second"]) == {"32 channels_last", "32 contiguous"}
    assert all(math.isfinite(speed) and speed > 1 for speed in tuned["images_per_second"].values())
    assert tuned["setting"] == {name: first["hardware"][name] for name in ("memory_format", "precision", "compile")}
    assert "training images/s: 32 channels_last" in (first["folder"] / "train.log").read_text("utf-8")
    pins = first["folder"].parent / tune.PINS
    other = next(each for each in (LAST, PLAIN) if each.memory_format != first["hardware"]["memory_format"])
    again = run_small(*LIVE, "epochs=1")
    assert again == first, "skipped"
    (key,) = json.loads(pins.read_text())
    pins.write_text(json.dumps({key: tuned | {"setting": asdict(other)}}))
    moved = run_small(*LIVE, "epochs=1")
    assert moved["hardware"]["memory_format"] == other.memory_format
    assert moved["config_hash"] != first["config_hash"], "another setting is another run"


@pytest.mark.parametrize(("accelerator", "needed"), [("cpu", r"a C\+\+ compiler"), ("gpu", "triton and a C compiler")])
def test_compiling_without_a_compiler_is_refused(
    accelerator: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    tune.check_compiler(HardwareConfig(accelerator=accelerator))
    with pytest.raises(
        UserError, match=rf"hardware\.compile=true: this machine lacks {needed}.* hardware\.compile=false"
    ):
        tune.check_compiler(HardwareConfig(accelerator=accelerator, compile=True))


def test_a_run_without_a_compiler_is_refused_before_its_data_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    config = compose("data=image_folder", "data.source.root=/no/such/folder", "model=lenet5", "strategy=scratch")
    config.hardware.compile = True
    with pytest.raises(UserError, match=r"hardware\.compile=true"):
        train.run(config, [])
