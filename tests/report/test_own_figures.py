"""The figures that `headstart visualize` made of a run stand on the study's page."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from PIL import Image

from headstart.report.page.gallery import OwnFigures


def test_pictures_are_small_and_linked_and_what_is_none_is_a_link(tmp_path: Path) -> None:
    figures = tmp_path / "run 1" / "figures"
    figures.mkdir(parents=True)
    Image.new("RGB", (2000, 500), "red").save(figures / "features.png")
    Image.new("RGB", (90, 90)).save(
        figures / "dream.webp", save_all=True, append_images=[Image.new("RGB", (90, 90), "red")]
    )
    (figures / "embedding.html").write_text("<p>")
    (figures / "why <b>.png").write_text("no picture")
    (figures / "features.csv").write_text("a,b\n")
    run = SimpleNamespace(folder=tmp_path / "run 1")
    found = OwnFigures(tmp_path / "report", pictures=True).of(run)["figures"]  # type: ignore[arg-type]
    assert [name for name, *_ in found] == ["dream.webp", "embedding.html", "features.png", "why <b>.png"]
    assert [href for _, href, _ in found][2:] == [
        "../run%201/figures/features.png",
        "../run%201/figures/why%20%3Cb%3E.png",
    ]
    assert [source.partition(";")[0] for *_, source in found] == ["data:image/webp", "", "data:image/webp", ""]
    plain = OwnFigures(tmp_path / "report", pictures=False).of(run)["figures"]  # type: ignore[arg-type]
    assert [source for *_, source in plain] == [""] * 4
    assert OwnFigures(tmp_path, pictures=True).of(SimpleNamespace(folder=tmp_path)) == {}  # type: ignore[arg-type]
