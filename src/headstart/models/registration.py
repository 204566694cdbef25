"""Register headstart's own networks with timm when timm is imported.

So `import headstart, timm; timm.create_model("googlenet")` works with the imports in any order, and `import headstart`
alone imports neither timm nor torch.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ARCHITECTURES = "headstart.models.architectures"  # importing it registers them


def register_with_timm() -> None:
    """Register the networks now if timm is imported, else as soon as it is."""
    if "timm" in sys.modules:
        importlib.import_module(ARCHITECTURES)
    elif not any(isinstance(finder, _TimmFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TimmFinder())


class _TimmFinder:  # without the base class, whose module takes a quarter of the time of `import headstart`
    """Finds timm as the other finders do, and makes its loader register our networks after the import.

    It stays until timm is imported: some libraries only ask whether there is a timm.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _RegisteringLoader(spec.loader))
        return spec


class _RegisteringLoader:
    """Runs timm's own loader, then registers our networks."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _TimmFinder)]
        self._loader.exec_module(module)
        importlib.import_module(ARCHITECTURES)
