"""How many times the images/s of full fine-tuning does fine-tuning the last group reach, its frozen prefix cached?

Command:   python -m benchmarks partial
Expected:  about 2 minutes on 2 cores; at least 3 times, and over 10 epochs with the extraction paid as well.

The head and depth 1 learn, everything before runs once per image; both sides are whole runs of headstart on the same
images at 96 px in float32, batches of 50, without augmentation, which caching needs (`benchmarks/steps.py`). A test
checks that both ways end in the same weights (tests/strategy/test_route.py).
"""

from benchmarks.measure import Figure, say
from benchmarks.training import speed

NETWORKS = ("tf_efficientnet_lite0", "resnet18")
EPOCHS = 10  # over which the extraction is spread
RUN = (
    "data=digits", "data.image_size=96", "data.batch_size=50", "data.train_per_class=60", "data.val_fraction=0.1",
    "data.n_test=50", "augment=none", "epochs=2", "hardware=cpu", "model=timm", "model.weights=none",
    "strategy=scratch",
)  # fmt: skip
PARTIAL = ("~strategy.phases.all.rates.all", "+strategy.phases.all.rates={depth0-1:1,all:null}")


def measure(repeats: int) -> list[Figure]:
    """Ratios of images per second, once per network whatever `repeats`: each is a median over an epoch's steps."""
    figures = []
    for name in NETWORKS:
        full = speed("ours", f"model.name={name}", *RUN)["images_per_second"]
        part = speed("ours", f"model.name={name}", *RUN, *PARTIAL)
        quick, images = part["images_per_second"], EPOCHS * part["images"]
        spread = images / (images / quick + part["extraction"])
        say(f"  {name}: {full:.0f} images/s in full, {quick:.0f} of the last group, {spread:.0f} with its extraction")
        figures += [
            Figure(f"{name}: last group alone / all, images/s", quick / full, "x", at_least=3.0),
            Figure(f"{name}: the same, extraction over {EPOCHS} epochs", spread / full, "x", at_least=3.0),
        ]
    return figures
