"""The extra `trust`: what to say where it is not installed."""

from importlib.util import find_spec

from headstart.errors import UserError


def require_cleanlab(command: str) -> None:
    """Raise UserError with the command that installs it, if cleanlab is missing."""
    if find_spec("cleanlab") is None:
        raise UserError(f"{command} needs cleanlab, which is not installed: pip install 'headstart[trust]'")
