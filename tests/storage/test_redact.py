"""Keys, tokens and passwords reach no file and no line of output, however they are given."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fork_server
from headstart.errors import UserError
from headstart.storage.redact import Formatter, mask, refuse_secrets, refuse_secrets_in_config

WANDB_KEY = "0123456789abcdef" * 2 + "deadbeef"
NEW_WANDB_KEY = "wandb_v1_" + "Ab3_" * 19
HF_TOKEN = "hf_" + "Qx7" * 11
PASSWORD = "correct-horse-battery"
SECRETS = (WANDB_KEY, NEW_WANDB_KEY, HF_TOKEN, PASSWORD)
SMALL = [
    "hardware=cpu",
    "hardware.threads=1",
    "data.image_size=32",
    "data.train_per_class=4",
    "data.n_test=40",
    "epochs=1",
    "model=timm",
    "model.name=test_resnet",
    "strategy=scratch",
]


def headstart(cwd: Path, *arguments: str, forked: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it with secrets in the environment, all it may write under `cwd`, and look for them everywhere.

    Args:
        forked: with its libraries loaded; else Python is started for it.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    planted = {"WANDB_API_KEY": WANDB_KEY, "HF_TOKEN": HF_TOKEN, "DATA_PASSWORD": PASSWORD, "WANDB_MODE": "offline"}
    home = {"HOME": str(cwd / "home"), "TMPDIR": str(cwd / "tmp"), "OMP_NUM_THREADS": "1"}
    for folder in ("home", "tmp"):
        (cwd / folder).mkdir(exist_ok=True)
    env = kept | planted | home | environment
    if forked:
        done = fork_server.run(*arguments, cwd=cwd, env=env)
    else:
        command = [sys.executable, "-m", "headstart", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=240)
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr
        found = [path for path in cwd.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert not found, secret[:4]
        assert not [path for path in cwd.rglob("*") if secret in path.name], secret[:4]
    return done


@pytest.mark.slow
def test_a_run_leaves_nothing_of_the_environments_secrets(tmp_path: Path) -> None:
    done = headstart(tmp_path, "train", "-m", *SMALL, "logger=wandb", "logger.tags=[a]", "hydra.output_subdir=.hydra")
    assert done.returncode == 0, done.stdout + done.stderr
    written = {path.name for path in (tmp_path / "outputs").rglob("*") if path.is_file()}
    assert {"train.log", "config.yaml", "result.json", "state.json", "multirun.yaml", "hydra.yaml"} <= written
    assert [name for name in written if name.endswith(".wandb")]


@pytest.mark.parametrize(
    "override",
    [
        f"+logger.api_key={PASSWORD}",
        f"logger.entity={HF_TOKEN}",
        f"logger.project={WANDB_KEY}",
        f"logger.tags=[x,{NEW_WANDB_KEY}]",
        f"data.source.password={PASSWORD}",
        f"data.source={{password: {PASSWORD}}}",
        f"+data.source.url=https://me:{PASSWORD}@host/x.tar",
        f"seed={WANDB_KEY}",
        f"model.weights={HF_TOKEN}",
        f"study=local-{WANDB_KEY}",
        f"output_dir={HF_TOKEN}",
        f"+strategy.phases.{HF_TOKEN}.epochs=1",
        HF_TOKEN,
    ],
)
@pytest.mark.parametrize("mode", [["-m"], ["--cfg", "job"]])
def test_a_secret_on_the_command_line_is_refused_before_anything_is_written(
    override: str, mode: list[str], tmp_path: Path
) -> None:
    done = headstart(tmp_path, "train", *mode, *SMALL, override, HEADSTART_DEBUG="")
    assert done.returncode == 2
    assert "***" in done.stderr
    assert "WANDB_API_KEY" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"home", "tmp"}


def test_other_words_of_the_command_line_are_not_repeated_either(tmp_path: Path) -> None:
    for arguments in ([HF_TOKEN], [f"key={HF_TOKEN}"], ["compare", HF_TOKEN], ["compare", f"--api_key={PASSWORD}"]):
        assert headstart(tmp_path, *arguments).returncode == 2


@pytest.mark.parametrize("mode", [[], ["-m"]])
@pytest.mark.parametrize("line", [f"logger: {{entity: {HF_TOKEN}}}", "logger: {entity: '${oc.env:HF_TOKEN}'}"])
def test_a_secret_in_an_experiment_file_is_named_and_not_copied(line: str, mode: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "mine" / "experiment" / "leaky.yaml").write_text(f"# @package _global_\n{line}\n")
    mine = str(tmp_path / "mine")
    done = headstart(work, "train", *mode, "--config-dir", mine, *SMALL, "experiment=leaky", forked=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "a secret in the config:\n  - logger.entity=***" in done.stderr


def test_log_lines_and_tracebacks_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "plain-words-only")
    try:
        raise ValueError(f"cannot log in with {WANDB_KEY} or plain-words-only at http://me:{PASSWORD}@host")
    except ValueError:
        record = logging.LogRecord("x", 40, "", 0, "password=%s", (PASSWORD,), sys.exc_info())
    text = Formatter("%(levelname)s %(message)s").format(record)
    assert text.startswith("ERROR password=***\nTraceback")
    assert "cannot log in with *** or *** at http://***@host" in text
    assert not [secret for secret in (*SECRETS, "plain-words-only") if secret in text.partition("Traceback")[0]]


@pytest.mark.parametrize(
    "text",
    [
        '"data": "' + "0a" * 16 + '"',  # a content digest of result.json
        "step-00000012-" + "0a" * 8 + ".ckpt",
        "f" * 64,
        "model.weights=hf-hub:timm/resnet18.a1_in1k@" + "0a" * 20,
        "/cache/snapshots/" + "0a" * 20 + "/model.safetensors",
        "strategy.phases.all.rates.cls_token=0.1",
        "model.args.class_token=true",
        "data.source.token=${oc.env:X}",
        "hf_hub_id and hf_transformers",
        "resnet18-feature_extraction-digits-s0-ceea264a",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text
    refuse_secrets([text])


def test_a_config_may_name_a_secret_where_its_name_says_so() -> None:
    config = {"data": {"source": {"token": PASSWORD, "n": 3}}, "logger": {"tags": ["a"], "entity": None}}
    refuse_secrets_in_config(config)
    assert PASSWORD not in str(mask(config))
    assert PASSWORD not in str(mask({"data.source": '{"token": "' + PASSWORD + '", "n": 3}'}))
    with pytest.raises(UserError, match=r"logger.tags.0=\*\*\*"):
        refuse_secrets_in_config(config | {"logger": {"tags": [HF_TOKEN]}})


def test_an_error_that_repeats_a_value_of_the_environment_hides_it(tmp_path: Path) -> None:
    done = headstart(tmp_path, "train", *SMALL, "seed=${oc.env:DATA_PASSWORD}")
    assert done.returncode != 0
    assert "seed: While dereferencing" in done.stdout + done.stderr
    assert "${DATA_PASSWORD}" in done.stdout + done.stderr
