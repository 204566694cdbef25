"""Crops, augments and normalises batches of stored uint8 images, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from headstart.config import is_random

if TYPE_CHECKING:
    from headstart.config import AugmentConfig


class Preprocess(nn.Module):
    """Maps uint8 [b, 3, S, S] to normalised float32 [b, 3, image_size, image_size].

    For evaluation: torchvision's centre crop. For training: each image gets its own rotation, crop (drawn
    from the whole stored image), flip and colours, by kornia; erasing comes after normalisation, so that it
    fills with the mean. Random numbers come from torch's global generator. `mean` and `std` are those of
    pixels in 0 … 1.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, image_size: int, mean: Sequence[float], std: Sequence[float], augment: AugmentConfig | None = None
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.random = is_random(augment)
        self.before, self.after, self.erase = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.crop: nn.Module | None = None
        if augment is not None and self.random:
            self._build(augment)

    def _build(self, augment: AugmentConfig) -> None:
        import kornia.augmentation as K

        if augment.rotation:
            self.before.append(K.RandomAffine(augment.rotation, padding_mode="reflection", p=1.0))
        (small, large), (tall, wide) = augment.crop_scale, augment.crop_ratio
        if (small, large, tall, wide) != (1.0, 1.0, 1.0, 1.0):
            side = (self.image_size, self.image_size)
            # "resample" crops the batch in one operation; "slice" is a loop over its images.
            self.crop = K.RandomResizedCrop(
                side, scale=(small, large), ratio=(tall, wide), cropping_mode="resample", p=1.0
            )
        if augment.flip:
            self.after.append(K.RandomHorizontalFlip(p=0.5))
        if jitter := augment.color_jitter:
            self.after.append(K.ColorJitter(jitter, jitter, jitter, 0.0, p=1.0))
        if augment.erasing:
            self.erase.append(K.RandomErasing(p=augment.erasing))

    def forward(self, images: torch.Tensor, train: bool = False) -> torch.Tensor:
        if min(images.shape[-2:]) < self.image_size:
            raise ValueError(f"stored images of {tuple(images.shape[-2:])} px are smaller than {self.image_size} px")
        if not (train and self.random):
            return self._normalise(self._centre(images).float().div_(255))
        pixels = images.float().div_(255)
        for step in self.before:
            pixels = step(pixels)
        pixels = self.crop(pixels) if self.crop is not None else self._centre(pixels)
        for step in self.after:
            pixels = step(pixels)
        pixels = self._normalise(pixels)
        for step in self.erase:
            pixels = step(pixels)
        return pixels

    def _centre(self, images: torch.Tensor) -> torch.Tensor:
        """The offsets of torchvision's CenterCrop, which rounds halves to even."""
        top, left = (round((side - self.image_size) / 2) for side in images.shape[-2:])
        return images[..., top : top + self.image_size, left : left + self.image_size]

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.sub_(self.mean).div_(self.std)  # in place: always on a copy of the stored images
