"""Every network that timm knows has a head and depths, or is refused in words before any data is read."""

from __future__ import annotations

import pytest
import timm

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import factory
from headstart.models.head import find_head, name_head
from headstart.models.outline import without_values
from headstart.strategy import plan

SAID = (
    "which names the head", "has no head", "a run trains one head", "model.args", "no group_matcher", "group_matcher"
)  # fmt: skip


def outcome(name: str) -> str:
    """Plan the network's outline as a run does; what it says of depths or refuses. Any other error is raised."""
    try:
        model = factory.build_outline(ModelConfig(name))
        parameters = plan.list_parameters(model)
        said = plan.describe_depths(model)
        model.reset_classifier(3)
        assert any(len(parameter) == 3 for parameter in find_head(model).parameters()), name
    except UserError as error:
        return str(error)
    assert {each.depth for each in parameters} == set(range(parameters[0].deepest + 1)), name
    if name != "linear":  # a linear model on pixels is all head
        assert any(each.depth > 0 for each in parameters), name
    return said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_resnet", ""),
        ("csatv2", "CSATv2 has no group_matcher: its whole backbone is one depth, 1"),
        ("poolformer_s12", "MetaFormer has no group_matcher: its whole backbone is one depth, 1"),
        ("levit_128s", "LevitDistilled has 2 heads, whose outputs it combines; a run trains one head"),
        ("efficientvim_m1", "a run trains one head"),
        ("deepseek_vit_412m_enc", "DeepseekVitEncoder has no get_classifier()"),
    ],
)
def test_a_network_is_used_or_refused_in_words(name: str, words: str) -> None:
    said = outcome(name)
    assert words in said
    assert bool(words) == bool(said)


@pytest.mark.slow
@pytest.mark.long
def test_every_network_of_timm_is_used_or_refused_in_words() -> None:
    """About 2 minutes of one core."""
    known = timm.list_models()
    said = {name: outcome(name) for name in known}
    strange = {name: words for name, words in said.items() if words and not any(part in words for part in SAID)}
    assert not strange
    assert len(known) > 1300
    assert sum(bool(words) for words in said.values()) < 0.1 * len(known), "most of them have depths"


def test_a_network_without_depths_still_has_its_head_and_backbone() -> None:
    from headstart.config.schema import PhaseConfig

    with without_values():
        model = timm.create_model("csatv2", num_classes=3)
    phases = {"p": PhaseConfig(rates={"head": 1, "backbone": None}, epochs=1)}
    planned = plan.plan_phases(model, phases)[0]
    assert planned.trainable == name_head(model)
    assert planned.reach == 0
    with pytest.raises(UserError, match=r"depth5 matches no parameter.*0 \(head\) to 1 \(stem\)"):
        plan.plan_phases(model, {"p": PhaseConfig(rates={"depth5": 1, "all": None}, epochs=1)})


def test_an_old_name_gets_its_new_one() -> None:
    with pytest.raises(UserError, match=r"tf_efficientnet_b0_ns: timm calls it tf_efficientnet_b0\.ns_jft_in1k now"):
        factory.check_name("tf_efficientnet_b0_ns")
    factory.check_name("tf_efficientnet_b0.ns_jft_in1k")
