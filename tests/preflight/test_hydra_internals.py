"""What is composed with Hydra's private parts is what Hydra composes in public, in the installed version."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra import __version__ as hydra_version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from headstart.cli.jobs import HYDRA_TARGETS
from headstart.config import resolvers
from headstart.preflight.hydra_internals import Loader, parse_arguments
from headstart.preflight.overrides import Composer, without_hydra

COMMANDS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "values": ("seed=3", "patience=3", "cache_dir=null", "study=a b", "data.val_fraction=0.25", "optimizer.lr=1e-3"),
    "group choices": ("strategy=head_then_all", "model=resnet50", "data=fashion_mnist", "hardware=cpu"),
    "a group and its values": ("strategy=head_then_all", "strategy.phases.all.epochs=3", "optimizer=sgd"),
    "an option that asks for others": ("debug=quick", "size=small"),
    "+add": ("+optimizer.betas=[0.8,0.9]", "+model.args.drop_rate=0.1"),
    "++add": ("++optimizer.lr=0.1", "++optimizer.eps=1e-7"),
    "~delete": ("~optimizer.weight_decay", "strategy=finetune"),
    "~delete a group": ("~logger",),
    "experiment": ("experiment=lp_ft", "strategy=finetune"),
    "experiment in a folder": ("experiment=residual_variants/full",),
    "list": ("logger.tags=[a,b]",),
    "list extend": ("logger.tags=[a]", "logger.tags=extend_list(b,c)"),
    "mapping": (
        "+measures={a:{_target_:headstart.measures.Changes}}",
        "+strategy.phases={x:{epochs:1,rates:{head:1}}}",
    ),
    "interpolation": ("seed=4", "data.split_seed=${seed}", "output_dir=${oc.env:HOME}/x"),
    "Hydra's own": ("hydra.job.name=other", "hydra.verbose=true", "hydra/job_logging=none"),
    "experiment of the user's own": ("experiment=mine", "seed=2"),
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder for `--config-dir`, with an experiment."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /strategy: finetune\n  - override /model: resnet18\n"
        "epochs: 7\nmodel: {args: {drop_rate: 0.2}}\nlogger: {tags: [mine]}\n"
    )
    return tmp_path


@pytest.fixture
def logs() -> Iterator[None]:
    """Hydra's app sets the log up; afterwards it is as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before, level


def compose_in_public(overrides: Sequence[str], own: Path) -> DictConfig:
    """What `hydra.compose` makes of the overrides, with Hydra's own part."""
    resolvers.register()
    with hydra.initialize_config_dir(str(resolvers.config_folder())):
        # `--config-dir` has no counterpart there
        return hydra.compose("config", [f"hydra.searchpath=[{own}]", *overrides], return_hydra_config=True)


def composer(own: Path | None) -> tuple[Loader, Composer]:
    resolvers.register()
    loader = Loader("config", None if own is None else str(own))
    return loader, Composer(loader)


def plain(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_composed_as_hydra_composes_it(name: str, own: Path) -> None:
    expected = compose_in_public(COMMANDS[name], own)
    loader, made = composer(own)
    overrides = loader.parser.parse_overrides(list(COMMANDS[name]))
    composed = made.compose(overrides)
    assert composed.problems == []
    assert plain(without_hydra(composed.config)) == plain(without_hydra(expected))
    assert list(without_hydra(composed.config)) == list(without_hydra(expected))  # in this order, too
    own_part, theirs = plain(composed.config.hydra), plain(expected.hydra)
    del own_part["defaults"]  # the list of files, of no use to anybody once they are merged
    for part in (own_part, theirs):  # what `launch_config` completes, or only `hydra.compose` sets
        for key in ("runtime", "overrides", "searchpath", "mode", "job"):
            del part[key]
    assert own_part == theirs
    assert composed.config.hydra.job.name == expected.hydra.job.name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_job_is_launched_with_what_hydra_knows_of_it(name: str, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    expected = compose_in_public(COMMANDS[name], own).hydra
    loader, made = composer(own)
    found = made.launch_config(loader.parser.parse_overrides(list(COMMANDS[name]))).hydra
    assert plain(found.runtime.choices) == plain(expected.runtime.choices)
    assert plain(found.overrides.task) == plain(expected.overrides.task)
    assert plain(found.overrides.hydra) == [
        line for line in plain(expected.overrides.hydra) if "searchpath" not in line and "hydra.mode" not in line
    ]
    assert (found.runtime.version, found.runtime.cwd, found.job.config_name) == (hydra_version, str(own), "config")


def test_environment_variables_are_handed_on(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_VARIABLE", "its value")
    loader, made = composer(None)
    overrides = loader.parser.parse_overrides(["hydra.job.env_copy=[A_VARIABLE]"])
    assert made.launch_config(overrides).hydra.job.env_set == {"A_VARIABLE": "its value"}


def test_groups_and_options_are_those_of_the_folders(own: Path) -> None:
    loader, _ = composer(own)
    folder = resolvers.config_folder() / "strategy"
    assert loader.has_group("strategy")
    assert loader.has_group("hydra/launcher")
    assert not loader.has_group("seed")
    assert loader.options("strategy") == sorted(path.stem for path in folder.glob("*.yaml"))
    assert "mine" in loader.options("experiment")
    assert loader.has_option("experiment", "mine")
    assert not loader.has_option("experiment", "yours")


def test_files_are_named_with_their_places(own: Path) -> None:
    """What `hydra.compose` does not tell."""
    loader, made = composer(own)
    composed = made.compose(loader.parser.parse_overrides(["experiment=mine"]))
    assert [path for path, _ in composed.files] == [str(own / "experiment" / "mine.yaml")]
    assert composed.files[0][1].epochs == 7


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize(
    "argv",
    [
        ["seed=1"],
        ["seed=1", "--config-dir", "OWN", "experiment=mine"],
        ["--config-name", "config", "seed=1", "-m", "epochs=1,2", "hydra.verbose=false"],
        ["-cd", "OWN", "+optimizer.eps=1", "--multirun"],
    ],
    ids=" ".join,
)
def test_a_command_line_is_read_as_hydras_app_reads_it(
    argv: list[str], own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [str(own) if word == "OWN" else word for word in argv]
    arguments = parse_arguments(argv)
    seen: list[DictConfig] = []
    monkeypatch.chdir(own)
    monkeypatch.setattr(sys, "argv", ["headstart", *argv, "output_dir=runs"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    GlobalHydra.instance().clear()
    resolvers.register()
    app = hydra.main(
        config_path=str(resolvers.config_folder()), config_name="config", execution_whitelist=list(HYDRA_TARGETS)
    )
    app(lambda config: seen.append(HydraConfig.get()))()
    (job, *_) = seen
    multirun = arguments.multirun
    lines = [line for line in [*arguments.overrides, "output_dir=runs"] if not line.startswith("hydra.")]
    assert str(job.mode) == f"RunMode.{'MULTIRUN' if multirun else 'RUN'}"
    assert list(job.overrides.task) == [line.replace("1,2", "1") for line in lines]
    assert len(seen) == (2 if "epochs=1,2" in argv else 1)
    assert job.job.config_name == (arguments.config_name or "config")
    places = [source.path for source in job.runtime.config_sources]
    assert (str(own) in places) is (arguments.config_dir == str(own))


def test_what_is_no_argument_ends_as_argparse_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--no-such-argument"])
    assert ended.value.code == 2
    assert "--no-such-argument" in capsys.readouterr().err
