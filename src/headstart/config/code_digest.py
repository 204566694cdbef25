"""The digest of code of one's own, so that a run with changed code is another run.

It covers the source of each module and of what this imports from its own package, at any depth. Comments and layout
do not count. A module without Python source, such as a compiled one, counts with the bytes of its file.
"""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec, resolve_name
from pathlib import Path

from headstart.config.own_code import top_package


def digest_modules(names: Sequence[str]) -> str | None:
    """The digest of the code of the modules `names`, as 32 hex digits; None if there are none."""
    if not names:
        return None
    found: dict[str, bytes] = {}
    for name in names:
        _read(name, found)
    hasher = hashlib.blake2b(digest_size=16)
    for name, code in sorted(found.items()):
        hasher.update(f"{name}\0{len(code)}\0".encode() + code)
    return hasher.hexdigest()


def _read(name: str, found: dict[str, bytes]) -> None:
    """Add a module, its parent packages and what they import from the same package, as far as these are modules."""
    parent = name.rpartition(".")[0]
    if parent:
        _read(parent, found)
    if name in found:
        return
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a class or function of the module `parent`, which is read
        return
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return
    content = Path(spec.origin).read_bytes()
    if not spec.origin.endswith(".py"):
        found[name] = content
        return
    tree = ast.parse(content)
    found[name] = ast.dump(tree).encode("utf-8", "surrogatepass")
    package = name if spec.submodule_search_locations is not None else parent
    for other in _list_imports(tree, package):
        if top_package(other) == top_package(name):
            _read(other, found)


def _list_imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = resolve_name("." * node.level + base, package)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*"))
