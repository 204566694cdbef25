"""How many epochs does `prune=median` save, and does it ever prune the best run?

Command:   python -m benchmarks prune
Expected:  about 33 % fewer epochs (target 30 %) in ten small studies, one seed each: 20 learning rates in random
           order; the best run pruned in none of them.

Every run is trained to its end once. Then each study is gone through again, in its order, with what the pruner would
have seen: a run on a CPU is the same to the bit, so these are the decisions of a study with `prune=median`.
"""

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, run

SEEDS, EPOCHS, RULE = 10, 12, "median"
RATES = [10 ** (-4 + 3 * place / 19) for place in range(20)]
FIXED = (
    "model=lenet5", "strategy=scratch", "data=digits", "data.image_size=32", "data.train_per_class=20",
    "data.n_test=50", f"epochs={EPOCHS}", "augment=none", "optimizer=adam", "hardware=cpu", "hardware.threads=1",
    "logger=none", "keep=none",
)  # fmt: skip


def measure(repeats: int) -> list[Figure]:
    """The share of epochs saved, and in how many of the studies the best run was pruned."""
    output = run((sys.executable, "-m", "benchmarks.prune"), cwd=Path(__file__).resolve().parents[1]).output
    found: dict[str, Any] = json.loads(output.rpartition("RESULT")[2])
    return [
        Figure(
            f"epochs saved by prune={RULE} in {SEEDS} studies of {len(RATES)} rates", found["saved"], "%", at_least=30.0
        ),
        Figure("the same in the study that saved least", found["least"], "%"),
        Figure("studies whose best run was pruned", found["lost"], "", at_most=0.0),
    ]


def _train(outputs: Path, seed: int) -> list[Path]:
    """Train a study to its end; returns the runs in the random order in which they are gone through."""
    import headstart

    rates = RATES.copy()
    random.Random(seed).shuffle(rates)
    words = (*FIXED, f"seed={seed}", f"study=s{seed}", f"output_dir={outputs}")
    return [headstart.run([*words, f"optimizer.lr={rate:.6g}"]).folder for rate in rates]


def _replay(folders: list[Path], study: Path) -> tuple[int, bool]:
    """Go through a study as it would have gone; returns the epochs run, and whether the best run was pruned."""
    from omegaconf import OmegaConf

    from headstart.search.prune import Pruner

    epochs, pruned = 0, set()
    for folder in folders:
        copy = study / folder.name
        copy.mkdir(parents=True)
        shutil.copy(folder / "config.yaml", copy)
        lines = (folder / "metrics.csv").read_text("utf-8").splitlines(keepends=True)
        (copy / "metrics.csv").write_text("".join(lines), "utf-8")
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        pruner = Pruner(RULE, copy, config, "all")
        ended = next((epoch for epoch in range(1, EPOCHS + 1) if pruner.judge(epoch) is not None), None)
        epochs += ended or EPOCHS
        if ended is None:
            shutil.copy(folder / "result.json", copy)
        else:
            pruned.add(folder)
            (copy / "metrics.csv").write_text("".join(lines[: 1 + ended]), "utf-8")  # a head, and a line an epoch
            (copy / "state.json").write_text(json.dumps({"status": "pruned"}), "utf-8")

    def score(folder: Path) -> float:
        return float(json.loads((folder / "result.json").read_text("utf-8"))["val"]["accuracy"])

    best = max(map(score, folders))
    return epochs, all(folder in pruned for folder in folders if score(folder) == best)


def _main() -> None:
    saved, lost = [], 0
    with tempfile.TemporaryDirectory() as place:
        for seed in range(SEEDS):
            epochs, is_lost = _replay(_train(Path(place) / "whole", seed), Path(place) / "pruned" / f"s{seed}")
            saved.append(100 * (1 - epochs / (len(RATES) * EPOCHS)))
            lost += is_lost
            print(
                f"seed {seed}: {saved[-1]:.0f} % of the epochs saved{', the best run pruned' if is_lost else ''}",
                flush=True,
            )
    print("RESULT", json.dumps({"saved": sum(saved) / len(saved), "least": min(saved), "lost": lost}))


if __name__ == "__main__":
    _main()
