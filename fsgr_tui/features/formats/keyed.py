"""HDF5 with one dataset per image: ours (`hdf5`), and the field's habit of compressing each (`legacy`)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.features.build import LIBVER, FeatureBuild
from fsgr_tui.features.formats.rows import Content, Format
from fsgr_tui.features.manifest import GLOBAL, REFUSED, ROW_CRC32, ROW_IDS, Manifest, read_refused, write_manifest
from fsgr_tui.features.opening import NotAFeatureFile, open_hdf5
from fsgr_tui.features.reader import FeatureFile, MissingIds
from fsgr_tui.features.writer import sync_path

LEGACY_GZIP = 4
_UNKNOWN = "unknown"


class KeyedRows:
    """Rows of a feature file, ours or another program's; `{id}_global` beside them are class tokens."""

    def __init__(self, path: Path) -> None:
        self._file = FeatureFile(path)
        if not self._file.layout.uniform:
            raise NotAFeatureFile(
                tr("{path} holds rows of several shapes or types, which cannot be converted together.", path=path),
                tr("`fsgr-tui check {path}` counts them.", path=path),
            )
        self._class_tokens, remark = _class_tokens(self._file)
        with open_hdf5(path) as hdf5:
            refused = tuple(read_refused(hdf5))
            self.crc32 = _crc32_by_id(hdf5, self._file.manifest)
        self.content = Content(
            ids=tuple(self._file.ids.tolist()),
            row_shape=self._file.row_shape,
            dtype=self._file.dtype.name,
            manifest=self._file.manifest,
            refused=refused,
            global_width=self._class_tokens.row_shape[0] if self._class_tokens else 0,
        )
        self.remarks = (*remark, *_remarks(self._file, converted=self._class_tokens is not None or bool(remark)))

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Rows in the order of `ids`."""
        return self._file.read(ids)

    def read_class_tokens(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Class tokens in the order of `ids`."""
        if self._class_tokens is None:
            raise MissingIds(self._file.path, ids)
        return self._class_tokens.read(ids)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._class_tokens is not None:
            self._class_tokens.close()


class BuildSink:
    """Our format: a `FeatureBuild` whose rows come from another file."""

    def __init__(self, path: Path, content: Content) -> None:
        if content.manifest is None and len(content.row_shape) != 2:
            raise BadRequest(
                tr(
                    "Rows of shape {row_shape} without a manifest cannot become {name}: its rows are (tokens, width).",
                    row_shape=content.row_shape,
                    name=Path(path).name,
                ),
                tr("Use --to legacy, packed, lmdb or npz, which take any shape."),
            )
        self._path = path
        self._has_manifest = content.manifest is not None
        ids = (*content.ids, *(image_id for image_id, _, _ in content.refused))
        self._row = {image_id: row for row, image_id in enumerate(ids)}
        with _told_for_conversions():
            self._build = FeatureBuild.start(path, content.manifest or _placeholder(content), ids, overwrite=True)
        for image_id, file_path, reason in content.refused:
            self._build.refuse(self._row[image_id], file_path, reason)

    def write(
        self, ids: Sequence[int], rows: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Write rows at their places."""
        with _told_for_conversions():
            self._build.write([self._row[image_id] for image_id in ids], rows, class_tokens)

    def finish(self) -> None:
        """Verify the checksums and give the build its name."""
        with _told_for_conversions():
            self._build.publish()
        if not self._has_manifest:
            _remove_manifest(self._path)
            sync_path(self._path)

    def close(self) -> None:
        """Let the lock go."""
        self._build.close()


class PlainHdf5Sink:
    """What the formats share that h5py writes in the ordinary way; `write` is theirs."""

    def __init__(self, path: Path, content: Content) -> None:
        self._path, self._content = path, content
        self._file = h5py.File(path, "w", libver=LIBVER)

    def finish(self) -> None:
        """Set the attributes and bring the file to the disk."""
        write_root(self._file, self._content)
        self._file.close()
        sync_path(self._path)

    def close(self) -> None:
        """Close the file; what cannot be flushed any more belongs to a draft that is given up."""
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()


class LegacySink(PlainHdf5Sink):
    """The field's habit: plain h5py, gzip 4 on every dataset."""

    def __init__(self, path: Path, content: Content) -> None:
        super().__init__(path, content)
        self._suffix = content.manifest.suffix if content.manifest else "grids"

    def write(
        self, ids: Sequence[int], rows: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Add a dataset per array."""
        for suffix, arrays in ((self._suffix, rows), (GLOBAL, class_tokens)):
            for image_id, array in zip(ids, arrays, strict=True) if arrays is not None else ():
                self._file.create_dataset(
                    f"{image_id}_{suffix}", data=array, compression="gzip", compression_opts=LEGACY_GZIP
                )


HDF5 = Format("hdf5", KeyedRows, BuildSink)
LEGACY = Format("legacy", KeyedRows, LegacySink)


def write_root(file: h5py.File, content: Content) -> None:
    """Set manifest and refused images as attributes of the root, as our own files have them."""
    if content.manifest is not None:
        write_manifest(file, content.manifest)
    if content.manifest is not None or content.refused:
        file.attrs[REFUSED] = json.dumps(content.refused)


def _crc32_by_id(file: h5py.File, manifest: Manifest | None) -> dict[int, int]:
    if manifest is None or ROW_IDS not in file.attrs or ROW_CRC32 not in file.attrs:
        return {}
    return dict(zip(file.attrs[ROW_IDS].tolist(), file.attrs[ROW_CRC32].tolist(), strict=True))


def _class_tokens(file: FeatureFile) -> tuple[FeatureFile | None, tuple[str, ...]]:
    """The class tokens beside the rows; else a remark, where there are some that no target could keep with the rows."""
    if not any(key.endswith(f"_{GLOBAL}") for key in file.layout.other_keys):
        return None, ()
    found = FeatureFile(file.path, GLOBAL)
    fits = (len(found.row_shape), found.layout.uniform, found.dtype) == (1, True, file.dtype)
    if fits and np.array_equal(found.ids, file.ids):
        return found, ()
    found.close()
    why = (
        tr("{n:,} of {total:,} images have them", n=len(found), total=len(file))
        if fits
        else tr(
            "they are {shape} {found}, where one vector an image in {dtype} is asked for",
            shape=found.row_shape,
            found=found.dtype,
            dtype=file.dtype,
        )
    )
    return None, (tr("The {name} keys of {path} are not converted: {why}.", name=GLOBAL, path=file.path, why=why),)


def _remarks(file: FeatureFile, *, converted: bool) -> Iterator[str]:
    """What is not converted.

    Args:
        converted: whether class tokens are spoken for.
    """
    other = [key for key in file.layout.other_keys if not (converted and key.endswith(f"_{GLOBAL}"))]
    if other:
        yield tr(
            "{path} has {n:,} other keys (such as {shown}), which are not converted.",
            path=file.path,
            n=len(other),
            shown=", ".join(other[:3]),
        )
    written = file.manifest.suffix if file.manifest else "grids"
    if file.layout.suffix != written:
        yield tr(
            "Keys like {key} are written as {written} in HDF5 targets.",
            key=f"{file.ids[0]}_{file.layout.suffix}",
            written=f"{file.ids[0]}_{written}",
        )


def _placeholder(content: Content) -> Manifest:
    """What a build needs to know of rows that carry no manifest; it is removed again from the finished file."""
    tokens, width = content.row_shape
    return Manifest(
        clip_model=_UNKNOWN, weights=_UNKNOWN, weights_sha256="", activation=_UNKNOWN, image_px=0, resize=_UNKNOWN,
        interpolation=_UNKNOWN, antialias=False, decoder=_UNKNOWN, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), stage=_UNKNOWN,
        grid=_UNKNOWN, pooling=_UNKNOWN, tokens=tokens, width=width, dtype=content.dtype, precision=_UNKNOWN,
        global_width=content.global_width,
    )  # fmt: skip


def _remove_manifest(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        for name in Manifest.__struct_fields__:
            if name in file.attrs:
                del file.attrs[name]


@contextlib.contextmanager
def _told_for_conversions() -> Iterator[None]:
    """Faults of a build, without the advice to resume: a conversion starts anew."""
    try:
        yield
    except MachineCannot as problem:
        raise MachineCannot(
            problem.what, tr("Nothing was changed at the target; mend this and convert again.")
        ) from None
    except FoundFaults as problem:
        raise FoundFaults(problem.what, tr("Convert again; if it happens again, suspect the disk or memory.")) from None
