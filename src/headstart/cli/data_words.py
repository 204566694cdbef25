"""What the words of `headstart data WORDS` mean: a name in conf/data, a folder, a table, a run, or overrides."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from headstart.config.instantiate import escape_references
from headstart.config.paths import make_path
from headstart.config.schema import RunConfig
from headstart.data.filenames import escape_name
from headstart.errors import UserError, did_you_mean

log = logging.getLogger(__name__)

OVERRIDE = re.compile(r"[~+]{0,2}[\w./@:-]+=|~")
NAME = re.compile(r"[\w-]+")
TABLES = (".csv", ".tsv", ".txt")
HF_FILES = ("dataset_dict.json", "state.json", "*.parquet", "data/*.parquet")


@dataclass(frozen=True)
class Request:
    """What to look at: a checked config, and a short name for it."""

    name: str
    config: RunConfig


def read_words(words: Sequence[str], config_dir: str | None = None) -> Request:
    """Find out what the words mean, compose the config and check it as `headstart train` does, without weights.

    Raises:
        UserError: nothing has the name, or the config has problems.
    """
    from headstart.config.validate import raise_if_any
    from headstart.preflight.command import examine

    places = [word for word in words if names_place(word)]
    overrides = [word for word in words if word not in places]
    if len(places) > 1:
        raise UserError(f"headstart data takes one thing to look at, not {len(places)}: {', '.join(places)}")
    place = make_path(places[0]) if places else None
    if place is not None and (place / "config.yaml").is_file():
        return _read_run(place, overrides)
    name, chosen = _choose_source(places[0], config_dir) if places else (None, [])
    argv = [*chosen, *overrides]
    if config_dir is not None:
        argv = [*argv, "--config-dir", config_dir]
    command = examine(argv, libraries=True, machine=False)
    raise_if_any(command.problems)
    config = command.jobs[0].config
    return Request(name or config.data.name, config)


def names_place(word: str) -> bool:
    """Whether a word names the data, and is no override: the name of a file may have a = too."""
    return OVERRIDE.match(word) is None or (make_path(word).exists() and not word.startswith("data="))


def _choose_source(word: str, config_dir: str | None) -> tuple[str, list[str]]:
    """A name in conf/data, a folder or a table: its short name, and the overrides that it stands for."""
    from headstart.config import resolvers
    from headstart.preflight.hydra_internals import Loader

    resolvers.register()
    path = make_path(word)
    if NAME.fullmatch(word):
        known = Loader("config", config_dir).options("data")
        if word not in known and not path.exists():
            raise _make_missing_error(word, known)
        if word in known:
            if path.exists():
                log.warning("%s is the set of conf/data; for the file or folder here, type ./%s", word, word)
            return word, [f"data={word}"]
    if _is_hf_set(path):
        return path.stem, ["data=hf_datasets", f"data.source.path={_quote(word)}"]
    if path.is_dir():
        return path.resolve().name, ["data=image_folder", f"data.source.root={_quote(word)}"]
    if path.is_file() and path.suffix.lower() in TABLES:
        return path.stem, ["data=csv", f"data.source.path={_quote(word)}"]
    if path.exists():
        raise UserError(
            f"{escape_name(word)}: a folder of images or a table ({', '.join(TABLES)}) is needed; a table of another "
            "ending is read by data=csv data.source.path=FILE"
        )
    raise _make_missing_error(word, ())


def _make_missing_error(word: str, known: Iterable[str]) -> UserError:
    hint = did_you_mean(word, known, "; did you mean {}?")
    return UserError(
        f"{escape_name(word)}: there is no such file or folder, and no such name in conf/data{hint}; headstart train "
        "--help lists the names"
    )


def _is_hf_set(path: Path) -> bool:
    """Whether a folder or file is a set of Hugging Face datasets: parquet files, or what `save_to_disk` writes."""
    if not path.is_dir():
        return path.suffix.lower() == ".parquet" and path.is_file()
    return any(next(path.glob(name), None) for name in HF_FILES)


def _quote(text: str) -> str:
    """The text as a value of Hydra, in which ${ is no reference to another key."""
    return QuotedString(text=escape_references(text), quote=Quote.single).with_quotes()


def _read_run(folder: Path, overrides: Sequence[str]) -> Request:
    """The config of a run, from its folder."""
    import yaml
    from omegaconf import OmegaConf

    from headstart.config import resolvers
    from headstart.preflight.command import check_composed

    resolvers.register()
    if overrides:
        raise UserError(
            f"{folder}: what a run has read is shown as it was, so {' '.join(overrides)} has no place here; its own "
            "overrides, to which yours can be added, stand in its overrides.yaml"
        )
    try:
        composed = OmegaConf.load(folder / "config.yaml")
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / 'config.yaml'} cannot be read: {str(error).splitlines()[0]}") from error
    config = check_composed(composed, machine=False)  # type: ignore[arg-type] # a list has no such keys, and is refused
    # the run settled how its own machine keeps images; this one may have less memory
    return Request(folder.resolve().name, replace(config, data=replace(config.data, storage="auto")))


def list_roots(source: Mapping[str, Any]) -> Iterator[Path]:
    """The folders and files that a source reads, as far as its keys name them."""
    for key in ("root", "path", "images"):
        if isinstance(value := source.get(key), str):
            yield make_path(value).resolve()
