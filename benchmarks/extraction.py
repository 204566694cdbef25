"""How much sooner does a frozen backbone with a new head finish here than under Hugging Face's Trainer, as accurate?

Command:   python -m benchmarks extraction
Expected:  on 2 cores Trainer takes 60 to 70 s; headstart a fifth of it from an empty cache, an eighth with a warm one.

Fashion-MNIST (Debian's package) at 96 px, EfficientNet-Lite0 with ImageNet weights, CPU, whole processes from
the command line, imports and image decoding included, the same number of threads. Every repeat draws another cut:
1,000 labelled and 2,000 test images as PNG files in one folder, the same for both sides, tested once. headstart takes
200 of the 1,000 to choose its regularisation and fits again on all of them, inside the measured time; Trainer (10
epochs, `hf_trainer.py`) fits on all 1,000. What either side fixes beforehand was chosen on Fashion-MNIST's training
images (`choices.py`), and the test images here are others. Cold is an empty feature cache, warm
the same run in another study. headstart computes features in bfloat16 (hardware.precision=bf16, within the tolerance
that tests/features/test_extractor.py states); cold in float32, which is what Trainer computes in, is shown for scale.
"""

import csv
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks import fashion
from benchmarks.measure import HEADSTART, Figure, Process, interleaved, run, say, seconds

N_TRAIN, N_TEST, EPOCHS = 1000, 2000, 10
HUGGING_FACE = "Hugging Face Trainer"
COLD, WARM, FLOAT32 = "headstart cold", "headstart warm", "headstart float32"
IMPORTS = "import headstart.train, transformers, accelerate, torchvision, timm, pytorch_lightning"


@dataclass(frozen=True)
class Answers:
    """What one side said about the test images: by file name, the label and whether it was right."""

    right: dict[str, tuple[int, bool]]
    threads: int

    @property
    def accuracy(self) -> float:
        return mean(ok for _, ok in self.right.values())


def measure(repeats: int) -> list[Figure]:
    """Ratios of whole-process seconds, and the difference in accuracy on the same images."""
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as scratch:
        root = Path(scratch)
        run((sys.executable, "-c", IMPORTS))  # untimed: files into the page cache, bytecode written
        for repeat in range(repeats):
            fashion.write(root / str(repeat) / "images", N_TRAIN, N_TEST, seed=repeat)
        sides = {
            COLD: lambda repeat: headstart(root / str(repeat), "cold"),
            HUGGING_FACE: lambda repeat: trainer(root / str(repeat)),
            WARM: lambda repeat: headstart(root / str(repeat), "warm"),
            FLOAT32: lambda repeat: headstart(root / str(repeat), "float32", precision="32"),
        }
        taken = interleaved(sides, repeats)
        answers = [_answers(root / str(repeat)) for repeat in range(repeats)]
        return _figures(taken, answers)


def headstart(place: Path, study: str, precision: str = "bf16") -> Process:
    """Feature extraction with a logistic head, as a user starts it."""
    options = (
        "strategy=feature_extraction", "+strategy.phases.head.probe.refit=true",
        "model=efficientnet_lite0", "data=image_folder", "data.image_size=96",
        "hardware=cpu", f"hardware.precision={precision}", "logger=csv", "rerun=true",
        f"data.source.root={place / 'images'}", f"study={study}",
        f"output_dir={place / 'outputs'}", f"cache_dir={place / 'cache'}",
    )  # fmt: skip
    return run((*HEADSTART, "train", *options), cwd=place)


def trainer(place: Path) -> Process:
    """The same head under Trainer."""
    command = (sys.executable, "-m", "benchmarks.hf_trainer", "--images", str(place / "images"))
    tail = ("--result", str(place / "trainer.json"), "--epochs", str(EPOCHS))
    return run((*command, *tail), cwd=Path(__file__).resolve().parents[1])


def _answers(place: Path) -> dict[str, Answers]:
    """Every side's answers of one repeat, checked to be about the same images with the same labels and threads."""
    found = {name: _of_headstart(place, name.split()[-1]) for name in (COLD, WARM, FLOAT32)}
    result = json.loads((place / "trainer.json").read_text("utf-8"))
    rows = {file: (label, label == guess) for file, label, guess in result["test"]}
    found[HUGGING_FACE] = Answers(rows, result["threads"])
    labels = {file: label for file, (label, _) in rows.items()}
    for name, side in found.items():
        if {file: label for file, (label, _) in side.right.items()} != labels or len(labels) != N_TEST:
            raise AssertionError(f"{name} was tested on other images or labels")
        if side.threads != result["threads"]:
            raise AssertionError(f"{name} had {side.threads} threads, Trainer {result['threads']}")
    if result["n_train"] != N_TRAIN:
        raise AssertionError(f"Trainer fitted on {result['n_train']} images")
    return found


def _of_headstart(place: Path, study: str) -> Answers:
    folder = next((place / "outputs" / study).glob("*/result.json")).parent
    result = json.loads((folder / "result.json").read_text("utf-8"))
    labelled = result["n_train"] + result["n_val"]
    if labelled != N_TRAIN:
        raise AssertionError(f"headstart {study} had {labelled} labelled images, not {N_TRAIN}")
    if result["cached"] != (study == "warm"):
        raise AssertionError(f"headstart {study}: result.json says cached={result['cached']}")
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as text:
        rows = [(Path(row["name"]).name, row["label"], row["predicted"]) for row in csv.DictReader(text)]
    return Answers({file: (int(label), label == guess) for file, label, guess in rows}, result["hardware"]["threads"])


def _figures(taken: dict[str, list[Process]], answers: list[dict[str, Answers]]) -> list[Figure]:
    other = seconds(taken[HUGGING_FACE])
    accuracies = {name: 100 * mean(each[name].accuracy for each in answers) for name in taken}
    for name, value in accuracies.items():
        each = ", ".join(f"{100 * one[name].accuracy:.2f}" for one in answers)
        say(f"  {name}: test accuracy {value:.2f} %  ({each})")
    pairs = [_discordant(each[COLD], each[HUGGING_FACE]) for each in answers]
    only, lost = sum(here for here, _ in pairs), sum(there for _, there in pairs)
    total = N_TEST * len(answers)
    apart, half = 100 * (only - lost) / total, 100 * 1.96 * (only + lost) ** 0.5 / total  # McNemar's, in points
    return [
        *(Figure(f"{name}: whole process", seconds(taken[name]), "s") for name in (HUGGING_FACE, COLD, WARM, FLOAT32)),
        Figure("cold: seconds of Trainer / headstart", other / seconds(taken[COLD]), "x", at_least=5),
        Figure("warm: seconds of Trainer / headstart", other / seconds(taken[WARM]), "x", at_least=8),
        Figure("cold in float32: seconds of Trainer / headstart", other / seconds(taken[FLOAT32]), "x"),
        *(Figure(f"{name}: test accuracy", accuracies[name], "%") for name in (HUGGING_FACE, COLD, FLOAT32)),
        Figure(
            "accuracy of headstart - Trainer", apart, "points",
            note=f"± {half:.2f}: of {total} test images {only} right here alone, {lost} right there alone",
        ),
        Figure("no lower: upper end of that difference's paired 95 % interval", apart + half, "points", at_least=0),
    ]  # fmt: skip


def _discordant(one: Answers, other: Answers) -> tuple[int, int]:
    """How many images only the first side gets right, and how many only the second."""
    pairs = [(ok, other.right[file][1]) for file, (_, ok) in one.right.items()]
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
