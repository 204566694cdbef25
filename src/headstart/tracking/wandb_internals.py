"""The private parts of W&B that headstart uses, each with the reason why no public part will do.

=================================  ====================================================================================
`setup()._connection._proc`      the process that writes and uploads. `wandb.teardown` waits for it, without a limit,
                                   also where it hangs; nothing in public ends it, or tells its number.
`register_post_import_hook`      counts imports, in whatever thread: where its process has died meanwhile, an import
                                   of a module on its list fails. No setting turns it off.
`NetStatThr`                     the thread that asks its process for news, and prints a traceback where that is gone.
`wandb.sdk.lib.asyncio_manager`  the logger that prints a traceback where another one that asks finds it gone.
`_stop_checker`                  knows whether the server wants the run stopped; in public, it only raises Ctrl-C for
                                   that, some time after the agent of a sweep has sent its signal.
`WANDB_SERVICE`                  names the process that a program around this one has started: W&B would use it, and
                                   record nothing once it ends. The variable's form is private.
settings whose names begin in x_   keep it from looking at the machine and its packages, make it write every second, and
                                   send numbers every 5 s: final ones go out while pictures are still uploaded.
=================================  ====================================================================================

`tests/tracking/test_wandb_internals.py` looks for each part in the installed version, `test_wandb_sweep.py` for the
checker.
"""

import contextlib
import functools
import logging
import os
import threading
from typing import Any

log = logging.getLogger(__name__)

NEWS_THREAD = "NetStatThr"
NEWS_LOGGER = "wandb.sdk.lib.asyncio_manager"
SETTINGS: dict[str, Any] = {
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 1.0,
    "x_file_stream_transmit_interval": 5.0,
}
MACHINE = ("x_disable_stats", "x_disable_machine_info")  # use of processor and memory is sent with both of them off


def kill_service() -> None:
    """End W&B's process at once; what it has not written is lost. Raises whatever, where there is none."""
    import wandb

    connection: Any = wandb.setup()._connection
    connection._proc._process.kill()


def is_stopped(run: Any) -> bool:
    """Whether W&B's server has asked that the run stops; False if that is not known."""
    with contextlib.suppress(Exception):
        import wandb

        checker = run._run_status_checker._stop_checker._impl
        return bool(wandb.setup().asyncer.run(checker._check_should_stop))
    return False


def count_no_imports() -> None:
    """Keep W&B's hooks out of the imports that it counts."""
    with contextlib.suppress(Exception):
        from wandb.sdk import wandb_run

        vars(wandb_run)["register_post_import_hook"] = lambda *_, **__: None


@functools.cache  # once a process
def silence_news() -> None:
    """Let what asks W&B's process for news end without a traceback: that it is gone is said by a warning of ours."""
    before = threading.excepthook

    def hook(end: threading.ExceptHookArgs) -> None:
        if end.thread is None or end.thread.name != NEWS_THREAD:
            before(end)
        else:
            log.debug("W&B's %s ended: %s", NEWS_THREAD, end.exc_value)

    def drop(record: logging.LogRecord) -> bool:
        log.debug("W&B's %s: %s", NEWS_LOGGER, record.exc_info[1] if record.exc_info else record.getMessage())
        return False

    threading.excepthook = hook
    logging.getLogger(NEWS_LOGGER).addFilter(drop)


def forget_inherited_service() -> None:
    """Have W&B start a process of its own, where it would use that of a program around this one."""
    if f"-{os.getpid()}-" not in os.environ.get("WANDB_SERVICE", ""):
        os.environ.pop("WANDB_SERVICE", None)
