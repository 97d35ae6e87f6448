"""Feature files in training loops."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fsgr_tui.features.dataset import FeatureDataset, read_ahead
from fsgr_tui.features.reader import FeatureFile, MissingIds
from tests.conftest import build_file

IDS = tuple(range(0, 300, 3))


@pytest.fixture
def file(tmp_path) -> FeatureFile:
    """Every value of a row is its image's id."""
    rows = np.repeat(np.array(IDS, np.float16), 49 * 8).reshape(len(IDS), 49, 8)
    return FeatureFile(build_file(tmp_path / "f.hdf5", IDS, rows))


def test_positions_follow_the_given_ids_and_may_repeat(file):
    dataset = FeatureDataset(file, [6, 3, 6])
    assert [dataset[position][0, 0] for position in range(len(dataset))] == [6, 3, 6]
    assert [row[0, 0] for row in dataset.__getitems__([2, 1])] == [6, 3]


def test_images_without_features_are_named_before_the_training_starts(file):
    with pytest.raises(MissingIds, match="1, 2"):
        FeatureDataset(file, [0, 1, 2, 3])


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_torchs_loader_reads_it_in_workers_of_every_kind(file, method):
    torch = pytest.importorskip("torch")
    file.read([0])
    loader = torch.utils.data.DataLoader(
        FeatureDataset(file, list(IDS) * 2), batch_size=16, num_workers=2, multiprocessing_context=method
    )
    seen = torch.cat(list(loader))
    assert seen[:, 0, 0].tolist() == [float(image_id) for image_id in IDS * 2]


def test_batches_read_ahead_are_those_that_were_asked_for(file):
    batches = [list(IDS[start : start + 16]) for start in range(0, len(IDS), 16)]
    seen = [batch[:, 0, 0].tolist() for batch in read_ahead(file, batches)]
    assert seen == batches


def test_few_buffers_are_made_and_reused(file):
    made = []

    def allocate(shape, dtype):
        made.append(np.empty(shape, dtype))
        return made[-1]

    for batch in read_ahead(file, [[0, 3], [6, 9], [12, 15], [18]] * 10, ahead=2, allocate=allocate):
        assert any(batch.base is buffer for buffer in made)
    assert len(made) == 3


def test_a_fault_while_reading_reaches_the_loop(file):
    with pytest.raises(MissingIds, match="7"):
        list(read_ahead(file, [[0], [7], [3]]))


def test_a_loop_that_breaks_off_leaves_no_thread_behind(file):
    before = threading.active_count()
    batches = read_ahead(file, [[0]] * 1000)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_no_batches_give_nothing(file):
    assert list(read_ahead(file, [])) == []
