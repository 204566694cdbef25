"""Every strategy of the catalogue on real digits: what has to move moves, and what is frozen stays byte-identical.

The expectations are written from the papers' words, not from the rules in the files.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from statistics import fmean

import pytest
import timm
import torch
from torch.nn.modules.batchnorm import _NormBase

import fork_server
from conftest import FAMILIES, compose
from headstart.cli import explain
from headstart.config import resolvers
from headstart.config.schema import PhaseConfig
from headstart.errors import UserError
from headstart.models import factory, weights
from headstart.models.modes import train_mode
from headstart.models.outline import without_values
from headstart.strategy import plan

STRATEGIES = sorted(path.stem for path in (resolvers.config_folder() / "strategy").glob("*.yaml"))
SIDES = {"inception_v3": 96}  # others see 32 pixels
ARGS = {"vgg11": {"mlp_ratio": 0.05}}  # a twentieth of its hidden units, which are three quarters of its parameters
NOT_TOGETHER = ("norm_only", "vgg11")  # which has no norms
# What is trained on each family: a cached prefix under a part that learns, and a fitted head before the deep end alone
# learns live; then what that family's parts could break. Which parameters each strategy plans to move, and which batch
# norms follow the data, is tested for every strategy on every family, without training.
TRAINED = {
    "resnet18": ("gradual_unfreeze", "ema"),
    "tf_efficientnet_lite0": ("norm_only", "l2_sp"),  # norms that are activations too
    "vgg11": ("bias_only", "feature_extraction"),  # no norms; a head of convolutions before the layer
    "densenet121": ("norm_only", "cached_views"),  # every layer reads all before it
    "mobilenetv2_100": ("frozen_augmented", "ema"),
    "inception_v3": ("gradual_unfreeze", "frozen_augmented"),  # branches
    "convnext_atto": ("norm_only", "bias_only"),  # norms without statistics
    "legacy_xception": ("cached_views", "l2_sp"),
    "resnetv2_50": ("feature_extraction", "gradual_unfreeze"),  # the head is a convolution
    "regnety_002": ("bias_only", "cached_views"),  # biases beside the norms'
}
assert set(TRAINED) == set(FAMILIES)


class Anatomy:
    """The tensors of a network by what they are."""

    def __init__(self, model: torch.nn.Module) -> None:
        parts = dict(model.named_modules())
        described = plan.list_parameters(model)
        self.depth = {parameter.name: parameter.depth for parameter in described}
        self.deepest = described[0].deepest
        self.norms = {
            f"{name}.{kind}"
            for name, part in parts.items()
            if "Norm" in type(part).__name__
            for kind in ("weight", "bias")
        } & set(self.depth)  # fmt: skip
        self.statistics = {
            f"{name}.{kind}": name
            for name, part in parts.items()
            if isinstance(part, _NormBase)
            for kind in ("running_mean", "running_var")
        }

    def learns(self, strategy_name: str, name: str) -> bool:
        """Whether a parameter is meant to end elsewhere than it began."""
        head, depth = self.depth[name] == 0, self.depth[name]
        return {
            "feature_extraction": head,
            "cached_views": head,
            "frozen_augmented": head,
            "partial": depth <= 1,
            "norm_only": head or name in self.norms,
            "bias_only": head or name.endswith("bias"),
            "first_layers": head or depth >= self.deepest - 1,
        }.get(strategy_name, True)

    def follows(self, strategy_name: str, name: str) -> bool:
        """Whether a batch norm's statistics are meant to follow the data: where a weight of it learns."""
        if strategy_name in ("head_then_all", "first_layers", "frozen_statistics"):
            return False
        return any(self.learns(strategy_name, f"{self.statistics[name]}.{kind}") for kind in ("weight", "bias"))


@lru_cache(maxsize=1)
def outline(family: str) -> torch.nn.Module:
    with without_values():
        return timm.create_model(family, num_classes=10)


@cache
def phases(name: str) -> dict[str, PhaseConfig]:
    return compose(f"strategy={name}").strategy.phases


@pytest.mark.parametrize(
    ("family", "name"),
    [(family, name) for family in FAMILIES for name in STRATEGIES if (name, family) != NOT_TOGETHER],
)
def test_what_each_strategy_plans_for_each_family(family: str, name: str) -> None:
    model = outline(family)
    anatomy, learns, follows = Anatomy(model), set(), set()
    for phase in plan.plan_phases(model, phases(name)):
        learns |= phase.trainable
        if phase.config.probe is None:
            plan.freeze(model, phase)
            train_mode(model, phase.config.statistics)
            training = {part for part, module in model.named_modules() if module.training}
            follows |= {statistic for statistic, norm in anatomy.statistics.items() if norm in training}
    assert learns == {parameter for parameter in anatomy.depth if anatomy.learns(name, parameter)}
    assert follows == {statistic for statistic in anatomy.statistics if anatomy.follows(name, statistic)}


@lru_cache(maxsize=1)
def start(family: str, folder: Path) -> tuple[Path, Anatomy, dict[str, torch.Tensor]]:
    """A file of weights, what they are, and the weights."""
    torch.manual_seed(0)
    model = timm.create_model(family, num_classes=10, **ARGS.get(family, {}))
    with torch.no_grad():
        for parameter in model.parameters():  # blocks start as the identity, and pass no gradient on
            parameter += 0.02 * torch.randn_like(parameter)
    file = folder / f"{family}.safetensors"
    weights.save(model, file)
    return file, Anatomy(model), model.state_dict()


def check(name: str, family: str, run_small: Callable[..., dict], folder: Path) -> None:
    """Train, and look at what has moved."""
    file, anatomy, before = start(family, folder)
    result = run_small(
        "model=timm", f"model.name={family}", f"model.weights={file}", f"strategy={name}", "epochs=1",
        "optimizer.lr=0.01", f"data.image_size={SIDES.get(family, 32)}", "data.n_test=10",
        *(f"+model.args.{key}={value}" for key, value in ARGS.get(family, {}).items()),
    )  # fmt: skip
    after = factory.read_tensors(result["folder"] / weights.FINAL)[0]
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    meant = {key for key in anatomy.depth if anatomy.learns(name, key)}
    following = {key for key in anatomy.statistics if anatomy.follows(name, key)}
    frozen = set(anatomy.depth) - meant | set(anatomy.statistics) - following
    assert not moved & frozen, "frozen, and yet it moved"
    assert len(moved & meant) >= 0.9 * len(meant), sorted(meant - moved)
    assert following <= moved
    assert result["params"]["trainable"] == sum(before[key].numel() for key in meant)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where weights to start from are written."""
    return tmp_path_factory.mktemp("starts")


@pytest.fixture
def _start_is_no_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves is seen in an epoch's weights only, and one epoch may be worse than the fitted head before it."""
    monkeypatch.setattr("headstart.training.gradient._is_start_fitted", lambda *_: False)


@pytest.mark.usefixtures("_start_is_no_candidate")
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_moves_and_what_does_not(name: str, run_small: Callable[..., dict], starts: Path) -> None:
    check(name, "test_resnet", run_small, starts)


@pytest.mark.slow
@pytest.mark.usefixtures("_start_is_no_candidate")
@pytest.mark.parametrize(
    ("family", "name"),
    [(family, name) for family in FAMILIES for name in ("partial", "first_layers", *TRAINED[family])],
)
def test_what_moves_in_each_family(family: str, name: str, run_small: Callable[..., dict], starts: Path) -> None:
    check(name, family, run_small, starts)


def test_a_network_without_norms_is_told_apart(run_small: Callable[..., dict]) -> None:
    name, family = NOT_TOGETHER
    with pytest.raises(UserError, match=r"phases\.all\.rates: norm matches no parameter"):
        run_small("model=timm", f"model.name={family}", f"strategy={name}", "strategy.start=scratch")


def test_frozen_statistics_stay_while_every_weight_learns(run_small: Callable[..., dict]) -> None:
    options = ("model=timm", "model.name=test_resnet", "strategy=scratch", "strategy.phases.all.statistics=frozen")
    after = factory.read_tensors(run_small(*options)["folder"] / weights.FINAL)[0]
    statistics = {name: value for name, value in after.items() if name.endswith(("running_mean", "running_var"))}
    assert statistics
    assert all((value == ("var" in name)).all() for name, value in statistics.items()), "as a new network has them"
    assert (after["bn1.weight" if "bn1.weight" in after else "layer1.0.bn1.weight"] != 1).any()


def test_views_are_drawn_once_differ_and_are_the_same_in_any_batch(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.features import views as module

    options = ("model=timm", "model.name=test_resnet", "model.weights=none", "strategy=cached_views",
               "strategy.start=scratch", "strategy.phases.head.views=3")  # fmt: skip
    seen = []
    original = module.extract_view_features
    monkeypatch.setattr(
        module, "extract_view_features", lambda *arguments: seen.append(original(*arguments)) or seen[-1]
    )
    first = run_small(*options, "cache_dir=null")
    monkeypatch.setattr(module, "choose_batch_size", lambda side, device: 7)
    second = run_small(*options, "cache_dir=null", "rerun=true")
    assert seen[0].shape[:2] == (30, 3)
    assert not torch.equal(seen[0][:, 0], seen[0][:, 1])
    assert torch.allclose(seen[0], seen[1], atol=1e-5), "whatever the batches"
    assert first["backbone_forwards"] == second["backbone_forwards"] == 30 * 3 + 10 + 40 + 30 * 0
    assert first["test"]["accuracy"] == second["test"]["accuracy"]


def test_early_stopping_stops_and_keeps_the_best(run_small: Callable[..., dict]) -> None:
    result = run_small(
        "model=timm", "model.name=test_resnet", "strategy=scratch", "epochs=40", "patience=2", "optimizer.lr=1e-6",
        "scheduler=constant", "select=val_loss", "optimizer.weight_decay=0",
    )  # fmt: skip
    assert result["epochs"] < 40
    assert result["epochs"] == result["phases"][0]["best_epoch"] + 2


def test_the_average_is_what_is_validated_and_kept(run_small: Callable[..., dict]) -> None:
    """The average lags behind: its curves are not the live ones."""
    options = ("model=timm", "model.name=test_resnet", "strategy=scratch", "epochs=3", "augment=none")
    live, mean = run_small(*options), run_small(*options, "strategy.phases.all.average=0.9")
    assert live["val"] != mean["val"]
    rows = (mean["folder"] / "metrics.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[5]) for row in rows]
    kept = mean["phases"][0]["best_epoch"] - 1
    assert mean["val"]["nll"] == pytest.approx(losses[kept], abs=1e-4), "the kept weights are those that were validated"


def test_speed_is_that_of_the_phases_that_learn_by_gradient(run_small: Callable[..., dict]) -> None:
    result = run_small("model=timm", "model.name=test_resnet", "model.weights=none", "strategy=head_then_all",
                       "strategy.start=scratch")  # fmt: skip
    fitted, learned = result["phases"]
    assert fitted["seconds"] > 0
    assert result["images_per_second"] == pytest.approx(result["n_train"] * learned["epochs"] / learned["seconds"])


def test_explain_prints_every_table_and_reads_no_data(tmp_path: Path) -> None:
    done = fork_server.run(
        "train", "-m", "strategy=partial,finetune", "seed=0,1", "--explain", "data=image_folder",
        f"data.source.root={tmp_path / 'not-there'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("parameters") == 2, "a table for each strategy, whatever the seed"
    assert "1,281 per class" in done.stdout
    assert "frozen        2,353,408" in done.stdout
    assert list(tmp_path.iterdir()) == [], "nothing was written"


def test_explain_names_the_options_that_are_without_effect_on_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("strategy=feature_extraction,partial,finetune", "head=logistic,ridge", "augment=standard",
               "augment.mixup=0.4", "label_smoothing=0.1", "patience=3")  # fmt: skip
    assert explain.main(["-m", *options]) == 0
    fitted, ridge, cached, live = capsys.readouterr().out.split("\n\n")
    assert "fitted, labels smoothed by 0.1; without effect on it: mixup, patience; cached" in fitted
    assert "fitted; without effect on it: mixup, label_smoothing, patience; cached" in ridge
    assert "stops after 3 without gain, labels smoothed by 0.1; without effect on it: mixup; cached" in cached
    assert "labels smoothed by 0.1, mixup 0.4" in live
    assert "without effect" not in live


@pytest.mark.parametrize("head", ["logistic", "gradient", "ridge"])
def test_smoothed_labels_reach_the_heads_that_they_change(head: str, run_small: Callable[..., dict]) -> None:
    chosen = {"logistic": "grid=[10.0]", "gradient": "lrs=[0.05]", "ridge": "grid=[10.0]"}[head]
    options = ("model=timm", "model.name=test_resnet", "model.weights=none", "strategy=feature_extraction",
               "strategy.start=scratch", f"head={head}", f"+head.probe.{chosen}")  # fmt: skip
    plain, smooth = (run_small(*options, f"label_smoothing={share}") for share in (0.0, 0.5))
    rows = [list(csv.DictReader((run["folder"] / "predictions.csv").open())) for run in (plain, smooth)]
    if head == "ridge":
        assert rows[0] == rows[1]
    else:
        sure, less = (fmean(float(row["confidence"]) for row in each) for each in rows)
        assert less < sure - 0.1


def test_explain_lists_every_jobs_rates_below_the_floor() -> None:
    with pytest.raises(UserError, match=r"2 problems(.|\n)*phases\.all, whose(.|\n)*phases\.tail, whose"):
        explain.main(["-m", "strategy=finetune,partial,feature_extraction", "scheduler.min_lr=1"])
    assert explain.main(["strategy=finetune", "scheduler=constant", "+scheduler.min_lr=1"]) == 0


def test_explain_looks_at_every_job_of_a_large_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = ",".join(map(str, range(150)))
    assert explain.main(["-m", "strategy=finetune,partial", f"seed={seeds}"]) == 0
    said = capsys.readouterr().out
    assert said.count("parameters\n") == 2, "a table for each strategy"
    assert "looked at" not in said


def test_explain_is_for_any_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ["hardware=ddp", "hardware.devices=64", f"model.weights={tmp_path / 'elsewhere.safetensors'}"]
    assert explain.main(["strategy=finetune", *there]) == 0
    assert "elsewhere.safetensors weights" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"model.weights=imagenett: .*use one of"):
        explain.main(["strategy=finetune", "model.weights=imagenett"])


def test_explain_lists_what_is_wrong(tmp_path: Path) -> None:
    done = fork_server.run("train", "strategy=partail", "seed=-1", "--explain", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean partial?" in done.stderr
    assert "seed=-1" in done.stderr


def test_a_head_on_an_inner_stage_as_wide_as_the_networks_own_features_is_kept_beside_it(
    run_small: Callable[..., dict],
) -> None:
    """The last stage, pooled otherwise, has the width of what the network's head reads, and is not the same."""
    result = run_small(
        "model=timm", "model.name=test_resnet", "model.weights=none", "strategy=feature_extraction",
        "strategy.start=scratch", "head=ridge", "+head.probe.layers=[-2]", "+head.probe.poolings=[max]",
        "data.n_test=200", "data.train_per_class=20",
        "+measures.changes={_target_: headstart.measures.Changes, contrast: [1.0]}",
    )  # fmt: skip
    assert (result["folder"] / weights.PROBE).is_file()
    rows = (result["folder"] / "changes.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[-1]) == pytest.approx(result["test"]["accuracy"], abs=0.011), "the same head"


def test_neighbours_answer_on_a_network_whose_head_is_a_convolution(run_small: Callable[..., dict]) -> None:
    result = run_small(
        "model=timm", "model.name=resnetv2_50", "model.weights=none", "strategy=feature_extraction", "head=knn",
        "strategy.start=scratch",
    )  # fmt: skip
    assert result["test"]["accuracy"] > 0
    assert result["params"]["trainable"] == 0
