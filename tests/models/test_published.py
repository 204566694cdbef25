"""Published figures: those of torchvision's weights, and the Keras table, whose networks have the published size."""

from __future__ import annotations

import pytest
import timm
from torchvision import models

from conftest import check_components, compose
from headstart.models import published
from headstart.models.outline import without_values
from headstart.models.published import KERAS_TABLE, KerasNetwork
from headstart.models.published_timm import TIMM_ACCURACIES, describe_recipe


def test_the_table_is_whole() -> None:
    """The sums of the lecture's columns: a figure that was mistyped would change one."""
    rows = KERAS_TABLE
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


@pytest.mark.parametrize("row", KERAS_TABLE, ids=lambda row: row.label)
def test_a_rows_config_makes_the_network_of_its_size(row: KerasNetwork) -> None:
    config = compose(f"model={row.config}", "strategy=scratch")
    check_components(config)
    assert config.model.name.partition(".")[0] == row.model
    with without_values():
        counted = sum(p.numel() for p in timm.create_model(config.model.name).parameters())
    assert counted / 1e6 == pytest.approx(row.params_m, rel=0.02), f"differs by more than 2 %: {row.note}"


def test_torchvisions_accuracies_are_those_that_it_publishes() -> None:
    """Of every network of which timm has torchvision's first weights."""
    names = {name.partition(".")[0] for name in timm.list_pretrained("*.tv_in1k")}  # ours too
    assert set(published.TORCHVISION_ACCURACIES) == names
    for name in names:
        figures = models.get_model_weights(name)["IMAGENET1K_V1"].meta["_metrics"]["ImageNet-1K"]
        found = published.torchvision(name)
        assert found is not None
        assert (found.top1, found.top5) == (figures["acc@1"], figures["acc@5"])
    assert published.torchvision("no_such_network") is None


def test_a_name_without_a_tag_has_the_accuracy_of_the_weights_that_timm_loads_for_it() -> None:
    """Of every network in the tables; and every row is of weights that timm has."""
    known = {name.partition(".")[0] for name in TIMM_ACCURACIES} | set(published.TORCHVISION_ACCURACIES)
    for base in known:
        cfg = timm.get_pretrained_cfg(base)
        assert published.default_tag(base) in ("", cfg.tag), base
    assert set(TIMM_ACCURACIES) <= set(timm.list_pretrained())


def test_every_network_of_the_zoo_with_weights_has_an_accuracy_and_a_recipe() -> None:
    without = {row.model for row in KERAS_TABLE if published.top1(row.model) is None}
    assert without == {"resnetv2_152", "nasnet_mobile"}, "timm has no weights for them"
    for row in KERAS_TABLE:
        if row.model not in without:
            assert "not known" not in describe_recipe(published.default_tag(row.model)), row.model
    assert "not known here; timm's page of x9_in1k" in describe_recipe("x9_in1k")
