"""Text keys keep what was typed, the same by each way from a command line to a config."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from headstart.cli import main
from headstart.config import resolvers
from headstart.config.schema import RunConfig
from headstart.config.validate import find_problems
from headstart.preflight.command import Command, examine
from headstart.preflight.hydra_internals import Loader
from headstart.preflight.jobs import compose_job
from headstart.preflight.quoting import quote_arguments

FOLDER = "data=image_folder"
# an override, the key, and its value
TYPED: list[tuple[str, str, Any]] = [
    ("study=2024_11_28", "study", "2024_11_28"),
    ("study=1e5", "study", "1e5"),
    ("study=1.10", "study", "1.10"),
    ("study=true", "study", "true"),
    ("study=nan", "study", "nan"),
    ("study='1_0'", "study", "1_0"),
    ("study=été", "study", "été"),
    ("++study=2024_1", "study", "2024_1"),
    ("strategy.name=1_0", "strategy.name", "1_0"),
    ("data={name:1_0}", "data.name", "1_0"),
    ("logger.tags=[1e5,2024,a b]", "logger.tags", ["1e5", "2024", "a b"]),
    ("logger.entity=None", "logger.entity", None),
    ("logger.entity=1_0", "logger.entity", "1_0"),
    ("patience=none", "patience", None),
    ("patience=null", "patience", None),
    ("hardware.clip=None", "hardware.clip", None),
    ("class_weights=none", "class_weights", "none"),
    ("keep=none", "keep", "none"),
    ("study=${hydra:runtime.choices.strategy}", "study", "feature_extraction"),
    ("study=${seed}", "study", "0"),
    (f"{FOLDER} data.source.root=2024", "data.source.root", "2024"),
    (f"{FOLDER} data.source.root=1e5", "data.source.root", "1e5"),
    (f"{FOLDER} data.source.root=/a=b", "data.source.root", "/a=b"),
    (f"{FOLDER} data.source.root=photos%(1)%[old],%é", "data.source.root", "photos (1) [old], é"),
    (f"{FOLDER} data.source.root=it's", "data.source.root", "it's"),
    ("data=csv data.source.path=t.csv ++data.source.label=1", "data.source.label", "1"),
    ("output_dir=/tmp/a=b%[c]", "output_dir", "/tmp/a=b [c]"),
    ("optimizer.lr=1e-3", "optimizer.lr", 0.001),
    ("epochs=1_0", "epochs", 10),
]


def words(line: str) -> list[str]:
    return [word.replace("%", " ") for word in (line.split(" ") if " data.source" in line else [line])]


def get(config: RunConfig, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def check(*lines: str) -> Command:
    return examine(lines, libraries=False, machine=False)


@pytest.mark.parametrize(("line", "key", "value"), TYPED, ids=[line for line, *_ in TYPED])
def test_each_way_gives_what_was_typed(line: str, key: str, value: Any) -> None:
    lines = words(line)
    command = check(*lines)
    assert command.problems == []
    (job,) = command.jobs
    assert get(job.config, key) == value
    assert job.task_overrides == lines, "shown as typed"
    assert command.composer is not None
    composed = compose_job(command.composer, list(job.overrides), this_machine=False)[1]
    assert composed == job.config
    if "hydra:" in line:
        return  # `hydra.compose` does not set what it refers to
    with initialize_config_dir(str(resolvers.config_folder())):
        assert find_problems(compose("config", quote_arguments(lines)))[1] == job.config


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("logger.entity=1e5,2024_11_28,b", ["1e5", "2024_11_28", "b"]),
        ("logger.entity=choice(1_0,2_0)", ["1_0", "2_0"]),
        ("logger.entity='a,b',1.10,None", ["a,b", "1.10", None]),
        ("logger.entity=a=b,c (1)", ["a=b", "c (1)"]),
        ("logger.entity=range(1,3)", ["1", "2"]),
    ],
)
def test_swept_values_stay_as_typed(line: str, values: list[str]) -> None:
    assert [job.config.logger.entity for job in check("-m", line).jobs] == values
    swept = Loader("config").parser.parse_override(quote_arguments(["-m", line])[1])  # what Hydra's sweepers get
    assert [text.strip("'") for text in swept.sweep_string_iterator()] == [value or "null" for value in values]


def test_the_signature_of_each_swept_source_is_asked() -> None:
    jobs = check("-m", "data=image_folder,csv", "++data.source.root=1e5", "++data.source.path=1e3").jobs
    assert [(job.config.data.source["root"], job.config.data.source["path"]) for job in jobs] == [("1e5", "1e3")] * 2


def test_choices_of_each_job_are_known_in_its_keys() -> None:
    jobs = check("-m", "optimizer=sgd,adam", "study=${hydra:runtime.choices.optimizer}").jobs
    assert [job.config.study for job in jobs] == ["sgd", "adam"]


REFUSED = {
    "study=None": "study=None: must be text; if the word is meant, quote it: study='\"None\"'",
    "study=null": "study=null: must be text",
    "epochs=None": "epochs=None: must be a whole number, at least 1",
    "class_weights=None": "class_weights=None: must be one of none, balanced; did you mean none?",
    "model=1e5": "model=1e5: there is no such model",
    "study=a,b": "study=a,b: several values are a sweep: add -m; a list is written study=[a,b], a text study='\"a,b\"'",
    "optimizer.lr=1=2": "quote what is not plain: optimizer.lr='\"1=2\"'",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_refused_is_quoted_as_typed(line: str) -> None:
    (problem,) = check(line).problems
    assert REFUSED[line] in problem


def test_a_list_for_a_text_argument_is_refused() -> None:
    problems = examine([FOLDER, "data.source.root=[a]"], libraries=True).problems
    assert "data.source.root=['a']: must be text; quote it if it is meant" in problems[0]


def test_hydra_shows_the_text_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    assert main.main(["train", "study=1_0", FOLDER, "data.source.root=a=1", "--cfg", "job"]) == 0
    shown = OmegaConf.create(capfd.readouterr().out)
    assert (shown.study, shown.data.source.root) == ("1_0", "a=1")


def test_a_sweep_in_a_file_is_quoted_for_a_sweeper_that_reads_it() -> None:
    assert quote_arguments(["-m", "seed=1"], {"study": "1_0,b", "seed": "1,2"}) == [
        "-m",
        "seed=1",
        r"++hydra.sweeper.params={study:'\'1_0\',b',seed:'1,2'}",
    ]
    assert quote_arguments(["-m"], {"seed": "1,2"}) == ["-m"]


FILE = """# @package _global_
study: 2024_11_28
data: {name: yes, source: {_target_: headstart.data.sources.image_folder, root: 1_0}}
logger: {entity: None, tags: [a, 1e5, 2024, '1e6']}
strategy: {name: '1_0'}
hydra: {sweeper: {params: {study: 1e5}}}
"""


def test_text_that_a_file_loses_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "experiment" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(FILE)
    problems = check("--config-dir", str(tmp_path), "experiment=mine").problems
    assert problems == [
        f"study: 2024_11_28: YAML reads 20241128 there; quote it: study: '2024_11_28' (in {file})",
        f"data.name: yes: YAML reads True there; quote it: name: 'yes' (in {file})",
        f"data.source.root: 1_0: YAML reads 10 there; quote it: root: '1_0' (in {file})",
        "logger.entity: None: other tools mean null by it: write entity: null, or quote it: entity: 'None' "
        f"(in {file})",
        f"logger.tags: 1e5: YAML reads 100000.0 there; quote it: tags: '1e5' (in {file})",
        f"study: 1e5: YAML reads 100000.0 there; quote it: study: '1e5' (in {file})",
    ]


def test_a_number_of_a_file_that_is_written_as_it_is_read_becomes_text(tmp_path: Path) -> None:
    file = tmp_path / "data" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("name: 7\nsource: {_target_: headstart.data.sources.csv, path: 2024, label: 1}\n")
    command = check("--config-dir", str(tmp_path), "data=mine")
    assert command.problems == []
    data = command.jobs[0].config.data
    assert (data.name, data.source["path"], data.source["label"]) == ("7", "2024", "1")


def test_a_home_folder_is_found_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    lines = ["output_dir=~/out", "data=image_folder", "data.source.root=~/a=b", "model.weights=local-dir:~/w"]
    command = check(*lines)
    config = command.jobs[0].config
    assert command.problems == []
    assert (config.output_dir, config.cache_dir) == (f"{tmp_path}/out", f"{tmp_path}/out/.cache")
    assert (config.data.source["root"], config.model.weights) == (f"{tmp_path}/a=b", f"local-dir:{tmp_path}/w")
    assert command.composer is not None
    launched = command.composer.launch_config(command.jobs[0].overrides)
    assert launched.hydra.run.dir.startswith(f"{tmp_path}/out/runs/.hydra/")
    assert check("output_dir=~no.such.user/x").problems[0].startswith("output_dir=~no.such.user/x: there is no home")


def test_optunas_sweeper_is_refused_in_words_where_it_is_not_installed() -> None:
    problems = check("-m", "hydra/sweeper=optuna", "seed=1,2").problems
    if problems:  # else it is installed
        assert problems == ["hydra/sweeper=optuna: Optuna's sweeper is not installed: pip install 'headstart[sweep]'"]


def test_the_shipped_search_maximises() -> None:
    conf = OmegaConf.load(resolvers.config_folder() / "hydra" / "sweeper" / "optuna.yaml")
    assert conf.direction == "maximize"
