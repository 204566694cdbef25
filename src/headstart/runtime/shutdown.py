"""The end of a process that has done its work: its exit handlers, then out, without the interpreter's teardown.

That takes torch apart piece by piece (1.2 s of 6), and aborts a process in which a thread of gloo's still holds a
tensor: the thread asks for an interpreter that is gone (pytorch/pytorch issues 38228 and 190489).
"""

import atexit
import os
import sys
from contextlib import suppress


def exit_quickly() -> list[int]:
    """Return a list; the code put into it ends the process once every handler registered after this call has run.

    To be called before anything else registers a handler, since the first registered is the last to be called. A
    process that ends with the list empty, as by a crash, ends the usual way.
    """
    codes: list[int] = []
    atexit.register(_leave, codes)
    return codes


def _leave(codes: list[int]) -> None:
    if codes:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
                stream.flush()
        os._exit(codes[0])
