"""ImageDetectionsField for M2-style checkouts (FSGR, RSTNet, DLCT): CLIP grid features from an HDF5 file, or images.

This file stands alone: it runs on Python 3.8 and later, needs numpy and h5py (2.10 and later), Pillow for images, and
PyTorch only where a batch is made. It can be copied into a checkout or imported. `fsgr-tui integrate`
copies it; a change is better made in the checkout's own field, as the next integration replaces this file.
"""

from __future__ import annotations

import operator
import os
import re
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import PurePath
from typing import Any

import h5py
import numpy as np

PLACEHOLDER_WIDTH = 2048
"""Width of the region features that grid features take the place of (Faster R-CNN, as in M2 Transformer)."""

IMAGE_PX = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training images (OpenAI's preprocessing)."""

_LAST_NUMBER = re.compile(r"(\d+)$")
_KEYS_SEEN = 200


class ImageDetectionsField:
    """What a data set of M2 Transformer's kind asks of an image field: `preprocess` and `process`.

    With `use_hdf5` a sample is `file[f"{image_id}_grids"]`, else the image itself, as CLIP takes it. An image without
    features raises an error; nothing is put in its place.

    Args:
        preprocessing: for images only: takes a PIL image in RGB, gives what the model takes. By default both edges are
            resized to 224 (bicubic) and the colours normalised as FSGR does, into float32 (3, 224, 224).
        postprocessing: applied to the list of samples before they become a batch.
        detections_path: the feature file; or, without `use_hdf5`, the folder that relative image paths start from.
        labels_path: a file with `{image_id}_labels`; then samples are pairs of features and labels.
        max_detections: rows of the placeholder.
        sort_by_prob, load_in_tmp: taken for the sake of callers; grid features have no probabilities, and a file of
            tens of gigabytes stays where it is.
        use_hdf5: whether features are read, or images.

    Raises:
        ValueError: `use_hdf5` with a path that does not end in .hdf5.
        FileNotFoundError: a file is not there.
    """

    def __init__(
        self,
        preprocessing: Callable[[Any], Any] | None = None,
        postprocessing: Callable[[Any], Any] | None = None,
        detections_path: str | os.PathLike[str] | None = None,
        labels_path: str | os.PathLike[str] | None = None,
        max_detections: int = 50,
        sort_by_prob: bool = False,
        load_in_tmp: bool = False,
        use_hdf5: bool = True,
    ) -> None:
        self.preprocessing = preprocessing
        self.postprocessing = postprocessing
        self.detections_path = None if detections_path is None else os.fspath(detections_path)
        self.labels_path = os.fspath(labels_path) if labels_path else None
        self.max_detections = max_detections
        self.sort_by_prob = sort_by_prob
        self.load_in_tmp = load_in_tmp
        self.use_hdf5 = use_hdf5
        self._files: dict[str, Any] = {}
        self._opened_by = 0
        if use_hdf5:
            if self.detections_path is None or not self.detections_path.endswith(".hdf5"):
                raise ValueError(
                    f"use_hdf5 needs a feature file that ends in .hdf5, and detections_path is {self.detections_path!r}"
                )
            _require_file(self.detections_path)
        if self.labels_path is not None:
            _require_file(self.labels_path)

    def preprocess(self, x: Any, avoid_precomp: bool = False) -> Any:  # noqa: ARG002 - callers of M2 may pass it
        """One sample.

        Args:
            x: the image id, or a path whose base name ends in it (COCO_train2014_000000000009.jpg, 000000000009.jpg).

        Returns:
            (features, labels) with a labels file, else (image_id, features, zeros (max_detections, 2048)). Features are
            float32 (tokens, width), or the image as float32 (3, 224, 224); labels are float32 (tokens,).

        Raises:
            KeyError: the file has no features, or no labels, of this image.
            ValueError: there is no image id in `x`, or the features are no grid.
        """
        image_id = image_id_of(x)
        if self.use_hdf5:
            assert self.detections_path is not None
            features = self._read(self.detections_path, image_id, "grids", x)
            if features.ndim != 2:
                raise ValueError(
                    f"{self.detections_path}: {image_id}_grids has the shape {features.shape}, which is not (tokens, width)"
                )
        else:
            features = self._image(x)
        if self.labels_path is not None:
            return features, self._read(self.labels_path, image_id, "labels", x)
        return image_id, features, np.zeros((self.max_detections, PLACEHOLDER_WIDTH), dtype=np.float32)

    def process(self, batch: Any, *_args: Any, **_kwargs: Any) -> Any:
        """Samples as a batch of tensors."""
        from torch.utils.data.dataloader import default_collate

        if self.postprocessing is not None:
            batch = self.postprocessing(batch)
        return default_collate(batch)

    def __getstate__(self) -> dict[str, Any]:
        """Without open files: whoever unpickles it opens them anew."""
        return {**self.__dict__, "_files": {}, "_opened_by": 0}

    def _read(self, path: str, image_id: int, kind: str, asked: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        key = f"{image_id}_{kind}"
        file = self._open(path)
        if key not in file:
            raise KeyError(_missing(file, path, key, image_id, asked))
        return np.asarray(file[key][()], dtype=np.float32)

    def _open(self, path: str) -> Any:
        """The file, opened by this very process: a handle that came through a fork reads wrong values."""
        if self._opened_by != os.getpid():
            _OPENED.close_inherited()
            self._files = {}
            self._opened_by = os.getpid()
        if path not in self._files:
            try:
                self._files[path] = _OPENED.add(h5py.File(path, "r"))
            except OSError as error:
                raise OSError(f"{path} cannot be opened as an HDF5 file: {error}") from error
        return self._files[path]

    def _image(self, x: Any) -> Any:
        from PIL import Image

        if not isinstance(x, (str, os.PathLike)):
            raise ValueError(f"{x!r} is no path of an image; image ids are for use_hdf5=True")  # noqa: TRY004 - as for the file
        path = os.fspath(x)
        if not os.path.exists(path) and self.detections_path:  # noqa: PTH110 - paths of data sets are plain text
            path = os.path.join(self.detections_path, path)  # noqa: PTH118
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        return clip_pixels(image) if self.preprocessing is None else self.preprocessing(image)


class _Opened:
    """The files that any field of this process has open.

    In a forked process HDF5 hands out an inherited descriptor again as long as it is open there, also to a field that
    came in a pickle. Its place in the file is shared with the parent, and HDF5 1.10.4 (h5py 2.10) then reads where
    another process has moved to.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._files: list[weakref.ref[Any]] = []

    def add(self, file: Any) -> Any:
        self._files = [known for known in self._files if known() is not None]
        self._files.append(weakref.ref(file))
        return file

    def close_inherited(self) -> None:
        if self._process == os.getpid():
            return
        for known in self._files:
            file = known()
            if file is not None:
                with suppress(Exception):
                    file.close()
        self._files = []
        self._process = os.getpid()


_OPENED = _Opened()


def clip_pixels(image: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A PIL image in RGB as FSGR gives it to CLIP: float32 (3, 224, 224), both edges resized, colours normalised."""
    from PIL import Image

    # The constants moved in Pillow 9.1.
    bicubic = getattr(Image, "Resampling", Image).BICUBIC
    resized = np.asarray(image.resize((IMAGE_PX, IMAGE_PX), bicubic), dtype=np.float32)
    mean, std = np.asarray(MEAN, dtype=np.float32), np.asarray(STD, dtype=np.float32)
    normalised = (resized / np.float32(255) - mean) / std
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def image_id_of(x: Any) -> int:
    """The image id in an int (also of numpy or torch), or in the base name of a path: its last number.

    Raises:
        ValueError: there is none.
    """
    if isinstance(x, bytes):
        x = os.fsdecode(x)
    if isinstance(x, (str, os.PathLike)):
        # The base name alone: folders such as coco_2017/ carry numbers too.
        found = _LAST_NUMBER.search(PurePath(os.fspath(x)).name.partition(".")[0])
        if found is None:
            raise ValueError(f"there is no image id at the end of the name {os.fspath(x)!r}")
        return int(found.group(1))
    try:
        return operator.index(x)
    except TypeError:
        raise ValueError(f"{x!r} is neither an image id nor a path") from None


def _require_file(path: str) -> None:
    if not os.path.isfile(path):  # noqa: PTH113 - paths of data sets are plain text
        raise FileNotFoundError(f"there is no file {path}")


def _missing(file: Any, path: str, key: str, image_id: int, asked: Any) -> str:
    """Why a key may not be there, for whoever has to look for it at night."""
    text = f"{path} has no {key} for image {image_id}"
    if isinstance(asked, (str, os.PathLike)):
        text += f" ({os.fspath(asked)})"
    kind = key.rpartition("_")[2]
    kept = [name for name in ("features", "ids") if name in file]
    if kind == "grids" and len(kept) == 2:
        return text + ": it is a packed file; convert it with fsgr-tui convert FILE NEW.hdf5 --to hdf5"
    seen = {name.rpartition("_")[2] for name in islice(file, _KEYS_SEEN)}
    if kind not in seen:
        text += f"; its keys end in {', '.join('_' + name for name in sorted(seen)[:4])}" if seen else "; it is empty"
    if not isinstance(asked, (str, os.PathLike)):
        text += "; if that is an annotation (caption) id, take anns[id]['image_id']"
    return text
