"""What a `_target_` may build."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import check_components, compose
from headstart.config import instantiate
from headstart.errors import UserError


@pytest.mark.parametrize(
    "target", ["os.mkdir", "headstartle.mkdir", "headstart.storage.runs.os.mkdir", "torch.os.mkdir"]
)
def test_only_listed_packages_are_built(target: str, tmp_path: Path) -> None:
    """Nor what such a package has merely imported from elsewhere."""
    harm = tmp_path / "made"
    node = {"_target_": target, "path": str(harm)}
    for each in (node, {"_target_": "torch.optim.AdamW", "params": [node]}):
        with pytest.raises(UserError, match=r"are built|not found|Error"):
            instantiate.build(each)
    assert not harm.exists()
    config = compose()
    config.data.source = node
    with pytest.raises(UserError, match=r"data\.source\._target_"):
        check_components(config)
