"""What a `_target_` may build in each place of the config."""

from __future__ import annotations

from pathlib import Path

import pytest

import fork_server
from conftest import check_components, compose
from headstart.config import instantiate
from headstart.errors import UserError


@pytest.mark.parametrize("role", instantiate.ROLES)
@pytest.mark.parametrize(
    "target",
    [
        "os.mkdir",
        "headstartle.mkdir",
        "headstart.storage.runs.os.mkdir",
        "headstart.data.sources.Path",
        "torch.os.mkdir",
        "torch.utils.collect_env.run",
        "torch.hub.load",
        "torch.load",
        "torch.utils.cpp_extension.load_inline",
        "torch.optim.lr_scheduler.StepLR",
        "torch.optim.optimizer.torch.load",
        "timm.optim.create_optimizer",
        "timm.models.load_checkpoint",
        "pytorch_lightning.Trainer",
        "headstart.storage.locks.hold",
        "headstart.data.sources.array_split",
        "headstart.report.questions.asked",
        None,
        ["torch.optim.AdamW"],
    ],
)
def test_only_what_the_place_asks_for_is_built(role: str, target: object, tmp_path: Path) -> None:
    harm = tmp_path / "made"
    node = {"_target_": target, "path": str(harm)}
    with pytest.raises(UserError, match=r"is built here|not found|Error|is not"):
        instantiate.build(role, node)
    assert not harm.exists()


@pytest.mark.parametrize(
    ("role", "target"),
    [
        ("optimizer", "headstart.probe.Ridge"),
        ("probe", "torch.optim.AdamW"),
        ("figure", "headstart.measures.GradientNorms"),
        ("measure", "headstart.report.questions.Scatter"),
        ("penalty", "headstart.data.sources.digits"),
        ("source", "headstart.penalty.L2SP"),
    ],
)
def test_what_is_right_in_one_place_is_wrong_in_another(role: str, target: str) -> None:
    with pytest.raises(UserError, match="is built here"):
        instantiate.find_target(target, role)


@pytest.mark.parametrize(
    ("role", "target"),
    [
        ("optimizer", "torch.optim.SGD"),
        ("optimizer", "timm.optim.Lamb"),
        ("source", "headstart.data.sources.image_folder"),
        ("probe", "headstart.probe.LinearHeads"),
        ("penalty", "headstart.penalty.L2SP"),
        ("measure", "headstart.measures.Changes"),
        ("figure", "headstart.report.questions.Levels"),
    ],
)
def test_the_kinds_that_there_are(role: str, target: str) -> None:
    assert instantiate.find_target(target, role).__name__ == target.rpartition(".")[2]


def test_a_target_inside_the_arguments_builds_nothing(tmp_path: Path) -> None:
    harm = tmp_path / "made"
    for inner in ({"_target_": "os.mkdir", "path": str(harm)}, {"_target_": "torch.optim.SGD", "params": []}):
        with pytest.raises(UserError, match="arguments build only"):
            instantiate.build("optimizer", {"_target_": "torch.optim.AdamW", "params": [inner]})
    assert not harm.exists()


def test_values_are_texts_and_no_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASS", "hush")
    for text in ("${oc.env:DB_PASS}", r"\${oc.env:DB_PASS}", r"a\\${x} $ {b}"):
        figure = instantiate.build(
            "figure", {"_target_": "headstart.report.questions.Levels", "title": text, "by": ["x"]}
        )
        assert figure.title == text


@pytest.mark.parametrize("key", ["optimizer", "data.source", "head.probe", "figures.x", "measures.x"])
def test_nothing_runs_under_explain(key: str, tmp_path: Path) -> None:
    harm = tmp_path / "made"
    values = [f"++{key}._target_=torch.utils.collect_env.run", f"++{key}.command='touch {harm}'"]
    done = fork_server.run("train", "--explain", *values, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "torch.utils.collect_env.run" in done.stderr
    assert not harm.exists()


def test_a_config_says_which_key_is_wrong() -> None:
    config = compose()
    config.data.source = {"_target_": "torch.hub.load", "repo_or_dir": "x", "model": "y"}
    with pytest.raises(UserError, match=r"data\.source\._target_=torch\.hub\.load: only a data source"):
        check_components(config)
