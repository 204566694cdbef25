"""The Hugging Face hub, asked once whether it answers: its client would try each file for 23 seconds."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

SECONDS = 3.0


@contextmanager
def offline_if_unreachable(wanted: bool = True) -> Iterator[None]:
    """Within it the hub is left alone if it does not answer now, as by HF_HUB_OFFLINE=1: its cache counts alone."""
    if not wanted:
        yield
        return
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not before and not _answers(constants.ENDPOINT):
        log.info(
            "  %s does not answer: only weights in the hub's cache on this machine can be used", constants.ENDPOINT
        )
        constants.HF_HUB_OFFLINE = True  # what the environment variable sets, but that was read long ago
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(url: str) -> bool:
    """Whether the hub answers in time, with anything but an error of its own."""
    from huggingface_hub import get_session

    try:
        return bool(get_session().head(url, timeout=SECONDS).status_code < 500)
    except Exception:
        return False
