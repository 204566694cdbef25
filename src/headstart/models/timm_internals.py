"""The private parts of timm that headstart uses, each with the reason why no public part will do.

===============================  ==================================================================================
`load_model_config_from_path`  what a folder's `config.json` says of its network, the old form of that file too.
                                 timm offers it for a hub's page only (`timm.models.load_model_config_from_hf`); in
                                 public, a folder is read by building its network.
`_deprecated_models`           the new names of networks that timm renamed. In public, building one warns of it.
`_gen_efficientnet`            EfficientNet at any depth and width. Those that are registered have theirs fixed.
===============================  ==================================================================================

`tests/models/test_timm_internals.py` compares them with what timm does in public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timm.models.efficientnet import EfficientNet


def read_folder_config(folder: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The `pretrained_cfg`, name and arguments of the network whose weights lie in a folder; its errors are timm's."""
    from timm.models._hub import load_model_config_from_path

    return load_model_config_from_path(folder)


def find_new_name(name: str) -> str | None:
    """The name that timm gave a network instead of `name`, tag included; None if `name` is no old one."""
    from timm.models._registry import _deprecated_models

    return _deprecated_models.get(name) or None


def build_efficientnet(variant: str, *, depth: float, width: float, pretrained: bool, **options: Any) -> EfficientNet:
    """EfficientNet-B0, its repeats times `depth` and channels times `width`; `variant` is a registered name."""
    from timm.models.efficientnet import _gen_efficientnet

    return _gen_efficientnet(
        variant, channel_multiplier=width, depth_multiplier=depth, pretrained=pretrained, **options
    )
