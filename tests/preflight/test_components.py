"""Components are checked against what they build, before anything is built."""

from __future__ import annotations

import pytest

from conftest import check_components, compose
from headstart.errors import UserError


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer._target_=os.system", "only an optimizer class of torch.optim or timm.optim is built here"),
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
        check_components(compose(*override.split()))
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
    check_components(compose("strategy=finetune", *override.split()))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("{_target_: headstart.measures.Chages}", r"measures\.x\._target_=headstart\.measures\.Chages"),
        ("{_target_: os.system}", r"measures\.x\._target_=os\.system: only a measure of headstart"),
        ("{_target_: headstart.measures.Changes, shfit: [0]}", r"measures\.x\.shfit: .*did you mean shift\?"),
        (
            "{_target_: headstart.report.questions.Scatter, title: a}",
            r"measures\.x\..*Scatter: only a measure of headstart",
        ),
    ],
)
def test_what_is_wrong_with_a_measure_is_named(node: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_components(compose(f"+measures.x={node}"))
