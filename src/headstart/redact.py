"""Keys, tokens and passwords never reach a log, a config file or W&B."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PASSWORDS = frozenset({"password", "passwd", "passphrase", "secret", "secrets"})
SECRET_WORDS = PASSWORDS | {"key", "keys", "apikey", "token", "credential", "credentials"}
LOGIN = re.compile(r"//[^/\s@]+:[^/\s@]+@")  # the user and password of an address
PAIR = re.compile(r"([\w.\-]+)(\s*=\s*|\s*:\s+)([^\s,;&]+)")


def masked(value: Any, name: str = "") -> Any:
    """Return `value` with '***' for what looks secret: by its name, or as `name=value` within a text.

    A name looks secret when one of its words is key, token, secret, password or the like (`hf_token`,
    `apiKey`, not `tokenizer`). True, False and None stay; numbers stay unless they are passwords.
    """
    if isinstance(value, Mapping):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, name) for item in value]
    words = _words(name)
    if value is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    if words & SECRET_WORDS and (isinstance(value, str) or words & PASSWORDS):
        return "***"
    return LOGIN.sub("//***@", PAIR.sub(_masked_pair, value)) if isinstance(value, str) else value


def _masked_pair(found: re.Match[str]) -> str:
    """Return one `name=value` of a text, masked if the name looks secret; prose like `key: x` stays."""
    name, sign, value = found.groups()
    words = _words(name)
    named = "=" in sign or (len(words) > 1 and "error" not in words)
    secret = words & (SECRET_WORDS if named else PASSWORDS)
    return f"{name}{sign}{'***' if secret else value}"


def _words(name: str) -> set[str]:
    """Return the lower-case words of a snake_case, kebab-case, dotted or camelCase name."""
    return {word.lower() for word in re.split(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])", name) if word}
