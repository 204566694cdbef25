"""`headstart data`: what a run would read."""

import csv
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from conftest import compose
from data.images import folder, write_image
from headstart.cli.data import main
from headstart.config.schema import to_plain
from headstart.errors import UserError

SMALL = ["model=lenet5", "strategy=scratch", "data.image_size=32"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_a_name_of_conf(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["digits", *SMALL]) == 0
    printed = capsys.readouterr().out
    for line in (
        "digits: 10 classes, 80 train + 20 val + 901 test images",
        "data.train_per_class=10",
        "width 8, height 8",
        "lenet5 sees 32 px",
        "files: outputs/data/digits",
    ):
        assert line in printed
    written = Path("outputs/data/digits")
    assert sorted(path.name for path in written.iterdir()) == ["augmented.png", "classes", "classes.csv", "summary.txt"]
    assert len(list((written / "classes").iterdir())) == 10
    rows = read_csv(written / "classes.csv")
    assert rows[0] == ["class", "train", "val", "test", "all"]
    assert sum(int(row[-1]) for row in rows[1:]) == 1001
    for line in (written / "summary.txt").read_text(encoding="utf-8").splitlines():
        assert line in printed


@pytest.mark.parametrize("name", ["photos", "it's a, b [c]=1 é", "${x}"])
def test_a_folder_of_any_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path / name)
    Image.new("RGB", (9, 9)).save(tmp_path / name / "loose.png")
    assert main([name, *SMALL, "--no-pictures"]) == 0
    printed = capsys.readouterr().out
    assert f"{name}: 2 classes, 10 train + 6 val + 8 test images" in printed
    assert "images beside the folders of classes or parts: 1 (loose.png)" in printed
    written = tmp_path / "outputs" / "data" / name
    assert "loose.png" in (written / "summary.txt").read_text(encoding="utf-8")
    assert sorted(path.name for path in written.iterdir()) == ["classes.csv", "summary.txt"]


def test_a_table_with_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    for at in range(20):
        write_image(Path(f"{at}.png"), at)
    rows = [f"{at}.png,{'ab'[at % 2]}" for at in range(20)]
    Path("labels.csv").write_text("\n".join(["path,label", *rows]))
    assert main(["labels.csv", "data.test_fraction=0.5", *SMALL, "--no-pictures", "--out", "seen"]) == 0
    assert "labels: 2 classes, 8 train + 2 val + 10 test images" in capsys.readouterr().out
    assert Path("seen/classes.csv").is_file()


def test_a_run_shows_what_it_has_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = compose("data=digits", "data.train_per_class=7", *SMALL)
    run = tmp_path / "outputs" / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(to_plain(config)))
    assert main([str(run), "--no-pictures"]) == 0
    assert "one: 10 classes, 60 train + 10 val + 901 test images" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"data\.n_test=5 has no place here"):
        main([str(run), "data.n_test=5"])


def test_a_run_whose_weights_are_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["data=digits", "model=lenet5", "model.weights=gone.safetensors", "strategy=finetune"]
    assert main([*overrides, "data.image_size=32", "--no-pictures"]) == 0
    assert "lenet5 sees 32 px" in capsys.readouterr().out


def test_problems_are_written_and_pictures_do_not_stop_at_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "photos")
    (root / "train" / "a" / "0.png").write_text("no image")
    shutil.copy(root / "train" / "a" / "1.png", root / "train" / "b" / "copy.png")
    cut = root / "test" / "b" / "0.png"
    cut.write_bytes(cut.read_bytes()[:120])
    assert main(["photos", *SMALL]) == 0
    rows = read_csv(Path("outputs/data/photos/problems.csv"))[1:]
    assert [row[0] for row in rows] == ["unreadable in train", "under two labels", "damaged in test"]
    assert "damaged in test: photos/test/b/0.png" in capsys.readouterr().out


def test_nothing_of_the_users_is_overwritten_or_mixed_in(tmp_path: Path) -> None:
    folder(tmp_path / "photos")
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="mine holds other files"):
        main(["photos", *SMALL, "--out", "mine"])
    assert Path("mine/notes.txt").read_text() == "mine"
    with pytest.raises(UserError, match="lies in"):
        main(["photos", *SMALL, "--out", "photos/look"])
    assert not Path("photos/look").exists()


def test_it_is_written_again_and_left_whole_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.data import contact_sheet

    main(["digits", *SMALL, "--no-pictures"])
    main(["digits", *SMALL, "data.n_test=50", "--no-pictures"])
    before = Path("outputs/data/digits/summary.txt").read_text()
    assert "50 test" in before

    def fail(*_: object) -> None:
        raise RuntimeError("no picture")

    monkeypatch.setattr(contact_sheet, "write_augmented", fail)
    with pytest.raises(RuntimeError):
        main(["digits", *SMALL])
    assert Path("outputs/data/digits/summary.txt").read_text() == before
    assert [path.name for path in Path("outputs/data").iterdir()] == ["digits"]


def test_wrong_words(tmp_path: Path) -> None:
    folder(tmp_path / "photos")
    for words, match in (
        (["photos", "digits"], "one thing to look at, not 2: photos, digits"),
        (["photos/train/a/0.png"], r"a folder of images or a table \(.csv"),
        (["digits", "data.n_tset=5"], "n_test"),
        (["data=image_folder"], "data.source.root: must be given"),
    ):
        with pytest.raises(UserError, match=match):
            main([*words, *SMALL])
    assert not Path("outputs").exists()


def test_a_set_of_conf_comes_before_a_folder_of_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path / "digits")
    main(["digits", *SMALL, "--no-pictures"])
    assert "10 classes" in capsys.readouterr().out
    main(["./digits", *SMALL, "--no-pictures"])
    assert "2 classes" in capsys.readouterr().out
