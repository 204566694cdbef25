"""Helpers of the zoo's tests."""

from __future__ import annotations

import csv
import io

import timm
import torch

from headstart.models.outline import without_values
from headstart.zoo import rows
from headstart.zoo.plan import Machine

SMALL = ["resnet18", "resnet34", "mobilenetv3_small_050"]
MACHINE = Machine("a processor", 2, "", "torch 2")


def outline(name: str) -> torch.nn.Module:
    with without_values():
        return timm.create_model(name)


def read(text: str) -> dict[str, dict[str, str]]:
    return {row["model"]: row for row in csv.DictReader(io.StringIO(text))}


def made(model: str, top1: float | None, ms: float | None) -> rows.Row:
    return rows.make_row(model, {"top1": top1, "ms_cpu": ms})
