"""Training on several GPUs: a process for each, which Ultralytics' own DDP joins into one training.

    python -m alambique.tasks.yolo.distributed JOB     # what `run` starts, once for each rank

Upstream's launcher rebuilds its trainer from settings, and torch's gives every process a session of its own, in which
it outlives a launcher that was killed. These get the work itself, and end with the process that waits for them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import RANK, WORLD_SIZE
from ultralytics.utils.dist import find_free_network_port

from alambique.errors import ERROR_FILE, AlambiqueError, ConfigurationError, read_error, write_error
from alambique.process import lifeline
from alambique.process.environment import configure_logging

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class ParallelTrainer(DetectionTrainer):  # type: ignore[misc]
    """Upstream's trainer, whose ranks may also be processes on a CPU: upstream counts GPUs, and gives DDP their index.

    On a CPU it takes itself for alone until the model is to be wrapped.
    """

    model: nn.Module
    tloss: dict[str, Tensor]

    def __init__(self, overrides: dict[str, Any]) -> None:
        if overrides["batch"] % WORLD_SIZE:
            raise ConfigurationError(
                f"training.batch is {overrides['batch']}, which {WORLD_SIZE} GPUs cannot share equally; make it a "
                "multiple of their number, or show fewer of them with CUDA_VISIBLE_DEVICES"
            )
        if RANK != -1 and torch.cuda.is_available():
            overrides = {**overrides, "device": ",".join(map(str, range(WORLD_SIZE)))}
        super().__init__(overrides=overrides)

    def _do_train(self) -> None:
        if RANK != -1 and self.device.type == "cpu":
            dist.init_process_group("gloo", rank=RANK, world_size=WORLD_SIZE)
        super()._do_train()

    def _build_train_pipeline(self) -> None:
        """Called as soon as upstream has wrapped the model for a GPU."""
        if dist.is_initialized() and self.device.type == "cpu":
            self.world_size = WORLD_SIZE
            self.model = DistributedDataParallel(self.model, find_unused_parameters=True)
        super()._build_train_pipeline()


def mean(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each loss over the ranks, equal on all of them; the losses themselves where there are no ranks."""
    if not dist.is_initialized():
        return losses
    values = torch.stack(list(losses.values()))
    dist.all_reduce(values, op=dist.ReduceOp.AVG)
    return dict(zip(losses, values, strict=True))


def on_every_gpu(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorates a training: where several GPUs are visible it is `run` by a process for each."""

    @wraps(work)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if RANK == -1 and (processes := torch.cuda.device_count()) > 1:
            return run(partial(call, *args, **kwargs), processes)
        return work(*args, **kwargs)

    return call


def run(work: Callable[[], Result], processes: int) -> Result:
    """Do the same work in several processes at once, as the ranks of one training.

    Their output goes where this process's goes, and none of them outlives it.

    Args:
        work: is pickled, as is what it returns.
        processes: one for each GPU; without any they share the CPU.
    Returns:
        what the work came to on rank 0.
    Raises:
        AlambiqueError: what the first rank to fail raised; the others are killed.
    """
    with tempfile.TemporaryDirectory(prefix="alambique-") as temporary:
        folder = Path(temporary)
        torch.save(work, folder / "job.pt")
        with lifeline.hold() as descriptor:
            port = find_free_network_port()
            ranks = [_start(folder, rank, processes, port, descriptor) for rank in range(processes)]
            failed = _first_to_fail(ranks)
        if failed is not None:
            raise read_error(folder / f"{failed}.json") or _unexplained(failed, ranks)
        result: Result = torch.load(folder / "result.pt", weights_only=False)
        return result


def _start(folder: Path, rank: int, processes: int, port: int, descriptor: int) -> subprocess.Popen[bytes]:
    variables = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": max(1, torch.get_num_threads() // processes),
        "PYTHONPATH": os.pathsep.join(sys.path),
        ERROR_FILE: folder / f"{rank}.json",
        lifeline.LIFELINE: descriptor,
    }
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder / "job.pt")],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        pass_fds=(descriptor,),
        start_new_session=True,
    )


def _first_to_fail(ranks: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for the ranks, until one fails, whose number is returned, or all are done; nothing is left of them then."""
    with ThreadPoolExecutor(len(ranks)) as waiting:
        try:
            ends = {waiting.submit(process.wait): rank for rank, process in enumerate(ranks)}
            return next((ends[end] for end in as_completed(ends) if end.result()), None)
        finally:
            for process in ranks:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _unexplained(rank: int, ranks: Sequence[subprocess.Popen[bytes]]) -> AlambiqueError:
    code = ranks[rank].returncode
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return AlambiqueError(
        f"training process {rank + 1} of {len(ranks)} {how} and left no error; its output is in this log, "
        "and the kernel's log tells whether memory ran out"
    )


def _be_a_rank(job: Path) -> None:
    lifeline.watch()
    configure_logging()
    try:
        result = torch.load(job, weights_only=False)()
    except BaseException as error:
        write_error(error)
        if not isinstance(error, AlambiqueError):
            traceback.print_exc()
        sys.stdout.flush()
        # At once, and before the other ranks miss this one: the first to end is the one to blame.
        os._exit(AlambiqueError.exit_code)
    if RANK == 0:
        torch.save(result, job.with_name("result.pt"))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    _be_a_rank(Path(sys.argv[1]))
