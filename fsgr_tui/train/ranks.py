"""Several processes that train together, one a device, and what they have to agree on.

They meet through a file in the run's folder. On one host their collectives go over the loopback interface; on several
nodes of a Slurm job over the interface that leads to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fsgr_tui.train import network

T = TypeVar("T")


class Ranks:
    """This process among those of its run; by default it is alone.

    Every method that talks to the others has to be called by all of them, in the same order.

    Attributes:
        rank: from 0; the first one writes files and events.
        world: how many there are.
        device: where tensors have to be for talking.
    """

    def __init__(self, rank: int = 0, world: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.world = rank, world
        self.device = device or torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def part(self, members: Sequence[T]) -> Sequence[T]:
        """This process's share of a batch."""
        return members[self.rank :: self.world]

    def together(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are averaged over all processes."""
        if self.world == 1:
            return module
        ids = [self.device.index or 0] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)

    def summed(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values

    def any(self, *wishes: bool) -> tuple[bool, ...]:
        """Whether at least one process wishes each thing: a signal may reach only one of them."""
        if self.world == 1:
            return wishes
        shared = torch.tensor(wishes, dtype=torch.int32, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return tuple(map(bool, shared.tolist()))

    def from_first(self, values: Sequence[float]) -> list[float]:
        """The first process's numbers; the others give as many, of whatever value."""
        if self.world == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64).to(self.device)
        dist.broadcast(shared, 0)
        return [float(value) for value in shared.tolist()]

    def gathered(self, rows: Tensor) -> list[Tensor]:
        """Every process's rows, on the CPU; they may differ in number and, padded with zeros, in length.

        Args:
            rows: of two dimensions.
        """
        if self.world == 1:
            return [rows.cpu()]
        rows = rows.to(self.device)
        sizes = [torch.zeros(2, dtype=torch.long, device=self.device) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor(rows.shape, device=self.device))
        height, width = (int(max(size[place] for size in sizes)) for place in (0, 1))
        padded = rows.new_zeros((height, width))
        padded[: rows.shape[0], : rows.shape[1]] = rows
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        dist.all_gather(parts, padded)
        return [part[: int(size[0])].cpu() for part, size in zip(parts, sizes, strict=True)]


ALONE = Ranks()


def join(rank: int, world: int, store: Path, device: torch.device, nodes: int = 1) -> Ranks:
    """Meet the other processes of a run.

    Args:
        rank: of this one.
        world: how many there are.
        store: a file that no earlier run has met through; its folder exists.
        device: of this process.
        nodes: of the run.
    """
    network.bind(nodes)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, init_method=f"file://{store.absolute()}", rank=rank, world_size=world)
    return Ranks(rank, world, device)


def leave() -> None:
    """End the talk with the others, where there was any."""
    if dist.is_initialized():
        dist.destroy_process_group()
