"""The 21 rows of the Keras Applications table: each has a config, and the network of the published size."""

from __future__ import annotations

import pytest
import timm
import torch

from conftest import check_components, compose
from headstart.models import keras_table
from headstart.models.keras_table import Published


def test_the_table_is_whole() -> None:
    """The sums of the lecture's columns: a figure that was mistyped would change one."""
    rows = keras_table.ROWS
    assert len(rows) == 21
    for names in ([row.label for row in rows], [row.config for row in rows], [row.model for row in rows]):
        assert len(set(names)) == 21
    assert sum(row.size_mb for row in rows) == 3136
    assert sum(row.top1 for row in rows) == pytest.approx(1602.3)
    assert sum(row.top5 for row in rows) == pytest.approx(1951.8)
    assert sum(row.params_m for row in rows) == pytest.approx(813.2)
    assert sum(row.depth for row in rows) == 4564
    assert sum(row.ms_cpu for row in rows) == pytest.approx(1844.8)
    assert sum(row.ms_gpu for row in rows) == pytest.approx(135.6)


@pytest.mark.parametrize("row", keras_table.ROWS, ids=lambda row: row.label)
def test_a_rows_config_makes_the_network_of_its_size(row: Published) -> None:
    config = compose(f"model={row.config}", "strategy=scratch")
    check_components(config)
    assert config.model.name.partition(".")[0] == row.model
    with torch.device("meta"):
        counted = sum(p.numel() for p in timm.create_model(config.model.name).parameters())
    assert counted / 1e6 == pytest.approx(row.params_m, rel=0.02), f"differs by more than 2 %: {row.note}"
