"""Values that came into the config through `${oc.env:NAME}`: they are used, but never written.

A config that is written to a file has `${headstart_env:NAME,DIGEST}` in their place. This gives the value again where
the environment has it, and tells two runs with different values apart. Lines of a log have `${NAME}`.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from headstart.config.paths import expand_home

SHORTEST = 4  # characters; a shorter value cannot be told from other text, and is no secret
UNMISTAKABLE = 8  # characters; a shorter value is replaced only where it is not a part of a longer word
REFERENCE = re.compile(r"\$\{headstart_env:([^,}]+),([^}]+)\}")
_names: dict[str, str] = {}  # value or a line of it: the variable


def register() -> None:
    """Register the resolvers: `oc.env` remembers what it returns."""
    OmegaConf.register_resolver("oc.env", _read, replace=True)
    OmegaConf.register_resolver("headstart_env", _read_again, replace=True)


def _read(name: str, *default: Any) -> Any:
    if name in os.environ:
        remember(name, os.environ[name])
    return oc.env(name, *default)


def _read_again(name: str, digest: str) -> str:
    value = os.environ.get(name)
    if value is None or _digest(value) != str(digest):
        state = "is not set" if value is None else "has another value now"
        raise ValueError(f"the environment variable {name} {state}; set it to what it was when this config was written")
    remember(name, value)
    return value


def remember(name: str, value: str) -> None:
    """Keep the value of an environment variable out of everything that is written from now on."""
    forms = [value, *value.splitlines()]
    if "/" in value:  # a path, as messages show it
        forms += [os.path.normpath(value), os.path.normpath(expand_home(value))]
    for text in forms:
        if len(text.strip()) >= SHORTEST:
            _names.setdefault(text, name)
    if len(value.strip()) >= SHORTEST:
        _names[value] = name


def forget() -> None:
    """Forget the values that earlier commands in this process took from the environment."""
    _names.clear()


def reveal(value: Any) -> Any:
    """Return nested containers with what `hide` put in place of values read again from the environment.

    Raises:
        ValueError: a variable is not set, or has another value now.
    """
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [reveal(item) for item in value]
    return REFERENCE.sub(lambda found: _read_again(*found.groups()), value) if isinstance(value, str) else value


def hide(value: Any) -> Any:
    """Return nested containers with `${headstart_env:NAME,DIGEST}` in place of remembered values in texts."""
    if isinstance(value, Mapping):
        return {key: hide(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide(item) for item in value]
    return _replace(value, _refer) if isinstance(value, str) else value


def _refer(name: str, value: str) -> str:
    # another form of the value, such as one line of it, cannot be read again from the environment
    return f"${{headstart_env:{name},{_digest(value)}}}" if os.environ.get(name) == value else value


def hide_in_text(text: str) -> str:
    """Return a text with `${NAME}` in place of remembered values, also of those with escaped characters."""
    return _replace(text, lambda name, _: f"${{{name}}}", escaped=True)


def _replace(text: str, make: Callable[[str, str], str], escaped: bool = False) -> str:
    for value, name in sorted(_names.items(), key=lambda item: -len(item[0])):
        forms = {value, json.dumps(value)[1:-1], repr(value)[1:-1]} if escaped else {value}
        for form in forms:
            if form in text:
                text = _replace_form(text, form, make(name, value))
    return text


def _replace_form(text: str, form: str, new: str) -> str:
    if len(form) >= UNMISTAKABLE:
        return text.replace(form, new)
    *parts, last = text.split(form)
    found = ""
    for before, after in zip(parts, [*parts[1:], last], strict=True):
        found += before
        inside = (found[-1:].isalnum() and form[0].isalnum()) or (after[:1].isalnum() and form[-1].isalnum())
        found += form if inside else new
    return found + last


def _digest(value: str) -> str:
    """16 bits: enough to tell the values of a study apart, too few to find a value by trying."""
    return "x" + hashlib.blake2b(value.encode("utf-8", "surrogateescape"), digest_size=2).hexdigest()
