from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import subjects
import torch
from tiny import CLASSES, FAMILIES, out, params, project
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules import Conv

from alambique.config import Params
from alambique.files import sha256
from alambique.layout import checkpoint
from alambique.stages.resume import RESUME_FOLDER
from alambique.tasks.detect import network, qat, resume
from alambique.tasks.detect.export import to_onnx
from alambique.tasks.detect.resume import StateFile
from alambique.tasks.detect.soft_labels import soft_labels

PRUNED = checkpoint("pico", "pruned")


def rounding(block: Conv) -> qat.RoundedConv:
    return qat.simulate(nn.Sequential(block))[0]


def asked(epochs: int) -> Params:
    return params(quantize={"qat_epochs": epochs})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with soft labels and a pruned student. Read-only."""
    root = project(tmp_path_factory.mktemp("pruned"), scenes)
    subjects.checkpoint(root)
    for shard in (0, 1):
        soft_labels(root, params(), shard, out(root, f"soft_labels/{shard}"))
    subjects.checkpoint(root, PRUNED, "pruned", "pico")
    return root


@pytest.fixture(scope="module")
def learned(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student's checkpoint after two epochs. Read-only."""
    return qat.learn(root, asked(2), "pico", tmp_path_factory.mktemp("learned"))


def test_a_block_computes_what_integers_would() -> None:
    torch.manual_seed(0)
    block = rounding(Conv(3, 4, 3)).eval()
    block.bn.running_mean.normal_()
    block.bn.running_var.uniform_(0.5, 2)
    block.input_range.fill_(1.0)
    block.output_range.fill_(2.0)
    image = torch.rand(2, 3, 8, 8) * 1.2  # some of it out of range

    codes = np.clip(np.rint(image.numpy() * 127), -127, 127)
    steps = np.abs(block.conv.weight.detach().numpy()).max((1, 2, 3), keepdims=True) / 127
    weights = np.rint(block.conv.weight.detach().numpy() / steps)
    sums = nn.functional.conv2d(torch.from_numpy(codes), torch.from_numpy(weights), padding=1).numpy()
    exact = block.bn(torch.from_numpy(sums * steps[:, 0, 0, 0][:, None, None] / 127)).detach().numpy()
    rounded = np.clip(np.rint(exact * 127 / 2), -127, 127) * 2 / 127
    expected = rounded / (1 + np.exp(-rounded))
    found = block(image).detach().numpy()
    # A sum that lies between two codes may go to either, by the order of summation.
    assert np.isclose(found, expected, atol=1e-5).mean() > 0.99
    np.testing.assert_allclose(found, expected, atol=2.2 / 127)


def test_a_range_is_the_mean_over_images_of_their_largest_magnitude() -> None:
    block = rounding(Conv(1, 1))
    block(torch.tensor([-2.0, 4.0]).reshape(2, 1, 1, 1))
    assert block.input_range == 3
    block(torch.tensor([5.0, 5.0]).reshape(2, 1, 1, 1))
    assert block.input_range == pytest.approx(3 + qat.MOMENTUM * 2)
    block.eval()(torch.full((1, 1, 1, 1), 100.0))
    assert block.input_range == pytest.approx(3 + qat.MOMENTUM * 2)


def test_gradients_pass_rounding_and_stop_out_of_range() -> None:
    block = rounding(Conv(1, 1)).eval()
    block.input_range.fill_(1.0)
    block.output_range.fill_(100.0)
    image = torch.tensor([0.3, -0.7, 1.5]).reshape(3, 1, 1, 1).requires_grad_()
    block(image).sum().backward()
    assert image.grad is not None
    assert (image.grad.flatten() != 0).tolist() == [True, True, False]
    assert block.conv.weight.grad.abs() > 0


def test_folding_batch_norm_changes_no_weight_code() -> None:
    torch.manual_seed(0)
    weights, scales = torch.randn(4, 3, 3, 3), torch.tensor([0.01, 0.5, 2, 300]).reshape(4, 1, 1, 1)
    torch.testing.assert_close(qat.rounded_weights(weights * scales), qat.rounded_weights(weights) * scales)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_but_the_heads_last_convolutions_are_rounded(family: str) -> None:
    model = network.build(FAMILIES[family], CLASSES, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parameters = network.parameters(model)
    qat.simulate(model)
    inside = {f"{name}.conv" for name, block in model.named_modules() if isinstance(block, qat.RoundedConv)}
    exact = {name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)} - inside
    head = f"model.{len(model.model) - 1}"
    assert inside
    assert {name.rpartition(".")[2] for name in exact} <= {"2", "conv"}
    assert all(name.startswith(f"{head}.") for name in exact)
    assert not [name for name in exact if name.endswith("conv") and name != f"{head}.dfl.conv"]
    assert network.parameters(model) == parameters
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_what_was_learned_is_a_plain_checkpoint(root: Path, learned: Path) -> None:
    before, after = network.load(root / PRUNED / "weights.pt"), network.load(learned)
    assert [type(layer) for layer in after.modules()] == [type(layer) for layer in before.modules()]
    assert {name: tensor.shape for name, tensor in after.state_dict().items()} == {
        name: tensor.shape for name, tensor in before.state_dict().items()
    }
    assert not torch.equal(after.model[0].conv.weight, before.model[0].conv.weight)
    assert network.parameters(YOLO(learned).model) == network.parameters(before)
    network.verify_loadable(learned)  # names none but Ultralytics' and torch's layers


def test_its_export_holds_no_rounding(learned: Path) -> None:
    kinds = {node.op_type for node in to_onnx(learned, subjects.SIZE).graph.node}
    assert "Conv" in kinds
    assert not {kind for kind in kinds if "Quantize" in kind}


def test_equal_seeds_give_equal_bytes(root: Path, learned: Path, tmp_path: Path) -> None:
    assert sha256(qat.learn(root, asked(2), "pico", tmp_path)) == sha256(learned)


class InterruptedTraining(KeyboardInterrupt):
    pass


@pytest.fixture
def interrupted(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same training, stopped once the state of its first epoch is written."""
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))
    write = StateFile.write

    def write_and_stop(self: StateFile, state: resume.State) -> None:
        write(self, state)
        raise InterruptedTraining

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "write", write_and_stop)
        with pytest.raises(InterruptedTraining):
            qat.learn(root, asked(2), "pico", out(tmp_path, "interrupted"))


@pytest.mark.usefixtures("interrupted")
def test_a_killed_training_goes_on_and_ends_the_same(
    root: Path, learned: Path, tmp_path: Path, said: list[str]
) -> None:
    resumed = qat.learn(root, asked(2), "pico", out(tmp_path, "resumed"))
    assert "resuming after epoch 1 of 2" in " ".join(said)
    assert sha256(resumed) == sha256(learned)


def test_a_tensor_that_is_missing_is_not_passed_over(root: Path) -> None:
    model = network.load(root / PRUNED / "weights.pt")
    del model.model[0].bn
    with pytest.raises(RuntimeError, match=r"model\.0\.bn\.weight"):
        qat.plain(model, network.load(root / PRUNED / "weights.pt"))
