"""Which parameter learns, at what rate, in which phase; and what is frozen stays frozen, batch norms included."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2

from conftest import FAMILIES, compose
from headstart.config import resolvers
from headstart.config.schema import PhaseConfig
from headstart.errors import UserError
from headstart.models.outline import without_values
from headstart.strategy import plan

SHIPPED = {
    "scratch": {"all": {"head": 1.0, "backbone": 1.0}},
    "feature_extraction": {"head": {"head": 1.0, "backbone": None}},
    "finetune": {"all": {"head": 1.0, "backbone": 1.0}},
    "head_then_all": {"head": {"head": 1.0, "backbone": None}, "all": {"head": 0.3, "backbone": 0.3}},
}


FIT = [1, *[None] * 5]
ALL = [1] * 6
FALLING = [0.75**depth for depth in range(6)]
BY_DEPTH = {  # of resnet18: head, layer4 ... layer1, stem
    "scratch": {"all": ALL},
    "feature_extraction": {"head": FIT},
    "cached_views": {"head": FIT},
    "frozen_augmented": {"head": FIT},
    "finetune": {"all": ALL},
    "ema": {"all": ALL},
    "l2_sp": {"all": ALL},
    "frozen_statistics": {"all": [0.3] * 6},
    "head_then_all": {"head": FIT, "all": [0.3] * 6},
    "discriminative": {"all": [1, *[0.1] * 5]},
    "layerwise_decay": {"all": FALLING},
    "partial": {"tail": [1, 1, *[None] * 4]},
    "first_layers": {"head": FIT, "first": [*[None] * 4, 1, 1]},
    "gradual_unfreeze": {
        "head": FIT,
        "last": [*[1, 0.75], *[None] * 4],
        "half": [*FALLING[:4], None, None],
        "all": FALLING,
    },
}
BY_NAME = {"norm_only": ("bn", "downsample.1"), "bias_only": (".bias",)}  # what learns besides the head
PROBED = ("feature_extraction", "cached_views", "head_then_all", "first_layers")
BESIDES = {  # what differs from a plain phase of 12 epochs, for epochs=12
    "cached_views": {"head": {"views": 8}},
    "frozen_augmented": {"head": {"augment": True}},
    "ema": {"all": {"average": 0.998}},
    "l2_sp": {
        "all": {
            "weight_decay": 0.0,
            "penalty": {"_target_": "headstart.penalty.L2SP", "alpha": 0.1, "beta": 0.01},
        }
    },
    "head_then_all": {"all": {"statistics": "frozen"}},
    "first_layers": {"first": {"statistics": "frozen"}},
    "frozen_statistics": {"all": {"statistics": "frozen"}},
    "partial": {"tail": {"augment": False}},
    "gradual_unfreeze": {
        "head": {"augment": False, "epochs": 3},
        "last": {"augment": False, "epochs": 3},
        "half": {"augment": False, "epochs": 3},
        "all": {"epochs": 6},
    },
}


@cache
def network(name: str) -> torch.nn.Module:
    """The outline of a network with five outputs: no test changes it."""
    with without_values():
        return timm.create_model(name, num_classes=5)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shipped", SHIPPED)
def test_shipped_strategies(name: str, shipped: str) -> None:
    model = network(name)
    head = {f"{key}" for key, p in model.named_parameters() if any(p is q for q in model.get_classifier().parameters())}
    assert len(head) == 2
    phases = plan.plan_phases(model, compose(f"strategy={shipped}").strategy.phases)
    assert [phase.name for phase in phases] == list(SHIPPED[shipped])
    for phase in phases:
        expected = SHIPPED[shipped][phase.name]
        for key in dict(model.named_parameters()):
            assert phase.rates[key] == expected["head" if key in head else "backbone"], key
        assert sum(row[2] for row in phase.rows) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "path", sorted((resolvers.config_folder() / "strategy").glob("*.yaml")), ids=lambda path: path.stem
)
def test_each_file_says_what_its_header_does(path: Path) -> None:
    config, model = compose(f"strategy={path.stem}", "epochs=12", "augment=standard").strategy, network("resnet18")
    assert config.start == ("scratch" if path.stem == "scratch" else "pretrained")
    depths = {parameter.name: parameter.depth for parameter in plan.list_parameters(model)}
    names = {"all": BY_NAME.get(path.stem, ())}
    for phase in plan.plan_phases(model, config.phases):
        for name, depth in depths.items():
            if path.stem in BY_NAME:
                expected = 1 if depth == 0 or any(part in name for part in names[phase.name]) else None
            else:
                expected = BY_DEPTH[path.stem][phase.name][depth]
            assert phase.rates[name] == (None if expected is None else pytest.approx(expected)), name
        fitted = path.stem in PROBED and phase.name == "head"
        plain = vars(PhaseConfig(rates=phase.config.rates, probe=phase.config.probe, epochs=None if fitted else 12))
        assert vars(phase.config) == plain | BESIDES.get(path.stem, {}).get(phase.name, {})
        assert (phase.config.probe is not None) == fitted
    assert set(config.phases) == set(BY_DEPTH.get(path.stem, names))
    header = path.read_text("utf-8").partition("name:")[0]
    paper, _, measured = header.partition("Measured:")
    assert re.search(r"[A-Z]\w+( et al\.)? (19|20)\d\d\b", paper), "who wrote of it, and when"
    assert re.search(r"\d %", measured)


def test_a_floor_of_the_schedule_lies_below_every_rate() -> None:
    model = network("resnet18")
    for name, floor, lowest in (("layerwise_decay", 2e-4, "0.000237"), ("head_then_all", 3e-4, "0.0003")):
        for low in (floor / 10, 10 * floor):
            config = compose(f"strategy={name}", "optimizer.lr=0.001", f"scheduler.min_lr={low}")
            phases = plan.plan_phases(model, config.strategy.phases)
            if low < floor:
                plan.check_schedule(phases, config.scheduler, config.optimizer["lr"])
            else:
                with pytest.raises(UserError, match=rf"scheduler.min_lr={low}: .*lowest is {lowest}: use scheduler"):
                    plan.check_schedule(phases, config.scheduler, config.optimizer["lr"])


def test_warm_up_starts_below_every_rate() -> None:
    model = network("resnet18")
    for name, more in (("discriminative", ["scheduler.warmup_lr=0.0005"]), ("finetune", ["scheduler.warmup_lr=0.001"])):
        for warm in (True, False):
            schedule = "warmup_cosine" if warm else "cosine"
            config = compose(f"strategy={name}", f"scheduler={schedule}", "optimizer.lr=0.001", "epochs=9", *more)
            phases = plan.plan_phases(model, config.strategy.phases)
            if warm:
                with pytest.raises(UserError, match=r"scheduler.warmup_lr=0.0\d+: .*: use scheduler.warmup_lr=0"):
                    plan.check_schedule(phases, config.scheduler, config.optimizer["lr"])
            else:
                plan.check_schedule(phases, config.scheduler, config.optimizer["lr"])
    config = compose("strategy=layerwise_decay", "scheduler=step", "scheduler.warmup_epochs=2", "optimizer.lr=1e-5")
    plan.check_schedule(plan.plan_phases(model, config.strategy.phases), config.scheduler, config.optimizer["lr"])
    del config.scheduler["warmup_lr"]
    with pytest.raises(UserError, match=r"scheduler\.warmup_lr=1e-05"):
        plan.check_schedule(plan.plan_phases(model, config.strategy.phases), config.scheduler, config.optimizer["lr"])


@pytest.mark.parametrize("name", FAMILIES)
def test_depth_counts_back_from_the_head(name: str) -> None:
    parameters = plan.list_parameters(network(name))
    depths = [parameter.depth for parameter in parameters]
    assert min(depths) == 0
    assert set(depths) == set(range(max(depths) + 1))
    assert parameters[0].depth == max(depths) == parameters[0].deepest, "the first parameter is the stem's"


def test_optimizer_groups_hold_each_learning_parameter_once() -> None:
    model = timm.create_model("resnet18", num_classes=5)
    phase = plan.plan_phases(model, {"p": PhaseConfig(rates={"head": 1, "depth1": 0.1, "all": None}, epochs=1)})[0]
    groups = plan.optimizer_groups(model, phase, 0.01, 0.05)
    names = {id(p): name for name, p in model.named_parameters()}
    held = [names[id(p)] for group in groups for p in group["params"]]
    assert sorted(held) == sorted(phase.trainable)
    for group in groups:
        assert group["lr"] == pytest.approx(0.01 * group["rate"])
        for p in group["params"]:
            undecayed = p.ndim == 1
            assert group["weight_decay"] == (0.0 if undecayed else 0.05), names[id(p)]


UNDECAYED = {  # what timm does not decay besides norms and what is called bias: how often, by the last word of its name
    "resnet18": {},
    "convnext_atto": {"gamma": 12},
    "hgnetv2_b0": {"scale": 31},
    "beit_base_patch16_224": {
        "cls_token": 1, "gamma_1": 12, "gamma_2": 12, "q_bias": 12, "v_bias": 12, "relative_position_bias_table": 12,
    },
    "swinv2_tiny_window8_256": {"logit_scale": 12, "q_bias": 12, "v_bias": 12, "weight": 24},  # weight: of cpb_mlp
    "xcit_nano_12_p8_224": {"cls_token": 1, "gamma1": 14, "gamma2": 14, "gamma3": 12, "weight": 1},  # of pos_embed.*
    "vit_tiny_patch16_224": {"cls_token": 1, "pos_embed": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", UNDECAYED)
def test_timms_own_optimizer_decays_the_same_parameters(name: str) -> None:
    model = network(name)
    (phase,) = plan.plan_phases(model, {"p": PhaseConfig(rates={"head": 1, "all": 0.1}, epochs=1)})
    names = {id(p): key for key, p in model.named_parameters()}
    theirs = create_optimizer_v2(model, "sgd", lr=0.1, weight_decay=0.05).param_groups
    decay, expected = (
        {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
        for groups in (plan.optimizer_groups(model, phase, 0.1, 0.05), theirs)
    )
    assert decay == expected
    plain = {p.name for p in plan.list_parameters(model) if p.is_norm or p.name.endswith(".bias")}
    assert Counter(key.rpartition(".")[2] for key in decay if not decay[key] and key not in plain) == UNDECAYED[name]
