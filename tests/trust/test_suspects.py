"""Probable label errors in digits of which some were given wrong labels."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from headstart.cli.data import main
from headstart.errors import UserError
from headstart.trust.folds import FOLDS, make_folds
from headstart.trust.suspects import find_suspects

CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def flip(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a share is another class's, and the rows of these."""
    draw = np.random.default_rng(seed)
    rows = draw.choice(len(labels), round(share * len(labels)), replace=False)
    wrong = labels.copy()
    wrong[rows] = (labels[rows] + draw.integers(1, 10, len(rows))) % 10
    return wrong, rows


@pytest.mark.parametrize("seed", [0, 1])
def test_four_of_five_top_suspects_are_flipped_labels(seed: int) -> None:
    digits = load_digits()
    labels, flipped = flip(digits.target, 0.05, seed)
    folds = make_folds(labels, [str(at) for at in range(len(labels))], CLASSES, seed)
    suspects = find_suspects(torch.from_numpy(digits.data).float(), labels, folds, seed)
    top = suspects[: len(flipped)]
    assert sum(each.row in set(flipped.tolist()) for each in top) >= 0.8 * len(flipped)
    assert all(each.label == labels[each.row] != each.suggested for each in top)
    right = sum(each.suggested == digits.target[each.row] for each in top if each.row in flipped)
    assert right >= 0.9 * sum(each.row in flipped for each in top)


def write_table(n: int, share: float) -> tuple[dict[str, str], set[str]]:
    """Write n digits and labels.csv; returns the true label of each file, and the files with wrong labels."""
    digits = load_digits()
    labels, flipped = flip(digits.target[:n], share, 0)
    for at in range(n):
        Image.fromarray((digits.images[at] * 15).astype(np.uint8)).save(f"{at}.png")
    rows = [f"{at}.png,{label}" for at, label in enumerate(labels)]
    Path("labels.csv").write_text("\n".join(["path,label", *rows]))
    return {f"{at}.png": str(digits.target[at]) for at in range(n)}, {f"{at}.png" for at in flipped.tolist()}


@pytest.mark.slow
def test_the_command_names_the_right_files_and_broken_ones_shift_none(capsys: pytest.CaptureFixture[str]) -> None:
    truth, flipped = write_table(300, 0.05)
    broken = sorted(set(truth) - flipped)[:3]
    for name in broken:
        content = Path(name).read_bytes()
        Path(name).write_bytes(content[: len(content) - 40])
    assert main(["labels.csv", "--suspects", "model=efficientnet_lite0", "data.image_size=48", "hardware=cpu"]) == 0
    printed = capsys.readouterr().out
    assert "images cannot be read and are not judged" in printed
    assert "probable label errors in 297 images" in printed
    written = Path("outputs/data/labels")
    rows = list(csv.DictReader((written / "suspects.csv").open(encoding="utf-8")))
    names = [Path(row["image"]).name for row in rows]
    assert not set(names) & set(broken)
    assert len(set(names[: len(flipped)]) & flipped) >= 0.6 * len(flipped)
    sure = [row for row, name in zip(rows, names, strict=True) if name in flipped]
    assert sum(row["suggested"] == truth[Path(row["image"]).name] for row in sure) >= 0.7 * len(sure)
    shares = [float(row["label_probability"]) for row in rows]
    assert shares == sorted(shares)
    with Image.open(written / "suspects.png") as sheet:
        assert sheet.width > 600
    assert "probable label errors" in (written / "summary.txt").read_text(encoding="utf-8")


def test_groups_and_copies_stay_together() -> None:
    labels = np.arange(400) % 4
    groups = [f"patient {at // 8}" for at in range(400)]
    folds = make_folds(labels, groups, list("abcd"), 0).numbers
    by_group = {group: set(folds[[at for at in range(400) if groups[at] == group]].tolist()) for group in set(groups)}
    assert all(len(found) == 1 for found in by_group.values())
    assert set(folds.tolist()) == set(range(FOLDS))


def test_a_class_of_fewer_images_than_folds_is_not_judged_and_named() -> None:
    labels = np.array([0] * 20 + [1] * 20 + [2] * 3)
    folds = make_folds(labels, [str(at) for at in range(43)], list("abc"), 0)
    assert folds.small == {"c": 3}
    assert (folds.numbers[40:] == -1).all()
    assert (folds.numbers[:40] >= 0).all()
    with pytest.raises(UserError, match="fewer than two classes have 5 images each"):
        make_folds(labels[20:], [str(at) for at in range(23)], list("abc"), 0)
    alike = ["one patient"] * 20 + [str(at) for at in range(23)]
    with pytest.raises(UserError, match=r"data\.group"):
        make_folds(labels, alike, list("abc"), 0)


def test_random_weights_are_refused_before_anything_is_read() -> None:
    with pytest.raises(UserError, match=r"lenet5 has none.*model=efficientnet_lite0"):
        main(["digits", "--suspects", "model=lenet5", "strategy=scratch", "data.image_size=32"])
    assert not Path("outputs").exists()


def test_a_missing_extra_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.trust import extra

    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs cleanlab.*pip install 'headstart\[trust\]'"):
        main(["digits", "--suspects"])
