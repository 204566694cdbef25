"""Whether W&B is wanted at all, and whether its server can be reached."""

import os
import threading
import time
from contextlib import suppress

ANSWER_SECONDS = 1.5
LONGEST_WAIT = 2.5  # for the first answer of a server, where a run ends before it
LONGEST_ANSWER = 10.0  # a server known to be slow is waited for so long at most
_slowest: dict[str, float] = {}  # seconds that a server's answers have taken in this process, by its address


def is_switched_off() -> bool:
    """Say whether the environment turns W&B off altogether."""
    disabled = os.environ.get("WANDB_DISABLED", "").strip().lower() in ("1", "true", "yes", "on", "y", "t")
    return disabled or os.environ.get("WANDB_MODE", "").strip().lower() == "disabled"


def find_patience(url: str) -> float:
    """How long to wait for an answer of a server: three times as long as it ever took in this process."""
    return min(max(ANSWER_SECONDS, 3 * _slowest.get(url, 0.0)), LONGEST_ANSWER)


class ServerCheck:
    """Asks a W&B server in the background whether it is well: a run has few seconds to wait for W&B."""

    def __init__(self, url: str, patience: float | None = None) -> None:
        self.url = url
        self.patience = find_patience(url) if patience is None else patience
        self._status: int | None = None
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        import requests

        with suppress(Exception):  # it cannot be reached
            reply = requests.post(f"{self.url}/graphql", json={"query": "{ __typename }"}, timeout=self.patience)
            self._status = reply.status_code
            if reply.status_code < 500:
                _slowest[self.url] = max(time.monotonic() - self._began, _slowest.get(self.url, 0.0))

    def is_well(self) -> bool:
        """Whether the server answers, with anything but an error of its own."""
        self._thread.join()
        return self._status is not None and self._status < 500

    def answers_within(self, seconds: float) -> bool:
        """Whether it answers well within so many seconds from now."""
        self._thread.join(seconds)
        return self._status is not None and self._status < 500

    def answers_by(self, seconds: float) -> bool:
        """Whether it has answered well `seconds` after it was asked.

        It is given more where it was slow before, and 2.5 s from now at most where it has never answered this process.
        """
        if self.url in _slowest:
            self._thread.join(find_patience(self.url))
        else:
            self._thread.join(min(max(self._began + seconds - time.monotonic(), 0.0), LONGEST_WAIT))
        return self._status is not None and self._status < 500

    def describe(self, otherwise: str) -> str:
        """Say what is wrong with the server; `otherwise`, if nothing is."""
        self._thread.join(max(self._began + ANSWER_SECONDS - time.monotonic(), 0.0))
        if self._status is None:
            return f"W&B is unreachable ({self.url})"
        return f"W&B's server answers with an error ({self._status})" if self._status >= 400 else otherwise
