"""The private part of Lightning that headstart uses, with the reason why no public part will do.

======================  ===========================================================================================
`_signal_connector`   puts Lightning's own handler on SIGTERM while a fit lasts; it would end an epoch in the middle
                        of an accumulation, with no checkpoint. No argument, plugin or environment turns it off. A
                        callback that puts our handler back comes too late for a signal between the two; and when the
                        fit ends, Lightning sets *every* signal back to what it was before, also SIGCHLD, by which
                        torch's data loaders of all later phases notice that a worker was killed.
======================  ===========================================================================================

`tests/training/test_lightning_internals.py` looks at the handlers while the installed version fits.
"""

from typing import Any

import pytorch_lightning as pl


def leave_signals_alone(trainer: pl.Trainer) -> None:
    """Have a trainer install no signal handlers: those of `headstart.runtime.signals` stay."""
    connector: Any = trainer._signal_connector
    if not callable(getattr(connector, "register_signal_handlers", None)):
        raise AttributeError("this version of pytorch-lightning installs its signal handlers in another way")
    connector.register_signal_handlers = lambda: None
