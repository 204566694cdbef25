"""The private parts of Ray that headstart uses, each with the reason why no public part will do.

=========================  ===========================================================================================
``print_to_stdstream``     A thread of Ray's prints a paragraph for each worker that dies, in the middle of the sweep's
                           lines, which say it already; `log_to_driver=False` does not silence it.
``Node.start_api_server``  Without a dashboard and with statistics of use switched off, this process still asks the
                           metadata services of three clouds, over the network, where it runs.
=========================  ===========================================================================================
"""

from typing import Any


def silence(*, local: bool) -> None:
    """Let Ray print nothing of its own to the console of this process.

    Args:
        local: a cluster of this machine alone is about to start: it asks no other machine for anything.
    """
    from ray._private import node, worker

    worker.print_to_stdstream = _do_nothing
    if local:
        node.Node.start_api_server = _do_nothing  # type: ignore[method-assign]


def _do_nothing(*_: Any, **__: Any) -> None:
    """Stand in for a function of Ray's."""
