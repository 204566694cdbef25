"""headstart: experiments that compare networks and transfer strategies on image data, in accuracy and in cost.

From Python, use `run`, `compose`, `compare` and `load`. headstart's own networks are registered with timm as soon as
both packages are imported. Importing headstart does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headstart.models.registration import register_with_timm

if TYPE_CHECKING:
    from pathlib import Path

    from headstart.config.schema import RunConfig
    from headstart.predict.network import Network
    from headstart.preflight.command import Job
    from headstart.report.look import Compared
    from headstart.runtime.version import __version__
    from headstart.storage.records import Result

__all__ = ["__version__", "compare", "compose", "load", "run"]

register_with_timm()


def __getattr__(name: str) -> Any:
    """Look the version up when it is asked for: `importlib.metadata` takes a third of the time of this import."""
    if name == "__version__":
        from headstart.runtime.version import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def run(overrides: Sequence[str] = ()) -> Result:
    """Run one experiment, continue one that was interrupted, or skip a completed one, as `headstart train` does.

    Args:
        overrides: as on the command line: `headstart.run(["strategy=finetune", "epochs=5"])`.

    Returns:
        The content of the run's `result.json`, and its folder.

    Raises:
        UserError: the overrides, the data or the machine are not fit for the run.
        RunFailed: the run began, and could not be finished.
        Pruned: the run was ended early, as `prune` asks for.
    """
    from headstart.runtime.signals import raise_on_signals
    from headstart.tracking.console import configure_logging

    job = _check(overrides)
    configure_logging(quiet=False)
    from headstart import train

    with raise_on_signals():
        return train.run(job.config, job.task_overrides)


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """Compose the config of one experiment and check it.

    Raises:
        UserError: lists every problem of the config.
    """
    return _check(overrides).config


def load(run_or_name: str | Path, device: str = "auto") -> Network:
    """Load a trained network, to predict with it and to look into it.

    Nothing that a run's folder holds or names is executed: of it, tensors (safetensors), JSON and YAML are read.

    Args:
        run_or_name: the folder of a completed run or of an export, a name of conf/model, or a timm name; of a name the
            published weights are loaded, and where they are not to be had, random ones, with a warning.
        device: `cpu`, `cuda`, or `auto`: a GPU if there is one.

    Raises:
        UserError: nothing has this name, the run is not complete, or its weights were not kept.
    """
    from headstart.predict.load import load

    return load(run_or_name, device)


def compare(
    study: str | Sequence[str] | None = None,
    *,
    metric: str = "accuracy",
    reference: str | None = None,
    all_pairs: bool = False,
    keep: Sequence[str] = (),
    output_dir: str | Path = "outputs",
    plots: bool = True,
    maps: bool = False,
) -> Compared:
    """Compare the completed runs of a study and write its report, as `headstart compare` does.

    Args:
        study: its name, or several names to stand side by side; None: the most recently finished one.
        metric: what rows are ordered, tested and chosen by: accuracy, balanced_accuracy, f1, auroc or nll.
        reference: the row, by its name in the table, that every other one is tested against; None: the cheapest.
        all_pairs: test all pairs of rows instead.
        keep: settings of a strategy that are compared, such as `optimizer.lr`, and not chosen on validation.
        output_dir: the folder of studies.
        plots: whether the report has plots, and pictures of test images.
        maps: whether maps over these pictures say where the networks look; this loads the networks.

    Returns:
        The row to take in words, the rows and the tested pairs (as in summary.csv and pairs.csv), and the folder of the
        report.

    Raises:
        UserError: there is no such study, metric, row or setting, or no completed run has it.
    """
    from pathlib import Path

    from headstart.report.look import look_at, summarize
    from headstart.report.study.metric import find_metric
    from headstart.report.study.select import find, read_study

    chosen = find_metric(metric)
    names = [study] if study is None or isinstance(study, str) else list(study)
    found = read_study([find(Path(output_dir), name) for name in names], chosen)
    return summarize(look_at(found, reference=reference, all_pairs=all_pairs, keep=keep), plots, maps=maps)


def _check(overrides: Sequence[str]) -> Job:
    from headstart.errors import UserError
    from headstart.preflight.command import check_command
    from headstart.storage.redact import refuse_secrets

    refuse_secrets(overrides)
    command = check_command(overrides)
    if command.multirun:
        raise UserError("this is a sweep: call headstart.run once for each of its runs, or use headstart train -m")
    return command.jobs[0]
