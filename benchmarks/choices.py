"""What `benchmarks/extraction.py` fixes beforehand, chosen on images that it never tests on.

Question:  which learning rate is best for the linear head under Trainer, and which `scale` and which rule of
           selection for the logistic probe, 1,000 labelled images each?
Command:   python -m benchmarks.choices   (about 3 minutes on 2 cores)
Expected:  the learning rate that `hf_trainer.LR` names, and the probe's defaults, on top or within noise of it.

20,000 of Fashion-MNIST's 60,000 *training* images; every cut draws 1,000 labelled and scores 4,000 others. Trainer is
played on features: a frozen backbone in eval mode gives an image the same features in every epoch, so AdamW, its linear
schedule, clipping at 1 and batches of 32 on the features are the same arithmetic.
"""

import sys
from statistics import mean, stdev

import numpy as np
import torch
from PIL import Image
from sklearn.model_selection import train_test_split
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn

from benchmarks import fashion
from benchmarks.hf_trainer import network
from headstart import probe
from headstart.data.sources import fashion_mnist
from headstart.models.fold import fold_batch_norms

IMAGES, LABELLED, SCORED, CUTS = 20_000, 1_000, 4_000, 12
BATCH, EPOCHS, CHOICE_SHARE = 32, 10, 0.2
RATES = (1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 3e-2, 1e-1)
SCALES = (0.0, 0.5, 1.0)


def features() -> tuple[Tensor, Tensor]:
    """Features [20000, 1280] and labels of training images, by the transform that both sides of the benchmark use."""
    split = fashion_mnist().train
    rows = np.random.default_rng(0).permutation(len(split.labels))[:IMAGES]
    model = network(10).eval()
    transform = create_transform(**resolve_data_config({"input_size": (3, 96, 96)}, model=model), is_training=False)
    model.reset_classifier(0)
    backbone = fold_batch_norms(model)
    outputs = []
    with torch.inference_mode():
        for start in range(0, IMAGES, BATCH):
            images = [Image.fromarray(split.images[int(row)]).convert("RGB") for row in rows[start : start + BATCH]]
            batch = torch.stack([transform(image) for image in images])
            outputs.append(backbone(batch.contiguous(memory_format=torch.channels_last)))
    return torch.cat(outputs), torch.from_numpy(split.labels[rows]).long()


def trainer_head(x: Tensor, y: Tensor, lr: float, seed: int) -> nn.Linear:
    """The head as Trainer's defaults fit it in 10 epochs."""
    torch.manual_seed(seed)
    head = nn.Linear(x.shape[1], 10)
    steps = EPOCHS * -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(x[rows]), y[rows]).backward()
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return head


def probes(x: Tensor, y: Tensor, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Per scale and rule: weight and bias of the logistic probe, chosen on a fifth, fitted again on all."""
    fit, choose = train_test_split(np.arange(len(y)), test_size=CHOICE_SHARE, stratify=y, random_state=seed)
    found = {}
    for scale in SCALES:
        grid = probe.Logistic(scale=scale).fit(x[fit], y[fit], x[choose], y[choose], 10)
        by_accuracy = max(grid.table, key=lambda row: row["val_accuracy"])["value"]
        for rule, value in (("nll", grid.chosen["value"]), ("accuracy", by_accuracy)):
            final = probe.Logistic(grid=[value], scale=scale, refit=True).fit(x[fit], y[fit], x[choose], y[choose], 10)
            found[f"probe scale={scale:g} by {rule}"] = final.head.weight.detach(), final.head.bias.detach()
    return found


def main() -> int:
    """Print the mean accuracy of every choice over the cuts, and its difference from the best with a standard error."""
    if not fashion.installed():
        print(fashion.INSTALL, file=sys.stderr)
        return 2
    x, y = features()
    scores: dict[str, list[float]] = {}
    for cut in range(CUTS):
        labelled, rest = train_test_split(np.arange(IMAGES), train_size=LABELLED, stratify=y, random_state=cut)
        scored = rest[:SCORED]
        sides = probes(x[labelled], y[labelled], cut)
        for lr in RATES:
            head = trainer_head(x[labelled], y[labelled], lr, seed=cut)
            sides[f"trainer lr={lr:g}"] = head.weight.detach(), head.bias.detach()
        for name, (weight, bias) in sides.items():
            right = (x[scored] @ weight.T + bias).argmax(1) == y[scored]
            scores.setdefault(name, []).append(100 * float(right.float().mean()))
    for side in ("trainer", "probe"):
        mine = {name: each for name, each in scores.items() if name.startswith(side)}
        best = max(mine, key=lambda name: mean(mine[name]))
        for name, each in mine.items():
            apart = [one - other for one, other in zip(each, mine[best], strict=True)]
            error = stdev(apart) / CUTS**0.5
            print(f"{name:30} {mean(each):6.2f} %   {mean(apart):+.2f} ± {error:.2f} from the best ({best})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
