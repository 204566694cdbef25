"""Whether W&B is wanted at all, and whether its server can be reached."""

import os
import threading
from contextlib import suppress

ANSWER_SECONDS = 1.5


def is_switched_off() -> bool:
    """Say whether the environment turns W&B off altogether."""
    disabled = os.environ.get("WANDB_DISABLED", "").strip().lower() in ("1", "true", "yes", "on", "y", "t")
    return disabled or os.environ.get("WANDB_MODE", "").strip().lower() == "disabled"


class ServerCheck:
    """Asks a W&B server in the background whether it is well: a run has few seconds to wait for W&B."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._status: int | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        import requests

        with suppress(Exception):  # it cannot be reached
            reply = requests.post(f"{self._url}/graphql", json={"query": "{ __typename }"}, timeout=ANSWER_SECONDS)
            self._status = reply.status_code

    def is_well(self) -> bool:
        """Whether the server answers, with anything but an error of its own."""
        self._thread.join()
        return self._status is not None and self._status < 500

    def describe(self, otherwise: str) -> str:
        """Say what is wrong with the server; `otherwise`, if nothing is."""
        self._thread.join(ANSWER_SECONDS)
        if self._status is None:
            return f"W&B is unreachable ({self._url})"
        return f"W&B's server answers with an error ({self._status})" if self._status >= 400 else otherwise
