"""How much sooner is a live training step done here than in timm's eager float32 step, on a CPU, per network?

Command:   python -m benchmarks training
Expected:  about 7 minutes on 2 cores; EfficientNet-Lite0 and ResNet-18 at least 1.6 times as fast, no network slower.

Ten networks of ten families at 96 px, batches of 50, AdamW, cross-entropy, images in memory; each side in a process
of its own, one after the other (`benchmarks/steps.py`). headstart's side is a whole run with `hardware.tune=true
hardware.allow_bf16=true`. Tuning picks from what a run of ten steps can repay, so nothing is compiled here. The time
of the tuning is not in the steps; it is paid once per machine and network.
"""

import json
import sys
from typing import Any

from benchmarks.measure import Figure, run, say

HELD = ("tf_efficientnet_lite0", "resnet18")
OTHERS = (
    "efficientnet_b0", "mobilenetv2_100", "mobilenetv3_small_100", "resnet50", "regnety_008", "densenet121",
    "convnext_atto", "vgg11_bn",
)  # fmt: skip
AT_LEAST = 1.6
RUN = (
    "strategy=scratch", "data=digits", "data.image_size=96", "data.batch_size=50", "data.train_per_class=60",
    "data.val_fraction=0.1", "data.n_test=50", "augment=none", "optimizer=adamw", "epochs=1", "hardware=cpu",
    "hardware.tune=true", "hardware.allow_bf16=true", "model=timm", "model.weights=none",
)  # fmt: skip


def measure(repeats: int) -> list[Figure]:
    """Ratios of images per second, once per network whatever `repeats`: each is a median over steps."""
    ratios: dict[str, float] = {}
    for name in (*HELD, *OTHERS):
        plain = speed("timm", name)["images_per_second"]
        found = speed("ours", f"model.name={name}", *RUN)
        ratios[name] = found["images_per_second"] / plain
        picked = found["hardware"]["tuned"]["setting"]
        say(
            f"  {name}: {found['images_per_second']:.0f} images/s with {picked['precision']} "
            f"{picked['memory_format']}, timm's eager step {plain:.0f}: {ratios[name]:.2f} x"
        )
    worst = min(OTHERS, key=ratios.__getitem__)
    return [
        *(Figure(f"{name}: training, images/s / timm's eager", ratios[name], "x", at_least=AT_LEAST) for name in HELD),
        Figure("slowest of eight other networks / timm's eager", ratios[worst], "x", at_least=1.0, note=worst),
    ]


def speed(*arguments: str) -> dict[str, Any]:
    """What `benchmarks/steps.py` says, in a process of its own."""
    output = run((sys.executable, "-m", "benchmarks.steps", *arguments)).output
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer
