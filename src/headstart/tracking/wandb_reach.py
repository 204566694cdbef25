"""Whether W&B is wanted at all, and whether its server can be reached."""

import os


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
