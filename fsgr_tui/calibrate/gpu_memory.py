"""What a process takes of a GPU beside PyTorch's own allocations."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def outside_bytes(device: torch.device, used_before: Mapping[str, int]) -> int:
    """Bytes of the driver's context and its kernels; 0 where that cannot be told.

    Args:
        used_before: bytes of each GPU that were taken before this process, by UUID as the driver's library spells it.
    """
    if device.type != "cuda":
        return 0
    before = _of_device(device, used_before)
    if before is None:
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return max(0, total - free - torch.cuda.memory_reserved(device) - before)


def _of_device(device: torch.device, used_before: Mapping[str, int]) -> int | None:
    # Older releases of PyTorch do not tell the UUID.
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    found = [used for name, used in used_before.items() if uuid and uuid in name]
    only = list(used_before.values()) if len(used_before) == 1 else []
    return next(iter(found or only), None)
