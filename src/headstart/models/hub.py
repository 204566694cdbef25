"""A check whether the Hugging Face hub can be reached; without it, the hub's client tries each file for 23 seconds."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

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
