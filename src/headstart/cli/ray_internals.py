"""The private part of Ray that headstart uses, with the reason why no public part will do.

======================  ==============================================================================================
``print_to_stdstream``  A thread of Ray's prints a paragraph for each worker that dies, in the middle of the sweep's
                        lines, which say it already; `log_to_driver=False` does not silence it.
======================  ==============================================================================================
"""

from typing import Any


def silence() -> None:
    """Let Ray print nothing of its own to the console of this process."""
    from ray._private import worker

    worker.print_to_stdstream = _drop


def _drop(*_: Any, **__: Any) -> None:
    """Print nothing."""
