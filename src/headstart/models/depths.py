"""The stages of a network's backbone, from the input on, of which a strategy counts depths.

They are made of the groups of parameters that timm's `group_matcher(coarse=True)` gives. For most networks each of them
is a stage already. For others some are not, so that groups are joined by two rules:

1. A group without any weight matrix, that is a norm alone (the last one of ConvNeXt, ResNetV2, DenseNet, Swin), is
   joined to the group before it.
2. If `coarse=True` is no coarser than `coarse=False`, each group is a single block or layer (VGG, Inception, NASNet,
   Xception). Then groups are joined up to the next layer after which timm's `feature_info` offers features: in these
   networks the last one before the resolution changes. The stem, which is the first group, remains a stage of its
   own, and so does what follows the last of these layers (VGG's hidden linear layers).

A vision transformer offers features after each block: there, a block is a stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def find_stages(model: Any, head: frozenset[str]) -> tuple[dict[str, int], str]:
    """Find the stage of each parameter of the backbone: 0 is the stem, the highest is next to the head.

    The order in which a network's layers are defined need not be the order in which they work, so that stages are not
    guessed: of a network that does not say how its layers follow one another, the backbone is a single stage.

    Args:
        head: the names of the head's parameters, which are left out.

    Returns:
        Stages by the names of parameters, and why there is only one; empty if this is not so.
    """
    names = [name for name, _ in model.named_parameters() if name not in head]
    one = dict.fromkeys(names, 0)
    if not hasattr(model, "group_matcher"):
        return one, "has no group_matcher"
    try:
        groups = _group(model, names, coarse=True)
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        return one, f"has a group_matcher that does not work ({reason})"
    missing = [name for name in names if name not in groups]
    if missing:
        return one, f"has a group_matcher without {missing[0]}"
    stages = _join_norms(model, groups)
    if not _is_coarser(model, names, groups):
        stages = _join_blocks(model, stages)
    return stages, ""


# what timm's grouping raises for a group_matcher that is not meant for the network, or that has no coarse form
_BROKEN = (AssertionError, AttributeError, KeyError, NotImplementedError, TypeError, ValueError)


def _group(model: Any, names: list[str], *, coarse: bool) -> dict[str, int]:
    """Number timm's groups from 0 without gaps, for those of `names` that have one."""
    from timm.models import group_parameters

    found = group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)
    return _renumber({name: found[name] for name in names if name in found})


def _renumber(groups: Mapping[str, int]) -> dict[str, int]:
    """Number groups from 0 without gaps, in the same order."""
    numbers = {group: number for number, group in enumerate(sorted(set(groups.values())))}
    return {name: numbers[group] for name, group in groups.items()}


def _is_coarser(model: Any, names: list[str], coarse: Mapping[str, int]) -> bool:
    """Whether some coarse group contains several fine ones."""
    try:
        fine = _group(model, names, coarse=False)
    except _BROKEN:
        return True
    return len(set(coarse.values())) < len(set(fine.values()))


def _join_norms(model: Any, groups: Mapping[str, int]) -> dict[str, int]:
    """Join each group without a weight matrix to the group before it, or to the one after it if it is the first."""
    matrices = {groups[name] for name, parameter in model.named_parameters() if name in groups and parameter.ndim > 1}
    if not matrices:
        return dict.fromkeys(groups, 0)
    before = {
        group: max((each for each in matrices if each <= group), default=min(matrices)) for group in groups.values()
    }
    return _renumber({name: before[group] for name, group in groups.items()})


def _join_blocks(model: Any, groups: dict[str, int]) -> dict[str, int]:
    """Join the groups up to the next layer after which `feature_info` offers features; group 0, the stem, stays."""
    ends = _find_ends(model, groups)
    if not ends:
        return groups
    return _renumber({name: sum(group > end for end in ends | {0}) for name, group in groups.items()})


def _find_ends(model: Any, groups: Mapping[str, int]) -> set[int]:
    """The groups with which a stage ends by `feature_info`; none for a network without it.

    A layer without weights in the middle of a group, such as the activation with which a block begins that halves the
    resolution, ends the stage before this block.
    """
    group_of = [groups.get(name) for name, _ in model.named_parameters()]  # in the order of definition
    positions = {id(parameter): position for position, parameter in enumerate(model.parameters())}
    layers, before, last = {}, {}, -1  # `before`: the position of the last parameter that is defined before a layer
    for name, layer in model.named_modules():
        layers[name], before[name] = layer, last
        last = max([last, *(positions[id(parameter)] for parameter in layer.parameters(recurse=False))])
    info = getattr(model, "feature_info", None) or []
    names = [each["module"] for each in getattr(info, "info", info)]
    if not all(name in layers for name in names):  # it names outputs of the network, such as HRNet's stages
        return set()
    ends = set()
    for name in names:
        own = [positions[id(parameter)] for parameter in layers[name].parameters()]
        at = max(own, default=before[name])
        group = group_of[at] if at >= 0 else None
        if group is not None:
            ends.add(group if own or group not in group_of[at + 1 :] else group - 1)
    return ends
