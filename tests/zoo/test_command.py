"""The model table: numbers that are timm's own, files that read back, and networks that fail alone."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from headstart.errors import UserError
from headstart.models import cost
from headstart.models.published import KERAS_TABLE, KerasNetwork
from headstart.zoo import children, command, rows, tables
from headstart.zoo.plan import Machine, Plan
from report.pages import Page

SMALL = ["resnet18", "resnet34", "mobilenetv3_small_050"]
MACHINE = Machine("a processor", 2, "", "torch 2")


def outline(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


def read(text: str) -> dict[str, dict[str, str]]:
    return {row["model"]: row for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small networks, measured on the CPU and written."""
    place = tmp_path_factory.mktemp("zoo")
    options = ["--repeats", "2", "--device", "cpu", "--output", str(place)]
    assert command.main([*SMALL, *options, "--sort", "top1"]) == 0
    return place


def test_counts_are_those_of_timms_networks(folder: Path) -> None:
    table = read((folder / "zoo.csv").read_text("utf-8"))
    assert set(table) == set(SMALL)
    for name, row in table.items():
        model = outline(name)
        assert int(row["parameters"]) == sum(p.numel() for p in model.parameters())
        assert int(row["input_px"]) == 224
        state = [value for value in model.state_dict().values() if value.is_floating_point()]
        assert float(row["size_mb"]) == pytest.approx(4 * sum(value.numel() for value in state) / 2**20)
    assert float(table["resnet18"]["gmacs"]) == pytest.approx(1.814, abs=0.001)
    assert int(table["resnet18"]["depth"]) == 20 + 20 + 1  # convolutions, norms, the linear layer


def test_time_and_memory_are_measured(folder: Path) -> None:
    table = read((folder / "zoo.csv").read_text("utf-8"))
    for row in table.values():
        assert float(row["ms_cpu"]) > 0
        assert row["ms_gpu"] == row["peak_gpu_mb"] == row["error"] == ""
        assert float(row["size_mb"]) < float(row["peak_mb"]) < 300
    assert float(table["mobilenetv3_small_050"]["peak_mb"]) < float(table["resnet34"]["peak_mb"])


def test_accuracies_are_published_ones_with_their_source_and_sort_unknown_last(folder: Path) -> None:
    table = read((folder / "zoo.csv").read_text("utf-8"))
    assert list(table) == ["resnet34", "resnet18", "mobilenetv3_small_050"]
    assert float(table["resnet18"]["top1"]) == 73.158
    assert table["resnet18"]["source"].startswith("timm's results")
    assert table["resnet18"]["weights"] == "a1_in1k"
    assert table["resnet18"]["weights_here"] == "no", "no weights are in the caches of a test"
    assert "weights a1_in1k: timm's recipe A1" in table["resnet18"]["note"]
    assert "measured at 288 px" in table["resnet18"]["note"]


def test_the_page_stands_alone(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["frontier.png", "index.html", "zoo.csv", "zoo.md"]
    html = (folder / "index.html").read_text("utf-8")
    assert "<th" in html
    assert "Keras&#39; name" not in html, "none of these networks has one"
    page = Page(html)
    assert not page.unclosed
    assert not page.mistakes
    links = [value or "" for tag, name, value in page.attributes if name in ("src", "href") and tag != "a"]
    assert len(links) == 2
    assert all(link.startswith("data:") for link in links)
    table = read((folder / "zoo.csv").read_text("utf-8"))
    assert ("73.158", "73.2") in page.cells
    assert table["resnet34"]["ms_cpu"] in [value for value, _ in page.cells]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_the_page_opens_without_errors(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'browser'}",
         "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", (folder / "index.html").as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "<button" in done.stdout, "its script ran"
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]


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


def raising() -> Iterator[dict[str, int]]:
    """Work for `children.ask` that finds something and then fails."""
    yield {"found": 1, "silent": os.path.samestat(os.fstat(1), Path(os.devnull).stat())}
    raise ValueError("a reason\nand its details")


def dying() -> Iterator[dict[str, int]]:
    """The same, and its process is killed."""
    yield {"found": 1}
    time.sleep(0.1)
    os.kill(os.getpid(), 9)


def hanging() -> Iterator[dict[str, int]]:
    """The same, and it never ends."""
    yield {"found": 1}
    time.sleep(1000)


@pytest.mark.parametrize(
    ("work", "reason"),
    [("raising", "ValueError: a reason"), ("dying", "SIGKILL (out of memory?)"), ("hanging", "longer than 6 s")],
)
def test_what_was_found_before_a_failure_is_kept(work: str, reason: str) -> None:
    found = children.run_in_process(f"zoo.test_command:{work}", timeout_s=6 if work == "hanging" else 60)
    assert found["found"] == 1
    assert found["error"].endswith(reason)
    assert found.get("silent", True), "standard output belongs to the table"


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "resnetv2_101", "densenet121", "inception_v3"])
def test_depth_counts_as_keras_published_figures_do(name: str) -> None:
    assert cost.count_layers(outline(name)) == rows.BY_MODEL[name].depth


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


def made(model: str, top1: float | None, ms: float | None) -> rows.Row:
    return rows.make_row(model, {"top1": top1, "ms_cpu": ms})


def test_the_frontier_is_what_nothing_beats() -> None:
    given = [made("slow", 80.0, 9.0), made("quick", 70.0, 1.0), made("beaten", 69.0, 2.0), made("same", 80.0, 10.0)]
    given += [made("unknown", None, 0.5), made("tie", 65.0, 1.0), made("untimed", 99.0, None)]
    assert [row.model for row in rows.frontier(given, "ms_cpu")] == ["quick", "slow"]
    assert [row.model for row in rows.sort_rows(given, "ms_cpu")][-1] == "untimed"
    assert [row.model for row in rows.sort_rows(given, "top1")][:2] == ["untimed", "slow"]
    assert "quick, slow" in tables.describe_frontiers(given)[0]


def test_text_says_how_it_was_measured_and_marks_what_is_published() -> None:
    numbers = {"ms_cpu": 12.34, "depth": 107, "size_mb": 97.695, "top1": 81.214, "weights": "a1_in1k", "here": "no"}
    found = [rows.make_row("resnet50", numbers), rows.make_row("a_b", {"depth": 3, "weights": "none"})]
    plan = Plan(("cpu",), batch=4, precision="bf16", repeats=7)
    lines = tables.make_caption(found, plan, MACHINE)
    text = tables.to_markdown(found, [*lines, *tables.make_remarks(found)])
    assert (
        "| resnet50 (ResNet50) | 97.7 (98) | 81.2 (74.9) | - (92.1) | 107 (107) | 12.3 (58.2) | a1\\_in1k | no |"
        in text
    )
    assert r"| a\_b | - | - | - | 3 | - |" in text
    assert "median of 7" in text
    assert "batch 4, bfloat16 by autocast" in text
    assert "2 threads" in text
    for note in filter(None, (row.published.note for row in found if row.published)):
        assert f"resnet50: {note}" in text
    assert r"a\_b: no published weights under this name" in text
    assert "In brackets" not in tables.make_caption([found[1]], plan, MACHINE)[0]


def test_a_narrow_terminal_gets_fewer_columns(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    numbers = {"ms_cpu": 12.0, "depth": 107, "gmacs": 4.0, "size_mb": 97.0}
    found = [rows.make_row(row.model, numbers) for row in KERAS_TABLE]
    tables.print_table(found, [], Console(width=60, force_terminal=True, color_system=None))
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines()[: 4 + len(KERAS_TABLE)])) <= 60
    assert "ms CPU" in narrow
    assert "Left out, because the terminal is too narrow: " in narrow
    tables.print_table(found, [], Console(width=60, color_system=None))
    assert "Left out" not in capsys.readouterr().out, "what is piped is whole"
