"""Every command of headstart that a document, a config's comment or a help shows is one that headstart takes.

`headstart train` commands are composed and checked as `headstart train` does it before a run, each value of a sweep
once; the arguments of other verbs are parsed, and what they set is composed.
"""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from headstart.cli.help import find_words
from headstart.cli.help import main as explain_keys
from headstart.cli.main import VERBS
from headstart.cli.visualize import EXAMPLES, SUBJECTS
from headstart.config import resolvers
from headstart.config.values import find_value_problems
from headstart.errors import UserError
from headstart.preflight.command import compose_job
from headstart.preflight.epochs import register_resolvers
from headstart.preflight.hydra_internals import Loader, parse_arguments
from headstart.preflight.overrides import Composer
from headstart.preflight.parse import parse_overrides
from headstart.preflight.quoting import TextKeys
from headstart.preflight.sweep import list_axes, use_each_value_once

TOP = Path(__file__).resolve().parents[1]
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").glob("**/*.md"))]
PARSERS = {verb: f"headstart.cli.{verb}" for verb in VERBS if verb != "train"} | {"zoo": "headstart.zoo.command"}
generate = runpy.run_path(str(TOP / "docs" / "generate.py"))


def split(line: str) -> Iterator[list[str]]:
    """The words of each command of headstart in a line of a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("&|;<>"):
            words.append(word)
            continue
        if words and words[0] == "exec":  # of a script for Slurm
            words = words[1:]
        if words and words[0] == "headstart":
            yield words[1:]
        words = []


def find_in_blocks(text: str) -> Iterator[list[str]]:
    """The commands in a page's blocks of code, comments in YAML among them."""
    for block in re.findall(r"^```\w+[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            shown = re.match(r"(?:\$ |# Command: +)?((?:exec )?headstart .*)", line)
            if shown:
                yield from split(shown[1])


def find_in_prose(text: str) -> Iterator[list[str]]:
    """The commands in a page's prose that have arguments; a verb alone is a name, not a command."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for shown in re.findall(r"(?<!`)`(headstart [^`]+)`(?!`)", prose):
        for words in split(shown.replace("\n", " ")):
            if len(words) == 1 or (words[0] == "visualize" and words[1:] in [[subject] for subject in SUBJECTS]):
                assert words[0] in VERBS or words[0].startswith("-"), shown
            else:
                yield words


def find_in_pages() -> Iterator[tuple[str, list[str]]]:
    """Each command in the documents, with its page."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for words in (*find_in_blocks(text), *find_in_prose(text)):
            yield page.relative_to(TOP).as_posix(), words


def find_in_configs() -> Iterator[tuple[str, list[str]]]:
    """The command in the comment of each study, in its small form, and of each search."""
    folder = resolvers.config_folder()
    for path in sorted([*folder.glob("experiment/*.yaml"), *folder.glob("hparams_search/*.yaml")]):
        (line,) = re.findall(r"^# Command: +(.*?)(?: {2,}.*)?$", path.read_text("utf-8"), re.MULTILINE)
        for words in split(line.replace("[size=small]", "size=small")):
            yield path.name, words


def find_in_help() -> Iterator[tuple[str, list[str]]]:
    """The examples in the help of each verb and of each subject of visualize."""
    for words in [*([verb] for verb in PARSERS), *(["visualize", "RUN", subject] for subject in SUBJECTS)]:
        examples = re.findall(
            r"^ {2}((?:find .* )?headstart .*?)(?: {2,}.*)?$", generate["read_help"](*words), re.MULTILINE
        )
        assert examples, f"headstart {' '.join(words)} --help shows no example"
        yield from ((f"{' '.join(words)} --help", found) for line in examples for found in split(line))


COMMANDS = list(
    {
        " ".join(words): (where, words) for where, words in [*find_in_pages(), *find_in_configs(), *find_in_help()]
    }.values()
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of one's own that the pages show."""
    folder = tmp_path_factory.mktemp("own")
    for page in PAGES:
        shown = r"```yaml(?: title=\"|\n# )(my_conf/[\w./]+)\"?\n(.*?)```"
        for name, content in re.findall(shown, page.read_text("utf-8"), re.DOTALL):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
    return folder


@cache
def load(config_dir: str | None) -> tuple[Loader, Composer, TextKeys]:
    """Read conf/, and a folder of one's own, once for all commands."""
    register_resolvers()
    loader = Loader("config", config_dir, None)
    composer = Composer(loader)
    return loader, composer, TextKeys(composer)


def find_problems(words: list[str]) -> list[str]:
    """What `headstart train WORDS` has to say before a run, but for what only torch and timm know."""
    arguments = parse_arguments(words)
    loader, composer, texts = load(arguments.config_dir)
    multirun = arguments.multirun
    quoted = texts.quote(arguments.overrides, multirun=multirun)
    problems, overrides = parse_overrides(loader.parser, arguments.overrides, quoted, multirun)
    if any(override.is_hydra_override() for override in overrides):
        problems += composer.compose([one for one in overrides if one.is_hydra_override()]).problems
    for job in use_each_value_once(list_axes(overrides)) if multirun else [overrides]:
        config = composer.read_values(job)
        if config is None or any(find_value_problems(config)):
            problems += compose_job(composer, job, this_machine=False)[0]
    return problems


def replace_lists(words: list[str]) -> list[str]:
    """Put `-m` in the place of `--sweep FILE`: tests/preflight read such files, and no page has a whole one."""
    if "--sweep" not in words:
        return words
    at = words.index("--sweep")
    return [*words[:at], "-m", *words[at + 2 :]]


def check(words: list[str]) -> None:
    """Fail where headstart would not take a command."""
    verb, rest = words[0], [word for word in words[1:] if word != "--explain"]
    if verb.startswith("-"):
        assert verb in ("-sc", "--help", "--version")
    elif verb == "train" and find_words(rest):
        explain_keys(rest)
    elif verb == "train":
        assert find_problems(replace_lists(rest)) == []
    elif "--help" in rest:
        assert "usage" in generate["read_help"](*words)
    else:
        parser = import_module(PARSERS[verb]).make_parser()
        parse = parser.parse_args if verb == "visualize" else parser.parse_intermixed_args
        options = parse(rest)
        keys = [word for word in getattr(options, "words", ()) if "=" in word]
        named = any(word.startswith("data=") for word in keys)
        assert find_problems(keys if named else ["data=csv", "data.source.path=labels.csv", *keys]) == []


@pytest.mark.parametrize(("where", "words"), COMMANDS, ids=[" ".join(words) for _, words in COMMANDS])
def test_a_command_is_taken(where: str, words: list[str], own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    if "hydra/sweeper=optuna" in words:
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="an extra that not everybody has")
    try:
        check(words)
    except SystemExit as refused:
        raise AssertionError(f"{where}: headstart {' '.join(words)} is refused") from refused


def test_many_commands_are_found_everywhere() -> None:
    places = [where for where, _ in COMMANDS]
    assert len(COMMANDS) > 120
    assert {"README.md", "docs/sweeps.md", "docs/slurm.md", "docs/look-inside.md"} <= set(places)
    assert {words[0] for _, words in COMMANDS} >= set(VERBS)
    assert EXAMPLES.keys() == SUBJECTS.keys()


@pytest.mark.parametrize(
    "wrong",
    [
        "headstart trian seed=1",
        "headstart train stratgy=finetune",
        "headstart train -m seed=0,x",
        "headstart train --help data.imagesize",
        "headstart predict efficientnet_lite0",
        "headstart visualize efficientnet_lite0 dreams a.jpg",
        "headstart evaluate outputs/demo/RUN data.n_tests=5",
        "headstart compare demo --metrics f1",
    ],
)
def test_a_wrong_command_would_be_found(wrong: str) -> None:
    (words,) = split(wrong)
    with pytest.raises((AssertionError, SystemExit, KeyError, UserError)):
        check(words)
