"""Every number against scikit-learn and torchmetrics, the calibration error also against its definition."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)
from torch.nn import functional

from headstart.evaluation.metrics import (
    PREDICTION_COLUMNS,
    calibration_gaps,
    confidence_bins,
    evaluate,
    list_classes,
    list_predictions,
    save_predictions,
)
from headstart.scores import auroc

CASES = {
    "ten classes": (500, 10, None),
    "two classes": (64, 2, None),
    "a class is absent": (80, 6, 3),
    "one image": (1, 7, None),
    "one image of two classes": (1, 2, None),
    "more classes than images": (9, 100, None),
    "exactly five classes": (50, 5, None),
    "six classes": (60, 6, None),
}


def draw(n: int, classes: int, absent: int | None, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits that are right more often than not, and labels without the class `absent`."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=chance)
    if absent is not None:
        labels[labels == absent] = (absent + 1) % classes
    logits = torch.randn(n, classes, generator=chance) * 2
    logits[torch.arange(n), labels] += 1.5
    return logits, labels


def guo(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the calibration error as the paper writes it: a sum over bins (lower, upper]."""
    confidence, predicted = logits.double().softmax(1).numpy().max(1), logits.argmax(1).numpy()
    hits = predicted == labels.numpy()
    error = 0.0
    for lower in np.arange(15) / 15:
        inside = (confidence > lower) & (confidence <= lower + 1 / 15 + 1e-12)
        if inside.any():
            error += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return error


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_of_scikit_learn(case: str) -> None:
    logits, labels = draw(*CASES[case])
    classes = logits.shape[1]
    found = evaluate(logits, labels)
    probabilities = logits.double().softmax(1).numpy()
    predicted, every = logits.argmax(1).numpy(), list(range(classes))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["nll"] == pytest.approx(log_loss(labels, probabilities, labels=every), rel=1e-5)
    if len(labels.unique()) < classes:
        assert found["auroc"] is None, "scikit-learn refuses it too"
    else:
        chance = probabilities if classes > 2 else probabilities[:, 1]
        assert found["auroc"] == pytest.approx(roc_auc_score(labels, chance, multi_class="ovr", average="macro"))
    if classes > 5:
        assert found["top5"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5, labels=every))
    else:
        assert found["top5"] is None


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_of_torchmetrics(case: str) -> None:
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_auroc,
        multiclass_calibration_error,
        multiclass_f1_score,
        multiclass_recall,
    )

    logits, labels = draw(*CASES[case])
    classes = logits.shape[1]
    found = evaluate(logits, labels)
    recall = multiclass_recall(logits, labels, classes, average=None)[labels.unique()]
    assert found["balanced_accuracy"] == pytest.approx(float(recall.mean()))
    assert found["nll"] == pytest.approx(float(functional.cross_entropy(logits, labels)))
    top = {k: multiclass_accuracy(logits, labels, classes, average="micro", top_k=k) for k in (1, min(5, classes))}
    assert found["accuracy"] == pytest.approx(float(top[1]))
    assert found["top5"] == (pytest.approx(float(top[5])) if classes > 5 else None)
    assert found["f1"] == pytest.approx(float(multiclass_f1_score(logits, labels, classes, average="macro")))
    if found["auroc"] is not None:
        assert found["auroc"] == pytest.approx(float(multiclass_auroc(logits, labels, classes)), abs=1e-6)
    assert found["ece"] == pytest.approx(float(multiclass_calibration_error(logits, labels, classes)), abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_calibration_error_is_the_papers(case: str) -> None:
    logits, labels = draw(*CASES[case])
    assert evaluate(logits, labels)["ece"] == pytest.approx(guo(logits, labels), abs=1e-6)


def test_a_class_that_is_absent_but_predicted_is_no_class_of_the_mean() -> None:
    """torchmetrics' macro recall counts it, as 0; scikit-learn's balanced accuracy, as ours, does not."""
    from torchmetrics.functional.classification import multiclass_recall

    logits, labels = draw(80, 6, 3)
    assert (logits.argmax(1) == 3).any()
    found = evaluate(logits, labels)["balanced_accuracy"]
    assert found is not None
    theirs = multiclass_recall(logits, labels, 6, average="macro")
    assert float(theirs) == pytest.approx(found * 5 / 6)
    logits[:, 3] = -100.0  # once it is not predicted either, both leave it out
    theirs = multiclass_recall(logits, labels, 6, average="macro")
    assert evaluate(logits, labels)["balanced_accuracy"] == pytest.approx(float(theirs))


def test_of_equal_scores_the_lower_classes_are_among_the_five() -> None:
    """torchmetrics takes those that torch.topk happens to return; of the first place both take the lowest class."""
    from torchmetrics.functional.classification import multiclass_accuracy

    chance = torch.Generator().manual_seed(0)
    scores, labels = torch.randint(3, (200, 8), generator=chance).float(), torch.randint(8, (200,), generator=chance)
    ranked = [sorted(range(8), key=lambda k: (-row[k], k)) for row in scores.tolist()]
    found = evaluate(scores, labels)
    assert found["top5"] == np.mean([label in order[:5] for label, order in zip(labels.tolist(), ranked, strict=True)])
    assert found["accuracy"] == pytest.approx(float(multiclass_accuracy(scores, labels, 8, average="micro")))
    own = scores.gather(1, labels[:, None])
    least, most = (share.double().mean() for share in ((scores >= own).sum(1) <= 5, (scores > own).sum(1) < 5))
    assert least < found["top5"] < most, "the ties decide"
    assert least <= float(multiclass_accuracy(scores, labels, 8, average="micro", top_k=5)) <= most


def test_a_bin_holds_its_upper_limit() -> None:
    """0.6 = 9 / 15 shares no bin with 0.62, as in Guo et al.; torchmetrics' bins hold the lower limit: it does."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    gaps = calibration_gaps(np.array([0.6, 0.62]), np.array([False, True]))
    assert gaps.tolist() == pytest.approx([0.0] * 8 + [0.6, -0.38] + [0.0] * 5)
    assert confidence_bins(np.array([0.0, 1e-9, 0.2, 0.21, 0.6, 0.62, 1.0])).tolist() == [0, 0, 2, 3, 8, 9, 14]
    probabilities = torch.tensor([[0.6, 0.4], [0.62, 0.38]])
    theirs = multiclass_calibration_error(probabilities, torch.tensor([1, 0]), 2)
    assert float(theirs) == pytest.approx((0.6 - 0.38) / 2)


def test_scores_between_0_and_1_are_logits_like_any_others() -> None:
    """torchmetrics takes such scores for probabilities."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    scores, labels = torch.rand(50, 4, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 4
    found = evaluate(scores, labels)["ece"]
    assert found == pytest.approx(float(multiclass_calibration_error(scores.softmax(1), labels, 4)), abs=1e-6)
    assert found != pytest.approx(float(multiclass_calibration_error(scores, labels, 4)), abs=0.1)


def test_certain_predictions_fall_into_the_last_bin() -> None:
    """Confidence 1.0 shares its bin with 0.96, where gaps of opposite sign cancel; torchmetrics keeps it apart."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits = torch.tensor([[200.0, 0.0], [0.96, 0.04]])
    logits[1] = logits[1].log()
    labels = torch.tensor([1, 0])
    assert evaluate(logits, labels)["ece"] == pytest.approx(abs((0 - 1.0) + (1 - 0.96)) / 2, abs=1e-6)
    assert float(multiclass_calibration_error(logits, labels, 2)) == pytest.approx((1.0 + 0.04) / 2)


def test_shifted_and_huge_logits_stay_finite() -> None:
    logits, labels = draw(40, 6, None)
    assert evaluate(logits + 1e4, labels) == pytest.approx(evaluate(logits, labels), abs=2e-3)
    assert evaluate(logits.log_softmax(1), labels) == pytest.approx(evaluate(logits, labels), abs=1e-6)
    assert evaluate(logits.bfloat16(), labels)["nll"] == pytest.approx(evaluate(logits, labels)["nll"], abs=2e-2)


def test_scores_without_probabilities_have_no_nll_and_no_ece() -> None:
    logits, labels = draw(50, 8, None)
    found = evaluate(logits, labels, probabilities=False)
    assert found["nll"] is None
    assert found["ece"] is None
    assert found["auroc"] is None
    assert found["f1"] == evaluate(logits, labels)["f1"]
    assert found["accuracy"] == evaluate(logits, labels)["accuracy"]
    assert all(row["confidence"] is None for row in list_predictions(logits, labels, ["x"] * 50, probabilities=False))


def test_equal_probabilities_count_half_in_the_auroc() -> None:
    odds = torch.randint(1, 4, (200, 2), generator=torch.Generator().manual_seed(0)) / 8
    odds = torch.cat([odds, 1 - odds.sum(1, keepdim=True)], dim=1)
    labels = torch.arange(200) % 3
    expected = roc_auc_score(labels, odds, multi_class="ovr")
    assert auroc(odds, labels) == pytest.approx(expected, abs=1e-12)
    assert evaluate(torch.zeros(9, 3), labels[:9])["auroc"] == 0.5


def test_each_class_has_the_recall_precision_and_f1_of_scikit_learn() -> None:
    logits, labels = draw(80, 6, 3)
    logits[:, 5] = -100.0  # never predicted
    found = list_classes(logits, labels, "abcdef")
    parts = precision_recall_fscore_support(labels, logits.argmax(1), labels=range(6), zero_division=np.nan)
    for row, name, precision, recall, f1, images in zip(found, "abcdef", *parts, strict=True):
        expected = {"recall": recall, "precision": precision, "f1": f1}
        expected = {key: None if np.isnan(value) else pytest.approx(value) for key, value in expected.items()}
        assert row == {"name": name, "images": images, **expected}
    assert (found[3]["recall"], found[5]["precision"]) == (None, None)


def test_equal_scores_rank_in_the_order_of_their_classes() -> None:
    scores, labels = torch.zeros(10, 10), torch.arange(10)
    found = evaluate(scores, labels)
    assert found["accuracy"] == 0.1
    assert found["top5"] == 0.5
    assert [row["top5"] for row in list_predictions(scores, labels, ["x"] * 10)] == [[0, 1, 2, 3, 4]] * 10


@pytest.mark.parametrize(
    ("scores", "labels", "part"),
    [
        (torch.zeros(0, 3), torch.zeros(0), "at least 1"),
        (torch.zeros(2, 3), torch.zeros(1), r"\[2, 3\] and \[1\]"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "0 to 3, but there are 3 classes"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "-1 to 0"),
        (torch.full((2, 3), float("nan")), torch.tensor([0, 1]), "NaN"),
    ],
)
def test_impossible_input_is_refused(scores: torch.Tensor, labels: torch.Tensor, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        evaluate(scores, labels)


def test_predictions_agree_with_the_numbers_and_survive_the_file(tmp_path) -> None:
    logits, labels = draw(60, 9, None)
    names = [f"train/ä, {i}.png" for i in range(60)]
    rows = list_predictions(logits, labels, names)
    found = evaluate(logits, labels)
    classes = [f"ä, {label}" for label in range(9)]
    save_predictions(tmp_path / "predictions.csv", rows, classes)
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == PREDICTION_COLUMNS
    assert [row["name"] for row in read] == names
    assert [int(row["index"]) for row in read] == list(range(60))
    assert np.mean([row["label"] == row["predicted"] for row in read]) == pytest.approx(found["accuracy"])
    assert np.mean([row["label"] in row["top5"].split() for row in read]) == pytest.approx(found["top5"])
    assert all(row[f"{key}_name"] == classes[int(row[key])] for row in read for key in ("label", "predicted"))
    sure = [float(row["confidence"]) for row in read]
    np.testing.assert_allclose(sure, logits.softmax(1).amax(1), rtol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]
    with pytest.raises(ValueError, match="59 names for 60 images"):
        list_predictions(logits, labels, names[:-1])


def test_of_five_classes_no_five_likeliest_are_listed(tmp_path) -> None:
    rows = list_predictions(*draw(8, 5, None), ["x"] * 8)
    save_predictions(tmp_path / "predictions.csv", rows, "abcde")
    head, *lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert head == "index,name,label,predicted,confidence,label_name,predicted_name"
    assert len(lines) == 8


def test_importing_metrics_imports_neither_torch_nor_torchmetrics() -> None:
    code = "import sys, headstart.evaluation.metrics; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = "import sys, torch; from headstart.evaluation.metrics import evaluate; "
    code += "evaluate(torch.eye(3), torch.arange(3)); "
    code += "print('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
