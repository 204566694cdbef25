"""`headstart visualize RUN embedding [RUN2]`, on real runs."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fork_server
from headstart.storage.records import read_result
from visualize.runs import train_small


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return train_small(folder, "strategy=feature_extraction"), train_small(folder, "strategy=partial")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_two_runs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = fork_server.run("visualize", str(runs[0]), "embedding", str(runs[1]), "--out", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    stem = f"embedding-{runs[1].name}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{stem}.{end}" for end in ("csv", "html", "png")]
    points = read(tmp_path / f"{stem}.csv")
    for number, run in enumerate(runs, 1):  # each point stands for the answer that the run gave
        answers = read(run / "predictions.csv")
        assert [point["name"] for point in points] == [answer["name"] for answer in answers]
        assert [point[f"predicted_{number}"] for point in points] == [answer["predicted_name"] for answer in answers]
        result = read_result(run)
        assert result is not None
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(run.name)]
        assert line.split()[1] == f"{100 * result['test']['accuracy']:.1f}"
        places = np.array([[float(point[f"x_{number}"]), float(point[f"y_{number}"])] for point in points])
        assert len(np.unique(places, axis=0)) == len(points) == 40
    assert (tmp_path / f"{stem}.html").read_text(encoding="utf-8").count("data:image/webp;base64,") == 40
    assert Image.open(tmp_path / f"{stem}.png").width > 1500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embedding", "nothing_of_this_name"], "nothing_of_this_name: is no folder of a run"),
        (["embedding", "linear"], "linear: is no run, so it has no images of its own"),
        (["embedding", "--images", "5"], "a map needs at least 12 test images; there are 40, and --images 5"),
    ],
)
def test_wrong_input(runs: tuple[Path, Path], arguments: list[str], words: str) -> None:
    done = fork_server.run("visualize", str(runs[0]), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (runs[0] / "figures" / "embedding.png").exists()


@pytest.mark.slow
def test_runs_with_other_test_images_or_not_complete_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = train_small(tmp_path, "strategy=feature_extraction", "data.n_test=30")
    done = fork_server.run("visualize", str(runs[0]), "embedding", str(other))
    assert done.returncode == 2
    assert "their test images differ: 40 and 30, 30 of them in common" in done.stderr
    (other / "result.json").unlink()
    done = fork_server.run("visualize", str(runs[0]), "embedding", str(other))
    assert done.returncode == 2
    assert "this run is not complete" in done.stderr
