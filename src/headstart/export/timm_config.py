"""`config.json` in timm's format: it rebuilds the network, and says how the run prepared its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.models.input import CROP_MODES
from headstart.models.preprocessing import OVERLAY
from headstart.predict.exported import MARK
from headstart.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headstart.predict.network import Network

KEPT = ("first_conv", "classifier", "pool_size", "fixed_input_size")  # what timm needs to give the network a new head


def make_config(network: Network, args: Mapping[str, Any], *, licence: str | None, run: str) -> dict[str, Any]:
    """The content of `config.json` for a run's network.

    timm takes the network from `architecture` and `model_args`; transformers the names of the classes from
    `label_names` at the root. `temperature`, if the run has one, divides the logits: no library does it by itself.

    Args:
        args: `model.args` of the run.
        licence: of the weights; None: not known, and not stated.
        run: the run's name.
    """
    given, expected = network.network.pretrained_cfg, network.transform.input
    side = network.image_size
    described = {key: given.get(key) for key in KEPT if given.get(key) is not None}
    if tuple(given.get("input_size") or ()) != (3, side, side):
        described.pop("pool_size", None)
    described |= {
        "num_classes": len(network.classes),
        "input_size": [3, side, side],
        "interpolation": expected.interpolation,
        "crop_pct": expected.crop_pct,
        "crop_mode": next(name for name, resize in CROP_MODES.items() if resize == expected.resize),
        "mean": list(expected.mean),
        "std": list(expected.std),
        "custom_load": False,
    }
    if licence is not None:
        described["license"] = licence
    config: dict[str, Any] = {
        "architecture": network.name.partition(".")[0],
        "num_classes": len(network.classes),
        "num_features": int(network.network.num_features),
        "label_names": list(network.classes),
    }
    if args := {key: value for key, value in args.items() if key != OVERLAY}:
        config["model_args"] = args
    if network.temperature is not None:
        config["temperature"] = network.temperature
    own: dict[str, Any] = {"version": __version__, "run": run}
    if network.transform.pixel_range is not None:
        own["pixel_range"] = list(network.transform.pixel_range)
    if not network.gives_probabilities:
        own["probabilities"] = False
    return config | {"pretrained_cfg": described, MARK: own}
