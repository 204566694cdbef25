"""What Slurm is asked for, and what of a command for it is refused, without a Slurm."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import SMALL, compose
from headstart.cli import slurm_submit
from headstart.cli.slurm_job import name_job
from headstart.cli.slurm_submit import DEAF_AT_FIRST, Submitter, clean_environment
from headstart.cli.status import describe
from headstart.config.schema import HardwareConfig
from headstart.distributed import machines
from headstart.distributed.machines import Machines
from headstart.errors import RunFailed, UserError
from headstart.preflight import slurm
from headstart.preflight.command import examine
from headstart.preflight.slurm import Slurm
from headstart.storage.identity import compute_identity
from headstart.storage.journal import DONE, JOBS, RUNNING, JobState, Journal, find_launches, read_launch
from headstart.storage.study_state import read_study

ON_SLURM = "hydra/launcher=slurm"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's commands seem to be there."""
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")


def find_problems(*words: str) -> list[str]:
    return examine(["-m", ON_SLURM, *words], libraries=False).problems


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("override", "wish"),
    [
        ("cpus=0", "must be a whole number, at least 1"),
        ("warn=soon", "must be a whole number, at least 1"),
        ("max_requeues=-1", "must be a whole number, at least 0"),
        ("at_once=0", "must be a whole number, at least 1, or null"),
        ("time=4h", 'must be a time such as "04:00:00", "2-00:00:00" or minutes, or null'),
        ("gpus=0.5", "must be a whole number, or a type and a number such as a100:2, or null"),
        ("mem=lots", "must be an amount of memory such as 16G, or null"),
        ("setup=module", "must be a list of lines of shell, such as [module load cuda]"),
        ("detach=maybe", "must be true or false"),
        ("partition=[a]", "must be a name, or null"),
        ("python=", "must be the words that start Python, or null"),
        (
            "sbatch=[exclusive]",
            "must be a list of options of sbatch in their long form, such as [--constraint a100, --exclusive]",
        ),
    ],
)
def test_wrong_settings_are_named_with_what_they_must_be(override: str, wish: str) -> None:
    (problem,) = find_problems(f"hydra.launcher.{override}", "seed=0,1")
    assert problem.startswith(f"hydra.launcher.{override.partition('=')[0]}=")
    assert problem.endswith(f": {wish}")


@pytest.mark.usefixtures("installed")
def test_settings_that_do_not_go_together_are_refused() -> None:
    assert find_problems("hydra.launcher.sbatch=[--nodes 2, --comment hello]", "seed=0,1") == [
        "hydra.launcher.sbatch: --nodes is set by hardware.nodes"
    ]
    (problem,) = find_problems("hardware=ddp", "seed=0,1")
    assert problem.startswith("hardware.devices=-1: hydra/launcher=slurm has to know how many to ask for")
    assert not find_problems("hardware=ddp", "hydra.launcher.gpus=a100:4", "seed=0,1")
    (problem,) = find_problems("+hydra.launcher.partitoin=gpu", "seed=0,1")
    assert "hydra.launcher.partitoin: no such setting; did you mean partition?" in problem
    (problem,) = examine(["hardware.nodes=2"], libraries=False).problems
    assert problem == "hardware.nodes=2: several machines run jobs of Slurm only: add -m hydra/launcher=slurm"
    (problem,) = examine([ON_SLURM], libraries=False).problems
    assert problem == "hydra/launcher=slurm: takes the jobs of a sweep, be it only one: add -m"
    assert any(
        "a search runs its trials one after the other" in each for each in find_problems("hparams_search=finetune")
    )


def test_a_missing_extra_and_a_machine_without_slurm_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None if name == "sbatch" else name)
    (problem,) = find_problems("seed=0,1")
    assert problem.startswith("hydra/launcher=slurm: this machine has no sbatch: start the command where")
    monkeypatch.setattr(slurm, "find_spec", lambda name: None)
    assert find_problems("seed=0,1") == [
        "hydra/launcher=slurm: submitit is not installed: pip install 'headstart[slurm]'"
    ]


def write_script(
    monkeypatch: pytest.MonkeyPatch, folder: Path, hardware: HardwareConfig, **settings: object
) -> list[str]:
    """The lines of the script for an array of three jobs."""
    from submitit import SlurmExecutor

    monkeypatch.setattr(SlurmExecutor, "affinity", classmethod(lambda cls: 2))
    executor = Submitter(Slurm(**settings), "birds", folder).make_executor(hardware)  # type: ignore[arg-type]
    executor.parameters["map_count"] = 3
    return executor._make_submission_file_text(executor._submitit_command_str, "").splitlines()


def test_directives_say_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpus = HardwareConfig(accelerator="gpu", devices=4, nodes=2)
    lines = write_script(
        monkeypatch, tmp_path, gpus, partition="a", account="b", qos="c", time="04:00:00", cpus=8, mem="16G", at_once=2,
        setup=["module load cuda"], python="apptainer exec x.sif python", warn=60,
        sbatch=["--constraint=h200", "--exclusive", "--mail-type END"],
    )  # fmt: skip
    asked = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert asked >= {
        "array=0-2%2", "partition=a", "account=b", "qos=c", "time=04:00:00", "cpus-per-task=8", "mem=16G", "nodes=2",
        "ntasks-per-node=1", "gpus-per-node=4", "signal=USR2@60", "requeue", "constraint=h200", "exclusive",
        "mail-type=END", "job-name=birds", "open-mode=append",
    }  # fmt: skip
    assert not any(each.startswith(("wckey", "error=", "output=")) and str(tmp_path) not in each for each in asked)
    (command,) = [shlex.split(line) for line in lines if line.startswith("srun")]
    assert lines.index("module load cuda") < next(n for n, line in enumerate(lines) if line.startswith("srun"))
    assert {"--cpus-per-task=8", "--kill-on-bad-exit=0"} < set(command), "srun takes over no cpus-per-task of sbatch's"
    assert command[command.index("apptainer") :][:4] == ["apptainer", "exec", "x.sif", "python"]


def test_what_is_not_named_is_left_to_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = write_script(monkeypatch, tmp_path, HardwareConfig())
    options = {line.removeprefix("#SBATCH --").partition("=")[0] for line in lines if line.startswith("#SBATCH")}
    assert not options & {"time", "partition", "account", "qos", "mem", "gpus-per-node", "wckey", "dependency"}
    assert "#SBATCH --array=0-2%3" in lines
    assert sys.executable in next(line for line in lines if line.startswith("srun"))


def test_jobs_that_ask_for_others_machines_are_another_array(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slurm_submit, "_read_longest_array", lambda: 2)
    hardware = [HardwareConfig(), HardwareConfig(nodes=2), HardwareConfig(), HardwareConfig(), HardwareConfig(nodes=2)]
    assert list(Submitter(Slurm(), "birds", tmp_path)._list_arrays(hardware)) == [[0, 2], [3], [1, 4]]


def test_what_a_job_leaves_in_the_environment_reaches_no_other_one() -> None:
    kept = {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "mine", "HOME": "/home/me", "CUDA_VISIBLE_DEVICES": "0"}
    leaked = {
        "SLURM_CPU_BIND": "quiet",
        "SLURM_NTASKS": "7",
        "SLURMD_NODENAME": "a",
        "SRUN_DEBUG": "3",
        "PMI_RANK": "1",
    }
    assert clean_environment(kept | leaked) == kept, "outside of a job the GPUs are the user's choice"
    inside = clean_environment(kept | leaked | {"SLURM_JOB_ID": "5"})
    assert inside == {name: value for name, value in kept.items() if name != "CUDA_VISIBLE_DEVICES"}


def test_the_states_of_a_detached_launch_are_in_its_jobs_files(tmp_path: Path) -> None:
    launch = tmp_path / "study" / ".hydra" / "now"
    (launch / JOBS).mkdir(parents=True)
    jobs = [JobState(f"job {number}", str(number), "kind") for number in range(3)]
    Journal(launch).hand_over(jobs, "Slurm job 17")

    def say(number: int, state: str) -> None:
        known = {"job": number, "state": state, "at": time.time(), "seconds": 1.0, "why": "", "restarts": 0}
        (launch / JOBS / f"{number}.json").write_text(json.dumps(known))

    say(0, DONE)
    say(1, RUNNING)
    study = read_study(tmp_path / "study")
    assert study.count_jobs() == {"done": 1, "running": 1, "failed": 0, "skipped": 0, "waiting": 1}
    assert describe(study)[1] == "  launched by Slurm job 17"
    for number in range(3):
        say(number, DONE)
    found = read_launch(launch / "jobs.jsonl")
    assert found is not None
    assert found.ended
    assert [each.owner for each in find_launches(tmp_path / "study")] == ["Slurm job 17"]
    assert describe(read_study(tmp_path / "study"))[1] == "  the last launch (Slurm job 17) has ended"


def test_several_machines_are_another_run_and_one_is_what_it_was() -> None:
    from headstart.config.schema import to_plain

    plain = to_plain(compose(*SMALL))
    several = plain | {"hardware": plain["hardware"] | {"nodes": 2}}
    before = plain | {"hardware": {key: value for key, value in plain["hardware"].items() if key != "nodes"}}
    assert compute_identity(plain, {}) == compute_identity(before, {})
    assert compute_identity(plain, {}) != compute_identity(several, {})


def test_a_process_without_a_launcher_has_one_machine(tmp_path: Path) -> None:
    assert machines.find_assigned(1) is None
    with pytest.raises(UserError, match=r"hardware\.nodes=2: this job has one machine"):
        machines.find_assigned(2)
    here = Machines(("a", "b"), tmp_path / "job", 4)
    with machines.lead(here):
        assert machines.find_assigned(2) == here
        with pytest.raises(UserError, match=r"hardware\.nodes=3"):
            machines.find_assigned(3)
        assert machines.choose_meeting(here, 1) == {"names": ["localhost"], "port": 0}
        assert machines.choose_meeting(here, 2)["names"] == ["a", "b"]
    assert not machines.wait_for_first(here, 1, "run.json"), "the first machine's run ended without the other"


def test_a_machine_whose_first_one_is_gone_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "SILENT", 0.3)
    with pytest.raises(RunFailed, match="a, the first machine, has shown no sign of life"):
        machines.wait_for_first(Machines(("a", "b"), tmp_path, 4), 1, "run.json")


def test_a_task_of_an_array_is_named_by_its_place_there() -> None:
    """The number of the last one is that of the array: to ask for it would be to ask for all."""
    array = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "12"}
    assert name_job(array) == "12_0"
    assert name_job({"SLURM_JOB_ID": "12"}) == "12"


def test_a_job_is_not_ended_by_a_signal_before_it_handles_signals() -> None:
    code = "import os, signal, sys; [os.kill(os.getpid(), each) for each in (15, signal.SIGUSR2)]; print(sys.argv[1])"
    line = f"{DEAF_AT_FIRST} {shlex.quote(sys.executable)} -c {shlex.quote(code)} 'two words'"
    assert subprocess.run(line, shell=True, capture_output=True, text=True).stdout == "two words\n"
