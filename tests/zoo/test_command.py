"""The command: its formats, its mistakes, a failing network, an interrupt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.cli import main
from headstart.errors import UserError
from headstart.models.published import KERAS_TABLE, KerasNetwork
from headstart.zoo import children, command, rows
from headstart.zoo.plan import Machine, Plan
from zoo.networks import MACHINE, read


def test_formats_go_to_standard_output_alone_and_leave_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["vgg1?", "--no-time", "--format", "csv", "--sort", "gmacs"]) == 0
    shown = capfd.readouterr()
    table = read(shown.out)
    assert list(table) == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert len(shown.out.splitlines()) == 5
    assert shown.err == ""
    assert table["vgg16"]["published_depth"] == table["vgg16"]["depth"] == "16"
    assert table["vgg16"]["keras"] == "VGG16"
    assert float(table["vgg16"]["top1"]) == 71.592
    assert float(table["vgg16"]["published_top1"]) == 71.3
    assert table["vgg16"]["source"].startswith("torchvision")
    assert table["vgg16"]["ms_cpu"] == table["vgg16"]["peak_mb"] == ""
    assert float(table["vgg16"]["published_ms_cpu"]) == 69.5
    assert command.main(["resnet18", "--no-time", "--format", "json"]) == 0
    made = json.loads(capfd.readouterr().out)
    assert made["rows"][0]["parameters"] == 11_689_512
    assert made["plan"]["devices"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_fails_is_a_row_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made_up = KerasNetwork("NoSuchNet", "no_such", "no_such_net", 1, 50.0, 80.0, 1.0, 2, 3.0, 4.0)
    monkeypatch.setattr(
        command, "KERAS_TABLE", (made_up, next(row for row in KERAS_TABLE if row.model == "mobilenetv2_100"))
    )
    monkeypatch.setitem(rows.BY_MODEL, "no_such_net", made_up)
    assert command.main(["--no-time", "--output", str(tmp_path)]) == 0
    table = read((tmp_path / "zoo.csv").read_text("utf-8"))
    assert "Unknown model (no_such_net)" in table["no_such_net"]["error"]
    assert table["no_such_net"]["parameters"] == ""
    assert table["no_such_net"]["published_size_mb"] == "1"
    assert table["mobilenetv2_100"]["depth"] == table["mobilenetv2_100"]["published_depth"] == "105"
    shown = capfd.readouterr().out
    assert "no_such_net (failed)" in shown
    assert "no_such_net failed: RuntimeError: Unknown model" in shown
    html = (tmp_path / "index.html").read_text("utf-8")
    assert "Unknown model" in html
    assert "Keras&#39; name" in html
    assert "Unknown model" in (tmp_path / "zoo.md").read_text("utf-8")
    monkeypatch.setattr(command, "KERAS_TABLE", (made_up,))
    assert command.main(["--no-time", "--format", "csv"]) == 1, "nothing could be measured"


def test_an_interrupt_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = children.run_in_process

    def run(work: str, *arguments: Any, **limits: Any) -> dict[str, Any]:
        if arguments and arguments[0] == "resnet34":
            raise KeyboardInterrupt
        return real(work, *arguments, **limits)

    monkeypatch.setattr(children, "run_in_process", run)
    assert command.main(["resnet18", "resnet34", "--no-time", "--output", str(tmp_path)]) == 130
    assert "1 of 2 networks are measured" in capfd.readouterr().err
    assert list(read((tmp_path / "zoo.csv").read_text("utf-8"))) == ["resnet18"]
    for name in ("zoo.md", "index.html"):
        assert "Interrupted: 1 of 2 networks" in (tmp_path / name).read_text("utf-8")
    with pytest.raises(KeyboardInterrupt):
        command.main(["resnet34", "--no-time", "--output", str(tmp_path)])


def test_a_network_of_ones_own_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab_zoo.py").write_text(
        "import timm\n\n\n@timm.models.register_model\ndef net_of_lab_zoo(pretrained=False, **options):\n"
        "    return timm.create_model('lenet5', **options)\n"
    )
    assert command.main(["net_of_lab_zoo", "--imports", "lab_zoo", "--no-time", "--output", "zoo"]) == 0
    assert list(read((tmp_path / "zoo/zoo.csv").read_text("utf-8"))) == ["net_of_lab_zoo"]
    with pytest.raises(UserError, match="--imports: lab_zoos: there is no module lab_zoos"):
        command.main(["net_of_lab_zoo", "--imports", "lab_zoos", "--no-time", "--output", "zoo"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet19x"], "did you mean resnet"),
        (["resnet18", "rezzzz*"], "rezzzz*: timm knows no such network"),
        (["--sort", "dept"], "Did you mean depth?"),
        (["--precision", "16"], "needs a GPU"),
    ],
)
def test_mistakes_are_named(arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as told:
        command.main(arguments)
    assert words in str(told.value)


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(command, "_measure_all", lambda *_: pytest.fail("measured"))
    with pytest.raises(UserError, match=r"--output: cannot make .*file"):
        command.main(["resnet18", "--output", str(tmp_path / "file" / "zoo")])


def test_a_tilde_after_an_options_name_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(command, "_measure_all", lambda *_: pytest.fail("measured"))
    assert main.main(["zoo", "resnet18", "--output=~/file/zoo"]) == 2
    assert f"--output: cannot make {tmp_path / 'file' / 'zoo'}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--batch", "0"], ["--repeats", "-1"], ["--format", "xml"], ["--batch", "x"]])
def test_wrong_arguments_end_with_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2


def test_a_gpu_that_is_not_there_is_refused() -> None:
    options = command.make_parser().parse_args(["--device", "gpu"])
    with pytest.raises(UserError, match="torch sees no GPU"):
        command._choose_devices(options, MACHINE)
    with_gpu = Machine("a processor", 2, "a GPU", "torch 2")
    assert command._choose_devices(options, with_gpu) == ("cuda",)
    assert command._choose_devices(command.make_parser().parse_args([]), with_gpu) == ("cpu", "cuda")
    assert command._choose_devices(command.make_parser().parse_args(["--device", "cpu"]), with_gpu) == ("cpu",)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_measured_too() -> None:
    plan = Plan(("cpu", "cuda"), 2, "bf16", 2)
    found = children.run_in_process(f"{children.PRELOAD}:measure_network", "resnet18", plan, timeout_s=300)
    assert "error" not in found
    assert found["ms_gpu"] > 0
    assert found["peak_gpu_mb"] > found["size_mb"]
