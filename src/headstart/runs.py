"""A run on disk: its identity, its folder, its lock, and files that are whole or absent.

``outputs/<study>/<model>-<strategy>-<data>-s<seed>-<hash>/``; `result.json` with ``"status": "completed"``, written
last, is completion.
"""

import hashlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import UserError
from headstart.redact import masked

log = logging.getLogger(__name__)

# What cannot change a result has no part in the identity.
IRRELEVANT = (
    "study",
    "output_dir",
    "cache_dir",
    "rerun",
    "logger",
    "hardware.workers",
    "hardware.threads",
)


def identity(config: Mapping[str, Any]) -> str:
    """Eight hex digits of a digest of the resolved config, less what cannot change its result.

    The order of keys has no part in it, but for the order of a strategy's phases and rates, which is its meaning.
    """
    kept = _without(config, IRRELEVANT)
    kept["strategy"]["phases"] = [
        [phase, node | {"rates": list(node["rates"].items())}] for phase, node in kept["strategy"]["phases"].items()
    ]
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _without(node: Mapping[str, Any], keys: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    return {
        key: _without(value, keys, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in node.items()
        if f"{prefix}{key}" not in keys
    }


def name(config: Mapping[str, Any]) -> str:
    """The folder's name: what a person looks for first, the identity last."""
    parts = [
        config["model"]["name"],
        config["strategy"]["name"],
        config["data"]["name"],
        f"s{config['seed']}",
    ]
    safe = ["".join(char if char.isalnum() or char in "._" else "_" for char in str(part)) for part in parts]
    return "-".join([*safe, identity(config)])


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: a temporary file beside it, flushed to disk, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path} ({len(text.encode())} bytes): {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all; infinities and NaN become null."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return None
    return value


def read_result(folder: Path) -> dict[str, Any] | None:
    """The `result.json` of a completed run, else None."""
    try:
        result = json.loads((folder / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("status") == "completed" else None


@dataclass(frozen=True)
class Run:
    """The folder of a run that this process holds."""

    folder: Path
    name: str
    study: str
    hash: str

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def id(self) -> str:
        """The W&B id: known before the fit, and the same whenever this run is started again."""
        return f"{self.study}-{self.hash}"

    def completed(self, digests: Mapping[str, Any]) -> dict[str, Any] | None:
        """The result if the run is complete and was made from data and weights with these digests, else None."""
        result = read_result(self.folder)
        if result is None:
            return None
        changed = [name for name, digest in digests.items() if result.get("digests", {}).get(name) != digest]
        if not changed:
            return result
        log.info("%s is complete, but its %s changed since: it runs again", self.folder, " and ".join(changed))
        return None

    def begin(self, config: Mapping[str, Any], overrides: list[str]) -> None:
        """Write what the run is asked to do; a result of an earlier attempt is no longer one."""
        from omegaconf import OmegaConf

        for name in ("result.json", "predictions.csv", "metrics.csv"):
            (self.folder / name).unlink(missing_ok=True)
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(masked(dict(config)))))
        write_text(self.folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(masked(overrides))))

    def state(self, **facts: Any) -> None:
        """Say in `state.json` where the run is: status, phase, its index."""
        write_json(self.folder / "state.json", facts)

    def complete(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`, which makes the run a completed one."""
        write_json(self.folder / "result.json", result)


@contextmanager
def hold(config: Mapping[str, Any]) -> Iterator[Run]:
    """Lock and make the folder of the run that a resolved config describes; log to its `train.log` meanwhile.

    Raises:
        UserError: another process holds it (pid and host are named), or the folder cannot be written.
    """
    title = name(config)
    folder = Path(config["output_dir"]) / config["study"] / title
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir: cannot make {folder}: {error.strerror or error}") from error
    run = Run(folder, title, config["study"], title.rpartition("-")[2])
    with _locked(folder), _logged(folder / "train.log") as handler:
        try:
            yield run
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            reason = masked(f"{type(error).__name__}: {error}")
            handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, reason, (), sys.exc_info()))
            run.state(status=status, error=reason)
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """An advisory lock that ends with the process, however that ends; the file says who holds it."""
    import fcntl

    path = folder / ".lock"
    stream = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        holder = stream.read().strip() or "another process"
        stream.close()
        raise UserError(f"{folder} is being run by {holder}: wait for it, or stop it") from None
    try:
        stream.truncate(0)
        stream.write(f"pid {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        stream.close()


@contextmanager
def _logged(path: Path) -> Iterator[logging.Handler]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        handler.close()
