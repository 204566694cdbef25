"""The report's CSV files: each function makes the table of one file, in full precision."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from pandas import DataFrame

from headstart.evaluation.metrics import ECE_BINS
from headstart.report.page.findings import Findings
from headstart.report.stats.one_row import reliability, score_classes
from headstart.report.stats.paired import Pair
from headstart.report.stats.worth import along_frontier, over_cheapest
from headstart.report.study.columns import COLUMNS
from headstart.report.study.groups import Comparison, Group, Stat
from headstart.scores import NAMES

SHARES = ("test.", "val.", "seconds.")
RUN_NUMBERS = (
    *(f"{part}.{name}" for part in ("test", "val") for name in NAMES),
    *("n_train", "n_val", "n_test", "params.total", "params.trainable", "gmacs", "epochs", "backbone_forwards"),
    *("seconds.features", "seconds.fit", "seconds.test", "seconds.total", "images_per_second", "ms_per_image"),
)
OVER_SEEDS = ("mean", "std", "interval")


def make_table(headings: list[str], rows: list[list[Any]]) -> DataFrame:
    """A table whose cells stay what they are: a missing number turns no whole ones into decimals."""
    return DataFrame(rows, columns=headings, dtype=object)


def _over_seeds(found: Stat | None) -> list[float | None]:
    return [None] * 3 if found is None else [found.mean, found.std, found.interval]


def _exact(value: float | None) -> float | int | None:
    """A count without its `.0`."""
    return int(value) if value is not None and value.is_integer() else value


def _names(findings: Findings, pair: Pair) -> list[str]:
    return [findings.table.label(side) for side in (pair.one, pair.other)]


def _rows(findings: Findings) -> Iterator[tuple[Group, list[Any], str]]:
    """The rows that are compared, then those that were not chosen on validation: their keys, and which they are."""
    folded = [row for choice in findings.choices for row in choice.others]
    for rows, compared in ((findings.comparison.groups, "true"), (folded, "false")):
        for row in rows:
            yield row, list(row.keys.values()), compared


def _headings(comparison: Comparison, names: list[str], numbers: list[str]) -> list[str]:
    """With the varying config keys between them: their dotted paths, `config.` before one that is taken."""
    taken = {*names, *numbers}
    keys = [f"config.{key}" if key in taken else key for key in comparison.keys]
    return [*names, *keys, *numbers, "compared"]


def summary(findings: Findings) -> DataFrame:
    """The table of summary.csv: one row per group, in full precision.

    Columns: model, strategy, data; each config key that tells rows apart, by its dotted path; n (runs) and
    seeds (separated by spaces). Then, for accuracy, balanced_accuracy, top5, f1, auroc, nll, ece and seconds,
    `<name>_mean`, `<name>_std` (n - 1 in the denominator) and `<name>_interval` (half-width of the 95 %
    interval, Student's t). Then means over seeds: epochs, backbone_forwards, params_trainable, params_total,
    gmacs. Shares lie in 0..1, seconds are those with a cold cache. A cell is empty where the number is not
    known for every run of the group, and std and interval are empty for one run. Last, compared: false for settings
    that were not chosen on validation, which stand below the others.
    """
    numbers = ["n", "seeds"]
    for column in COLUMNS:
        numbers += [f"{column.name}_{end}" for end in OVER_SEEDS] if column.spread else [column.name]
    rows = []
    for group, keys, compared in _rows(findings):
        cells: list[Any] = [len(group.runs), " ".join(str(run.repeat) for run in group.runs)]
        for column in COLUMNS:
            found = group.over_runs(column.value)
            cells += _over_seeds(found) if column.spread else [None if found is None else _exact(found.mean)]
        rows.append([group.model, group.strategy, group.data, *keys, *cells, compared])
    return make_table(_headings(findings.comparison, ["model", "strategy", "data"], numbers), rows)


def runs(findings: Findings) -> DataFrame:
    """The table of runs.csv: one row per completed run.

    Columns: run (folder), model, strategy, data, the config keys that tell rows apart, seed, fold, cached, seconds
    (with a cold cache), the numbers of result.json under their dotted paths (test.accuracy, seconds.fit,
    ...), config_hash, wandb_id; compared: false for settings that were not chosen on validation.
    """
    names = ["run", "model", "strategy", "data"]
    numbers = ["seed", "fold", "cached", "seconds", *RUN_NUMBERS, "config_hash", "wandb_id"]
    rows = []
    for group, keys, compared in _rows(findings):
        for run in group.runs:
            fold = run.repeat.fold if run.repeat.fold >= 0 else None
            found = {path: run.number(path) for path in RUN_NUMBERS}
            cells = [value if path.startswith(SHARES) else _exact(value) for path, value in found.items()]
            about = [run.name, run.model, run.strategy, run.data, *keys]
            facts = [run.seed, fold, str(run.cached).lower(), run.seconds]
            rows.append([*about, *facts, *cells, run.result.get("config_hash"), run.wandb_id, compared])
    return make_table(_headings(findings.comparison, names, numbers), rows)


def pairs(findings: Findings) -> DataFrame:
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
    for family in findings.families:
        for pair in family.pairs:
            p_seeds, basis = (None, None) if pair.test is None else (pair.test.p_seeds, pair.test.basis)
            over_images = (None,) * 3 if pair.test is None or pair.test.images is None else pair.test.images
            repeats = " ".join(map(str, pair.repeats))
            about = [family.task, *_names(findings, pair), pair.metric.name, repeats, *_over_seeds(pair.difference)]
            decides = [pair.half, pair.p, pair.adjusted, len(family.tested), str(pair.shown).lower(), pair.untested]
            images = [*(pair.alone or (None, None)), pair.images or None]
            rows.append([*about, p_seeds, *over_images, basis, *decides, *images])
    return make_table(heads, rows)


def gains(findings: Findings) -> DataFrame:
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
    for family in findings.families:
        steps = [("cheapest", step) for step in over_cheapest(family)]
        for kind, found in [*steps, *(("frontier", step) for step in along_frontier(family))]:
            pair, bound = found.pair, found.mark.strip().replace("≥", ">=").replace("≤", "<=")
            interval = None if pair.difference is None else pair.difference.interval
            cells = [len(pair.runs), pair.gain, interval, pair.adjusted, found.seconds, found.gmacs]
            about = [family.task, *_names(findings, pair), pair.metric.name, kind]
            rows.append([*about, *cells, found.per_second, found.per_gmac, bound])
    return make_table(heads, rows)


def scores_by_class(findings: Findings) -> DataFrame:
    """The table of per_class.csv: every class of every row.

    Columns: task; row; class and label; images (of the class in the test set); seeds (how many); for recall, precision
    and f1 `<name>_mean`, `<name>_std` (n - 1 in the denominator) and `<name>_interval` (half-width of the 95 %
    interval, Student's t) over them. Precision is empty where a seed never predicts the class. Rows without readable
    predictions are left out, and so are classes without test images.
    """
    heads = ["task", "row", "class", "label", "images", "seeds"]
    heads += [f"{name}_{end}" for name in ("recall", "precision", "f1") for end in OVER_SEEDS]
    rows = []
    for family in findings.families:
        for group in family.rows:
            found = score_classes(group.runs)
            for label, name in enumerate(group.runs[0].classes if found else []):
                if found and found.images[label]:
                    cells = [cell for over in found.over_seeds(label) for cell in _over_seeds(over)]
                    about = [family.task, findings.table.label(group), name, label]
                    rows.append([*about, int(found.images[label]), len(found.recall), *cells])
    return make_table(heads, rows)


def class_differences(findings: Findings) -> DataFrame:
    """The table of class_differences.csv.

    Columns: task; row and against; class and label; images; seeds (common ones, how many); recall_row and
    recall_against (means over them); difference, std and interval of the paired differences.
    """
    heads = ["task", "row", "against", "class", "label", "images", "seeds", "recall_row", "recall_against"]
    heads += ["difference", "std", "interval"]
    rows = []
    for contrast in findings.contrasts:
        for change in contrast.classes:
            numbers = [change.images, change.difference.n, change.one, change.other, *_over_seeds(change.difference)]
            rows.append([contrast.task, *_names(findings, contrast.pair), change.name, change.label, *numbers])
    return make_table(heads, rows)


def confidence_bins(findings: Findings) -> DataFrame:
    """The table of calibration.csv: 15 bins of confidence for each row.

    Columns: task; row; above and up_to (the bin's limits); images (of all seeds); confidence and accuracy (their
    means, 0..1, empty in an empty bin). Rows without probabilities are left out.
    """
    heads = ["task", "row", "above", "up_to", "images", "confidence", "accuracy"]
    rows = []
    for family in findings.families:
        for group in family.rows:
            found = reliability(group.runs)
            bins = [] if found is None else [found.counts.tolist(), found.confidence.tolist(), found.accuracy.tolist()]
            for place, (count, *means) in enumerate(zip(*bins, strict=True)):
                limits = [place / ECE_BINS, (place + 1) / ECE_BINS]
                known = [None if math.isnan(value) else value for value in means]
                rows.append([family.task, findings.table.label(group), *limits, count, *known])
    return make_table(heads, rows)


def changed_images(findings: Findings) -> DataFrame:
    """The table of changed.csv: every test image on which two rows differ, most changed first.

    Columns: task; row and against; index and name of the image in the test set; label (its class);
    right_row and right_against (shares of the common seeds that got it right); change (their difference);
    predicted_row and predicted_against (the class that most of their seeds say); seeds (how many).
    """
    heads = ["task", "row", "against", "index", "name", "label", "right_row", "right_against", "change"]
    heads += ["predicted_row", "predicted_against", "seeds"]
    rows = []
    for contrast in findings.contrasts:
        verdict = contrast.verdicts
        if verdict is None:
            continue
        classes, names, seeds = contrast.pair.one.runs[0].classes, verdict.names(), verdict.seeds
        for place in verdict.order():
            one, other = int(verdict.one[place]), int(verdict.other[place])
            said = [classes[side[place]] for side in verdict.said]
            image = [place, names[place], classes[verdict.labels[place]]]
            shares = [one / seeds, other / seeds, (one - other) / seeds]
            rows.append([contrast.task, *_names(findings, contrast.pair), *image, *shares, *said, seeds])
    return make_table(heads, rows)


FILES: dict[str, Callable[[Findings], DataFrame]] = {
    "summary.csv": summary,
    "runs.csv": runs,
    "pairs.csv": pairs,
    "worth.csv": gains,
    "per_class.csv": scores_by_class,
    "class_differences.csv": class_differences,
    "calibration.csv": confidence_bins,
    "changed.csv": changed_images,
}
