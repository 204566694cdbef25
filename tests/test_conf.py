"""Every file under conf/ composes, every target binds, and bad values are told all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from conftest import compose
from headstart import components
from headstart import config as configs
from headstart.errors import UserError

CONF = configs.folder()
# A new file raises the count: that is the sign that this test has seen it.
COUNTS = {
    "augment": 3,
    "data": 32,
    "debug": 2,
    "experiment": 17,
    "head": 4,
    "hardware": 5,
    "logger": 3,
    "model": 67,
    "optimizer": 3,
    "scheduler": 4,
    "size": 2,
    "strategy": 16,
}
FILES = sorted(path for path in CONF.rglob("*.yaml") if path.parent.name in COUNTS)
SIZES = sorted(CONF.glob("experiment/*/*.yaml"))  # each study's two forms
GIVEN = {  # what a file leaves to the user
    "data/image_folder": ["data.source.root=photos"],
    "data/csv": ["data.source.path=labels.csv"],
    "data/torchvision": ["data.source.name=CIFAR10"],
    "model/timm": ["model.name=resnet18"],
} | {
    f"model/{path.stem}": ["strategy=scratch"]
    for path in FILES
    if path.parent.name == "model" and (yaml.safe_load(path.read_text("utf-8")) or {}).get("weights") == "none"
}


def key(path: Path) -> str:
    return path.relative_to(CONF).with_suffix("").as_posix()


def test_all_files_are_visited() -> None:
    found: dict[str, int] = {}
    for path in FILES:
        found[path.parent.name] = found.get(path.parent.name, 0) + 1
    assert found == COUNTS
    others = {path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_file()} - {
        path.relative_to(CONF).as_posix() for path in [*FILES, *SIZES]
    }
    studies = {path.stem for path in FILES if path.parent.name == "experiment"} - {"demo"}
    assert {path.relative_to(CONF / "experiment").as_posix() for path in SIZES} == {
        f"{study}/{size}.yaml" for study in studies for size in ("full", "small")
    }
    assert others == {"config.yaml", "hydra/job_logging/headstart.yaml", "hydra/help/headstart.yaml"}


@pytest.mark.parametrize("path", FILES, ids=key)
def test_every_file_composes_validates_and_binds(path: Path) -> None:
    group, name = key(path).split("/")
    config = compose(f"{group}={name}", *GIVEN.get(key(path), []))
    components.check(config)
    if group in ("model", "data", "strategy"):
        assert getattr(config, group).name
    if group == "strategy":
        assert config.strategy.name == name
    if group == "experiment":
        assert config.study in (name, "runs"), "a study carries its experiment's name, if any"


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "model"], ids=key)
def test_every_model_is_known_to_timm(path: Path) -> None:
    from headstart.models import factory

    config = compose(f"model={path.stem}", *GIVEN.get(key(path), []))
    assert factory.expected_input(config.model).image_size >= (192 if config.model.weights != "none" else 32)


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "experiment"], ids=key)
def test_experiments_open_with_question_command_result_and_time(path: Path) -> None:
    text = path.read_text("utf-8")
    for word in ("# Question:", f"experiment={path.stem}", "# Expected:", "# Time:"):
        assert word in text


@pytest.mark.parametrize("path", FILES, ids=key)
def test_every_file_explains_itself(path: Path) -> None:
    if path.stem not in ("cpu", "adam"):
        assert path.read_text("utf-8").startswith("#")
    assert isinstance(yaml.safe_load(path.read_text("utf-8")) or {}, dict)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lr=-1", "optimizer.lr=-1: must be a number above 0"),
        ("optimizer.weight_decay=-1", "weight_decay"),
        ("data.n_train=0", "data.n_train=0: must be at least 2"),
        ("data.train_fraction=1.5", "at most 1"),
        ("data.val_fraction=0", "above 0"),
        ("data.val_fraction=1", "below 1"),
        ("data.n_train=100", "train_per_class and n_train"),
        ("seed=-1", "seed=-1"),
        ("epochs=0", "epochs=0"),
        ("hardware.precision=fp8", "one of auto, 32, bf16, 16"),
        ("hardware.accelerator=cup", "did you mean cpu?"),
        ("strategy.start=pretraind", "did you mean pretrained?"),
        ("model.weights=none", "starts from pretrained weights"),
        ("strategy.phases.head.epochs=3", "not both"),
        ("strategy.phases.head.rates.backbone=0.1", "a probe fits the head alone"),
        ("+strategy.phases.head.rates.dpeth=1", "unknown selector"),
        (
            "strategy=gradual_unfreeze epochs=10 scheduler=warmup_cosine",
            "use scheduler.warmup_epochs=1, or more epochs",
        ),
        ("strategy=finetune epochs=1 scheduler=warmup_cosine", "use scheduler=cosine, or more epochs"),
        ("augment.flip=true", "data.flip=false"),
        ("augment.crop_scale=[0.5,2]", "larger than the image"),
        ("strategy.phases.head.statistics=frosen", "one of live, frozen"),
        ("strategy.phases.head.average=0.9", "leave average out"),
        ("strategy.phases.head.cache=false", "leave cache out"),
        ("patience=0", "patience=0: must be at least 1"),
        ("study=../up", "folder's name"),
        ("hardware.devices=0", "or -1 for all of them"),
    ],
)
def test_what_is_wrong_is_named(override: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(*override.split())
    assert words in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        compose("optimizer.lr=-1", "epochs=0", "data.val_fraction=2")
    assert "3 problems" in str(caught.value)
    assert all(key in str(caught.value) for key in ("optimizer.lr", "epochs", "data.val_fraction"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer._target_=os.system", "only things of headstart, timm, torch"),
        ("optimizer._target_=torch.optim.AdamWW", "optimizer._target_=torch.optim.AdamWW"),
        ("+optimizer.weigth_decay=1", "did you mean weight_decay?"),
        ("+scheduler.warmup_epoch=1", "did you mean warmup_epochs?"),
        ("+data.source.root=x", "data.source.root"),
        ("strategy=finetune +optimizer.betas=0.9", "optimizer: "),
        ("strategy=finetune scheduler.sched=foo", "scheduler: "),
        ("strategy=finetune scheduler.warmup_epochs=two", "scheduler.warmup_epochs=two: must be a number"),
        ("+head.probe.scale=x", "strategy.phases.head.probe.scale=x: must be a number"),
        ("strategy=l2_sp strategy.phases.all.penalty.alpha=x", "strategy.phases.all.penalty.alpha=x: must be a number"),
        ("strategy=finetune scheduler=step scheduler.decay_epochs=two", "scheduler.decay_epochs=two: must be a number"),
        ("strategy=finetune scheduler.warmup_epochs=true", "scheduler.warmup_epochs=True: must be a number"),
        ("strategy=finetune scheduler.min_lr=null", "scheduler.min_lr=null: must be a number"),
        ("strategy=finetune scheduler.min_lr=low", "scheduler.min_lr=low: must be a number"),
        ("strategy=finetune scheduler.sched=plateau", "scheduler: "),
        ("+scheduler.num_epochs=3", "scheduler.num_epochs: is set by headstart"),
        ("+model.args.num_classes=7", "model.args.num_classes: is set by headstart"),
        ("+strategy.phases.head.probe.gird=1", "did you mean grid?"),
    ],
)
def test_components_are_checked_against_what_they_build(override: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        components.check(compose(*override.split()))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "scheduler=step scheduler.sched=multistep +scheduler.decay_milestones=[3,6]",
        "scheduler=step scheduler.sched=wsd scheduler.decay_epochs=null",
        "+scheduler.noise=[0.5,0.9]",
        "scheduler.warmup_epochs=0.5",
    ],
)
def test_what_a_schedule_takes_is_not_refused(override: str) -> None:
    components.check(compose("strategy=finetune", *override.split()))


def test_run_level_keys_are_closed() -> None:
    from hydra.errors import HydraException

    for typo in (
        "epoch=3",
        "+epoch=3",
        "+strategy.rats=1",
        "model.nmae=x",
        "seed=abc",
        "+hardware.prcision=32",
    ):
        with pytest.raises((HydraException, UserError)):
            compose(typo)
    with pytest.raises(UserError, match=r"did you mean hardware\.precision"):
        compose("+hardware.prcision=32")


def test_flat_keys_are_fixed() -> None:
    one = configs.flat(compose())
    two = configs.flat(
        compose("model=vgg16", "strategy=head_then_all", "optimizer=sgd", "scheduler=step", "data=cifar10")
    )
    assert list(one) == list(two)
    assert one["optimizer.lr"] == 0.001
    assert two["optimizer._target_"] == "torch.optim.SGD"
    assert all(value is None or isinstance(value, str | int | float | bool) for value in (one | two).values())


@pytest.mark.parametrize("target", ["os.mkdir", "headstartle.mkdir", "headstart.runs.os.mkdir", "torch.os.mkdir"])
def test_only_listed_packages_are_built(target: str, tmp_path: Path) -> None:
    """Nor what such a package has merely imported from elsewhere."""
    harm = tmp_path / "made"
    node = {"_target_": target, "path": str(harm)}
    for each in (node, {"_target_": "torch.optim.AdamW", "params": [node]}):
        with pytest.raises(UserError, match=r"are built|not found|Error"):
            configs.build(each)
    assert not harm.exists()
    config = compose()
    config.data.source = node
    with pytest.raises(UserError, match=r"data\.source\._target_"):
        components.check(config)
