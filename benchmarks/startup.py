"""How long does headstart take to answer before any experiment starts, and does it keep torch out?

Command:   python -m benchmarks startup
Expected:  on 2 cores --help 0.1 s (target 0.4 s) and train --cfg job 0.45 s (target 1.0 s), torch never imported;
           importing torch, timm and pytorch_lightning alone, which a program that imports at its top pays, about 6 s.
"""

import sys
from collections.abc import Callable, Sequence

from benchmarks.measure import HEADSTART, Figure, Process, interleaved, run, say, seconds

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "pytorch_lightning",
    "torchmetrics",
    "sklearn",
    "matplotlib",
    "wandb",
)
COMMANDS = {"--help": ("--help",), "train --cfg job": ("train", "--cfg", "job")}
TARGETS = {"headstart --help": 0.4, "headstart train --cfg job": 1.0}
IMPORTS = "import torch, timm, pytorch_lightning"


def measure(repeats: int) -> list[Figure]:
    """Seconds of both commands, the stack's imports beside them, and the modules that each command imported."""
    stack = (sys.executable, "-c", IMPORTS)
    run(stack)  # untimed: files into the page cache, bytecode written
    sides = {f"headstart {name}": _side((*HEADSTART, *arguments)) for name, arguments in COMMANDS.items()}
    taken = interleaved(sides | {IMPORTS: _side(stack)}, 2 * repeats + 1)
    figures = [Figure(name, seconds(processes), "s", at_most=TARGETS.get(name)) for name, processes in taken.items()]
    for name, arguments in COMMANDS.items():
        heavy = imported(arguments)
        say(f"  headstart {name} imports of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}")
        figures.append(
            Figure(
                f"headstart {name}: model libraries imported",
                len(heavy),
                "",
                at_most=0,
                note=", ".join(heavy),
            )
        )
    return figures


def _side(command: Sequence[str]) -> Callable[[int], Process]:
    return lambda _: run(command)


def imported(arguments: tuple[str, ...]) -> list[str]:
    """Which of `HEAVY` are in `sys.modules` after the verb has run, in a process of its own."""
    code = (
        "import sys; from headstart.cli.main import main; code = main(sys.argv[1:]); assert code == 0, code; "
        f"print('\\nHEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    output = run((sys.executable, "-c", code, *arguments)).output
    return output.rpartition("\nHEAVY")[2].split()
