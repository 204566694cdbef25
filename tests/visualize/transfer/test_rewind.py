"""Rewinding on real weights: a run whose last depth and head were trained, and nothing else."""

from pathlib import Path

import pytest
import torch

from headstart.models import factory
from headstart.models.weights import digest_tensors
from headstart.predict.load import load
from headstart.predict.network import Network
from headstart.predict.run import read_config
from headstart.visualize.run_data import read_run_data
from headstart.visualize.transfer.depths import list_depths
from headstart.visualize.transfer.measure import measure_transfer
from headstart.visualize.transfer.rewind import Images, Rewinding, copy_into, restore
from headstart.visualize.transfer.start import read_start
from headstart.visualize.transfer.statistics import renew_statistics
from visualize.runs import train_small


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load(train_small(tmp_path_factory.mktemp("partial"), "strategy=partial"), "cpu")


def make_rewinding(network: Network) -> Rewinding:
    data = read_run_data(network)
    images = {}
    for name in ("train", "val", "test"):
        pixels = getattr(data, name)
        images[name] = Images(pixels.images, pixels.labels)
    return Rewinding(network, read_start(network), list_depths(network.network), images, "test")


def test_a_frozen_depth_changes_exactly_nothing(partial: Network) -> None:
    start, images = read_start(partial), torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        trained = partial.module(images)
        for depth in list_depths(partial.network):
            with restore(partial.network) as state:
                copy_into(state, {name: start[name] for name in depth.tensors})
                logits = partial.module(images)
            assert torch.equal(logits, trained) == (depth.number > 1)
        assert torch.equal(partial.module(images), trained)


def test_the_start_is_the_published_network(partial: Network) -> None:
    assert partial.folder is not None
    published, _ = factory.load_published(read_config(partial.folder).model)
    start = read_start(partial)
    assert len(start) == len(published.state_dict()) - 2  # the head's weight and bias
    assert all(torch.equal(published.state_dict()[name], tensor) for name, tensor in start.items())


def test_measured_on_a_run_it_is_left_as_it_was(partial: Network) -> None:
    before = digest_tensors(partial.network.state_dict())
    modes = [layer.training for layer in partial.network.modules()]
    found = measure_transfer(partial, read_start(partial), read_run_data(partial), "test", 40, 0)
    assert digest_tensors(partial.network.state_dict()) == before
    assert [layer.training for layer in partial.network.modules()] == modes
    assert found.reach == 1
    for change in found.changes[:-1]:
        assert (change.weights, change.statistics, change.is_changed) == (0, 0, False)
        assert change.cka == pytest.approx(1, abs=1e-6)
        assert change.alone.accuracy == change.onward.accuracy == found.accuracy
    last = found.changes[-1]
    assert last.weights
    assert last.statistics
    assert last.cka is not None
    assert last.cka < 0.999
    assert found.images == 40


def test_accuracy_as_trained_is_that_of_the_run(partial: Network) -> None:
    from headstart.storage.records import read_result

    assert partial.folder is not None
    result = read_result(partial.folder)
    assert result is not None
    assert make_rewinding(partial).find_right().mean() == pytest.approx(result["test"]["accuracy"])


def test_all_rewound_is_the_pretrained_backbone_with_the_trained_head(partial: Network) -> None:
    rewinding = make_rewinding(partial)
    published, _ = factory.load_published(read_config(partial.folder).model)  # type: ignore[arg-type]
    published.classifier = partial.network.classifier
    pixels, labels = rewinding.images["test"].pixels, rewinding.images["test"].labels
    with torch.no_grad():
        expected = published.eval()(partial.normalize(pixels)).argmax(1) == labels
    assert (rewinding.find_right(rewinding.depths) == expected.numpy()).mean() >= 0.97  # batch norms are folded here


def test_statistics_are_those_of_the_images(partial: Network) -> None:
    model = partial.network
    pixels = torch.randint(0, 256, (40, 3, 37, 37), dtype=torch.uint8)
    with restore(model), torch.no_grad():
        model.bn1.num_batches_tracked.fill_(9)  # as after training: what was measured before must not count
        renew_statistics(partial, ["bn1.running_mean", "bn1.running_var"], pixels)
        maps = model.conv_stem(partial.normalize(pixels))
        torch.testing.assert_close(model.bn1.running_mean, maps.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(model.bn1.running_var, maps.var((0, 2, 3)), rtol=1e-3, atol=1e-4)
        assert model.bn1.momentum is not None
        assert not any(layer.training for layer in model.modules())


def test_a_head_that_is_fitted_anew_reaches_what_feature_extraction_does(partial: Network, tmp_path: Path) -> None:
    from headstart.storage.records import read_result

    rewinding = make_rewinding(partial)
    result = read_result(train_small(tmp_path, "strategy=feature_extraction"))
    assert result is not None
    own = rewinding.find_kept(rewinding.depths).mean()
    assert own == pytest.approx(result["test"]["accuracy"], abs=0.026)  # one image of 40
