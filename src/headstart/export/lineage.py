"""Where a run's weights come from, step by step back to the first ones, and the licence that follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import UserError
from headstart.models import factory, preprocessing
from headstart.predict.run import read_config
from headstart.storage.records import read_result

if TYPE_CHECKING:
    from headstart.config.schema import ModelConfig

# How the text of a licence begins, for packages whose metadata do not name it.
TEXTS = {"apache license version 2.0": "apache-2.0", "mit license": "mit", "bsd 3-clause": "bsd-3-clause"}
NAMES = {"apache software license": "apache-2.0", "apache 2.0": "apache-2.0", "mit license": "mit"}
NO_LICENCE = ("", "unknown", "none", "other")


@dataclass(frozen=True)
class Ancestor:
    """One place that weights came from, in words without a path of this machine.

    Attributes:
        words: what it is.
        licence: the identifier of its licence; None: it names none.
        digest: of the weights, as the run that started from them recorded it.
        page: its page on the Hugging Face hub, if it has one.
    """

    words: str
    licence: str | None = None
    digest: str | None = None
    page: str | None = None


RANDOM = Ancestor("random weights")  # those of a run from scratch, which bring no licence along


def trace(folder: Path) -> list[Ancestor]:
    """The places that the weights of a run came from, the nearest first; the last may be `RANDOM`."""
    found: list[Ancestor] = []
    visited: set[Path] = set()
    here: Path | None = folder
    while here is not None and here.resolve() not in visited:
        visited.add(here.resolve())
        config = read_config(here)
        if config.strategy.start == "scratch":
            found.append(RANDOM)
            break
        result = read_result(here)
        digest = None if result is None else (result.get("digests") or {}).get("weights")
        parent = preprocessing.find_run(config.model.weights)
        if parent is None:
            found.append(_describe(config.model, digest))
            break
        found.append(Ancestor(f"the run {parent.resolve().name} (headstart)", None, digest))
        here = parent if (parent / "config.yaml").is_file() else None
        if here is None:
            found.append(Ancestor("what that run started from, which is not known here"))
    return found


def derive_licence(ancestors: list[Ancestor]) -> str | None:
    """The licence of the first weights, which those that were trained from them keep; None: it is not known."""
    return ancestors[-1].licence


def _describe(config: ModelConfig, digest: str | None) -> Ancestor:
    source, _, place = config.weights.partition(":")
    if source == "package":
        return Ancestor(f"the Python package {place}", _read_package(place), digest)
    if source in ("local-dir", "hf-hub"):
        try:
            cfg, _ = factory.read_external_config(config)
        except UserError:
            cfg = {}
        page = place.partition("@")[0] if source == "hf-hub" else None
        words = f"hf-hub:{place}" if page else f"a folder in timm's format ({Path(place).name})"
        return Ancestor(words, _clean(cfg.get("license")), digest, page)
    if config.weights == "imagenet":
        cfg = factory.build_outline(config).pretrained_cfg
        tag = f".{cfg['tag']}" if cfg.get("tag") else ""
        words = f"timm's published weights of {config.name.partition('.')[0]}{tag}"
        return Ancestor(words, _clean(cfg.get("license")), digest, _name_page(cfg))
    return Ancestor(f"a file ({Path(config.weights).name})", None, digest)


def _name_page(cfg: Any) -> str | None:
    page = str(cfg.get("hf_hub_id") or "").partition("@")[0]
    return page if "/" in page and not page.endswith("/") else None


def _clean(licence: Any) -> str | None:
    text = str(licence or "").strip().lower()
    return None if text in NO_LICENCE else NAMES.get(text, text)


def _read_package(module: str) -> str | None:
    """The licence of an installed package, from its metadata or else from the text of its licence."""
    names = packages_distributions().get(module) or [module]
    try:
        package = distribution(names[0])
    except PackageNotFoundError:
        return None
    for key in ("License-Expression", "License"):
        if known := _clean(next(iter(package.metadata.get_all(key) or ()), None)):
            return known if len(known) < 40 else None
    return _recognise(package)


def _recognise(package: Distribution) -> str | None:
    for file in package.files or ():
        if not re.match(r"(LICEN[CS]E|COPYING)", file.name):
            continue
        path = Path(str(file.locate()))
        head = " ".join(re.sub(r"[,()]", " ", path.read_text("utf-8", "replace")[:400]).lower().split())
        return next((name for start, name in TEXTS.items() if start in head), None)
    return None
