"""The report's CSV files on what is shown: each function makes the table of one file, in full precision."""

import math
from typing import Any

from pandas import DataFrame

from headstart.evaluation.metrics import ECE_BINS
from headstart.report.stats.contrast import Contrast
from headstart.report.stats.one_row import reliability, score_classes
from headstart.report.stats.paired import Family, Pair
from headstart.report.stats.worth import along_frontier, over_cheapest
from headstart.report.study.groups import Comparison


def make_table(headings: list[str], rows: list[list[Any]]) -> DataFrame:
    """A table whose cells stay what they are: a missing number turns no whole ones into decimals."""
    return DataFrame(rows, columns=headings, dtype=object)


def _names(comparison: Comparison, pair: Pair) -> list[str]:
    return [comparison.label(side, within_task=True) for side in (pair.one, pair.other)]


def pairs(comparison: Comparison, families: list[Family]) -> DataFrame:
    """The table of pairs.csv.

    Columns: task; row and against; metric (what is compared); seeds (common ones, separated by spaces); difference (of
    the metric's means over them, row less against, shares in 0..1), std (n - 1 in the denominator) and interval
    (half-width of the 95 % interval, Student's t) of the differences over seeds; p_seeds (the paired t test over them);
    p_images, images_low and images_high (the paired bootstrap of images: p value and 95 % interval); then what decides:
    basis (on what: seeds and images, seeds, or images), half_width (of its 95 % interval), p (two-sided), p_adjusted
    (Holm over the task's tests), family (how many those are) and shown; why_untested; right_alone, there_alone and
    images (pooled over seeds).
    """
    heads = ["task", "row", "against", "metric", "seeds", "difference", "std", "interval", "p_seeds", "p_images"]
    heads += ["images_low", "images_high", "basis", "half_width", "p", "p_adjusted", "family", "shown", "why_untested"]
    heads += ["right_alone", "there_alone", "images"]
    rows = []
    for family in families:
        for pair in family.pairs:
            names = [*_names(comparison, pair), pair.metric.name]
            found, test = pair.difference, pair.test
            over_seeds = [None] * 3 if found is None else [found.mean, found.std, found.interval]
            drawn = None if test is None else test.images
            over_images = [None] * 3 if drawn is None else [drawn.p, drawn.low, drawn.high]
            rows.append(
                [
                    *(family.task, *names, " ".join(map(str, pair.repeats)), *over_seeds),
                    *(None if test is None else test.p_seeds, *over_images, None if test is None else test.basis),
                    *(pair.half, pair.p, pair.adjusted, len(family.tested), str(pair.shown).lower(), pair.untested),
                    *(pair.alone or (None, None)),
                    pair.images or None,
                ]
            )
    return make_table(heads, rows)


def gains(comparison: Comparison, families: list[Family]) -> DataFrame:
    """The table of worth.csv.

    Columns: task; row; over (the reference); metric; step (`cheapest` or `frontier`); seeds (common ones); gain and
    gain_interval (by how much the metric is better, shares in 0..1, half-width of its 95 % interval); p_adjusted;
    extra_seconds; extra_gmacs; gain_per_second; gain_per_gmac; gmacs_bound (how extra_gmacs is to be read: `>=` or `<=`
    where the multiply-adds of one side are a lower bound, `~` where both are). A cell is empty where the number is not
    known, or where nothing extra is spent.
    """
    heads = ["task", "row", "over", "metric", "step", "seeds", "gain", "gain_interval", "p_adjusted", "extra_seconds"]
    heads += ["extra_gmacs", "gain_per_second", "gain_per_gmac", "gmacs_bound"]
    rows = []
    for family in families:
        kinds = {"cheapest": over_cheapest(family), "frontier": along_frontier(family)}
        for kind, steps in kinds.items():
            for found in steps:
                pair = found.pair
                names = _names(comparison, pair)
                bound = found.mark.strip().replace("≥", ">=").replace("≤", "<=")
                interval = None if pair.difference is None else pair.difference.interval
                cells = [len(pair.runs), pair.gain, interval, pair.adjusted, found.seconds, found.gmacs]
                about = [family.task, *names, pair.metric.name, kind]
                rows.append([*about, *cells, found.per_second, found.per_gmac, bound])
    return make_table(heads, rows)


def scores_by_class(comparison: Comparison, families: list[Family]) -> DataFrame:
    """The table of per_class.csv: every class of every row.

    Columns: task; row; class and label; images (of the class in the test set); seeds (how many); for recall, precision
    and f1 `<name>_mean`, `<name>_std` (n - 1 in the denominator) and `<name>_interval` (half-width of the 95 %
    interval, Student's t) over them. Precision is empty where a seed never predicts the class. Rows without readable
    predictions are left out, and so are classes without test images.
    """
    heads = ["task", "row", "class", "label", "images", "seeds"]
    heads += [f"{name}_{end}" for name in ("recall", "precision", "f1") for end in ("mean", "std", "interval")]
    rows = []
    for family in families:
        for group in family.rows:
            found = score_classes(group.runs)
            if found is None:
                continue
            for label, name in enumerate(group.runs[0].classes):
                if not found.images[label]:
                    continue
                cells = [family.task, comparison.label(group, within_task=True), name, label]
                cells += [int(found.images[label]), len(found.recall)]
                for over in found.over_seeds(label):
                    cells += [None] * 3 if over is None else [over.mean, over.std, over.interval]
                rows.append(cells)
    return make_table(heads, rows)


def class_differences(comparison: Comparison, contrasts: list[Contrast]) -> DataFrame:
    """The table of class_differences.csv.

    Columns: task; row and against; class and label; images; seeds (common ones, how many); recall_row and
    recall_against (means over them); difference, std and interval of the paired differences.
    """
    heads = ["task", "row", "against", "class", "label", "images", "seeds", "recall_row", "recall_against"]
    heads += ["difference", "std", "interval"]
    rows = []
    for contrast in contrasts:
        for change in contrast.classes:
            over = change.difference
            numbers = [change.images, over.n, change.one, change.other, over.mean, over.std, over.interval]
            rows.append([contrast.task, *_names(comparison, contrast.pair), change.name, change.label, *numbers])
    return make_table(heads, rows)


def confidence_bins(comparison: Comparison, families: list[Family]) -> DataFrame:
    """The table of calibration.csv: 15 bins of confidence for each row.

    Columns: task; row; above and up_to (the bin's limits); images (of all seeds); confidence and accuracy (their
    means, 0..1, empty in an empty bin). Rows without probabilities are left out.
    """
    heads = ["task", "row", "above", "up_to", "images", "confidence", "accuracy"]
    rows = []
    for family in families:
        for group in family.rows:
            found = reliability(group.runs)
            if found is None:
                continue
            bins = zip(found.counts.tolist(), found.confidence.tolist(), found.accuracy.tolist(), strict=True)
            for place, (count, sure, right) in enumerate(bins):
                means = [None if math.isnan(value) else value for value in (sure, right)]
                limits = [place / ECE_BINS, (place + 1) / ECE_BINS]
                rows.append([family.task, comparison.label(group, within_task=True), *limits, count, *means])
    return make_table(heads, rows)


def changed_images(comparison: Comparison, contrasts: list[Contrast]) -> DataFrame:
    """The table of changed.csv: every test image on which two rows differ, most changed first.

    Columns: task; row and against; index and name of the image in the test set; label (its class);
    right_row and right_against (shares of the common seeds that got it right); change (their difference);
    predicted_row and predicted_against (the class that most of their seeds say); seeds (how many).
    """
    heads = ["task", "row", "against", "index", "name", "label", "right_row", "right_against", "change"]
    heads += ["predicted_row", "predicted_against", "seeds"]
    rows = []
    for contrast in contrasts:
        verdict = contrast.verdicts
        if verdict is None:
            continue
        classes, names, seeds = contrast.pair.one.runs[0].classes, verdict.names(), verdict.seeds
        for place in verdict.order():
            one, other = int(verdict.one[place]), int(verdict.other[place])
            said = [classes[side[place]] for side in verdict.said]
            image = [place, names[place], classes[verdict.labels[place]]]
            shares = [one / seeds, other / seeds, (one - other) / seeds]
            rows.append([contrast.task, *_names(comparison, contrast.pair), *image, *shares, *said, seeds])
    return make_table(heads, rows)
