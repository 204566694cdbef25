"""Log lines and progress on standard error, for verbs whose standard output is data."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext


@contextmanager
def log_to_stderr(level: int = logging.INFO, *, progress: bool = True) -> Iterator[None]:
    """Inside this context, headstart's log lines of this level and its progress go to standard error."""
    from headstart.storage.redact import Formatter
    from headstart.tracking import progress as shown

    root, log = logging.getLogger(), logging.getLogger("headstart")
    handler, before = logging.StreamHandler(sys.stderr), log.level
    handler.setFormatter(Formatter("%(message)s"))
    root.addHandler(handler)
    log.setLevel(level)
    logging.getLogger(shown.__name__).setLevel(logging.INFO)
    try:
        with shown.watch_run() if progress else nullcontext():
            yield
    finally:
        logging.getLogger(shown.__name__).setLevel(logging.NOTSET)
        log.setLevel(before)
        root.removeHandler(handler)
