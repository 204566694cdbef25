"""How long does headstart take to answer before any experiment starts, and does it keep torch out?

Command:   python -m benchmarks startup
Expected:  on 2 cores --help 0.1 s (target 0.4 s) and train --cfg job 0.45 s (target 1.0 s), torch never imported;
           importing torch, timm and pytorch_lightning alone, which a program that imports at its top pays, about 6 s.
"""

import sys

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
IMPORTS = "import torch, timm, pytorch_lightning"


def measure(repeats: int) -> list[Figure]:
    """Seconds of both commands, the stack's imports beside them, and the modules that each command imported."""
    timed = {"--help": HEADSTART + COMMANDS["--help"], "cfg": HEADSTART + COMMANDS["train --cfg job"]}
    sides = {"headstart --help": timed["--help"], "headstart train --cfg job": timed["cfg"]}
    sides[IMPORTS] = (sys.executable, "-c", IMPORTS)

    def side(command: tuple[str, ...]) -> Process:
        return run(command)

    run(sides[IMPORTS])  # untimed: files into the page cache, bytecode written
    taken = interleaved({name: lambda _, c=command: side(c) for name, command in sides.items()}, 2 * repeats + 1)
    figures = [
        Figure("headstart --help", seconds(taken["headstart --help"]), "s", at_most=0.4),
        Figure("headstart train --cfg job", seconds(taken["headstart train --cfg job"]), "s", at_most=1.0),
        Figure(IMPORTS, seconds(taken[IMPORTS]), "s"),
    ]
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


def imported(arguments: tuple[str, ...]) -> list[str]:
    """Which of `HEAVY` are in ``sys.modules`` after the verb has run, in a process of its own."""
    code = (
        "import sys; from headstart.cli import main; code = main(sys.argv[1:]); assert code == 0, code; "
        f"print('\\nHEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    output = run((sys.executable, "-c", code, *arguments)).output
    return output.rpartition("\nHEAVY")[2].split()
