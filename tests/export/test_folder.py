"""An exported folder stands alone: timm computes the run's logits, and the next run goes on from the same features."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open

import headstart
from export.folders import export_run, run_without
from headstart.cli.main import main
from headstart.errors import RunFailed, UserError
from headstart.export import run as exports
from headstart.export.folder import check_target
from headstart.export.run import Options, export
from predict.runs import digits, load, make_run

SLOW = pytest.mark.slow
COMPUTE = """
import json, numpy, timm, torch
model = timm.create_model("local-dir:.", pretrained=True).eval()
with torch.inference_mode():
    numpy.save("{out}", model(torch.from_numpy(numpy.load("{images}"))).numpy())
found = timm.data.resolve_model_data_config(model)
print(json.dumps([found, model.pretrained_cfg["label_names"]]))
"""


@pytest.mark.parametrize("kind", ["fine-tuned", pytest.param("fitted", marks=SLOW)])
def test_timm_alone_computes_the_runs_logits_to_the_bit(kind: str, tmp_path: Path) -> None:
    folder, network = export_run(kind), load(kind)
    images = network.normalize(network.decode(sorted(map(str, digits().rglob("*.png")))[:8])).contiguous()
    np.save(tmp_path / "images.npy", images.numpy())
    said = run_without(COMPUTE.format(out=tmp_path / "out.npy", images=tmp_path / "images.npy"), folder)
    found, names = json.loads(said.splitlines()[-1])
    network.network.to(memory_format=torch.contiguous_format)
    with torch.inference_mode():
        assert np.array_equal(np.load(tmp_path / "out.npy"), network.network(images).numpy())
    own = network.transform.input
    assert names == network.classes
    assert (found["input_size"], found["crop_pct"]) == ([3, own.image_size, own.image_size], own.crop_pct)
    assert (found["mean"], found["std"], found["crop_mode"]) == (list(own.mean), list(own.std), "center")


def test_what_is_written_names_neither_machine_nor_person() -> None:
    folder = export_run("fine-tuned")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    texts = [(folder / name).read_text("utf-8") for name in ("README.md", "config.json")]
    run = make_run("fine-tuned").folder
    for word in (getpass.getuser(), str(Path.home()), str(run.parent), str(digits()), "/tmp", "run:"):
        assert [text for text in texts if len(word) > 1 and f"{word}/" in text] == [], word


def test_transformers_finds_what_it_reads_where_it_reads_it() -> None:
    """As its `TimmWrapperConfig.from_dict` does; the slow test below asks transformers itself."""
    config = json.loads((export_run("fine-tuned") / "config.json").read_text("utf-8"))
    assert dict(enumerate(config["label_names"])) == dict(enumerate(load("fine-tuned").classes))
    assert config["num_classes"] == config["pretrained_cfg"]["num_classes"] == len(config["label_names"])
    assert isinstance(config["architecture"], str)
    assert "model_type" not in config, "by its absence and `pretrained_cfg` a folder is known as timm's"
    # `TimmWrapperImageProcessor` hands on `pretrained_cfg`, and asks for the size of the test
    found = timm.data.resolve_data_config({}, pretrained_cfg=config["pretrained_cfg"], model=None, use_test_size=True)
    own = load("fine-tuned").transform.input
    assert (found["input_size"], found["mean"], found["std"]) == ([3, *2 * [own.image_size]], [*own.mean], [*own.std])
    assert (found["crop_pct"], found["interpolation"]) == (own.crop_pct, own.interpolation)


PIPELINE = """
import json, sys
from transformers import pipeline
classify = pipeline("image-classification", model=".", top_k=1)
print(json.dumps([found[0]["label"] for found in classify(json.loads(sys.stdin.read()))]))
"""


@SLOW
@pytest.mark.parametrize("run", [("fitted",), ("fine-tuned", "strategy=head_then_all")])
def test_the_pipeline_of_transformers_gives_the_runs_labels(run: tuple[str, ...]) -> None:
    network = headstart.load(make_run(*run).folder, "cpu")
    pictures = sorted(map(str, digits().rglob("*.png")))[::3]
    said = run_without(PIPELINE, export_run(*run), given=json.dumps(pictures))
    own = network.predict(pictures, top=2)
    # Pillow resizes there and torch here: an answer may change where the two best are as good as equal
    clear = [at for at, each in enumerate(own) if each.probabilities[0] - each.probabilities[1] > 0.02]
    assert len(clear) > 0.8 * len(own)
    found = json.loads(said.splitlines()[-1])
    assert [found[at] for at in clear] == [own[at].labels[0] for at in clear]


@pytest.mark.parametrize("kind", ["fine-tuned", pytest.param("fitted", marks=SLOW)])
def test_headstart_loads_it_and_answers_as_the_run(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder, network = export_run(kind), load(kind)
    found = headstart.load(folder, "cpu")
    assert (found.classes, found.temperature) == (network.classes, network.temperature)
    assert found.transform == network.transform
    pictures = sorted(map(str, digits().rglob("*.png")))[::4]
    for ours, theirs in zip(
        found.predict(pictures, calibrated=True), network.predict(pictures, calibrated=True), strict=True
    ):
        assert ours.labels[0] == theirs.labels[0]
        assert dict(zip(ours.labels, ours.probabilities, strict=True)) == pytest.approx(
            dict(zip(theirs.labels, theirs.probabilities, strict=True)), abs=1e-5
        )
    assert main(["predict", str(folder), pictures[7], "--json", "--calibrated", "--device", "cpu"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["labels"][0] == network.predict(pictures[7])[0].labels[0]


def test_of_a_spoilt_export_it_is_said_what_is_wrong(tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(UserError) as error:
            headstart.load(tmp_path, "cpu")
        return str(error.value)

    whole = (export_run("fine-tuned") / "config.json").read_text("utf-8")
    (tmp_path / "config.json").write_text(whole)
    assert "has no model.safetensors" in refused()
    (tmp_path / "model.safetensors").symlink_to(export_run("fine-tuned") / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(json.loads(whole) | {"temperature": -1}))
    assert "its temperature is -1" in refused()
    (tmp_path / "config.json").write_text(json.dumps(json.loads(whole) | {"label_names": ["a", "b"]}))
    assert "names 2 classes, and the network has 10" in refused()
    (tmp_path / "config.json").write_text("[]")
    assert "does not describe a network" in refused()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("neighbours", "nearest training images"), pytest.param("ridge on stages", "stages", marks=SLOW)],
)
def test_a_head_that_is_no_layer_is_refused_with_what_to_do(kind: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{words}[^$]*head=logistic"):
        export(Path(make_run(kind).folder), tmp_path / "out", Options())
    assert list(tmp_path.iterdir()) == []


def test_only_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    run, target = Path(make_run("fine-tuned").folder), tmp_path / "out"
    target.mkdir()
    (target / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"out is not empty \(config.json\)"):
        check_target(target, run)
    (target / "config.json").unlink()
    export(run, target, Options())
    (target / "README.md").write_text("edited")
    export(run, target, Options())
    assert (target / "README.md").read_text().startswith("---\nlicense: apache-2.0\n")
    (target / "my-notes.txt").touch()
    with pytest.raises(UserError, match=r"not empty \(my-notes.txt\)"):
        export(run, target, Options())
    with pytest.raises(UserError, match="lies in the run's folder"):
        check_target(run / "export", run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_computes_something_else_never_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Path(make_run("fine-tuned").folder)
    save = exports._save

    def spoil(model: torch.nn.Module, path: Path) -> None:
        with torch.no_grad():
            model.get_parameter("conv_stem.weight")[0, 0, 0, 0] += 1e-3
            save(model, path)
            model.get_parameter("conv_stem.weight")[0, 0, 0, 0] -= 1e-3

    monkeypatch.setattr(exports, "_save", spoil)
    with pytest.raises(RunFailed, match="computes other logits than the run"):
        export(run, tmp_path / "out", Options())
    assert list(tmp_path.iterdir()) == []


def test_the_temperature_goes_into_the_head_when_asked(run_small: Callable[..., dict], tmp_path: Path) -> None:
    run = Path(run_small("model=lenet5", "strategy=scratch", "epochs=2")["folder"])
    export(run, tmp_path / "out", Options(calibrated=True))
    network = headstart.load(run, "cpu")
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()(images)
        assert torch.allclose(found, network.network(images) / network.temperature, atol=1e-5)
    assert network.temperature != pytest.approx(1, abs=0.02)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["temperature"] == 1
    picture = sorted(digits().rglob("*.png"))[50]
    own, other = (
        found.predict(picture, calibrated=True)[0] for found in (network, headstart.load(tmp_path / "out", "cpu"))
    )
    assert other.labels == own.labels
    assert other.probabilities == pytest.approx(own.probabilities, abs=1e-5)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "The\nweights of the last layer are divided by it" in card
    assert "[0].detach()\nprint(" in card, "nothing more to divide by"


OVERLAY = "+model.args.pretrained_cfg_overlay={mean:[0.9,0.8,0.7],std:[0.05,0.06,0.07],crop_pct:0.8}"


@SLOW
def test_a_chain_of_runs_and_exports_keeps_features_mean_and_std(
    run_small: Callable[..., dict], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = ("model=lenet5", "data.image_size=null", "data.train_per_class=4", "cache_dir=null")
    first = run_small("strategy=scratch", *base, OVERLAY, "+model.args.variant=modern", "epochs=1")
    follow = ("strategy=feature_extraction", *base)
    second = run_small(*follow, f"model.weights=run:{first['folder']}")
    target = tmp_path / "exported"
    export(second["folder"], target, Options())
    moved = tmp_path / "copied.safetensors"
    moved.write_bytes((second["folder"] / "checkpoints" / "best.safetensors").read_bytes())
    caplog.set_level("INFO")
    thirds = [
        run_small(*follow, f"model.weights={w}") for w in (f"run:{second['folder']}", f"local-dir:{target}", moved)
    ]
    assert "head kept: the weights were trained on the same classes" in caplog.text
    for third in thirds:
        stated = third["preprocessing"]
        assert (stated["mean"], stated["std"], stated["crop_pct"]) == ([0.9, 0.8, 0.7], [0.05, 0.06, 0.07], 0.8)
        assert third["test"] == thirds[0]["test"], "the head is fitted on the same features"
        assert third["phases"][0]["val_nll"] == thirds[0]["phases"][0]["val_nll"]
