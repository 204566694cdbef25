"""A run that fails before it trains is seen in W&B with its cause: real wandb, offline, read back by its own reader."""

from pathlib import Path

import fork_server
from data.images import folder
from tracking.test_logger import of, records, summary


def test_a_run_with_a_bad_image_is_seen_as_failed_with_its_name(tmp_path: Path) -> None:
    bad = folder(tmp_path / "data") / "train" / "b" / "2.png"
    bad.write_bytes(b"no image")
    done = fork_server.run(
        "train", "model=resnet18", "model.weights=none", "data=image_folder", "data.source.root=data",
        "data.image_size=32", "strategy=scratch", "logger=wandb", "logger.project=p", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    (run,) = (path.parent for path in tmp_path.glob("outputs/*/*/state.json"))
    found = records(run)
    assert [end["exit_code"] for end in of("exit", found)] == [1]
    told = summary(found)
    assert told["status"] == "failed"
    assert "2.png" in told["error"]
    (start,) = of("run", found)
    assert start["display_name"]
    assert not of("history", found)  # no epoch was trained
