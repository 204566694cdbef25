"""Two launches of one study: they share its jobs, and both end well."""

from __future__ import annotations

from pathlib import Path

import fork_server

STUDY = (
    "train", "-m", "model=lenet5", "strategy=feature_extraction", "strategy.start=scratch", "head=ridge",
    "data.image_size=32", "data.train_per_class=4", "data.n_test=40", "hardware=cpu", "hardware.threads=1",
    "logger=csv",
)  # fmt: skip
# Makes each run take a while, as real ones do.
SLOW = """
import time
from headstart import train
work = train.work
train.work = lambda *args, **kwargs: [print("at work", flush=True), time.sleep({}), work(*args, **kwargs)]
"""


def start(place: Path, seconds: float, *overrides: str) -> fork_server.Process:
    return fork_server.start(*STUDY, *overrides, f"output_dir={place}", cwd=place, before=SLOW.format(seconds))


def test_two_launches_share_the_jobs_and_both_succeed(tmp_path: Path) -> None:
    both = [start(tmp_path, 0.7, "seed=0,1,2") for _ in range(2)]
    said = [fork_server.read_to_end(launch) for launch in both]
    assert len(list(tmp_path.rglob("result.json"))) == 3
    assert "".join(said).count("at work") == 3, "no run was done twice"
    assert "this launch goes on with the others" in "".join(said)
    assert all(", 0 failed" in each for each in said)


def test_a_launch_waits_for_another_and_does_what_that_left(tmp_path: Path) -> None:
    other = start(tmp_path, 60, "seed=1")
    assert other.said is not None
    with other.said:
        assert any("at work" in line for line in other.said)
        single = fork_server.run("train", *STUDY[2:], "seed=1", f"output_dir={tmp_path}", cwd=tmp_path)
        assert single.returncode == 2, "a run alone is refused"
        assert f"is being run by pid {other.pid} on " in single.stdout
        launch = start(tmp_path, 0, "seed=1,2")
        assert launch.said is not None
        with launch.said:
            said = []
            for line in launch.said:
                said.append(line)
                if f"waiting for pid {other.pid} on" in line:
                    assert len(list(tmp_path.rglob("result.json"))) == 1, "the others come first"
                    other.send_signal(9)
                    other.wait()
        assert launch.wait() == 0, "".join(said)
    assert any("waiting for" in line for line in said)
    assert len(list(tmp_path.rglob("result.json"))) == 2
