"""What a runtime is and does, and what a task hands to it. Imports no runtime and no torch: their functions do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from numpy.typing import NDArray

from alambique.errors import ConfigurationError

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

Array = NDArray[Any]

Program = Callable[..., list[Array]]
"""An opened artifact: from its inputs, positional and in the order of its declaration, to all its outputs.

Outputs are in memory that the next call leaves alone.
"""

FloatNodes = Callable[[Mapping[str, tuple[str, list[str]]], str], list[str]]
"""From each node's operator and the nodes that it reads, by name, and the node of the first output, to the names of the
nodes that stay in floating point whatever the precision."""


class TensorSpec(NamedTuple):
    """A tensor that goes in or out of an artifact.

    Attributes:
        name: as the runtime calls it.
        shape: −1 where a size is free in an ONNX graph; what is traced has the example's sizes.
        dtype: NumPy's name.
    """

    name: str
    shape: list[int]
    dtype: str


@dataclass(frozen=True)
class Exportable:
    """A network as the runtimes' converters take it.

    Attributes:
        graph: makes its FP32 ONNX graph; called at most once per instance, and only by runtimes that need one. Nobody
            changes what it returned.
        module: makes the torch module to trace, in evaluation mode without gradients, for a runtime of this name.
        example: the inputs to trace it with.
        opset: of the graph.
        inputs, outputs: names of its tensors, in the order of its declaration.
    """

    graph: Callable[[], onnx.ModelProto]
    module: Callable[[str], nn.Module]
    example: tuple[Tensor, ...]
    opset: int
    inputs: tuple[str, ...] = ("images",)
    outputs: tuple[str, ...] = ("output0",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", cache(self.graph))

    def graph_tensors(self) -> list[TensorSpec]:
        """Inputs, then outputs, of the ONNX graph, which a runtime that converts it keeps."""
        from onnx.helper import tensor_dtype_to_np_dtype

        graph = self.graph().graph
        specs = []
        for value in (*graph.input, *graph.output):
            kind = value.type.tensor_type
            shape = [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]
            specs.append(TensorSpec(value.name, shape, str(tensor_dtype_to_np_dtype(kind.elem_type))))
        return specs

    def module_tensors(self, module: nn.Module) -> list[TensorSpec]:
        """Inputs, then outputs, of a torch module, which is run on the example."""
        import torch

        with torch.inference_mode():
            outputs = module(*self.example)
        names = (*self.inputs, *self.outputs)
        tensors = (*self.example, *(outputs if isinstance(outputs, tuple) else (outputs,)))
        return [
            TensorSpec(name, list(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            for name, tensor in zip(names, tensors, strict=True)
        ]


@dataclass(frozen=True)
class StaticInt8:
    """Post-training static quantization: weights by channel, activations by their ranges on calibration inputs.

    Attributes:
        inputs: calibration inputs, each a batch of one.
        operators: ONNX operators computed in INT8 (ONNX Runtime; other runtimes choose for themselves).
        float_nodes: what stays in floating point in any case; None: nothing.
        symmetric: activations symmetric too (NNCF's PERFORMANCE preset), or weights alone (MIXED).
    """

    inputs: Sequence[Array]
    operators: tuple[str, ...]
    float_nodes: FloatNodes | None = None
    symmetric: bool = True


@dataclass(frozen=True)
class DynamicInt8:
    """Weights by channel beforehand, activations by the range of each input as it passes."""


@dataclass(frozen=True)
class WeightOnly:
    """Weights alone, in groups that share a scale; activations stay in floating point.

    Attributes:
        bits: 8 or 4.
        embedding: a part of the name of the embedding's weights, compressed by rows in 8 bits whatever `bits` says, for
            runtimes whose tool leaves embeddings alone; None: there is none.
    """

    bits: int
    embedding: str | None = None


Quantization = StaticInt8 | DynamicInt8 | WeightOnly
"""Its type picks a runtime's handler, as torchao's configurations do."""


class Validation(NamedTuple):
    """How accurate a program is on val.

    Attributes:
        samples: the split's.
        score: from a program and some samples to the headline metric over them, and that of each alone.
        finish: from an opened artifact and its runtime's name to a program with the network's outputs, where a runtime
            cannot compute all of it.
    """

    samples: Sequence[Any]
    score: Callable[[Program, Iterable[Any]], tuple[float, list[float]]]
    finish: Callable[[Program, str], Program] = lambda program, runtime: program

    def headline(self, program: Program) -> float:
        """The headline metric on the whole split, 0 to 1."""
        return self.score(program, self.samples)[0]


class Budget(NamedTuple):
    """What INT8 may cost.

    Attributes:
        fp32: headline metric on val in FP32.
        max_drop: by which INT8 may fall below it.
    """

    fp32: float
    max_drop: float

    @property
    def floor(self) -> float:
        """The least headline metric within the budget."""
        return self.fp32 - self.max_drop


class Runtime(ABC):
    """A runtime. There is one instance a module; nothing heavy is imported before a call needs it.

    Attributes:
        name: in params.yaml and in candidates' names.
        file: the file (or folder) that it opens.
        packages: distributions with a part in its FP32 files beside alambique, torch and the task's own library.
        int8_packages: further ones with a part in its INT8 files.
        arithmetic: what its fp32 candidates compute in.
        from_graph: whether its files are made of the ONNX graph.
        quantizations: kinds of quantization that it has a tool for.
        accuracy_control: whether it can return single layers to floating point.
    """

    name: ClassVar[str]
    file: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    int8_packages: ClassVar[tuple[str, ...]] = ()
    arithmetic: ClassVar[str] = "float32"
    from_graph: ClassVar[bool]
    quantizations: ClassVar[tuple[type[Quantization], ...]] = ()
    accuracy_control: ClassVar[bool] = False

    def unavailable(self) -> str | None:
        """Why its files cannot be made on this machine, and what to install; None where they can."""
        return None

    @abstractmethod
    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        """Write the FP32 artifact to `path` (and what belongs beside it), equal bytes for equal weights.

        Returns:
            its inputs, then its outputs.
        """

    def quantize(self, network: Exportable, how: Quantization, path: Path) -> None:
        """Write the quantized artifact to `path`; a ConfigurationError without a tool for this kind of quantization."""
        raise self.no_quantizer()

    def quantize_with_accuracy_control(
        self, network: Exportable, how: StaticInt8, path: Path, validation: Validation, budget: Budget
    ) -> list[str]:
        """As `quantize`, then return the layers that cost most to floating point until the budget holds on val.

        Returns:
            names of the convolutions left in floating point, beside those of `how.float_nodes`, sorted.
        Raises:
            ConfigurationError: it has no such tool.
        """
        raise self.no_quantizer()

    @abstractmethod
    def open(self, path: Path, threads: int) -> Program:
        """The artifact at `path`, loaded and ready, computing with `threads` on the CPU (or on its GPU)."""

    def no_quantizer(self) -> ConfigurationError:
        """For a kind of quantization, or of accuracy control, that it has no tool for."""
        return ConfigurationError(f"int8: {self.name} has no quantizer here; take it out of `int8`")


def missing(modules: tuple[str, ...], install: str) -> str | None:
    """That some of these modules cannot be imported, and what to give pip; None where all can."""
    if absent := [module for module in modules if not _installed(module)]:
        return f"{' and '.join(absent)} cannot be imported; run `pip install {install}`"
    return None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
