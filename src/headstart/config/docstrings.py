"""What a `_target_` of this package is, and what its arguments mean, read from its source without importing it."""

import ast
import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
ARGUMENT = re.compile(r"^ {4}(\w[\w, ]*): (.*)$")
ELSEWHERE = re.compile(r"as in `headstart\.([\w.]+)`\.?$")


@cache
def describe_target(target: str) -> tuple[str, dict[str, str]]:
    """The first sentence of a docstring, and the meanings of the arguments that it describes; empty if not known."""
    names = target.split(".")
    text = _find_docstring(names[1:-1], names[-1]) if names[0] == "headstart" and len(names) > 2 else ""
    summary = " ".join(text.partition("\n\n")[0].split())
    found: dict[str, str] = {}
    current: list[str] = []
    for line in text.partition("Args:\n")[2].splitlines():
        start = ARGUMENT.match(line)
        if start:
            current = [name.strip() for name in start[1].split(",")]
            found |= dict.fromkeys(current, start[2])
        elif line.startswith("        ") and current:
            found |= {name: f"{found[name]} {line.strip()}" for name in current}
        elif line.strip():
            break
    for name, meaning in found.items():
        elsewhere = ELSEWHERE.fullmatch(meaning)
        if elsewhere:
            found[name] = describe_target(f"headstart.{elsewhere[1]}")[1].get(name, meaning)
    return summary, found


def _find_docstring(modules: list[str], name: str) -> str:
    """The docstring of a class or function that a module defines, or any module of a package, which may export it."""
    place = PACKAGE.joinpath(*modules)
    files = [place.with_suffix(".py")] if not place.is_dir() else sorted(place.glob("*.py"))
    for path in files:
        if path.is_file():
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                    return ast.get_docstring(node) or ""
    return ""
