"""The Hugging Face hub: whether it answers (its client tries each file for 23 seconds), and what to do if not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headstart.errors import UserError

if TYPE_CHECKING:
    from headstart.config.schema import ModelConfig

log = logging.getLogger(__name__)

SECONDS = 3.0


@contextmanager
def offline_if_unreachable(wanted: bool = True) -> Iterator[None]:
    """Inside this context, only the hub's cache is used if the hub does not answer, as with HF_HUB_OFFLINE=1."""
    if not wanted:
        yield
        return
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not before and not _is_reachable(constants.ENDPOINT):
        log.info(
            "  %s does not answer: only weights in the hub's cache on this machine can be used", constants.ENDPOINT
        )
        constants.HF_HUB_OFFLINE = True  # the environment variable itself is read only once, at import
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _is_reachable(url: str) -> bool:
    """Whether the hub answers in time, and not with a server error."""
    from huggingface_hub import get_session

    try:
        return bool(get_session().head(url, timeout=SECONDS).status_code < 500)
    except Exception:
        return False


def make_unavailable_error(config: ModelConfig, error: Exception) -> UserError:
    """Make the error that says which file is missing, and how to download it on another machine."""
    from timm.models import get_pretrained_cfg

    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    source, _, place = config.weights.rpartition(":")
    cfg: Any = get_pretrained_cfg(config.name)
    repository = place if source == "hf-hub" else (getattr(cfg, "hf_hub_id", None) or "")
    name, _, revision = repository.partition("@")
    fetch = f"hf download {name}{f' --revision {revision}' if revision else ''} --local-dir FOLDER"
    if source == "local-dir":
        what = f"the folder must contain the complete config.json and model.safetensors of {config.name}"
        how = f"download it again: {fetch.replace('FOLDER', place)}" if repository else "download it again"
    elif repository:
        what = f"it needs config.json and model.safetensors of {repository} from the Hugging Face hub"
        how = (
            f"On a machine with a network run: {fetch}; copy FOLDER here and set model.weights=local-dir:FOLDER. Or "
            "copy its hub cache, and set HF_HOME to that folder"
        )
    else:
        what = f"it needs {getattr(cfg, 'url', None) or 'a file that timm does not name'}"
        how = "download it on a machine with a network, and set model.weights=FILE"
    return UserError(
        f"model.weights={config.weights}: no pretrained weights for {config.name} ({reason}); {what}. {how}"
    )
