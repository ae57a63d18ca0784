from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from alambique.config.params import Training
from alambique.errors import ConfigurationError
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.tasks import curves, training_loop
from alambique.tasks.training_loop import Batch, TrainingObjective

TRAINING = Training(batch=8, learning_rate=0.05, val_interval=5, patience=None)
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(40, 3, generator=GENERATOR)
Y = (X[:, 0] > 0).long()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))


def collate(rows: list[tuple[Tensor, Tensor]]) -> Batch:
    return {"x": torch.stack([x for x, _ in rows]), "y": torch.stack([y for _, y in rows])}


def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    assert model.training
    return {"ce_loss": nn.functional.cross_entropy(model(batch["x"]), batch["y"])}


def epoch_dataset(epoch: int) -> Dataset[Any]:
    return TensorDataset(X, Y)


def accuracy(model: nn.Module) -> dict[str, float]:
    assert not model.training
    return {"accuracy": float((model(X).argmax(1) == Y).float().mean())}


def objective(**changes: Any) -> TrainingObjective:
    return TrainingObjective(epoch_dataset, collate, loss, "signs")._replace(**changes)


def train(
    target: Path, what: TrainingObjective, model: nn.Module | None = None, **changes: Any
) -> tuple[nn.Module, dict[str, Any]]:
    target.mkdir()
    model = model or network()
    given: dict[str, Any] = {"steps": 30, "training": TRAINING, "seed": 3, "measure": accuracy, **changes}
    return model, training_loop.train(model, what, target, **given)


def test_it_learns_and_writes_its_curves(tmp_path: Path) -> None:
    model, metrics = train(tmp_path / "a", objective())
    rows = curves.read(tmp_path / "a/curves.csv")
    assert metrics["val_accuracy"] > 0.9
    assert metrics["val_accuracy"] == accuracy(model)["accuracy"]
    assert (metrics["images"], metrics["steps"]) == (40, 30)
    assert "best_step" not in metrics
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    assert rows[-1]["ce_loss"] == metrics["train_ce_loss"] < rows[0]["ce_loss"]
    assert rows[-1]["learning_rate"] < 0.001


def test_equal_seeds_give_equal_weights_and_others_do_not(tmp_path: Path) -> None:
    (one, _), (two, _), (three, _) = (
        train(tmp_path / name, objective(), seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    weights = [
        torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()]) for model in (one, two, three)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


class KilledError(Exception):
    pass


def test_a_killed_training_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, expected = train(tmp_path / "whole", objective())
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))

    def dies(epoch: int) -> Dataset[Any]:
        if epoch == 4:
            raise KilledError
        return epoch_dataset(epoch)

    with pytest.raises(KilledError):
        train(tmp_path / "killed", objective(epoch_dataset=dies), state_interval=0)
    begun: list[int] = []

    def watched(epoch: int) -> Dataset[Any]:
        begun.append(epoch)
        return epoch_dataset(epoch)

    resumed, metrics = train(tmp_path / "resumed", objective(epoch_dataset=watched), state_interval=0)
    assert sorted(set(begun)) == [0, 4, 5]  # the first to count the samples
    assert metrics == expected
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )
    assert (tmp_path / "resumed/curves.csv").read_bytes() == (tmp_path / "whole/curves.csv").read_bytes()


def test_another_objective_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))
    train(tmp_path / "first", objective(), state_interval=0)
    begun: list[int] = []

    def watched(epoch: int) -> Dataset[Any]:
        begun.append(epoch)
        return epoch_dataset(epoch)

    train(tmp_path / "second", objective(epoch_dataset=watched, identity="others"), steps=10, state_interval=0)
    assert set(begun) == {0, 1}


def test_patience_keeps_the_weights_that_were_best_on_val(tmp_path: Path) -> None:
    values = iter([0.2, 0.9, 0.3, 0.4, 0.1])
    kept: list[Tensor] = []

    def scripted(model: nn.Module) -> dict[str, float]:
        kept.append(model.state_dict()["0.weight"].clone())
        return {"accuracy": next(values)}

    patient = TRAINING.model_copy(update={"patience": 8})
    model, metrics = train(tmp_path / "a", objective(), training=patient, measure=scripted, steps=250)
    assert (metrics["steps"], metrics["best_step"], metrics["still_improving"]) == (20, 10, False)
    assert torch.equal(model.state_dict()["0.weight"], kept[1])
    assert [row["accuracy"] for row in curves.read(tmp_path / "a/curves.csv")] == [0.2, 0.9, 0.3, 0.4]


def test_a_training_that_diverges_is_refused(tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"ce_loss": loss(model, batch)["ce_loss"] * float("inf")}

    with pytest.raises(ConfigurationError, match=r"diverged in step 1 \(ce_loss inf\); lower training.learning_rate"):
        train(tmp_path / "a", objective(loss=broken))


def test_a_divergence_of_zero_is_refused(tmp_path: Path) -> None:
    def without_divergence(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {**loss(model, batch), "kd_loss": model(batch["x"]).sum() * 0}

    with pytest.raises(ConfigurationError, match="nothing before step 5 had a teacher"):
        train(tmp_path / "a", objective(loss=without_divergence, divergences=("kd_loss",)))


def test_fewer_samples_than_a_batch_are_drawn_again_for_a_whole_one(tmp_path: Path) -> None:
    drawn: list[int] = []

    def counted(rows: list[tuple[Tensor, Tensor]]) -> Batch:
        drawn.append(len(rows))
        return collate(rows)

    few = objective(epoch_dataset=lambda epoch: TensorDataset(X[:5], Y[:5]), collate=counted)
    _, metrics = train(tmp_path / "a", few, steps=2)
    assert (metrics["images"], metrics["steps"], drawn) == (5, 2, [8, 8])
