"""The pretrained weights from which a run started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.errors import UserError
from headstart.models import factory, preprocessing
from headstart.models.head import name_head_tensors
from headstart.predict.run import read_config
from headstart.storage.records import read_result

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.predict.network import Network


def read_start(network: Network) -> dict[str, Tensor]:
    """Read the tensors of the backbone as the run's first phase found them; the head has no pretrained values.

    Raises:
        UserError: no run trained the network, it started from random weights, or the pretrained ones are not there any
            more or have changed.
    """
    folder = network.folder
    if folder is None:
        raise UserError(
            f"{network.name}: is no run, so nothing has changed it; give the folder of a run that fine-tuned a network"
        )
    config = read_config(folder)
    if config.strategy.start != "pretrained":
        raise UserError(
            f"{folder}: strategy={config.strategy.name} starts from random weights, so there are no pretrained ones to "
            "compare with or to go back to; give a run that started from pretrained weights, such as strategy=finetune"
        )
    model = preprocessing.adopt(config.model)
    result = read_result(folder)
    then = None if result is None else (result.get("digests") or {}).get("weights")
    if then is not None and factory.digest_weights(model) != then:
        raise UserError(
            f"{folder}: model.weights={model.weights} have changed since the run started from them, so they do not "
            "show what it changed; bring them back, or run it again: the same command and rerun=true"
        )
    published, _ = factory.load_published(model)
    head = name_head_tensors(published)
    return {name: tensor for name, tensor in published.state_dict().items() if name not in head}
