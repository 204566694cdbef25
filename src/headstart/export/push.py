"""Send an export to a page of the Hugging Face hub; the token comes from where `hf auth login` or HF_TOKEN put it."""

from __future__ import annotations

import re
from pathlib import Path

from headstart.errors import RunFailed, UserError
from headstart.export.folder import list_files

PLACE = re.compile(r"hf://([\w.-]+/[\w.-]+)")


def read_place(text: str) -> str:
    """The page that `hf://user/name` names; UserError if it names none."""
    found = PLACE.fullmatch(text)
    if found is None:
        raise UserError(f"--push {text}: must be hf://USER/NAME, a page of the Hugging Face hub")
    return found[1]


def check_token() -> None:
    """Raise UserError, before anything is done, if there is no token of the hub."""
    from huggingface_hub import get_token

    if not get_token():
        raise UserError("--push needs a token of the Hugging Face hub: `hf auth login`, or the variable HF_TOKEN")


def push(folder: Path, page: str) -> str:
    """Upload the files of an export in one commit; returns the page's address. A new page is a private one.

    Raises:
        RunFailed: the hub does not take them; the folder stays.
    """
    from huggingface_hub import HfApi, get_token

    names = [path.name for path in list_files(folder)]
    token = get_token() or ""
    try:
        hub = HfApi()
        address = hub.create_repo(page, exist_ok=True, private=True)
        hub.upload_folder(
            repo_id=page, folder_path=folder, allow_patterns=names, commit_message="Network exported by headstart"
        )
    except Exception as error:  # of the hub's client or of the connection: they have no common class
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        reason = reason.replace(token, "***") if token else reason
        raise RunFailed(f"--push hf://{page}: the hub did not take it ({reason}); the export is in {folder}") from None
    return str(address)
