"""What tasks share whose network is a named tuple with a torch module, `model`, that `training_loop` trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from alambique import runtimes
from alambique.evaluation.measures import Metrics
from alambique.runtimes.base import Program
from alambique.tasks import Task
from alambique.tasks.base import Network, Objective
from alambique.tasks.cards import read_card

if TYPE_CHECKING:
    from torch import Tensor, nn

    from alambique.tasks.trainer_state import PriorTraining
    from alambique.tasks.training_loop import Measure


class TorchTask(Task):
    """See `alambique.tasks.Task`."""

    @abstractmethod
    def forward(self, network: Network) -> Callable[..., tuple[Tensor, ...]]:
        """The network as a function from the inputs of its artifacts to their outputs."""

    @abstractmethod
    def measure_in_training(self, network: Network, dataset: Any, params: Any) -> Measure:
        """Measures the network on val: `Params.HEADLINE`, and first what decides when training stops."""

    def module(self, network: Network) -> nn.Module:
        return network.model  # type: ignore[no-any-return]

    def train(
        self,
        network: Network,
        objective: Objective,
        dataset: Any,
        params: Any,
        folder: Path,
        *,
        steps: int,
        seed: int,
        prior: PriorTraining,
    ) -> Metrics:
        from alambique.tasks import training_loop

        module = self.trained_module(network, seed)
        metrics = training_loop.train(
            module,
            objective,
            folder,
            steps=steps,
            training=params.training,
            seed=seed,
            measure=self.measure_in_training(network, dataset, params),
            prior=prior,
        )
        network = self.finished(network, module)
        metrics |= self.calibrate_scores(network, dataset, params)
        self.save(network, folder, params)
        return metrics

    def trained_module(self, network: Network, seed: int) -> nn.Module:
        """What is trained of a network."""
        return self.module(network)

    def finished(self, network: Network, module: nn.Module) -> Network:
        """The network, once `trained_module` is trained."""
        return network

    def calibrate_scores(self, network: Network, dataset: Any, params: Any) -> Metrics:
        """Scale a trained network's scores in place so that they are probabilities on val; not done by default.

        Returns:
            the metrics of the training that this adds or changes.
        """
        return {}

    def measure_val(self, folder: Path, dataset: Any, params: Any) -> Metrics:
        network = self.load(folder)
        return {**self.measure_in_training(network, dataset, params)(self.module(network))}

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
        card = read_card(folder)
        return runtimes.open_candidate(folder, card, threads)
