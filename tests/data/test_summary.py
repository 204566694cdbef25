"""What is said of the images of a run before it trains."""

import shutil
from pathlib import Path

from conftest import compose
from data.images import SOUND, folder, picture, read
from headstart.data.summary import Summary, choose_rows, describe_choice


def test_counts_sizes_formats_and_modes(tmp_path: Path) -> None:
    root = folder(tmp_path)
    picture(99, (40, 50)).convert("L").save(root / "train" / "b" / "grey.jpg")
    found = Summary(read(root))
    assert found.counts.tolist() == [[5, 3, 4], [6, 3, 4]]
    assert found.describe_images() == [
        "sizes in pixels: width 20 … 40 (median 20), height 16 … 50 (median 16)",
        "formats: PNG 24, JPEG 1",
        "modes: RGB 24, L 1",
    ]
    assert found.problems == []
    assert "no unreadable header" in found.describe_problems()[0]


def test_every_problem_is_named_once_with_its_own_image(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "train" / "a" / "0.png").write_text("no image")
    shutil.copy(root / "train" / "b" / "1.png", root / "train" / "b" / "copy.png")
    shutil.copy(root / "train" / "a" / "2.png", root / "val" / "b" / "other.png")
    shutil.copy(root / "train" / "a" / "3.png", root / "test" / "a" / "again.png")
    data = read(root)
    found = Summary(data)
    data.parts.update(found.readable)  # as for the pictures; the summary keeps all
    short = {(p.kind, p.image.removeprefix(f"{root}/"), p.detail.replace(f"{root}/", "")) for p in found.problems}
    assert short == {
        ("unreadable in train", "train/a/0.png", "no image in a format that Pillow knows"),
        ("twice in train", "train/b/copy.png", "train/b/1.png"),
        ("under two labels", "train/a/2.png (a, train)", "val/b/other.png (b, val)"),
        ("in train and test", "test/a/again.png", "train/a/3.png"),
    }
    assert found.counts[:, 0].tolist() == [SOUND["train"], SOUND["train"] + 1]
    assert "1 image under two labels:" in found.describe_problems()


def test_a_pair_with_two_labels_is_listed_once(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shutil.copy(root / "train" / "a" / "2.png", root / "test" / "b" / "other.png")
    lines = Summary(read(root)).describe_problems()
    assert lines[:2] == [
        "1 image in train and test; the pairs are listed with their labels",
        "1 image under two labels:",
    ]
    assert len(lines) == 3


def test_many_problems_are_cut_and_counted(tmp_path: Path) -> None:
    root = folder(tmp_path)
    for at in range(5):
        (root / "train" / "a" / f"bad{at}.png").write_text("no image")
    lines = Summary(read(root)).describe_problems()
    assert lines[0] == "5 images unreadable in train:"
    assert [line.strip()[-1] for line in lines[4:]] == ["…"]


def test_many_classes_show_the_largest_and_the_smallest() -> None:
    assert choose_rows([1, 3, 2], 3, 1) == ([0, 1, 2], 0)
    assert choose_rows([1, 9, 5, 7], 3, 1) == ([1, 0], 2)


def test_options_that_choose_images_are_named() -> None:
    assert "data.train_per_class=10" in describe_choice(compose("data=digits").data)
    assert "all images" in describe_choice(compose("data=digits", "data.train_per_class=null").data)
