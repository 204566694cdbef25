"""A run whose images are decoded anew each epoch gives what one that holds them in memory gives, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from headstart.data.reader import ImageReader
from integration.test_processes import NETWORK, TWO, ranks_forked
from integration.test_resume import run_here

__all__ = ["ranks_forked"]  # a fixture


def photographs(root: Path) -> Path:
    """Crops of two photographs as JPEG files, the classes top and bottom of each."""
    for at in range(64):
        label = at % 4
        photo = Image.fromarray(load_sample_images().images[label % 2])
        left, top = 5 * at, at // 4 + (250 if label > 1 else 0)
        (root / str(label)).mkdir(parents=True, exist_ok=True)
        photo.crop((left, top, left + 90, top + 70)).save(root / str(label) / f"{at}.jpg", quality=92)
    return root


@pytest.mark.parametrize(("strategy", "workers"), [("finetune", 0), ("finetune", 1), ("feature_extraction", 0)])
def test_memory_and_stream_give_the_same_run(
    strategy: str, workers: int, tmp_path: Path, run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photographs(tmp_path / "set")
    asked = ("data=image_folder", f"data.source.root={root}", "data.train_per_class=8", "data.n_test=8")
    common = (*NETWORK, f"strategy={strategy}", *asked)
    held = run_small(*common, "data.storage=memory", f"cache_dir={tmp_path}/a")

    def refuse(self: ImageReader) -> None:
        raise AssertionError("all images of a part are read at once")

    monkeypatch.setattr(ImageReader, "read_with_faults", refuse)
    monkeypatch.setattr(ImageReader, "read_all", refuse)
    other = (f"hardware.workers={workers}", f"output_dir={tmp_path}/other", f"cache_dir={tmp_path}/b")
    found = run_small(*common, "data.storage=stream", *other)
    assert found["run"] == held["run"], "how images are held has no part in a run's identity"
    places = [tmp_path / name / held["study"] / held["run"] for name in ("outputs", "other")]
    for file in ("predictions.csv", "checkpoints/best.safetensors"):
        one, same = (place / file for place in places)
        assert one.read_bytes() == same.read_bytes(), file
    results = [json.loads((place / "result.json").read_text("utf-8")) for place in places]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["val"] == results[1]["val"]
    assert results[1]["ms_per_image"] is None, "decoding would be counted as the network's time"


@pytest.mark.usefixtures("ranks_forked")
def test_two_processes_stream_what_they_would_hold(tmp_path: Path) -> None:
    """Each decodes its own rows."""
    asked = (
        *NETWORK, "strategy=finetune", "data=image_folder", f"data.source.root={photographs(tmp_path / 'set')}",
        "epochs=2", "data.image_size=32", "data.train_per_class=8", "data.n_test=8", "data.batch_size=4", "logger=csv",
        *TWO, "hardware.threads=1", "cache_dir=null",
    )  # fmt: skip
    for storage in ("memory", "stream"):
        run_here(tmp_path / storage, *asked, f"data.storage={storage}")
    held, streamed = (next((tmp_path / storage).rglob("predictions.csv")) for storage in ("memory", "stream"))
    assert held.parent.name == streamed.parent.name
    assert held.read_bytes() == streamed.read_bytes()
    held, streamed = (path.parent / "checkpoints" / "best.safetensors" for path in (held, streamed))
    assert held.read_bytes() == streamed.read_bytes()
