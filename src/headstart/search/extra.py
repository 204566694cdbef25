"""The extra `search`: Optuna, imported when a search or a rule of `prune` needs it."""

from importlib.util import find_spec
from typing import Any

from headstart.errors import UserError


def find_missing_optuna(what: str) -> str | None:
    """What is wrong, with the command that mends it, if Optuna is not installed; `what` needs it."""
    if find_spec("optuna") is not None:
        return None
    return f"{what}: Optuna is not installed: pip install 'headstart[search]'"


def import_optuna(what: str) -> Any:
    """Import Optuna, which then keeps its own lines for itself.

    Raises:
        UserError: it is not installed.
    """
    if (problem := find_missing_optuna(what)) is not None:
        raise UserError(problem)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
