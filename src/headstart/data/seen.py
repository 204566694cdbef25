"""The ids of the images that a run's weights have seen in training, kept beside them for runs that start from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.data.ids import ID_BYTES, pack_ids, unpack_ids
from headstart.models.preprocessing import find_run
from headstart.storage.files import write_whole

if TYPE_CHECKING:
    from headstart.data.splits import Part

log = logging.getLogger(__name__)

NAME = "seen.ids"  # in a run's folder


def read_seen(run: Path | None) -> set[str]:
    """Ids of the images that a run was trained on or chosen by, its own forerunners' too; empty if it states none."""
    try:
        content = (run / NAME).read_bytes() if run else b""
    except OSError:
        return set()
    if len(content) % ID_BYTES:
        log.warning("%s is damaged: whether its images stand in the test part is not known", run and run / NAME)
        return set()
    return unpack_ids(content)


def write_seen(run: Path, parts: Mapping[str, Part], earlier: set[str]) -> None:
    """Write the ids of train and val, and those that the weights had seen before the run."""
    ids = earlier.union(parts["train"].ids, parts["val"].ids)
    with write_whole(run / NAME, ID_BYTES * len(ids)) as path:
        path.write_bytes(pack_ids(ids))


def find_seen(test: Part, weights: str) -> set[str]:
    """The ids of the images that the weights which a run starts from have seen; warns if its test part has some."""
    earlier = read_seen(find_run(weights))
    names = [name for name, id_ in zip(test.names, test.ids, strict=True) if id_ in earlier]
    if names:
        shown = "".join(f"\n    {name}" for name in names[:3]) + "\n    …" * (len(names) > 3)
        log.warning(
            "  model.weights=%s: %d of %d test images stand in what that run was trained or validated on, so the test "
            "accuracy is too high; cut the data the same way in both runs (data.test_fraction, data.n_test), or give "
            "it a test set of its own:%s",
            weights,
            len(names),
            len(test),
            shown,
        )
    return earlier
