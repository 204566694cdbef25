"""Everything that is wrong with a command is told at once, in words, with exit code 2, before a folder is made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headstart.cli import main
from headstart.config import machine, resolvers, validate
from headstart.config.schema import HardwareConfig
from headstart.preflight import command
from headstart.preflight.components import Components
from headstart.preflight.quoting import quote_arguments

CORES = os.cpu_count() or 1
TOO_MANY = f"hardware.devices={CORES + 97}"
EXPERIMENT = """# @package _global_
defaults:
  - override /strategy: finetune
optimizer: {lr: -1}
epoch: 3
seed: abc
strategy: {rats: 1}
data: {n_trian: 4}
"""


def refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `headstart train ARGUMENTS` says; it must end with code 2 and leave nothing behind."""
    before = sorted(folder.rglob("*"))
    os.chdir(folder)
    assert main.main(["train", "hardware=cpu", *arguments]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "in the config:" in said.err
    assert sorted(folder.rglob("*")) == before
    return said.err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # puts the folder of before back
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    return tmp_path


CASES = {
    "strategy.rats=1": ["strategy.rats=1: there is no such key", "did you mean", "strategy has name, phases, start"],
    "+modle.name=x": ["+modle.name=x: there is no such key; did you mean model.name?"],
    "hydra.ouput_subdir=x": ["hydra.ouput_subdir=x: there is no such key; did you mean hydra.output_subdir?"],
    "optimizer.lr=-1": ["optimizer.lr=-1: must be a number above 0"],
    "optimizer.lrr=1": ["optimizer.lrr=1: there is no such key; did you mean optimizer.lr?", "+optimizer.lrr=1"],
    "data.n_train=0": ["data.n_train=0: must be at least 2"],
    "data.val_fraction=nan": ["data.val_fraction=nan: must be above 0 and below 1"],
    "seed=abc": ["seed=abc: must be a whole number, from 0 to 4294967295"],
    "seed=null": ["seed=null: must be a whole number"],
    "hardware.precision=8": ["hardware.precision=8: must be one of auto, 32, bf16, 16"],
    "data=null": ["null is no choice"],
    TOO_MANY: [f"{TOO_MANY}: must be at most {CORES}"],
    "strategy.phases.head.augment=true": ["strategy.phases.head.augment=true", "views=8 of each image", "probe=null"],
    "model.weights=none": ["starts from pretrained weights, but model.weights=none", "use strategy=scratch"],
    "model=resnt18": ["model=resnt18: there is no such model; did you mean resnet18?", "densenet121", "xception"],
    "strategy.phases.head.probe={gird:1}": ["+strategy.phases.head.probe={gird:1}"],
    "seed": ["seed: the value is missing; write seed=value"],
    "sede": ["sede: the value is missing; write seed=value"],
    "=3": ["=3: the key is missing; write name=value"],
    "data.image_size=[1": ["data.image_size=[1: cannot be read"],
    "seed=0,1": ["seed=0,1: several values are a sweep: add -m"],
    "+seed=3": ["+seed=3: seed is there already: leave out the +"],
    "~sede": ["~sede: nothing to take away", "did you mean seed?"],
    "seed=${sede}": ["data.split_seed, seed: ", "did you mean ${seed}?"],
    "--config-dir=nowhere": ["--config-dir nowhere: there is no such folder"],
}


@pytest.mark.parametrize("override", CASES)
def test_each_mistake_is_named_with_its_cure(override: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused([override], here, capsys)
    assert "1 problem " in said or override == "data.n_train=0", said
    for words in CASES[override]:
        assert words in said


def test_all_mistakes_of_a_command_are_told_together(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    together = [override for override in CASES if override not in ("data=null", "seed=${sede}", "--config-dir=nowhere")]
    said = refused(together, here, capsys)
    for override in together:
        for words in CASES[override]:
            assert words in said
    assert "s3cret" not in said


def test_five_mistakes_of_five_kinds(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["seed", "model=resnt18", "strategy.rats=1", "epochs=many", "optimizer.lr=-1"], here, capsys)
    assert said.splitlines()[0] == "headstart: 5 problems in the config:"
    for key in ("seed: ", "model=resnt18: ", "strategy.rats=1: ", "epochs=many: ", "optimizer.lr=-1: "):
        assert f"  - {key}" in said


def test_mistakes_in_a_file_of_ones_own_are_told_with_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = here / "own" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(EXPERIMENT, "utf-8")
    said = refused(["--config-dir=own", "experiment=mine", "epochs=0"], here, capsys)
    lines = {line.partition(":")[0].removeprefix("  - "): line for line in said.splitlines()[1:]}
    assert set(lines) == {"optimizer.lr=-1", "epoch=3", "seed=abc", "strategy.rats=1", "data.n_trian=4", "epochs=0"}
    assert all(line.endswith(f"(in {file})") for key, line in lines.items() if key != "epochs=0")
    assert "did you mean data.n_train?" in lines["data.n_trian=4"]


@pytest.mark.parametrize("option", ["--config-dir", "-cd"])
def test_a_folder_of_configs_can_be_in_the_home_folder(
    option: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = here / "home" / "own" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nseed: abc\n", "utf-8")
    monkeypatch.setenv("HOME", str(here / "home"))
    assert f"(in {file})" in refused([f"{option}=~/own", "experiment=mine"], here, capsys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defaults: [override /strategy: finetun]", ["strategy=finetun", "did you mean finetune?"]),
        ("seed: [1", ["mine.yaml", "line 2"]),
        ("hydra: {ouput_subdir: x}", ["hydra.ouput_subdir=x", "did you mean hydra.output_subdir?", "mine.yaml"]),
    ],
)
def test_files_that_cannot_be_used(text: str, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = here / "own" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\n{text}\n", "utf-8")
    said = refused(["--config-dir=own", "experiment=mine", "seed=-1"], here, capsys)
    assert "seed=-1: must be from 0" in said
    for word in words:
        assert word in said


def test_every_value_of_a_sweep_is_looked_at_before_its_first_job(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["-m", "seed=0,abc", "optimizer.lr=1,-1", "strategy=scratch,finetun", TOO_MANY], here, capsys)
    assert "4 problems" in said
    for key in ("seed=abc: ", "optimizer.lr=-1: ", "strategy=finetun: ", f"{TOO_MANY}: "):
        assert said.count(f"  - {key}") == 1


def test_a_combination_within_a_sweep_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["-m", "strategy=scratch,finetune", "model.weights=imagenet,none"], here, capsys)
    assert "1 problem " in said
    assert "strategy=finetune starts from pretrained weights" in said


def test_a_sweep_inside_an_experiment_file_is_looked_at(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = here / "own" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nhydra: {sweeper: {params: {seed: '0,abc', epochs: '0,1'}}}\n", "utf-8")
    said = refused(["-m", "--config-dir=own", "experiment=mine"], here, capsys)
    assert "2 problems" in said
    assert "seed=abc: must be" in said
    assert "epochs=0: must be" in said


@pytest.mark.slow
def test_of_a_large_sweep_every_value_is_looked_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["-m", "seed=range(0,20)", "epochs=range(0,20)", "label_smoothing=0,2"], here, capsys)
    assert "2 problems" in said
    assert "epochs=0: " in said
    assert "label_smoothing=2.0: " in said


def test_an_unknown_network_is_told_with_the_rest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["model=timm", "model.name=resnt18"], here, capsys)
    assert "1 problem " in said
    assert "model.name=resnt18: timm knows no such network; did you mean resnet18" in said
    said = refused(["-m", "model=timm", "model.name=resnet18,resnt18", "+optimizer.weigth_decay=1"], here, capsys)
    assert "2 problems" in said
    assert "did you mean weight_decay?" in said


def test_weights_that_are_not_there_are_told_before_the_first_job(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["-m", "model.weights=lost.pth,imagenet", "seed=0,1"], here, capsys)
    assert "1 problem " in said
    assert "model.weights=lost.pth: there is no file lost.pth" in said


def test_bad_words_do_not_load_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from headstart.cli.main import main\n"
        "code = main(['train', 'strategy.rats=1', 'optimizer.lr=-1', 'hardware.devices=-5', 'modle=x'])\n"
        "assert code == 2, code\nassert not {'torch', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 problems" in done.stderr


def test_debug_shows_the_traceback_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headstart", "train", "seed=abc"]
    environment = os.environ | {"HEADSTART_DEBUG": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert "Traceback" in done.stderr
    assert "seed=abc: must be a whole number" in done.stderr


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (HardwareConfig(accelerator="cpu", devices=3), "hardware.devices=3: must be at most 2"),
        (HardwareConfig(accelerator="auto", devices=3), "hardware.devices=3: must be at most 2"),
        (HardwareConfig(accelerator="gpu"), "hardware.accelerator=gpu: this machine has no GPU"),
        (HardwareConfig(accelerator="cpu", precision="16"), "hardware.precision=16: needs a GPU"),
        (HardwareConfig(accelerator="cpu", devices=2), ""),
    ],
)
def test_a_machine_with_two_cores(config: HardwareConfig, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(machine, "count_gpus_at_most", lambda: 0)
    told = list(machine.missing_hardware(config))
    assert [line[: len(words)] for line in told] == ([words] if words else [])


def test_a_machine_with_four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(machine, "count_gpus_at_most", lambda: 4)
    assert not list(machine.missing_hardware(HardwareConfig(accelerator="gpu", devices=4)))
    assert not list(machine.missing_hardware(HardwareConfig(accelerator="auto", devices=-1)))
    for accelerator in ("gpu", "auto"):
        assert "has 4 GPU" in next(machine.missing_hardware(HardwareConfig(accelerator=accelerator, devices=5)))


KEYS = """
seed epochs study model model.name model.args strategy strategy.phases data data.source data.n_train data.split_seed
strategy.phases.head strategy.phases.head.rates strategy.phases.head.rates.backbone strategy.phases.head.augment
data.val_fraction augment augment.crop_scale optimizer optimizer.lr scheduler hardware hardware.devices hardware.clip
logger.tags experiment debug select cache_dir hydra hydra.run hydra.job.name hydra.sweeper.params hydra/launcher
"""
VALUES = """
abc -1 0 1 1.5 nan inf 1e400 99999999999999999999 null true [] [1,2] [a,[b]] {} {a:1} {a:{b:[1]}} {lr:-1} ??? " .. ... @
${nope} ${seed} ${data} ${oc.env:NOPE} [1 a,b range(1,3) glob(*) choice(1,2) int(3) é a.b none scratch finetune digits
timm resnet18 {head:{epochs:1}} {rates:{all:1},epochs:2} 'a:b'
"""


GOOD = """
seed=1 ++epochs=2 strategy=finetune data.n_test=5 +optimizer.eps=1e-3 optimizer=sgd study=x hydra.job.name=y model=vgg16
augment=none strategy.phases={} label_smoothing=0.1 cache_dir=null logger.tags=[a,b] experiment=demo debug=quick
"""


@st.composite
def overrides(draw: st.DrawFn) -> str:
    """A good one; a key, right or misspelt, with any value and any of Hydra's prefixes; or any characters."""
    kind = draw(st.integers(0, 9))
    if kind > 5:
        return draw(st.sampled_from(GOOD.split()))
    if kind == 0:
        return draw(st.text("=+~[]{}(),.$:@/'\" ab1\\", min_size=1, max_size=8).filter(lambda text: text[0] != "-"))
    key = draw(st.sampled_from(KEYS.split()))
    if draw(st.integers(0, 3)) == 0:
        cut = draw(st.integers(0, len(key) - 1))
        key = key[:cut] + draw(st.sampled_from(["", "x", ".", "@", "/", key[cut] * 2])) + key[cut + 1 :]
    prefix = draw(st.sampled_from(["", "", "", "+", "++", "~"]))
    value = draw(st.sampled_from([*VALUES.split(), "", "'x y'"]))
    return f"{prefix}{key}={value}" if prefix != "~" or draw(st.booleans()) else f"~{key}"


def composes_and_passes(lines: list[str], *, libraries: bool) -> bool:
    """Whether Hydra composes this and the result passes; raises what is neither Hydra's nor a UserError."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(resolvers.config_folder())):
        try:
            composed = compose("config", quote_arguments(lines))
        except Exception:
            return False  # with whatever Hydra raises; what counts is that it can be told
    problems, config = validate.find_problems(composed)
    if libraries and not problems and config is not None:
        problems = Components().find_problems(config)
    return not problems


@pytest.mark.slow
@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(overrides(), min_size=1, max_size=3))
@example(["seed=${nope}"])
@example(["~seed"])
@example(["++logger.tags=${seed}"])
@example(["+optimizer.eps=1e-3", "+optimizer.eps=1e-3"])
def test_whatever_is_typed_is_run_or_answered_in_words(lines: list[str]) -> None:
    resolvers.register()
    told = command.examine(lines, libraries=False).problems
    assert composes_and_passes(lines, libraries=bool(told)) == (not told), told
    assert all(isinstance(line, str) and line for line in told)


@pytest.mark.slow
@settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(overrides(), min_size=1, max_size=3))
@example(["study=glob(*)"])
@example(["strategy=glob(f*)", "epochs=0,1"])
def test_whatever_is_swept_is_answered_in_words(lines: list[str]) -> None:
    told = command.examine(["-m", *lines], libraries=False).problems
    assert all(isinstance(line, str) and line for line in told)
