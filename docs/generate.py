"""Write the sources of the documentation site: docs/ as it is, and the pages that follow from code and configs.

`python docs/generate.py build/docs` is the first half of `make docs`; zensical makes the site of what it wrote. The
pages under reference/ come from `headstart.config`, the comments in conf/, and the parsers' help, so that they cannot
say anything else than `headstart train --help KEY` does.
"""

from __future__ import annotations

import contextlib
import html
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from headstart.cli.help import read_comment
from headstart.cli.main import VERBS
from headstart.cli.main import main as run_verb
from headstart.cli.visualize import SUBJECTS
from headstart.config import keys, resolvers
from headstart.config.meanings import GROUPS, MEANINGS, PHASE, VALUES, find_example, find_meaning
from headstart.config.ranges import describe_range

DOCS = Path(__file__).resolve().parent
COPIED = ("*.md", "*.css", "pictures/**/*.png", "pictures/**/*.webp")
PAGES = ("strategies", "studies", "commands", "config", "choices")  # generated: reference/NAME.md
WIDTH = 100  # characters of a line of --help


def main(target: Path) -> None:
    """Write all sources of the site into a new folder, in place of what it held."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "reference").mkdir(parents=True)
    for pattern in COPIED:
        for path in DOCS.glob(pattern):
            copy = target / path.relative_to(DOCS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    for name in PAGES:
        text = "\n".join(globals()[f"make_{name}"](resolvers.config_folder())).rstrip() + "\n"
        (target / "reference" / f"{name}.md").write_text(text, "utf-8")


def make_config(conf: Path) -> Iterator[str]:
    """The page of all keys: what each means, what it may be, and what it is by default."""
    defaults = compose_defaults()
    yield from [
        "# Configuration", "",
        "Every key of a run, as `headstart train key=value` sets it. "
        "`headstart train --help data.image_size` says the same about one key, with the files that set it. "
        "[Choices of each group](choices.md) lists the values of `group=choice`.", "",
    ]  # fmt: skip
    every = [*keys.schema_keys(), *MEANINGS]
    tops = list(dict.fromkeys(key.partition(".")[0] for key in every))
    single = [top for top in tops if not any(key.startswith(f"{top}.") for key in every)]
    for top in (top for top in tops if top not in single):
        names = [key for key in dict.fromkeys(every) if key == top or key.startswith(f"{top}.")]
        yield from [f"## {top}", "", escape(find_meaning(top) or ""), ""]
        yield from describe_keys([name for name in names if name != top], defaults)
    yield from ["## Keys without a group", "", *describe_keys(single, defaults)]
    yield from ["## The file that all of it starts from", "", "`conf/config.yaml`:", ""]
    yield from fence("yaml", (conf / "config.yaml").read_text("utf-8"))


def describe_keys(names: list[str], defaults: dict[str, Any]) -> Iterator[str]:
    """A table with a row for each key."""
    yield from ["| key | meaning | values | default |", "|---|---|---|---|"]
    for name in names:
        values = VALUES.get(name) or ", ".join(filter(None, (keys.describe_type(name), describe_range(name))))
        example = find_example(name)
        meaning = escape(find_meaning(name) or "") + (f" Example: `{cell(example)}`" if example else "")
        default = f"`{cell(show(defaults[name]))}`" if name in defaults else ""
        yield f"| `{name}` | {meaning} | {escape(values)} | {default} |"
    yield ""


def compose_defaults() -> dict[str, Any]:
    """What `headstart train` composes without overrides: values that are no mappings, by dotted key.

    The default strategy has one phase, whose keys stand for those of any phase.
    """
    from headstart.preflight.epochs import register_resolvers
    from headstart.preflight.hydra_internals import Loader
    from headstart.preflight.overrides import Composer, without_hydra

    register_resolvers()
    composed = without_hydra(Composer(Loader("config", None, None)).compose([]).config)

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in keys.list_items(node):
            if keys.list_items(value):
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value

    found = dict(walk(composed, ""))
    (phase,) = composed.strategy.phases
    own = f"strategy.phases.{phase}."
    return found | {f"{PHASE}.{key.removeprefix(own)}": value for key, value in found.items() if key.startswith(own)}


def make_choices(conf: Path) -> Iterator[str]:
    """The page of groups: a table of the files of each, but of those that have a page of their own."""
    yield from [
        "# Choices of each group", "",
        "`headstart train group=choice` takes one file of `conf/group/`. The text is the comment at its top. "
        "[Strategies](strategies.md) and [studies](studies.md) have pages of their own.", "",
    ]  # fmt: skip
    for folder in sorted(path for path in conf.iterdir() if path.is_dir()):
        if folder.name in ("strategy", "experiment", "hydra", resolvers.WANDB_SWEEP):
            continue
        meaning = find_meaning(folder.name) or GROUPS.get(folder.name, "")
        yield from [f"## {folder.name}", "", escape(meaning), "", "| choice | what it is |", "|---|---|"]
        for path in sorted(folder.glob("*.yaml")):
            yield f"| `{folder.name}={path.stem}` | {escape(' '.join(read_header(path)) or read_comment(path))} |"
        yield ""


def make_strategies(conf: Path) -> Iterator[str]:
    """The page of strategies: the comment and the text of each file."""
    yield from ["# Strategy files", "", "Each file of `conf/strategy/`, with its paper and what was measured.", ""]
    for path in sorted((conf / "strategy").glob("*.yaml")):
        yield from [f"## {path.stem}", "", escape(" ".join(read_header(path))), ""]
        lines = path.read_text("utf-8").splitlines()
        yield from fence("yaml", "\n".join(line for line in lines if not line.startswith("#")))


def make_studies(conf: Path) -> Iterator[str]:
    """The page of studies: question, command, published figure and measured result of each."""
    yield from [
        "# Studies and their results", "",
        "The head of each file of `conf/experiment/`: question, command, what is published and what was measured. "
        "Intervals are 95 % intervals of the mean over seeds.", "",
    ]  # fmt: skip
    for path in sorted((conf / "experiment").glob("*.yaml")):
        header = read_header(path)
        assert yaml.safe_load(path.read_text("utf-8")) is not None
        yield from [f"## {path.stem}", ""]
        yield from fence("text", "\n".join(header))


def make_commands(conf: Path) -> Iterator[str]:
    """The page of verbs: the help of each."""
    yield from ["# Commands", "", "| verb | what it does |", "|---|---|"]
    yield from (f"| [`{verb}`](#{verb}) | {escape(text)} |" for verb, text in VERBS.items())
    yield from ["", "With `--help`, each prints what stands here.", ""]
    for verb in VERBS:
        yield from [f"## {verb}", ""]
        yield from fence("text", read_help(verb))
        for subject in SUBJECTS if verb == "visualize" else ():
            yield from [f"### visualize {subject}", ""]
            yield from fence("text", read_help(verb, "MODEL_OR_RUN", subject))


def read_help(*words: str) -> str:
    """What a command prints with --help."""
    os.environ["COLUMNS"] = str(WIDTH)
    if words[0] == "train":  # Hydra's own help, which ends its process
        command = [sys.executable, "-m", "headstart", *words, "--help"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        run_verb([*words, "--help"])
    return said.getvalue()


def read_header(path: Path) -> list[str]:
    """The lines of the comment at the top of a config, without `# `."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("# @package")]
    header = []
    for line in lines:
        if not line.startswith("#"):
            break
        header.append(line[1:].removeprefix(" ").rstrip())
    return header


def fence(language: str, text: str) -> list[str]:
    """A block of code."""
    return [f"```{language}", text.strip("\n"), "```", ""]


def cell(text: str) -> str:
    """Text for code in a cell of a table."""
    return text.replace("|", "\\|")


def escape(text: str) -> str:
    """Plain text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_|\[\]{}$])", r"\\\1", html.escape(" ".join(text.split()), quote=False)).replace("\\$", "$")


def show(value: Any) -> str:
    """A value as it would be typed."""
    known = {None: "null", True: "true", False: "false", "???": "must be given", "": "''"}
    value = None if str(value) == "None" else value  # OmegaConf's nodes show themselves so
    return known.get(value, str(value)) if isinstance(value, str | bool | None) else str(value).strip("'")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
