"""`headstart serve`: a page on this machine to try a trained network on one's own images."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from headstart.cli.predict import add_imports
from headstart.errors import UserError

if TYPE_CHECKING:
    from headstart.predict.network import Network
    from headstart.serve.answer import Answerer
    from headstart.serve.examples import Example

T = TypeVar("T")

DESCRIPTION = """\
Show a page on which images can be dropped: the most probable classes with their probabilities, where the network looks,
and a warning when an image is unlike the run's training images. Images stay on this machine; none is stored."""
EXAMPLES = """\
examples:
  headstart serve outputs/demo/RUN                 http://127.0.0.1:8000, with examples of the test set; Ctrl-C ends it
  headstart serve my-network                       what headstart export wrote; no examples and no warnings
  headstart serve outputs/demo/RUN --port 0        at any free port
  headstart serve outputs/demo/RUN --host 0.0.0.0  for everybody who can reach this machine: there is no password
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart serve",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("network", metavar="RUN_OR_FOLDER", help="the folder of a completed run or of an export, or a network's name")
    add("--host", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1, this machine alone)")
    add("--port", type=int, default=8000, help="0: any free one (default: 8000)")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, or auto: a GPU if there is one (default: auto)")
    add_imports(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the verb until it is interrupted; wrong input raises a UserError."""
    options = make_parser().parse_args(list(argv))
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise UserError(f"serve needs {name}, which is not installed: pip install 'headstart[serve]'")
    from headstart.cli.stderr_log import log_to_stderr

    with log_to_stderr(), _listen(options.host, options.port) as listener:
        import uvicorn

        from headstart.config import own_code
        from headstart.predict.load import load
        from headstart.serve.app import LOCAL, make_app

        own_code.load(options.imports)
        network = load(options.network, options.device)
        if not network.pretrained:
            raise UserError(f"{options.network}: its weights are random, so its answers would mean nothing")
        local = options.host in LOCAL
        app = make_app(*_prepare(network), local=local)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"http://{host}:{listener.getsockname()[1]}  (Ctrl-C ends it)", flush=True)
        if not local:
            print("everybody who can reach this machine can use it: there is no password", flush=True)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({error}); --port 0 takes a free one"
        ) from error


def _prepare(network: Network) -> tuple[Answerer, list[Example], list[str]]:
    """What the page answers with, its examples, and sentences on what it cannot do."""
    from headstart.serve.answer import Answerer
    from headstart.serve.examples import read_examples
    from headstart.trust.unlike import read_or_learn

    notes: list[str] = []
    if network.folder is None:
        notes.append("There are no examples and no warnings of unlike images: an export holds no training images.")
        return Answerer(network), [], notes
    folder = network.folder
    examples = _try(lambda: read_examples(folder), notes, "There are no examples")
    familiar = _try(lambda: read_or_learn(network), notes, "There are no warnings of unlike images")
    if familiar is not None:
        notes.append(f"An image is {familiar.describe()}.")
    return Answerer(network, familiar), examples or [], notes


def _try(read: Callable[[], T], notes: list[str], what: str) -> T | None:
    """What `read` returns; or None, and a sentence that says why."""
    try:
        return read()
    except UserError as error:
        notes.append(f"{what}: {error}.")
        return None
