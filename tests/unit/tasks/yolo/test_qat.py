from __future__ import annotations

import io
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from factories import checkpoints
from factories.restricted_load import restricted_load
from factories.stage_work import all_soft_labels
from factories.tiny_detection import CLASSES, FAMILIES, out, params, project
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.nn.modules import Conv

from alambique import runtimes, tasks
from alambique.config.detect import Params
from alambique.files import sha256
from alambique.layout import checkpoint
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.runtimes.base import Exportable, StaticInt8
from alambique.stages.distill import distillation_objective
from alambique.tasks.base import Calibration
from alambique.tasks.trainer_state import State, StateFile
from alambique.tasks.yolo import network, qat
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.preprocess import preprocess
from alambique.tasks.yolo.quantization import OPERATORS, float_nodes

PRUNED = checkpoint("pico", "pruned")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
Inputs = list[NDArray[np.float32]]
NO_INPUTS: Inputs = []


def rounding(block: Conv, *ranges: tuple[float, float], unsigned: bool = True) -> qat.RoundedConv:
    """A block that rounds its input, its sums and its output to these ranges."""
    rounded: qat.RoundedConv = qat.simulate(nn.Sequential(block), unsigned, NO_INPUTS)[0]
    for name, limits in zip(qat.RANGES, ranges, strict=False):
        getattr(rounded, name).copy_(torch.tensor(limits))
    return rounded


def asked(intervals: int, **training: float) -> Params:
    """Intervals of two steps."""
    plain = {"batch": 16, "learning_rate": 0.005, "val_interval": 2, "patience": None}
    return params(quantize={"qat_steps": 2 * intervals}, training={**plain, **training})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with soft labels and a pruned student. Read-only."""
    root = project(tmp_path_factory.mktemp("pruned"), scenes)
    checkpoints.checkpoint(root)
    all_soft_labels(root, params())
    checkpoints.checkpoint(root, PRUNED, "pruned", "pico")
    return root


@pytest.fixture(scope="module")
def inputs(root: Path) -> Inputs:
    return [preprocess(image, checkpoints.SIZE)[0] for image in YoloDataset.load(root / "data").images("train")[:4]]


@pytest.fixture(scope="module")
def learned(root: Path, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student's checkpoint after four steps. Read-only."""
    return learn(root, asked(2), inputs, tmp_path_factory.mktemp("learned"))


def learn(root: Path, params: Params, inputs: Inputs, folder: Path, runtime: str = "onnx") -> Path:
    """The weights of the pruned student after quantization-aware training."""
    task = tasks.load("detect")
    dataset, network = task.dataset(root / "data"), task.load(root / PRUNED)
    objective = distillation_objective(task, network, dataset, params, root)
    task.train_int8(network, objective, Calibration(list(inputs), {}), dataset, params, runtime, folder)
    return folder / "weights.pt"


def codes(values: NDArray[np.float32], step: float, low: int, high: int) -> NDArray[np.float32]:
    return np.clip(np.rint(values / step), low, high)


@pytest.mark.parametrize("unsigned", [True, False])
def test_a_block_computes_what_integers_would(unsigned: bool) -> None:
    torch.manual_seed(0)
    block = rounding(Conv(3, 4, 3), (0.0, 1.0), (-2.0, 2.0), (-0.25, 1.75), unsigned=unsigned)
    block.bn.running_mean.normal_()
    block.bn.running_var.uniform_(0.5, 2)
    image = torch.rand(2, 3, 8, 8) * 1.2  # some of it out of range

    step = 1 / 255 if unsigned else 1 / 127
    whole = codes(image.numpy(), step, 0 if unsigned else -127, 255 if unsigned else 127)
    steps = np.abs(block.conv.weight.detach().numpy()).max((1, 2, 3), keepdims=True) / 127
    weights = np.rint(block.conv.weight.detach().numpy() / steps)
    sums = nn.functional.conv2d(torch.from_numpy(whole), torch.from_numpy(weights), padding=1).numpy()
    exact = block.bn(torch.from_numpy(sums * steps[:, 0, 0, 0][:, None, None] * step)).detach().numpy()
    if unsigned:
        exact = codes(exact, 4 / 255, -128, 127) * 4 / 255
    expected = exact / (1 + np.exp(-exact))
    if unsigned:
        expected = codes(expected, 2 / 255, -32, 223) * 2 / 255
    found = block(image).detach().numpy()
    # A sum that lies between two codes may go to either, by the order of summation.
    assert np.isclose(found, expected, atol=1e-5).mean() > 0.99
    np.testing.assert_allclose(found, expected, atol=2.2 * 4 / 255)


def test_ranges_are_measured_unrounded_and_stay() -> None:
    images = [np.full((1, 1, 1, 1), value, np.float32) for value in (-2, 4, 7)]
    block: qat.RoundedConv = qat.simulate(nn.Sequential(Conv(1, 1)), True, images)[0]
    torch.testing.assert_close(block.input_range, torch.tensor([3.0, 3.0]))
    sums = block.bn(block.conv(torch.tensor([-2.0, 4.0, 7.0]).reshape(3, 1, 1, 1))).mean()
    torch.testing.assert_close(block.sum_range, sums.expand(2))

    before = [getattr(block, name).clone() for name in qat.RANGES]
    block.train()(torch.full((1, 1, 1, 1), 100.0))
    assert all(torch.equal(getattr(block, name), seen) for name, seen in zip(qat.RANGES, before, strict=True))


def test_gradients_pass_rounding_and_stop_out_of_range() -> None:
    block = rounding(Conv(1, 1), (-1.0, 1.0), (-100.0, 100.0), (-100.0, 100.0))
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
def test_all_but_the_heads_last_convolutions_are_rounded(family: str, inputs: Inputs) -> None:
    model = network.build(FAMILIES[family], CLASSES, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parameters = network.parameters(model)
    qat.simulate(model, True, inputs[:1])
    blocks = {name: block for name, block in model.named_modules() if isinstance(block, qat.RoundedConv)}
    exact = {name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    exact -= {f"{name}.conv" for name in blocks}
    head = f"model.{len(model.model) - 1}"
    assert all(name.startswith(f"{head}.") for name in exact)
    assert {name for name in exact if not name.endswith(".2")} <= {f"{head}.dfl.conv"}
    # All of them were reached, the branch that only training needs among them.
    assert all(block.input_range.any() and block.output_range.any() for block in blocks.values())
    assert network.parameters(model) == parameters
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_statistics_of_rounded_batches_reach_no_weight(root: Path, inputs: Inputs, tmp_path: Path) -> None:
    """With live statistics, a training that moves no weight took a network's mAP all the same."""
    still = learn(root, asked(1, learning_rate=1e-9), inputs, tmp_path)
    before, after = network.load(root / PRUNED / "weights.pt").state_dict(), network.load(still).state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_what_was_learned_is_a_plain_checkpoint(root: Path, learned: Path) -> None:
    before, after = network.load(root / PRUNED / "weights.pt"), network.load(learned)
    assert [type(layer) for layer in after.modules()] == [type(layer) for layer in before.modules()]
    first, last = before.state_dict(), after.state_dict()
    assert {name: tensor.shape for name, tensor in last.items()} == {
        name: tensor.shape for name, tensor in first.items()
    }
    unmoved = {name for name in first if torch.equal(first[name], last[name])}
    assert {name for name in first if name.endswith(STATISTICS)} <= unmoved
    head = f"model.{len(before.model) - 1}."  # some of it has nothing to find in images this small
    assert not {name for name in unmoved if name.endswith("conv.weight") and not name.startswith(head)}
    assert network.parameters(YOLO(learned).model) == network.parameters(before)
    assert network.class_names(restricted_load(learned)) == CLASSES  # names none but Ultralytics' and torch's layers


def test_a_runtimes_arithmetic_decides_what_is_learned(
    root: Path, inputs: Inputs, learned: Path, tmp_path: Path
) -> None:
    other = learn(root, asked(2), inputs, tmp_path, "openvino")
    assert sha256(other) != sha256(learned)


class InterruptedTraining(KeyboardInterrupt):
    pass


@pytest.fixture
def interrupted(root: Path, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same training, stopped once the state of its first interval is written."""
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))
    write = StateFile.write

    def write_and_stop(self: StateFile, state: State) -> None:
        write(self, state)
        raise InterruptedTraining

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "write", write_and_stop)
        with pytest.raises(InterruptedTraining):
            learn(root, asked(2), inputs, out(tmp_path, "interrupted"))


@pytest.mark.usefixtures("interrupted")
def test_a_killed_training_goes_on_and_ends_the_same(
    root: Path, inputs: Inputs, learned: Path, tmp_path: Path, said: list[str]
) -> None:
    resumed = learn(root, asked(2), inputs, out(tmp_path, "resumed"))
    assert "resuming after step 2 of 4" in " ".join(said)
    assert sha256(resumed) == sha256(learned)


def test_a_tensor_that_is_missing_is_not_passed_over(root: Path) -> None:
    model = network.load(root / PRUNED / "weights.pt")
    del model.model[0].bn
    with pytest.raises(RuntimeError, match=r"model\.0\.bn\.weight"):
        qat.plain(model, network.load(root / PRUNED / "weights.pt"))


IMAGES = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def coarse() -> nn.Sequential:
    """A network in which one channel of a tensor is 30 times as large as the others, whose scale it makes coarse."""
    torch.manual_seed(0)
    model = nn.Sequential(Conv(3, 8, 3), Conv(8, 8, 3), Conv(8, 8, 3), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        for block in model[:3]:
            block.bn.weight.uniform_(0.5, 1.5)
            block.bn.bias.normal_(0, 0.5)
            block.bn.momentum = 1.0
        model.train()(IMAGES)  # gives the batch norms their statistics
        for block, after in ((model[0], model[1]), (model[1], model[2])):
            block.bn.weight[0] *= 30
            block.bn.bias[0] *= 30
            after.conv.weight[:, 0] /= 30
    return model.eval()


def in_int8(model: nn.Sequential, runtime: str, folder: Path) -> NDArray[np.float32]:
    """What a network answers once the runtime's own tool has quantized it."""
    made = io.BytesIO()
    torch.onnx.export(deepcopy(model).eval(), (IMAGES[:1],), made, opset_version=17, dynamo=False)
    tool = runtimes.load(runtime)
    path = out(folder, runtime) / tool.file
    images = IMAGES[:, None].numpy()
    graph = onnx.load_from_string(made.getvalue())
    exportable = Exportable(lambda: graph, lambda _: model, (IMAGES[:1],), 17)
    tool.quantize(exportable, StaticInt8(list(images[:16]), OPERATORS, float_nodes), path)
    if runtime == "onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(None, {name: image})[0] for image in images])
    compiled = openvino.Core().compile_model(path, "CPU")
    return np.concatenate([compiled([image])[0].copy() for image in images])


def fitted(model: nn.Sequential, answers: Tensor) -> nn.Sequential:
    """The network after 100 steps towards `answers`."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(100):
        batch = torch.arange(16) + 16 * (step % 4)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(IMAGES[batch]), answers[batch]).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_what_learned_with_rounding_loses_less_to_it(runtime: str, tmp_path: Path) -> None:
    with torch.no_grad():
        exact = coarse()(IMAGES)
    rounded = qat.simulate(coarse(), runtime == "onnx", list(IMAGES[:16, None].numpy()))
    networks = {
        "plain": coarse(),
        "trained": fitted(coarse(), exact),
        "for int8": qat.plain(fitted(rounded, exact), coarse()),
    }
    errors = {
        name: np.square(in_int8(model, runtime, tmp_path / name) - exact.numpy()).mean() / float(exact.var())
        for name, model in networks.items()
    }
    assert errors["plain"] > 0.05
    assert errors["for int8"] < 0.85 * min(errors["plain"], errors["trained"])
    with torch.no_grad():
        in_fp32 = networks["for int8"].eval()(IMAGES)
    assert (in_fp32 - exact).square().mean() / exact.var() < 0.3 * errors["plain"]
