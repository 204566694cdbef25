"""The exceptions that a user is meant to read: their messages are shown alone, without a traceback."""

import errno

# Of allocators: C++, PyTorch on CPU and GPU, oneDNN, cuDNN and cuBLAS; some come as a plain RuntimeError.
NO_MEMORY = ("out of memory", "not enough memory", "t allocate memory", "cannot allocate", "bad_alloc", "alloc_failed")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class UserError(Exception):
    """Bad input: the message names the key or file and says what to change; exit code 2."""


class RunFailed(Exception):
    """Bad luck of a valid run (a diverged loss, no memory, a full disk, a lost process): what to do; exit code 1."""


def as_user_error(error: BaseException) -> UserError | RunFailed | None:
    """The error as a user is meant to read it; None for one that nobody foresaw."""
    if isinstance(error, UserError | RunFailed):
        return error
    text = str(error).partition("\n")[0]
    if isinstance(error, MemoryError) or any(words in text.lower() for words in NO_MEMORY):
        return RunFailed(
            f"out of memory ({text or type(error).__name__}). Lower data.batch_size, and raise hardware.accumulate by "
            "the same factor to keep the images per step; or hardware.precision=bf16, or a smaller data.image_size"
        )
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return RunFailed(f"cannot write {error.filename or 'a file'}: {error.strerror}. Make room, and start again")
    if isinstance(error, FileNotFoundError) and "temporary directory" in text:
        return RunFailed(f"{text}: make room there, or let TMPDIR name a folder that can be written")
    return None
