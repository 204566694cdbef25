"""The metric that a comparison is about: how it is read, written, and said in a sentence."""

from dataclasses import dataclass

from headstart.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Metric:
    """One number of a run's test part.

    Attributes:
        name: its key in `test` of result.json, and in summary.csv; `--metric` takes it.
        title: its name in a sentence, and `article` what stands before it.
        near: how far a row may lie behind the best and still be taken because it is cheaper.
        rising: whether more of it is better.
        share: whether it is a share of 1, written in % and its differences in points; else in nats.
        over_images: whether it is a mean over test images of what is right, so that images can be tested.
    """

    name: str
    title: str
    article: str = "a"
    near: float = 0.02
    rising: bool = True
    share: bool = True
    over_images: bool = False

    @property
    def scale(self) -> int:
        """By what a value is multiplied to be written or drawn."""
        return 100 if self.share else 1

    @property
    def unit(self) -> str:
        """The unit of differences."""
        return "points" if self.share else "nats"

    @property
    def phrase(self) -> str:
        """What a row reaches: `an accuracy`, `a macro F1`."""
        return f"{self.article} {self.title}"

    @property
    def axis(self) -> str:
        """What an axis says."""
        return f"test {self.title}, {'%' if self.share else self.unit}"

    def number(self, value: float, sign: str = "") -> str:
        """A value or a difference without its unit; `sign` is that of a format, such as `+`."""
        return format(self.scale * value, f"{sign}.{1 if self.share else 3}f")

    def text(self, value: float) -> str:
        """A value as a sentence has it: `83.5 %`, `0.412`."""
        return f"{self.number(value)} %" if self.share else self.number(value)

    def merit(self, value: float) -> float:
        """A value, or a difference, of which more is better."""
        return value if self.rising else -value


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "an", over_images=True),
        Metric("balanced_accuracy", "balanced accuracy", over_images=True),
        Metric("nll", "NLL", "an", near=0.05, rising=False, share=False),
        Metric("f1", "macro F1"),
        Metric("auroc", "AUROC", "an"),
    )
}
ACCURACY = METRICS["accuracy"]


def find_metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        UserError: there is none, or it says nothing about which row to take.
    """
    if name in METRICS:
        return METRICS[name]
    if name == "ece":
        raise UserError(
            "metric ece: a network that guesses and says so has no calibration error, so it does not tell which row"
            " to take; metric nll counts both what is right and how sure it is. The table has ECE in any case."
        )
    hint = did_you_mean(name, METRICS)
    raise UserError(f"metric {name}: must be one of {', '.join(METRICS)}{hint}")
