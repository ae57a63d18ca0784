"""What tasks share whose network is a named tuple with a torch module, `model`, that `training_loop` trains."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.runtimes.base import Program
from alambique.tasks import Task
from alambique.tasks.base import Ability, Calibration, Card, DriftFeatures, Network, Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.tasks.trainer_state import PriorTraining
    from alambique.tasks.training_loop import Measure


class TorchTask(Task):
    """What a task has not is refused here, or empty."""

    abilities: ClassVar[frozenset[Ability]] = frozenset()

    @abstractmethod
    def forward(self, network: Network) -> Callable[..., tuple[Tensor, ...]]:
        """The network as a function from the inputs of its artifacts to their outputs."""

    @abstractmethod
    def measure_in_training(self, network: Network, dataset: Any, params: Any) -> Measure:
        """Measures the network on val: `Params.HEADLINE`, and first what decides when training stops."""

    def module(self, network: Network) -> nn.Module:
        return network.model  # type: ignore[no-any-return]

    def pretrain(self, network: Network, dataset: Any, teacher: Any, params: Any) -> PriorTraining:
        from alambique.tasks.trainer_state import NO_PRIOR

        return NO_PRIOR

    def train(
        self,
        network: Network,
        objective: Objective,
        dataset: Any,
        params: Any,
        folder: Path,
        *,
        epochs: int,
        seed: int,
        prior: PriorTraining,
    ) -> Metrics:
        from alambique.tasks import training_loop

        module = self.trained_module(network, seed)
        metrics = training_loop.train(
            module,
            objective,
            folder,
            epochs=epochs,
            training=params.training,
            seed=seed,
            measure=self.measure_in_training(network, dataset, params),
            prior=prior,
        )
        self.save(self.finished(network, module), folder, params)
        return metrics

    def trained_module(self, network: Network, seed: int) -> nn.Module:
        """What is trained of a network."""
        return self.module(network)

    def finished(self, network: Network, module: nn.Module) -> Network:
        """The network, once `trained_module` is trained."""
        return network

    def measure_val(self, folder: Path, dataset: Any, params: Any) -> Metrics:
        network = self.load(folder)
        return {**self.measure_in_training(network, dataset, params)(self.module(network))}

    def train_int8(
        self,
        network: Network,
        objective: Objective,
        calibration: Calibration,
        dataset: Any,
        params: Any,
        runtime: str,
        folder: Path,
    ) -> None:
        raise ConfigurationError(f"quantize.qat_epochs: {self.name} has no quantization-aware training")

    def example(self, card: Card, runtime: str) -> str:
        from alambique.runtimes import examples

        return examples.render(runtime, Path(inspect.getfile(type(self))).parent / "examples" / self.name)

    def program(self, folder: Path, threads: int) -> Program:
        import torch

        torch.set_num_threads(threads)
        forward = self.forward(self.load(folder))

        @torch.inference_mode()
        def predict(*inputs: NDArray[Any]) -> list[NDArray[Any]]:
            return [output.numpy() for output in forward(*map(torch.from_numpy, inputs))]

        return predict

    def open(self, folder: Path, threads: int) -> Program:
        """A candidate, verified, on its own runtime."""
        from alambique import runtimes
        from alambique.tasks.cards import read_card

        card = read_card(folder)
        return runtimes.open_candidate(folder, card, threads)

    def copy_beside(self, folder: Path, target: Path) -> None:
        pass  # the card says all that most artifacts need

    def plots(self, project: Path, params: Any, board: Leaderboard) -> list[tuple[str, str]]:
        return []

    def relative(self, target: Path, teacher: Path, params: Any) -> Metrics:
        return {}

    def agreement(self, first: Path, second: Path, params: Any) -> float | None:
        return None

    def drift_features(self, checkpoint: Path, images: Sequence[Path], params: Any) -> DriftFeatures:
        raise ConfigurationError(f"drift: {self.name} cannot tell drifted production data yet")
