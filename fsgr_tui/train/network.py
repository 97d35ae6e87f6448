"""Which network interface leads to a job's other nodes: peers of a training listen there, and nowhere else."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
import subprocess

LOOPBACK = "lo"
VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")

_ASK_S = 15.0
_SIOCGIFADDR = 0x8915  # netdevice(7)
_DISCARD = 9


def bind(nodes: int) -> None:
    """Have gloo and NCCL listen on one interface only; both would take the address of the host's name.

    Args:
        nodes: of the run; on one the loopback interface is enough. On several what the user has set counts more, and
            where nothing can be found out the libraries choose.
    """
    if nodes == 1:
        os.environ.update(dict.fromkeys(VARIABLES, LOOPBACK))
        return
    name = interface_towards(_another_node())
    if name:
        for variable in VARIABLES:
            os.environ.setdefault(variable, name)


def interface_towards(address: str) -> str:
    """The interface by which this host reaches an address; empty where that cannot be told.

    Args:
        address: a name or an IPv4 address.
    """
    if not address:
        return ""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            # Nothing is sent: the kernel only looks up the way.
            asked.connect((address, _DISCARD))
            own = asked.getsockname()[0]
            return next((name for _, name in socket.if_nameindex() if _address(asked, name) == own), "")
    except OSError:
        return ""


def _address(asked: socket.socket, name: str) -> str:
    try:
        answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
    except OSError:
        return ""
    return socket.inet_ntoa(answer[20:24])


def _another_node() -> str:
    """The address of another node of this Slurm job; empty where Slurm does not tell."""
    names = _said("scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")).split()
    other = next((name for name in names if name != os.environ.get("SLURMD_NODENAME")), "")
    found = re.search(r"NodeAddr=(\S+)", _said("scontrol", "show", "node", "-o", other)) if other else None
    return found[1] if found else other


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=_ASK_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
