"""The sheets of `why`, and what is printed beside them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headstart.data.filenames import escape_name
from headstart.errors import UserError
from headstart.predict.load import load
from headstart.predict.network import Network
from headstart.storage.files import write_whole
from headstart.visualize.layers import choose_layers, find_layers
from headstart.visualize.naming import find_class, name_picture
from headstart.visualize.why import captum_maps, cases, hirescam, shortcut_words
from headstart.visualize.why.cases import Cases
from headstart.visualize.why.layers import choose_layer
from headstart.visualize.why.maps import Maps
from headstart.visualize.why.sheet import INK, RIGHT, WRONG, Panel, Sheet

BATCH = 16
BY_CAPTUM: Mapping[str, tuple[str, Callable[[Network, Tensor, Tensor], Maps]]] = {
    "gradients": ("integrated gradients", captum_maps.integrate_gradients),
    "occlusion": ("occlusion", captum_maps.occlude),
}


@dataclass(frozen=True)
class Answer:
    """What a network says of some images: them as uint8 [n, 3, s, s], and its logits [n, classes]."""

    network: Network
    pixels: Tensor
    logits: Tensor

    @classmethod
    def make(cls, network: Network, chosen: Cases) -> Answer:
        """Read the images, and let the network see them."""
        if not network.classes:
            raise UserError(f"{network.name} has no classes: its weights come without a head, so there is no why")
        pixels = network.decode([case.image for case in chosen.cases])
        with torch.no_grad():
            parts = [
                network.module(network.normalize(some.to(network.device))).float().cpu() for some in pixels.split(BATCH)
            ]
        return cls(network, pixels, torch.cat(parts))

    def explain(self, options: argparse.Namespace, targets: Tensor) -> Maps:
        """The maps of these classes, [n]."""
        images, targets = self.network.normalize(self.pixels.to(self.network.device)), targets.to(self.network.device)
        if options.method != "hirescam":
            return BY_CAPTUM[options.method][1](self.network, images, targets)
        layer = choose_layer(self.network)
        if options.layer is not None:
            found = find_layers(self.network, self.network.image_size)
            layer = choose_layers(found, [options.layer], "--layer")[0].name
        return hirescam.compute_hirescam(self.network, images, targets, layer)

    def rank(self, place: int) -> Tensor:
        """The class at this place of each image's ranking, from 0: [n]."""
        order = self.logits.sort(dim=1, descending=True, stable=True).indices
        return order[:, min(place, order.shape[1] - 1)]

    def draw(self, at: int, text: str) -> Panel:
        """An image without a map."""
        return Panel(to_array(self.pixels[at]), text)

    def draw_map(self, at: int, density: Tensor, target: int, truth: str | None, before: str) -> Panel:
        """An image with its map; the text is the class with its probability, in another colour where it is wrong.

        Args:
            density: see `Maps.density`, [s, s].
            truth: the name of the image's class, if it is known.
            before: what the text begins with.
        """
        name = self.network.classes[target]
        share = f": {100 * float(self.logits[at].softmax(0)[target]):.0f} %" if self.network.gives_probabilities else ""
        ink = INK if truth is None else RIGHT if name == truth else WRONG
        return Panel(to_array(self.pixels[at]), f"{before}{escape_name(name)}{share}", density.numpy(), ink)


def write(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Draw the sheets of a command, and print what they show; returns the files."""
    if options.most < 1:
        raise UserError(f"--most {options.most}: must be 1 or more")
    if options.layer is not None and options.method != "hirescam":
        raise UserError(f"--layer {options.layer}: is of --method hirescam; {options.method} maps the image itself")
    networks = [network, *([load(options.against, str(network.device))] if options.against else [])]
    if options.images:
        return _draw_all(networks, [cases.choose_files(options.images, options.most)], options, folder)
    runs = _list_folders(networks)
    test = cases.TestImages.read(runs[0])
    if len(runs) > 1:
        return _draw_all(networks, [cases.choose_changed(runs[0], runs[1], test, options.most)], options, folder)
    written = _draw_all(networks, cases.choose_answers(test, options.most), options, folder)
    sheet = None if options.no_shortcuts else shortcut_words.report(network, test.data)
    return written if sheet is None else [*written, _write_sheet(sheet, folder / "why-shortcuts.png")]


def _draw_all(
    networks: Sequence[Network], chosen: Sequence[Cases], options: argparse.Namespace, folder: Path
) -> list[Path]:
    """Draw a sheet of each choice of images; the options that change its maps are in its name."""
    method = None if options.method == "hirescam" else options.method
    against = "against" if options.images and options.against else None
    apart = [word for word in (against, method, options.layer, options.target) if word is not None]
    return [
        _write_sheet(draw_cases(networks, each, options), name_picture(folder, each.file, *apart)) for each in chosen
    ]


def _list_folders(networks: Sequence[Network]) -> list[Path]:
    """The folders of the runs that the networks are from."""
    folders = []
    for network in networks:
        if network.folder is None:
            raise UserError(f"{network.name}: is no run, so it has no images of its own; name image files")
        folders.append(network.folder)
    return folders


def draw_cases(networks: Sequence[Network], chosen: Cases, options: argparse.Namespace) -> Sheet:
    """Make the sheet of some images, for one network or for two side by side, and print what it shows."""
    answers = [Answer.make(each, chosen) for each in networks]
    columns = [column for answer in answers for column in _choose_targets(answer, chosen, options, len(answers))]
    found = [answer.explain(options, targets) for answer, targets in columns]
    densities = [maps.resize(answer.network.image_size) for (answer, _), maps in zip(columns, found, strict=True)]
    marks = ["A: ", "B: "] if len(networks) > 1 else [""] * len(columns)
    groups = []
    for at, case in enumerate(chosen.cases):
        maps = [
            answer.draw_map(at, density[at], int(targets[at]), case.label, mark)
            for (answer, targets), density, mark in zip(columns, densities, marks, strict=True)
        ]
        words = case.name if case.label is None else f"is {escape_name(case.label)}"
        groups.append([answers[0].draw(at, words), *maps])
    names = [each.folder.name if each.folder else each.name for each in networks]
    notes = [f"{mark}{name}" for mark, name in zip(marks, names, strict=False)]
    notes.append(_describe(options.method, found))
    if chosen.file == cases.MISTAKES and len(columns) > 1:
        notes.append("beside each image: what speaks for the class that was predicted, then for the true one")
    print("\n".join([chosen.title, *(f"  {note}" for note in notes)]))
    alike = len(answers) == 1 or all(answer.network.gives_probabilities for answer in answers)
    return Sheet(chosen.title, groups, notes, scaled_alike=alike)


def _choose_targets(
    answer: Answer, chosen: Cases, options: argparse.Namespace, networks: int
) -> list[tuple[Answer, Tensor]]:
    """The classes that are explained, [n] for each column of maps."""
    classes, n = answer.network.classes, len(chosen.cases)
    if options.target is not None:
        return [(answer, torch.full((n,), find_class(classes, options.target, "--target")))]
    first = answer.rank(0)
    if networks > 1 or chosen.file == cases.RIGHT:
        return [(answer, first)]
    if chosen.file == cases.MISTAKES:
        return [(answer, first), (answer, torch.tensor([classes.index(str(case.label)) for case in chosen.cases]))]
    return [(answer, answer.rank(place)) for place in range(min(2, len(classes)))]


def _describe(method: str, found: list[Maps]) -> str:
    """What the maps are, how fine, and how much of the logits they explain."""
    h, w = found[0].values.shape[1:]
    gap = max(float(maps.gaps.abs().max()) for maps in found)
    words = f"{'HiResCAM' if method == 'hirescam' else BY_CAPTUM[method][0]}, maps of {h} × {w} places: "
    if method == "occlusion":
        return f"{words}what the logit loses when a window around a place is covered"
    if method == "gradients":
        return f"{words}each adds up to the logit's distance from that of an empty image, within {gap:.2g}"
    if all(maps.is_exact for maps in found):
        return f"{words}each map and the bias add up to the logit (within {gap:.0e})"
    return f"{words}to first order: map and base miss the logit by up to {gap:.2g}"


def _write_sheet(sheet: Sheet, path: Path) -> Path:
    with write_whole(path) as part:
        sheet.draw().save(part, format="PNG")
    return path


def to_array(pixels: Tensor) -> np.ndarray:
    """Turn uint8 [3, s, s] into [s, s, 3]."""
    return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())
