"""Parse the overrides of a command line one by one, and explain what is wrong with those that cannot be parsed."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString

from headstart.config import keys
from headstart.preflight.reasons import first_line, show_line


def parse_overrides(
    parser: OverridesParser, lines: Sequence[str], quoted: Sequence[str], multirun: bool
) -> tuple[list[str], list[Override]]:
    """Parse overrides; returns the problems of the wrong ones, and the others parsed.

    Args:
        lines: as they were typed; messages and files show these.
        quoted: the same lines, with text in quotes (`headstart.preflight.quoting`).
    """
    found, good = [], []
    for line, readable in zip(lines, quoted, strict=True):
        try:
            override = parser.parse_overrides([readable])[0]
        except Exception as error:
            found.append(f"{show_line(line)}: {_describe_syntax_error(line, error)}")
            continue
        key, shown = override.get_key_element(), show_line(line)
        override.original_input_line = line
        if not override.key_or_group:
            found.append(f"{show_line(line)}: the key is missing; write name=value, e.g. seed=1")
        elif override.is_sweep_override() and not multirun:
            found.append(
                f"{shown}: several values are a sweep: add -m; a list is written {key}=[a,b], a text {key}='\"a,b\"'"
            )
        elif override.is_sweep_override() and override.is_hydra_override():
            found.append(f"{shown}: Hydra's own keys cannot be swept; give it one value")
        elif override.is_discrete_sweep() and not list(override.sweep_string_iterator()):
            found.append(f"{shown}: names no value; give one or more, e.g. {key}=a,b")
        else:
            good.append(override)
    return found, good


def _describe_syntax_error(line: str, error: Exception) -> str:
    name = line.lstrip("+~")
    if not re.match(r"[\w.@/]", name):
        return "is no override; write name=value, e.g. seed=1"
    if "=" not in line:
        near = [] if keys.kind_of(name) else keys.nearest_keys(name, keys.schema_keys())
        return f"the value is missing; write {near[0] if near else name}=value"
    reason = [text.strip() for text in str(error).splitlines() if text.strip() and "Error" not in text]
    key, _, value = line.partition("=")
    quoted = QuotedString(value, Quote.double).with_quotes()
    why, shown = reason[0] if reason else first_line(error), show_line(f"{key}='{quoted}'")
    return f"cannot be read ({why}); quote what is not plain: {shown}"
