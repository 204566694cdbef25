"""Find keys, tokens and passwords and mask them, so that none is written to a log, a config file or W&B.

A value that came into the config through `${oc.env:NAME}` is shown as `${NAME}`, whatever it looks like.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from headstart.config.environment import hide_in_text
from headstart.errors import UserError
from headstart.storage.plain_text import escape_controls

PASSWORDS = frozenset({"password", "passwd", "passphrase", "secret", "secrets"})
SECRET_WORDS = PASSWORDS | {"key", "keys", "apikey", "token", "credential", "credentials"}
LOGIN = re.compile(r"//[^/\s@]+:[^/\s@]+@")  # the user and password in a URL
PAIR = re.compile(r"""([\w.\-]+)(["']?\s*=\s*|["']?\s*:\s+)("[^"]*"|'[^']*'|[^\s,;&{\[][^\s,;&}\]]*)""")
NO_SECRET = re.compile(r"[-+\d.,e]+|true|false|null|none|\*\*\*|\$\{.*", re.IGNORECASE)
# Texts that are secret by their form, whatever their name is. The 40 digits of a git commit are not meant: they follow
# an @ or / (`hf-hub:ID@REVISION`). headstart's own digests have 32 digits or fewer.
FORM = re.compile(
    r"(?<![A-Za-z0-9@/])[0-9a-f]{40}(?![A-Za-z0-9])"  # W&B
    r"|\bwandb_v\d+_\w{20,}"
    r"|\bhf_(?:[A-Za-z0-9]{20,}|(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,})"  # Hugging Face
    r"|\b(?:gh[pousr]_|github_pat_)\w{20,}|\bsk-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"  # JWT
)
ADVICE = (
    "Leave it out: command lines stand in the shell's history and in the list of processes, configs in run folders. "
    "W&B takes its key from WANDB_API_KEY or `wandb login`, the Hugging Face hub from HF_TOKEN or `hf auth login`"
)
SHORTEST = 8  # characters; shorter secrets of the environment are not searched for by their value


def mask(value: Any, name: str = "", *, environment: bool = True) -> Any:
    """Return `value` with '***' in place of what looks secret, by its name or as `name=value` inside a text.

    A name looks secret if one of its words is key, token, secret, password or a similar word (`hf_token` and `apiKey`,
    but not `tokenizer`). True, False and None are not changed; numbers only if they are passwords.

    Args:
        environment: also put `${NAME}` in place of values that came into the config through `${oc.env:NAME}`.
    """
    if isinstance(value, Mapping):
        return {key: mask(item, str(key), environment=environment) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask(item, name, environment=environment) for item in value]
    words = _split_words(name)
    if value is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    value = hide_in_text(value) if environment and isinstance(value, str) else value
    if words & SECRET_WORDS and (isinstance(value, str) or words & PASSWORDS):
        return "***"
    return mask_by_form(PAIR.sub(_mask_pair, value)) if isinstance(value, str) else value


def mask_by_form(text: str, secrets: Sequence[str] | None = None) -> str:
    """Return `text` with '***' in place of what has the form of a secret, or is one in the environment.

    Args:
        secrets: those of the environment, if they are listed already: for a whole config once.
    """
    text = LOGIN.sub("//***@", FORM.sub("***", text))
    for value in _list_secrets() if secrets is None else secrets:
        text = text.replace(value, "***")
    return text


def _list_secrets() -> list[str]:
    """The values of the environment's variables whose names look secret."""
    return [
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and name.lower().rpartition("_")[2] in SECRET_WORDS
    ]


def refuse_secrets(arguments: Sequence[str]) -> None:
    """Raise UserError, before anything is written, if a command line contains a secret."""
    shown = [mask(argument, environment=False) for argument in arguments]
    bad = [f"  - {new}" for old, new in zip(arguments, shown, strict=True) if old != new]
    if bad:
        raise UserError("\n".join(["a secret on the command line:", *bad, ADVICE]))


def refuse_secrets_in_config(config: Mapping[str, Any]) -> None:
    """Raise UserError if a config contains a secret under a name that does not look secret, which `mask` misses."""
    keys = list(_find_secrets(config, "", _list_secrets()))
    if keys:
        raise UserError("\n".join(["a secret in the config:", *(f"  - {key}=***" for key in keys), ADVICE]))


def _find_secrets(node: Any, path: str, secrets: Sequence[str]) -> Iterator[str]:
    """Yield the dotted keys whose name or value has the form of a secret, except where the name looks secret too."""
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        name = mask_by_form(str(key), secrets)
        if name != str(key):
            yield f"{path}{name}"
        elif isinstance(value, Mapping | list | tuple):
            yield from _find_secrets(value, f"{path}{name}.", secrets)
        elif isinstance(value, str) and mask_by_form(value, secrets) != value and mask("?", str(key)) == "?":
            yield f"{path}{name}"


class Formatter(logging.Formatter):
    """Formats log lines and tracebacks with secrets masked, and without characters that a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(str(mask(super().format(record))))


def _mask_pair(found: re.Match[str]) -> str:
    """Return one `name=value` of a text, masked if the name looks secret; a sentence such as `key: x` stays."""
    name, sign, value = found.groups()
    words = _split_words(name)
    named = any(char in sign for char in "='\"") or (len(words) > 1 and "error" not in words)
    secret = words & (PASSWORDS if not named or NO_SECRET.fullmatch(value) else SECRET_WORDS)
    if not secret or name == "full_key" or value.startswith(("***", "${")):  # OmegaConf's name of a dotted path
        return found[0]
    return f"{name}{sign}***"


@lru_cache(maxsize=4096)
def _split_words(name: str) -> frozenset[str]:
    """Return the lower-case words of a snake_case, kebab-case, dotted or camelCase name."""
    return frozenset(word.lower() for word in re.split(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])", name) if word)
