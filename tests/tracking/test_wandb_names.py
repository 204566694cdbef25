"""Names of any length and with any character become names that W&B itself accepts."""

from __future__ import annotations

import pytest

from headstart.tracking.wandb_names import fit_names


def test_what_fits_stays() -> None:
    assert fit_names("demo-1a2b3c4d", "a-b", "demo") == {"id": "demo-1a2b3c4d", "name": "a-b", "group": "demo"}


@pytest.mark.parametrize("text", ["x" * 300, "été", "a:b/c#d?e'f,g;h", "-x", "寿司" * 100])
def test_wandb_takes_the_names(text: str) -> None:
    import wandb
    from wandb.sdk.artifacts._validators import validate_artifact_name

    made = fit_names(f"{text}-1a2b3c4d", text, text)
    wandb.Settings(run_id=made["id"], run_name=made["name"], run_group=made["group"])
    validate_artifact_name(f"run-{made['id']}-testmistakes")
    assert max(len(made["name"]), len(made["group"])) <= 128
    assert fit_names(f"{text}2-1a2b3c4d", f"{text}2", f"{text}2") != made, "other names stay other names"
