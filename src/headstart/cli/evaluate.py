"""`headstart evaluate`: a trained run on other data, without training."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli.predict import add_imports, parse_count
from headstart.config.paths import make_path
from headstart.errors import UserError

if TYPE_CHECKING:
    from headstart.config.schema import DataConfig, RunConfig
    from headstart.predict.network import Network

DESCRIPTION = """\
Test a trained run on other images of the same classes, which are matched by name: the numbers of result.json, without
training. Images are read as the run read its own. Without data: the run's own test images again."""
EXAMPLES = """\
examples:
  headstart evaluate outputs/demo/RUN data=digits data.n_test=500
  headstart evaluate outputs/demo/RUN photos --part all      a folder of images: a folder for each class
  headstart evaluate outputs/demo/RUN labels.csv --json
  headstart evaluate outputs/demo/RUN                        its own test images: the numbers of its result.json

Nothing is written into the run's folder. Classes of the data that the run does not know are an error that names them.
"""
MOST, FEW = 40, 10  # classes in the terminal: all, or so many of the largest and of the smallest
WIDTH = 100  # where the output is no terminal
FIXED = ("data.image_size", "data.resize")
KEYS = re.compile(r"[+]{0,2}(data|data\..+|cache_dir)")
OUTPUTS = "evaluation.json"


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart evaluate",
        usage="headstart evaluate RUN [DATA] [KEY=VALUE ...] [--part PART] [--json] [--out FOLDER] [...]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a completed run: outputs/STUDY/RUN")
    add("words", nargs="*", metavar="DATA, KEY=VALUE", help="a folder, a table or a name in conf/data; keys of data")
    parts = ("test", "val", "train", "all")
    add("--part", choices=parts, default="test", help="the part of the data that is tested on (default: test)")
    add("--skip-unknown", action="store_true", help="leave out images of classes that the run does not know")
    add("--json", action="store_true", help="print the numbers as JSON, under the names of result.json")
    add("--out", type=Path, metavar="FOLDER", help=f"also write {OUTPUTS}, predictions.csv and predictions.npz there")
    add("--batch-size", type=parse_count, metavar="N", help="images per call (default: as the run's own test)")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, or auto: a GPU if there is one (default: auto)")
    add_imports(parser)
    add("--config-dir", "-cd", metavar="FOLDER", help="a folder of your own configs, as for headstart train")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the verb; wrong input raises a UserError."""
    options = make_parser().parse_intermixed_args(list(argv))
    from headstart.cli.stderr_log import log_to_stderr

    with log_to_stderr():
        network, found = _evaluate(options)
    if options.json:
        print(json.dumps(found))
    else:
        _show(network, found)
    return 0


def _evaluate(options: argparse.Namespace) -> tuple[Network, dict[str, Any]]:
    from headstart.config import own_code
    from headstart.predict.device import choose_device
    from headstart.predict.evaluate import evaluate, prepare_data
    from headstart.predict.run import find_run, load_run, read_config
    from headstart.storage.files import write_json

    folder = find_run(make_path(options.run))
    if folder is None:
        raise UserError(f"{options.run} is no folder of a run: name one, such as outputs/STUDY/RUN")
    _check_out(options.out, folder)
    own_code.load(options.imports)
    network = load_run(folder, choose_device(options.device))
    own = read_config(folder)
    config, cache = choose_data(own, options.words, options.config_dir)
    data = prepare_data(network, config, cache)
    tested = evaluate(network, data, options.part, skip_unknown=options.skip_unknown, batch_size=options.batch_size)
    about = {"run": folder.resolve().name, "model": network.name, "data": config.name, "part": options.part}
    found = about | tested.describe(network)
    if options.out is not None:
        tested.save(options.out, network)
        write_json(options.out / OUTPUTS, found)
    return network, found


def _check_out(out: Path | None, run: Path) -> None:
    """Raise UserError if the numbers cannot be written where they are wanted."""
    if out is None:
        return
    from headstart.storage.files import check_output

    if out.resolve().is_relative_to(run.resolve()):
        raise UserError(f"--out {out} lies in the run's folder, which stays as it is: name another folder")
    check_output(out, "--out", folder=True)


def choose_data(own: RunConfig, words: Sequence[str], config_dir: str | None) -> tuple[DataConfig, Path | None]:
    """The data that the words name, with the run's seed; without a name, the run's own data with some other keys.

    Returns:
        Its config, and the folder of the cache.

    Raises:
        UserError: a word sets something else than the data, or the config has problems.
    """
    from headstart.cli.data_words import names_place, read_words

    places = [word for word in words if names_place(word)]
    if len(places) > 1:
        raise UserError(f"headstart evaluate takes one set of images, not {len(places)}: {', '.join(places)}")
    if places and (make_path(places[0]) / "config.yaml").is_file():
        raise UserError(f"{places[0]}: is a run's folder; name its data: a folder of images, a table, or data=NAME")
    for word in words:
        key = word.partition("=")[0]
        if key.lstrip("+~") == "imports":
            raise UserError(f"{word}: code of your own is brought in by --imports MODULE")
        if word not in places and not KEYS.fullmatch(key):
            raise UserError(f"{word}: only the data of a trained run can be set: data=NAME, such as data.n_test=100")
        if key.lstrip("+~") in FIXED:
            raise UserError(f"{word}: images are read as the run read its own, so this cannot be set")
    named = any(not word.startswith(("data.", "+data.", "cache_dir=")) for word in words)
    if named:
        config = read_words([*words, f"seed={own.seed}"], config_dir).config
        return config.data, config.cache
    return _change(own, words), own.cache


def _change(own: RunConfig, words: Sequence[str]) -> DataConfig:
    """The run's own data with other values of some keys."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from headstart.config.schema import to_plain
    from headstart.config.validate import find_problems, raise_if_any

    try:
        merged = OmegaConf.merge(
            OmegaConf.create(to_plain(own)), OmegaConf.from_dotlist([w.lstrip("+") for w in words])
        )
    except OmegaConfBaseException as error:
        raise UserError(f"{' '.join(words)}: {str(error).partition(chr(10))[0]}") from error
    problems, config = find_problems(merged)  # type: ignore[arg-type]
    raise_if_any(problems)
    assert config is not None
    return replace(config.data, storage="auto")


def _show(network: Network, found: dict[str, Any]) -> None:
    """Print the numbers beside those of the run's own test, then class by class."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from headstart.data.filenames import escape_name, list_names
    from headstart.data.summary import choose_rows
    from headstart.storage.records import read_result

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(f"{found['run']}  on  {escape_name(found['data'])}: {found['n_test']:,} images ({found['part']})")
    result = read_result(network.folder) if network.folder else None
    before = {} if result is None else result["test"]
    table = Table(box=None, pad_edge=False)
    for heading in ("", "here", "in the run"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, value in found["test"].items():
        table.add_row(name, _write(value), _write(before.get(name)))
    console.print(table)
    if found["classes_without_images"]:
        console.print(f"classes without an image here: {list_names(found['classes_without_images'])}")
    for name, number in found["unknown_classes_left_out"].items():
        console.print(f"left out, unknown to the run: {escape_name(name)} ({number:,} images)")
    rows = [row for row in found["per_class"] if row["images"]]
    shown, hidden = choose_rows([row["images"] for row in rows], MOST, FEW)
    classes = Table(box=None, pad_edge=False)
    for heading in ("class", "images", "recall", "precision", "f1"):
        classes.add_column(heading, justify="left" if heading == "class" else "right")
    for row in (rows[at] for at in shown):
        numbers = (_write(row[name]) for name in ("recall", "precision", "f1"))
        classes.add_row(Text(escape_name(row["name"])), f"{row['images']:,}", *numbers)
    console.print(classes)
    if hidden:
        console.print(f"… {hidden:,} more classes: --json or --out FOLDER")


def _write(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
