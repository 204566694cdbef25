"""Make names that W&B takes from the names of studies and runs, which may be longer and have other characters."""

import hashlib
import re
from typing import Any

LONGEST = 128  # characters of a name and of a group
LONGEST_ID = 90  # the id is a part of artifacts' names, which have 128 at most: `run-<id>-testmistakes`


def fit_names(run_id: str, name: str, group: str) -> dict[str, Any]:
    """Return the id, name and group of a run as `wandb.init` takes them; what fits already stays as it is."""
    plain = re.sub(r"[^A-Za-z0-9_.+@-]", "_", run_id)
    return {
        "id": _shorten(run_id, LONGEST_ID) if plain == run_id else _mark(plain, run_id, LONGEST_ID),
        "name": _shorten(name, LONGEST),
        "group": _shorten(group, LONGEST),
    }


def _shorten(text: str, longest: int) -> str:
    return text if len(text) <= longest else _mark(text, text, longest)


def _mark(text: str, whole: str, longest: int) -> str:
    """Cut a text, and add a digest of the whole, so that different names stay different."""
    digest = hashlib.blake2b(whole.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return f"{text[: longest - len(digest) - 1]}-{digest}"
