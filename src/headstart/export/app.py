"""A page for an export: app.py, which gradio shows on a machine or as a Space of Hugging Face's, and what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.export.card import find_module
from headstart.export.templates import load_template
from headstart.storage.files import write_text

if TYPE_CHECKING:
    from headstart.predict.network import Network

FILES = ("app.py", "requirements.txt")
# what a Space reads in the front matter of README.md
FRONT_MATTER = {"sdk": "gradio", "app_file": FILES[0]}


def write_app(network: Network, folder: Path, *, title: str) -> None:
    """Write app.py and requirements.txt; it needs timm, torch and gradio, and headstart only for headstart's networks.

    Args:
        network: its temperature is written into the page, so that its probabilities are calibrated.
    """
    import timm

    module = find_module(network.name)
    known: dict[str, Any] = {"module": module, "title": title, "count": len(network.classes)}
    known |= {"temperature": network.temperature, "enough": network.transform.enough}
    write_text(folder / FILES[0], load_template("app.py.txt").render(known) + "\n")
    needed = ["gradio", f"timm>={timm.__version__}", "torch", *([module] if module == "headstart" else [])]
    write_text(folder / FILES[1], "\n".join(needed) + "\n")
