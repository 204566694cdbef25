"""`headstart export --push`: what would be uploaded is listed, the export is uploaded, the token is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from headstart.cli.main import main
from headstart.export import push
from predict.runs import make_run

TOKEN = "hf_" + "aB3" * 11


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collects what is asked of the hub, which takes all pages but one."""
    asked: list[dict[str, Any]] = []

    def create_repo(self: object, repo_id: str, **options: Any) -> str:
        asked.append({"page": repo_id} | options)
        if "forbidden" in repo_id:
            raise ConnectionError(f"403 for Bearer {TOKEN}")
        return f"https://hub.example/{repo_id}"

    def upload_folder(self: object, **options: Any) -> None:
        asked.append(options)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    return asked


def test_dry_run_lists_the_files_and_leaves_nothing(
    hub: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(make_run("fine-tuned").folder)
    assert main(["export", run, str(tmp_path / "out"), "--push", "hf://me/net", "--dry-run"]) == 0
    said = capsys.readouterr().out
    for name in ("README.md", "config.json", "model.safetensors"):
        assert f"would be written: {tmp_path / 'out' / name} (" in said
    assert "would be uploaded to hf://me/net" in said
    assert (hub, list(tmp_path.iterdir())) == ([], [])


def test_the_export_is_uploaded_and_the_token_is_in_no_output(
    hub: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, target = str(make_run("fine-tuned").folder), tmp_path / "out"
    assert main(["export", run, str(target), "--push", "hf://me/net"]) == 0
    assert hub[0] == {"page": "me/net", "exist_ok": True, "private": True}
    assert (hub[1]["repo_id"], hub[1]["folder_path"]) == ("me/net", target)
    assert hub[1]["allow_patterns"] == ["README.md", "config.json", "model.safetensors"]
    assert main(["export", run, str(target), "--push", "hf://me/forbidden"]) == 1
    said = "".join(capsys.readouterr())
    assert "uploaded: https://hub.example/me/net" in said
    assert "the hub did not take it (ConnectionError: 403 for Bearer ***)" in said
    assert TOKEN not in said
    assert all(TOKEN not in path.read_text("utf-8", "replace") for path in target.iterdir())


def test_what_cannot_be_pushed_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(make_run("fine-tuned").folder)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert main(["export", run, str(tmp_path / "out"), "--push", "hf://me/net"]) == 2
    assert "`hf auth login`" in capsys.readouterr().err
    assert main(["export", run, str(tmp_path / "out"), "--push", "me/net"]) == 2
    assert "must be hf://USER/NAME" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert push.read_place("hf://me/net.v2") == "me/net.v2"
