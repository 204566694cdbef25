"""Whether W&B is wanted at all, and whether its server can be reached."""

import os
import threading
from collections.abc import Callable


def is_switched_off() -> bool:
    """Say whether the environment turns W&B off altogether."""
    disabled = os.environ.get("WANDB_DISABLED", "").strip().lower() in ("1", "true", "yes", "on", "y", "t")
    return disabled or os.environ.get("WANDB_MODE", "").strip().lower() == "disabled"


def server_answers(url: str) -> bool:
    """Say whether the W&B server at `url` answers within 1.5 s, with anything but an error of its own."""
    status = ask_server(url)
    return status is not None and status < 500


def ask_server(url: str) -> int | None:
    """The HTTP status with which the W&B server at `url` answers within 1.5 s; None if it cannot be reached."""
    import requests

    try:
        return requests.post(f"{url}/graphql", json={"query": "{ __typename }"}, timeout=1.5).status_code
    except Exception:
        return None


def start_describing_server(url: str) -> Callable[[], str]:
    """Ask the server in the background; the function that is returned says what is wrong if it accepts no run.

    A run has few seconds to wait for W&B: the answer is there when `wandb.init` gives up.
    """
    statuses: list[int | None] = []
    thread = threading.Thread(target=lambda: statuses.append(ask_server(url)), daemon=True)
    thread.start()

    def describe() -> str:
        thread.join()
        if statuses[0] is None:
            return f"W&B is unreachable ({url})"
        return (
            f"W&B's server answers with an error ({statuses[0]})"
            if statuses[0] >= 400
            else "W&B did not accept the run"
        )

    return describe
