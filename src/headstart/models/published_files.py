"""The files of published weights: where timm looks for them, in the caches on this machine and on the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

# What timm looks for in a page of the hub, in this order.
HUB_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin")


def find_cached(cfg: Mapping[str, Any]) -> Path | None:
    """The file of the weights of a `pretrained_cfg`, if it is on this machine; no network is asked."""
    from huggingface_hub import try_to_load_from_cache

    for repository, name, revision in _list_hub_files(cfg):
        found = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return _find_download(cfg)


def fetch(cfg: Mapping[str, Any]) -> Path | None:
    """The same file as timm would load now: the hub's newest if the hub answers; None if there is no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for repository, name, revision in _list_hub_files(cfg):
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except EntryNotFoundError:  # also where the hub does not answer and the file is not in its cache
            continue
    return _find_download(cfg)


def find_external(weights: str) -> Path | None:
    """The file in `local-dir:FOLDER`, or of `hf-hub:ID` in the cache; None for other weights, or without a file."""
    source, _, place = weights.partition(":")
    if source == "hf-hub":
        return find_cached({"hf_hub_id": place})
    files = [Path(place) / name for name in HUB_FILES] if source == "local-dir" else []
    return next((path for path in files if path.is_file()), None)


def _list_hub_files(cfg: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """Repository, file and revision, in the order in which timm tries them; none if the weights are not on the hub."""
    page = "" if cfg.get("file") else cfg.get("hf_hub_id") or ""
    repository, _, revision = page.partition("@")
    if repository:
        chosen = cfg.get("hf_hub_filename")
        yield from ((repository, name, revision or None) for name in ((chosen,) if chosen else HUB_FILES))


def _find_download(cfg: Mapping[str, Any]) -> Path | None:
    """The file that the config names, or that torch downloaded from the config's address."""
    from torch import hub

    if cfg.get("file"):
        place = Path(cfg["file"])
    elif cfg.get("url") and not cfg.get("hf_hub_id"):
        place = Path(hub.get_dir()) / "checkpoints" / Path(urlparse(cfg["url"]).path).name
    else:
        return None
    return place if place.is_file() else None
