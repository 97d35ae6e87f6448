"""The field that labs copy: what it reads, what it refuses, and that it runs where they run it."""

from __future__ import annotations

import ast
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from fsgr_tui.lab import field as field_module
from fsgr_tui.lab.field import ImageDetectionsField, image_id_of

SOURCE = Path(field_module.__file__)
IDS = (9, 25, 30, 581929)


def grids(image_id: int) -> np.ndarray:
    return np.full((49, 8), image_id % 1000, np.float16)


@pytest.fixture
def features(tmp_path) -> Path:
    path = tmp_path / "coco.hdf5"
    with h5py.File(path, "w") as file:
        for image_id in IDS:
            file[f"{image_id}_grids"] = grids(image_id)
    return path


@pytest.fixture
def labels(tmp_path) -> Path:
    path = tmp_path / "labels.hdf5"
    with h5py.File(path, "w") as file:
        for image_id in IDS[:3]:
            file[f"{image_id}_labels"] = np.arange(196, dtype=np.int16)
    return path


def test_a_sample_is_id_float32_features_and_a_zero_placeholder(features):
    image_id, read, placeholder = ImageDetectionsField(detections_path=features, max_detections=49).preprocess(9)
    assert (image_id, read.dtype, read.shape) == (9, np.float32, (49, 8))
    assert np.array_equal(read, grids(9).astype(np.float32))
    assert (placeholder.dtype, placeholder.shape, placeholder.any()) == (np.float32, (49, 2048), False)


def test_with_a_labels_file_a_sample_is_features_and_labels(features, labels):
    read, row = ImageDetectionsField(detections_path=features, labels_path=labels).preprocess(25)
    assert np.array_equal(read, grids(25).astype(np.float32))
    assert row.dtype == np.float32
    assert row.tolist() == list(range(196))


@pytest.mark.parametrize(
    ("given", "image_id"),
    [
        (9, 9),
        (np.int64(581929), 581929),
        ("COCO_train2014_000000000009.jpg", 9),
        ("000000581929.jpg", 581929),
        ("data/coco_2017/train2017/000000000025.jpg", 25),
        ("/data_2014_7/val_3/COCO_val2014_000000000030.jpg", 30),
        (Path("a_1/COCO_train2014_000000000009.jpeg"), 9),
        (b"COCO_train2014_000000000009.jpg", 9),
        ("1000092795.jpg", 1000092795),
        ("VizWiz_val_00000001.jpg", 1),
    ],
)
def test_the_id_is_an_int_or_the_last_number_of_the_base_name(given, image_id):
    assert image_id_of(given) == image_id


@pytest.mark.parametrize("given", ["coco_2017/picture.jpg", "", None, 1.5])
def test_what_carries_no_id_is_named_and_refused(given):
    with pytest.raises(ValueError, match=r"no image id|neither an image id") as caught:
        image_id_of(given)
    assert repr(given) in str(caught.value)


def test_a_missing_key_names_image_file_and_the_annotation_ids_that_are_mistaken_for_image_ids(features):
    field = ImageDetectionsField(detections_path=features)
    with pytest.raises(KeyError) as caught:
        field.preprocess(48)
    assert all(word in str(caught.value) for word in ("48_grids", str(features), "annotation (caption) id"))
    with pytest.raises(KeyError) as caught:
        field.preprocess("x/COCO_train2014_000000000048.jpg")
    assert "x/COCO_train2014_000000000048.jpg" in str(caught.value)
    assert "annotation" not in str(caught.value)


def test_a_missing_label_is_an_error_too(features, labels):
    with pytest.raises(KeyError, match="581929_labels"):
        ImageDetectionsField(detections_path=features, labels_path=labels).preprocess(581929)


def test_a_file_of_another_kind_tells_what_its_keys_are(tmp_path):
    path = tmp_path / "m2.hdf5"
    with h5py.File(path, "w") as file:
        file["9_features"], file["9_boxes"] = np.zeros((10, 2048)), np.zeros((10, 4))
    with pytest.raises(KeyError, match="its keys end in _boxes, _features"):
        ImageDetectionsField(detections_path=path).preprocess(9)
    with h5py.File(path, "w") as file:
        file["features"], file["ids"] = np.zeros((1, 49, 8)), np.array([9])
    with pytest.raises(KeyError, match="fsgr-tui convert"):
        ImageDetectionsField(detections_path=path).preprocess(9)


def test_features_that_are_no_grid_are_refused(tmp_path):
    path = tmp_path / "maps.hdf5"
    with h5py.File(path, "w") as file:
        file["9_grids"] = np.zeros((2048, 7, 7))
    with pytest.raises(ValueError, match=r"\(2048, 7, 7\)"):
        ImageDetectionsField(detections_path=path).preprocess(9)


@pytest.mark.parametrize("path", ["datasets/coco/images", "features/coco.h5", "coco.hdf5.part", None])
def test_a_path_that_is_not_hdf5_is_a_value_error(path):
    with pytest.raises(ValueError, match=r"\.hdf5") as caught:
        ImageDetectionsField(detections_path=path, use_hdf5=True)
    assert repr(path) in str(caught.value)


def test_a_file_that_is_not_there_is_refused_before_the_first_sample(tmp_path, features):
    with pytest.raises(FileNotFoundError, match=r"absent\.hdf5"):
        ImageDetectionsField(detections_path=tmp_path / "absent.hdf5")
    with pytest.raises(FileNotFoundError, match=r"no_labels\.hdf5"):
        ImageDetectionsField(detections_path=features, labels_path=tmp_path / "no_labels.hdf5")


def test_a_page_that_was_saved_as_hdf5_is_named(tmp_path):
    path = tmp_path / "page.hdf5"
    path.write_text("<html>")
    with pytest.raises(OSError, match=r"page\.hdf5 cannot be opened as an HDF5 file"):
        ImageDetectionsField(detections_path=path).preprocess(9)


def test_compressed_files_and_files_with_class_tokens_are_read_alike(tmp_path):
    path = tmp_path / "legacy.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("9_grids", data=grids(9).astype(np.float32), compression="gzip", compression_opts=9)
        file["9_global"] = np.ones(8, np.float16)
    assert np.array_equal(ImageDetectionsField(detections_path=path).preprocess(9)[1], grids(9).astype(np.float32))


def test_features_of_this_program_are_read(demo_features):
    from fsgr_tui.features.reader import FeatureFile

    file = FeatureFile(str(demo_features))
    image_id = int(file.ids[3])
    read = ImageDetectionsField(detections_path=demo_features).preprocess(image_id)[1]
    assert np.array_equal(read, file.read([image_id])[0].astype(np.float32))


def read_all(field: ImageDetectionsField, times: int) -> list[bool]:
    return [
        np.array_equal(field.preprocess(image_id)[1], grids(image_id).astype(np.float32)) for image_id in IDS * times
    ]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_every_process_opens_the_file_for_itself(features, method):
    field = ImageDetectionsField(detections_path=features)
    assert all(read_all(field, 1))  # a handle is open when the workers start
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = pool.starmap(read_all, [(field, 50)] * 4)
    assert all(all(answer) for answer in answers)


@pytest.mark.parametrize("pickled", [False, True])
def test_a_forked_process_has_a_descriptor_of_its_own(features, pickled):
    field = ImageDetectionsField(detections_path=features)
    field.preprocess(9)
    body = pickle.dumps(field)
    before = descriptors(features)
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        # A pool hands its work over in a pickle; the parent's field lies in the child's memory all the same.
        used = pickle.loads(body) if pickled else field
        used.preprocess(9)
        # An inherited descriptor shares its place in the file with the parent's; a new one does not.
        shared = [number for number in descriptors(features) if seek_is_seen(number, features)]
        os.write(target, f"{len(descriptors(features))} {len(shared)}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert len(before) == 1
    assert os.read(source, 100) == b"1 0"


def descriptors(path: Path) -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == str(path):
                found.append(int(name))
        except OSError:
            continue
    return found


def seek_is_seen(number: int, path: Path) -> bool:
    """Whether moving the parent's place in the file moves this descriptor's."""
    parent = os.getppid()
    os.lseek(number, 123, os.SEEK_SET)
    for name in os.listdir(f"/proc/{parent}/fd"):
        try:
            if os.readlink(f"/proc/{parent}/fd/{name}") != str(path):
                continue
            if "pos:\t123\n" in Path(f"/proc/{parent}/fdinfo/{name}").read_text():
                return True
        except OSError:
            continue
    return False


def test_a_pickle_carries_no_open_file(features):
    field = ImageDetectionsField(detections_path=features)
    field.preprocess(9)
    copy = pickle.loads(pickle.dumps(field))
    assert copy._files == {}
    assert copy.preprocess(25)[0] == 25


@pytest.mark.torch
def test_a_loader_makes_batches_of_three_tensors_and_of_two_with_labels(features, labels):
    torch = pytest.importorskip("torch")
    field = ImageDetectionsField(detections_path=features, max_detections=5)
    ids, read, placeholder = field.process([field.preprocess(image_id) for image_id in IDS])
    assert (ids.tolist(), ids.dtype) == (list(IDS), torch.int64)
    assert (tuple(read.shape), read.dtype, tuple(placeholder.shape)) == ((4, 49, 8), torch.float32, (4, 5, 2048))
    labelled = ImageDetectionsField(detections_path=features, labels_path=labels)
    batch = labelled.process([labelled.preprocess(torch.tensor(image_id)) for image_id in IDS[:3]])
    assert [tuple(part.shape) for part in batch] == [(3, 49, 8), (3, 196)]


@pytest.mark.torch
def test_images_are_what_fsgr_gives_to_clip(tmp_path):
    pytest.importorskip("torch")
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    path = tmp_path / "COCO_val2014_000000000009.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400), np.uint8).astype(np.uint8)).save(path)
    fsgr = transforms.Compose(
        [
            transforms.Resize((224, 224), interpolation=InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(field_module.MEAN, field_module.STD),
        ]
    )
    image_id, pixels, placeholder = ImageDetectionsField(detections_path=tmp_path, use_hdf5=False).preprocess(path.name)
    assert (image_id, placeholder.any()) == (9, False)
    with Image.open(path) as image:
        assert np.array_equal(pixels, fsgr(image.convert("RGB")).numpy())


@pytest.mark.torch
def test_an_own_transform_takes_the_picture(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (30, 20)).save(tmp_path / "7.png")
    field = ImageDetectionsField(
        lambda picture: (*picture.size, picture.mode), detections_path=tmp_path, use_hdf5=False
    )
    assert field.preprocess("7.png")[1] == (30, 20, "RGB")
    with pytest.raises(ValueError, match="7 is no path of an image"):
        field.preprocess(7)


def test_it_is_python_3_8_and_imports_nothing_of_this_program():
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.startswith((".", "fsgr_tui")) for name in modules)


def test_a_copy_of_it_works_alone(features, tmp_path):
    (tmp_path / "copied.py").write_bytes(SOURCE.read_bytes())
    code = (
        "import copied, sys; f = copied.ImageDetectionsField(detections_path=sys.argv[1]); print(f.preprocess('a_9.jpg')[1].sum(), "
        "[name for name in ('torch', 'fsgr_tui', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(features)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split(maxsplit=1) == [str(9.0 * 49 * 8), "[]\n"], done.stderr
