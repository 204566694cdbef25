"""How long does it take to expand and check a sweep of 1,000 jobs, each composed once, before the first one starts?

Command:   python -m benchmarks sweep
Expected:  on 2 otherwise idle cores about 7 s (target 10 s) with torch and timm asked too, of which their imports take
           4 s; one job composed by `hydra.compose` takes 0.2 s: composing each job once with it would take 200 s.
"""

import json
import sys

from benchmarks.measure import Figure, run

JOBS = 1000
CHECK = f"""
import json, time
began = time.monotonic()
from headstart.preflight.command import check_command
command = check_command(["-m", "model=lenet5", "strategy=scratch", "data=digits", "seed=range({JOBS})"])
checked = time.monotonic() - began
assert len(command.jobs) == {JOBS} == len({{job.config.seed for job in command.jobs}})

from hydra import compose, initialize_config_dir
from headstart.config.resolvers import config_folder
with initialize_config_dir(str(config_folder())):
    compose("config", ["model=lenet5", "strategy=scratch"])
    began = time.monotonic()
    for seed in range(10):
        compose("config", ["model=lenet5", "strategy=scratch", "data=digits", f"seed={{seed}}"])
    composed = (time.monotonic() - began) / 10
print("RESULT", json.dumps({{"checked": checked, "composed": composed}}))
"""


def measure(repeats: int) -> list[Figure]:
    """Seconds to check the sweep, whole process, and what `hydra.compose` would take to compose each job once."""
    output = run((sys.executable, "-c", CHECK)).output
    taken = json.loads(output.rpartition("RESULT")[2])
    return [
        Figure(f"{JOBS} jobs expanded and checked, imports included", taken["checked"], "s", at_most=10.0),
        Figure(f"{JOBS} x one hydra.compose", JOBS * taken["composed"], "s"),
        Figure("the second against the first", JOBS * taken["composed"] / taken["checked"], "x"),
    ]
