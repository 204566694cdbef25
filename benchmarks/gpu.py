"""Do training and inference on one GPU keep up with timm's own benchmark at its best setting, on the same card?

Command:   python -m benchmarks.gpu [--save]     (about 15 minutes; --save writes benchmarks/results/<date>-<card>.md)
Expected:  every ratio at least 0.97. Not part of `python -m benchmarks`, which asks for no GPU.

ResNet-50 and EfficientNet-B0 at 224 px, batches of 256, one process for each side and setting. timm's side is the step
of its `benchmark.py` (which is in its repository, not in its package): random images that lie on the card,
channels_last, cudnn.benchmark, autocast in bfloat16 or float16 without a loss scaler, SGD by its factory,
cross-entropy, a wait for the card after each step, 10 steps to warm up and 40 timed; eager and compiled; the best of
the four counts. headstart's training is a whole run (`benchmarks/steps.py`), so images come from the host's memory, are
normalised on the card, and are counted by metrics; what `hardware.tune` picks, and compiled in bfloat16; the better
of the two. Its inference is `headstart.features.inference.run_inference` over folded batch norms, on uint8 images that
lie on the card.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, say
from headstart.config.machine import count_gpus_at_most

NETWORKS = ("resnet50", "efficientnet_b0")
SIDE, BATCH, CLASSES = 224, 256, 1000
WARM, TIMED = 10, 40  # steps, as timm's script has them
AT_LEAST = 0.97
RESULTS = Path(__file__).resolve().parent / "results"
THEIRS = {
    f"{dtype}{' compiled' if compiled else ''}": (dtype, str(int(compiled)))
    for dtype in ("bfloat16", "float16")
    for compiled in (False, True)
}
RUN = (
    "strategy=scratch", "data=digits", "data.image_size=224", "data.batch_size=256", "data.train_per_class=160",
    "data.val_fraction=0.1", "data.n_test=50", "augment=none", "optimizer=sgd", "epochs=6", "hardware=gpu",
    "model=timm", "model.weights=none",
)  # fmt: skip
OURS = {
    "tuned": ("hardware.tune=true", "hardware.allow_bf16=true"),
    "bfloat16 compiled": ("hardware.precision=bf16", "hardware.compile=true"),
}


def timm(bench: str, name: str, dtype: str, compiled: str) -> dict[str, Any]:
    """Images/s of timm's benchmark step, for `train` or `inference`."""
    import torch
    from timm import create_model
    from timm.optim import create_optimizer_v2

    torch.backends.cudnn.benchmark = True
    device, layout = torch.device("cuda"), torch.channels_last
    model: Any = create_model(name, num_classes=CLASSES).to(device, memory_format=layout).train(bench == "train")
    optimizer = create_optimizer_v2(model, "sgd", lr=1e-4)
    images = torch.randn(BATCH, 3, SIDE, SIDE, device=device).contiguous(memory_format=layout)
    network = torch.compile(model) if compiled == "1" else model

    def train() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", getattr(torch, dtype)):
            logits = network(images)
            labels = torch.empty(BATCH, device=device, dtype=torch.long).random_(CLASSES)
            torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        torch.cuda.synchronize()

    def run_inference() -> None:
        with torch.no_grad(), torch.autocast("cuda", getattr(torch, dtype)):
            network(images)
        torch.cuda.synchronize()

    step = train if bench == "train" else run_inference
    for _ in range(WARM):
        step()
    began = time.perf_counter()
    for _ in range(TIMED):
        step()
    return {"images_per_second": TIMED * BATCH / (time.perf_counter() - began)}


def inference(name: str) -> dict[str, Any]:
    """Images/s of headstart's inference in bfloat16, normalisation included; and the card's name."""
    import torch

    from headstart.config.schema import HardwareConfig, ModelConfig
    from headstart.data.augment import Preprocess
    from headstart.features.inference import run_inference
    from headstart.models import factory, fold
    from headstart.runtime import hardware

    config = hardware.resolve_hardware(HardwareConfig(accelerator="gpu", precision="bf16"))
    device = hardware.select_device(config)
    model, _ = factory.create(ModelConfig(name), tuple(map(str, range(CLASSES))), pretrained=False)
    network = fold.fold_batch_norms(model.eval()).to(device, memory_format=hardware.memory_format(config))
    preprocess = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).to(device).eval()
    images = torch.randint(256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8, device=device)

    def over(steps: int) -> float:
        began = time.perf_counter()
        rows = slice(0, steps * BATCH)
        run_inference(
            network, lambda start, stop: preprocess(images[: stop - start]), rows, config, name, batch_size=BATCH
        )
        return time.perf_counter() - began

    over(WARM)
    return {"images_per_second": TIMED * BATCH / over(TIMED), "card": torch.cuda.get_device_name()}


def measure() -> tuple[str, list[Figure]]:
    """The card's name, and the ratios."""
    card, figures = "", []
    for name in NETWORKS:
        mine = {
            "train": {what: _speed("ours", f"model.name={name}", *RUN, *options) for what, options in OURS.items()},
            "inference": {"bfloat16": _speed("inference", name)},
        }
        card = mine["inference"]["bfloat16"]["card"]
        for bench, sides in mine.items():
            theirs = {what: _speed("timm", bench, name, *options) for what, options in THEIRS.items()}
            best, ours = _best(theirs), _best(sides)
            for side, each in (("timm", theirs), ("headstart", sides)):
                table = ", ".join(f"{what} {found['images_per_second']:.0f}" for what, found in each.items())
                say(f"  {name} {bench}, images/s of {side}: {table}")
            ratio = sides[ours]["images_per_second"] / theirs[best]["images_per_second"]
            note = f"{ours} / {best}: {theirs[best]['images_per_second']:.0f} images/s"
            figures.append(Figure(f"{name} {bench}: images/s / timm's best", ratio, "x", at_least=AT_LEAST, note=note))
    return card, figures


def _best(sides: dict[str, dict[str, Any]]) -> str:
    return max(sides, key=lambda what: sides[what]["images_per_second"])


def _speed(side: str, *arguments: str) -> dict[str, Any]:
    """What one side says, in a process of its own that sees the card."""
    module = "benchmarks.steps" if side == "ours" else "benchmarks.gpu"
    command = (sys.executable, "-m", module, side, *arguments)
    environment = os.environ | {"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _save(card: str, figures: list[Figure]) -> str:
    """Write the figures as Markdown; returns the file's name."""
    import torch

    date = datetime.date.today().isoformat()
    path = RESULTS / f"{date}-{card.lower().replace(' ', '-')}.md"
    facts = [f"- date: {date}", f"- card: {card}", f"- torch {torch.__version__}, CUDA {torch.version.cuda}"]
    lines = [f"# Benchmarks, {date}, {card}", "", *facts, "", "```", *(figure.line() for figure in figures), "```", ""]
    RESULTS.mkdir(exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"benchmarks/results/{path.name}"


def main() -> int:
    """All ratios, or one side's speed where a side is named; returns 1 if a ratio is too low, 2 without a GPU."""
    if sys.argv[1:2] in (["timm"], ["inference"]):
        side, *rest = sys.argv[1:]
        print(json.dumps(timm(*rest) if side == "timm" else inference(*rest)), flush=True)
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--save", action="store_true", help="also write benchmarks/results/<date>-<card>.md")
    arguments = parser.parse_args()
    if count_gpus_at_most() == 0:
        print("benchmarks: this machine has no GPU", file=sys.stderr)
        return 2
    card, figures = measure()
    say(f"{datetime.date.today().isoformat()}, {card}")
    for figure in figures:
        say(figure.line())
    if arguments.save:
        say(f"written: {_save(card, figures)}")
    return int(not all(figure.reached for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
