"""The learning rates of a phase's steps, by timm's schedules."""

from typing import Any


def step_schedule(scheduler: Any, done: int) -> None:
    """Set the rates of the step after `done` steps; a warm-up of n steps begins with 1/n of its way, not with 0.

    timm's warm-up has `warmup_lr`, which is usually 0, as the rate of the first step, and that step teaches nothing.
    """
    scheduler.step_update(done + (done < scheduler.warmup_t))
