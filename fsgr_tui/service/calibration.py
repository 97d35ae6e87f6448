"""What was measured on this machine, kept between runs: one file for each machine, device and CLIP model.

A plan reads them, so nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core.calibration import Calibration, machine_words, read_calibration
from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import Machine
from fsgr_tui.core.timing import best_gpu
from fsgr_tui.core.tower import canonical_name
from fsgr_tui.jobs.state import state_dir


class Kept(msgspec.Struct, frozen=True):
    """The calibrations of this user.

    Attributes:
        calibrations: the newest first, of any machine that shares the state folder.
        remarks: one sentence for each file that was passed over.
    """

    calibrations: tuple[Calibration, ...] = ()
    remarks: tuple[str, ...] = ()


def calibrations_dir() -> Path:
    """Where calibrations are."""
    return state_dir() / "calibrations"


def kept() -> Kept:
    """All that is kept. A file that cannot be read, or that holds something else, is passed over with a remark."""
    found: list[Calibration] = []
    remarks: list[str] = []
    for path in _files():
        try:
            found.append(read_calibration(path.read_bytes()))
        except OSError as error:
            remarks.append(tr("The calibration {path} cannot be read: {reason}.", path=path, reason=error.strerror))
        except msgspec.MsgspecError as error:
            remarks.append(
                tr(
                    "The calibration {path} is passed over: {error}. `fsgr-tui bench` measures anew.",
                    path=path,
                    error=error,
                )
            )
    found.sort(key=lambda calibration: calibration.measured_at, reverse=True)
    return Kept(tuple(found), tuple(remarks))


def latest(machine: Machine, clip_model: str) -> Calibration | None:
    """The newest calibration that holds for a machine and a model; None when there is none.

    Takes a few milliseconds and never fails; `kept` tells what was passed over.

    Args:
        machine: host name, CPU and the name of the GPU that a plan is made for have to be those of the measurement.
        clip_model: in either spelling.
    """
    return fitting(kept().calibrations, machine, clip_model)


def fitting(calibrations: Sequence[Calibration], machine: Machine, clip_model: str) -> Calibration | None:
    """The first of some calibrations that holds for a machine and a model."""
    gpu = best_gpu(machine)
    wanted = (machine_words(machine.host), _plain("cpu" if gpu is None else gpu.name), canonical_name(clip_model))
    return next((each for each in calibrations if (each.machine, _plain(each.device), each.clip_model) == wanted), None)


def forget() -> int:
    """Delete everything that is kept, damaged files too; returns how many files that were.

    Raises:
        MachineCannot: a file cannot be deleted.
    """
    files = _files()
    for path in files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise MachineCannot(
                tr("{path} cannot be deleted: {reason}.", path=path, reason=error.strerror),
                tr("Look at its permissions."),
            ) from None
    # Whatever else a user keeps there stays, and the folder with it.
    with contextlib.suppress(OSError):
        calibrations_dir().rmdir()
    return len(files)


def _files() -> list[Path]:
    try:
        return sorted(path for path in calibrations_dir().glob("*.json") if not path.name.startswith("."))
    except OSError:
        return []


def _plain(device: str) -> str:
    """A device's name without what PyTorch and the driver spell differently."""
    return " ".join(device.lower().removeprefix("nvidia ").split())
