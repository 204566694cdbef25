"""What a model card says of the licence: derived from the first weights, never chosen here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.export.lineage import RANDOM, Ancestor

# Identifiers that the Hugging Face hub knows among those that timm's weights have; another is `other`, with its name.
KNOWN = frozenset(
    [
        *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
        *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
        *("openrail", "apple-ascl", "apple-amlr", "unknown"),
    ]
)


def make_front_matter(licence: str | None, ancestors: list[Ancestor], more: Mapping[str, str]) -> str:
    """The YAML that the Hugging Face hub reads: licence, library, task, base, and the keys of `more`."""
    import yaml

    content: dict[str, Any] = {"license": "unknown"}
    if licence is not None:
        content = {"license": licence} if licence in KNOWN else {"license": "other", "license_name": licence}
    content |= {"library_name": "timm", "pipeline_tag": "image-classification"}
    content["tags"] = ["image-classification", "timm", "headstart"]
    if ancestors[-1].page:
        content["base_model"] = ancestors[-1].page
    content |= more
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip()


def describe(licence: str | None, ancestors: list[Ancestor]) -> str:
    """A sentence or two on the licence."""
    if ancestors[-1] is RANDOM:
        return (
            "Trained from random weights, so no earlier weights bring a licence along: its author chooses one, and the "
            "terms of the data count. Until then it is `unknown`."
        )
    first = ancestors[-1].words
    if licence is None:
        return (
            f"Unknown: none is stated by {first}. Find out the terms of these weights before you hand them on; being "
            "trained further does not change them."
        )
    limit = " It forbids commercial use, and so does this network's." if "-nc" in licence else ""
    return (
        f"`{licence}`, that of the first weights it was trained from ({first}).{limit} The data's own terms count too."
    )
