"""`headstart <verb>`: run the verb that the command line names. No verb's help imports torch."""

import io
import logging
import os
import select
import sys
from collections.abc import Callable
from importlib import import_module

from headstart.cli import supervise
from headstart.config.paths import expand_home
from headstart.runtime import shutdown

VERBS = {
    "train": "run one experiment, or a study of many with -m (a Hydra app)",
    "compare": "compare the runs of a study: table, plots, one HTML page",
    "status": "say how far a study is: done, running, failed, waiting, time left; also while it runs elsewhere",
    "data": "look at what a run would read: parts, classes, sizes, what is wrong, pictures; nothing is trained",
    "predict": "say what is on images, with a trained run or a published network: labels and probabilities",
    "evaluate": "test a trained run on other data of the same classes: the numbers of result.json, without training",
    "visualize": "look into a network: what its units respond to, where it looks, what fine-tuning changed",
    "sync": "upload to Weights & Biases what runs recorded offline, or could not upload to their end",
    "export": "write a run's network as a folder for others: weights, timm's config, model card, ONNX",
    "serve": "show a page on this machine to try a trained network on one's own images",
    "clean": "list what can be made again (checkpoints, caches) with its size, ask, and delete it",
    "zoo": "the model table: size, published accuracy, depth, time and memory measured on this machine",
}

HELP = """headstart: which network, which transfer strategy, on which data, at what cost

usage: headstart <verb> [arguments]

{verbs}

  headstart train -m experiment=demo && headstart compare demo       from images to a report in under 3 minutes
  headstart <verb> --help                                             what a verb takes
  eval "$(headstart -sc install=bash)"                                tab completion (also zsh, fish)
"""


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 1 failed, 2 wrong input."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(HELP.format(verbs="\n".join(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items())), end="")
        return 0
    if argv[0] in ("-V", "--version"):
        from headstart.runtime.version import __version__

        print(f"headstart {__version__}")
        return 0
    if argv[0] in ("-sc", "--shell-completion"):
        return _complete(argv)
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        return _reject_verb(verb)
    return _report_errors(lambda: _run(verb, rest))


def _run(verb: str, rest: list[str]) -> int:
    from headstart.storage.redact import refuse_secrets

    refuse_secrets(rest)
    # OpenMP reads this when torch is loaded. By default a waiting thread keeps its core busy for long, and two runs at
    # the same time on 2 cores take many times as long as one after the other. With this setting each trained 2.5 times
    # as fast, and a single run was not measurably slower.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    rest = [_expand_home(word) for word in rest]
    if verb != "train":
        module = import_module("headstart.zoo.command" if verb == "zoo" else f"headstart.cli.{verb}")
        return int(module.main(rest))
    if "WANDB_SWEEP_ID" in os.environ:
        from headstart.tracking.wandb_sweep import read_arguments

        rest = read_arguments(rest)
    if any(word.partition("=")[0] == "--sweep" for word in rest):
        from headstart.preflight.lines import expand_option

        rest = expand_option(rest)
    if "--explain" in rest:
        from headstart.cli.explain import main as explain

        return explain([word for word in rest if word != "--explain"])
    if "--help" in rest or "-h" in rest:
        from headstart.cli import help as manual

        if manual.find_words(rest):
            return manual.main(rest)
    from headstart.cli import app

    return app.main(rest)


def _expand_home(word: str) -> str:
    """Expand `~` in the value of an option, such as `--config-dir=~/configs`, which shells leave as it is."""
    option, equals, value = word.partition("=")
    return f"{option}={expand_home(value)}" if equals and option.startswith("-") else word


def _reject_verb(verb: str) -> int:
    from headstart.errors import did_you_mean
    from headstart.storage.redact import mask_by_form

    hint = did_you_mean(verb, VERBS, "; did you mean headstart {}?")
    if not hint and ("=" in verb or verb.startswith("-")):
        hint = mask_by_form(f"; did you mean headstart train {verb}?")
    hint = hint or f"; there are {', '.join(VERBS)}"
    print(f"headstart: no verb {mask_by_form(verb)!r}{hint}", file=sys.stderr)
    return 2


def _report_errors(call: Callable[[], int]) -> int:
    from headstart.errors import UserError, as_user_error
    from headstart.storage.plain_text import escape_controls
    from headstart.storage.redact import mask

    try:
        return call()
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _has_lost_its_reader():
            return 0  # as in `headstart train --help | head -1`
        known = as_user_error(error)
        if known is None or os.environ.get("HEADSTART_DEBUG"):
            raise
        print(escape_controls(str(mask(f"headstart: {known}"))), file=sys.stderr)
        return 2 if isinstance(known, UserError) else 1
    except KeyboardInterrupt:
        print("headstart: interrupted", file=sys.stderr)
        return 130


def _has_lost_its_reader() -> bool:
    """Whether nobody reads standard output any more; what is still to be written to it is thrown away."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if not poll.poll(0):  # it reports nothing but errors
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _complete(argv: list[str]) -> int:
    """Answer shell completion (`headstart -sc query=SHELL`): verbs are completed here, all other words by Hydra."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    if any(arg.startswith("query=") for arg in argv):
        if len(words) < 3 or words[1] not in VERBS:
            print(" ".join(verb for verb in VERBS if verb.startswith(words[1] if len(words) > 1 else "")))
            return 0
        if words[1] not in ("train", "data"):  # which take overrides
            return 0
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    from headstart.cli import app

    return app.main(argv)


def entry() -> None:
    """Run the console command: `main`, then a quick exit."""
    _leave_ascii()
    _prepare_streams()
    codes = shutdown.exit_quickly()
    code = supervise.run(sys.argv[1:])
    try:
        codes.append(main() if code is None else code)
    finally:
        supervise.tell_end()
    sys.exit(codes[0])


def _leave_ascii() -> None:
    """Start again in Python's UTF-8 mode if the locale is ASCII; else letters beyond it could not be in any path."""
    if sys.getfilesystemencoding() == "ascii" and not sys.flags.utf8_mode:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONUTF8": "1"})


def _prepare_streams() -> None:
    """Prepare standard output and error so that no line written to them can end a run."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed: the next opened file would get its number, and printed text would go into that file
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # in the C locale, and in terminals that cannot show every character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.raiseExceptions = bool(os.environ.get("HEADSTART_DEBUG"))
