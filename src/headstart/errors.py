"""The exceptions that are shown to the user without a traceback, and the hint at a misspelt name."""

import errno
from collections.abc import Callable, Iterable

# Messages of the allocators of C++, PyTorch on CPU and GPU, oneDNN, cuDNN and cuBLAS; some are a plain RuntimeError.
NO_MEMORY = ("out of memory", "not enough memory", "t allocate memory", "cannot allocate", "bad_alloc", "alloc_failed")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class UserError(Exception):
    """The input is wrong: the message names the key or file and says what to change; exit code 2."""


class RunFailed(Exception):
    """A valid run failed (diverged loss, no memory, full disk, lost process); the message says what to do; exit 1."""


class Pruned(Exception):
    """A run was ended early because its siblings were better: no failure. The message says rule, epoch and siblings.

    Attributes:
        score: the best validation accuracy that it had.
    """

    def __init__(self, message: str, score: float = 0.0) -> None:
        super().__init__(message)
        self.score = score


def nearest_names(
    name: str,
    known: Iterable[str],
    *,
    limit: int = 1,
    cutoff: float = 0.6,
    likeness: Callable[[str, str], float] | None = None,
    margin: float = 1.0,
) -> list[str]:
    """Up to `limit` of the `known` names that are most like `name`, the best first.

    Args:
        cutoff: names less alike than this are left out.
        likeness: of `name` and a known name, from 0 to 1; by default what `difflib` finds they have in common.
        margin: names less alike than the best one by more than this are left out.
    """
    from difflib import get_close_matches

    if likeness is None:
        return get_close_matches(name, list(known), n=limit, cutoff=cutoff)
    ranked = sorted(((likeness(name, other), other) for other in known), key=lambda pair: (-pair[0], pair[1]))
    return [other for score, other in ranked[:limit] if score >= max(cutoff, ranked[0][0] - margin)]


def did_you_mean(
    name: str,
    known: Iterable[str],
    hint: str = "; did you mean {}?",
    *,
    between: str = " or ",
    nearest: Callable[[str, Iterable[str]], list[str]] = nearest_names,
) -> str:
    """The end of a message about an unknown `name`: `hint` with the nearest of the `known` names in it.

    Args:
        between: separates the names if there are several.
        nearest: finds them; it has `nearest_names`' first two arguments.

    Returns:
        An empty string if no known name is near.
    """
    found = nearest(name, known)
    return hint.format(between.join(found)) if found else ""


def as_user_error(error: BaseException) -> UserError | RunFailed | None:
    """Turn an error into one with a message for the user; None if the error is not a known one."""
    if isinstance(error, UserError | RunFailed):
        return error
    text = str(error).partition("\n")[0]
    if isinstance(error, MemoryError) or any(words in text.lower() for words in NO_MEMORY):
        return RunFailed(
            f"out of memory ({text or type(error).__name__}). Lower data.batch_size, and raise hardware.accumulate by "
            "the same factor to keep the images per step; or hardware.precision=bf16, or a smaller data.image_size"
        )
    if isinstance(error, ImportError) and "failed to map segment" in text:
        return RunFailed(
            f"a library cannot be loaded ({text}): the address space is too small. torch takes several GB of it "
            "(not of memory): raise the limit (ulimit -v unlimited, or the limit of the batch system)"
        )
    if text.startswith("DataLoader worker (pid"):
        return RunFailed(
            f"a process that decodes images died ({text.split('. ')[0].rstrip('.')}): the system kills one when memory "
            "or shared memory runs out. Lower hardware.workers, or make /dev/shm larger (docker run --shm-size=8g)"
        )
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return RunFailed(f"cannot write {error.filename or 'a file'}: {error.strerror}. Make room, and start again")
    if isinstance(error, FileNotFoundError) and "temporary directory" in text:
        return RunFailed(f"{text}: make room there, or let TMPDIR name a folder that can be written")
    return None
