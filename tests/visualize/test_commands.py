"""The help of a subject stands at once: it imports no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("subject", ["features", "filters", "activations", "dream"])
def test_the_help_imports_no_torch(subject: str) -> None:
    code = (
        "import sys; from headstart.cli import visualize\n"
        f"try: visualize.main(['resnet18', '{subject}', '--help'])\n"
        "except SystemExit: print({'torch', 'timm', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert f"headstart visualize MODEL_OR_RUN {subject}" in done.stdout
