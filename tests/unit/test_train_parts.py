"""The small parts of a run: what is best, how much memory a batch takes, event files, self-critical steps."""

import math
import struct

import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.training import CaptionerSize, SelfCritical, TrainSpec  # noqa: E402
from fsgr_tui.jobs.progress.tensorboard import EventFile  # noqa: E402
from fsgr_tui.train.board import Board, forget_boards, masked_crc32c  # noqa: E402
from fsgr_tui.train.critical import Critic  # noqa: E402
from fsgr_tui.train.device import fitting_batch, largest_batch  # noqa: E402
from fsgr_tui.train.learner import Learner  # noqa: E402
from fsgr_tui.train.state import RunState  # noqa: E402
from fsgr_tui.train.vocabulary import Vocabulary  # noqa: E402

pytestmark = pytest.mark.torch


def spec(**changes) -> TrainSpec:
    given = {"mode": "precomputed", "annotation_folder": "a", "output": "o", "exp_name": "x", "features": "f"}
    return TrainSpec(**{**given, **changes})


def judged(values, by="cider") -> RunState:
    state = RunState()
    for number, value in enumerate(values, 1):
        state.step = number
        state.note_validation(value if by == "loss" else 1.0, {} if by == "loss" else {"cider": value})
        state.judge(by)
    return state


def test_the_best_is_the_highest_cider_or_the_lowest_loss():
    assert (judged([0.1, 0.5, 0.3]).best, judged([0.1, 0.5, 0.3]).best_step) == (0.5, 2)
    assert (judged([2.0, 1.5, 1.7], "loss").best, judged([2.0, 1.5, 1.7], "loss").best_step) == (1.5, 2)


def test_an_equal_value_is_no_better_and_a_loss_that_is_no_number_never_is():
    assert judged([0.5, 0.5, 0.5]).stale == 2
    assert judged([float("nan"), 1.5, float("nan")], "loss").best == 1.5


def test_patience_counts_the_epochs_since_the_best_one():
    patient = spec(patience=2, epochs=50)
    assert not judged([0.1, 0.5, 0.3]).out_of_patience(patient)
    assert judged([0.1, 0.5, 0.3, 0.4]).out_of_patience(patient)
    assert not judged([0.1, 0.5, 0.3, 0.4]).out_of_patience(spec())


def test_a_kind_of_training_is_over_when_its_own_epochs_are_done():
    asked = spec(epochs=3, critical=SelfCritical(epochs=2))
    assert not RunState(epoch=2).kind_is_over(asked)
    assert RunState(epoch=3).kind_is_over(asked)
    assert not RunState(epoch=4, critical_from=3).kind_is_over(asked)
    assert RunState(epoch=5, critical_from=3).kind_is_over(asked)


def test_the_largest_batch_follows_from_what_grows_with_the_batch():
    # 1 GB stays, 64 pairs take 4 GB more; of 20 GB 95 % are counted on.
    gb = 10**9
    assert largest_batch(64, 1 * gb, 5 * gb, 20 * gb) == int((0.95 * 20 - 1) / (4 / 64))
    assert largest_batch(64, 1 * gb, 1 * gb, 20 * gb) is None
    assert largest_batch(64, 21 * gb, 25 * gb, 20 * gb) == 0


@pytest.mark.parametrize("most", [0, 1, 2, 5, 31, 32, 63, 99])
def test_the_batch_that_fits_is_found_within_an_eighth_by_few_trials(most):
    tried = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= most

    found = fitting_batch(fits, 100)
    assert found <= most <= found + max(1, found // 8)
    assert len(tried) <= 8
    assert 100 not in tried


def test_the_checksum_is_crc32c_as_published():
    # RFC 3720, B.4: 32 bytes of zeros have the CRC32C aa 36 91 8a (least significant byte first).
    crc = struct.unpack("<I", bytes.fromhex("aa36918a"))[0]
    assert masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path) -> list[bytes]:
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert struct.unpack("<I", content[8:12])[0] == masked_crc32c(content[:8])
        event = content[12 : 12 + length]
        assert struct.unpack("<I", content[12 + length : 16 + length])[0] == masked_crc32c(event)
        found.append(event)
        content = content[16 + length :]
    return found


def test_an_event_file_is_a_row_of_whole_records(tmp_path):
    board = Board(str(tmp_path))
    board.add(300, {"train/loss": 2.5, "train/lr": 1e-4})
    board.close()
    (path,) = tmp_path.iterdir()
    version, scalars = records(path)
    assert version.endswith(b"\x1a\x0dbrain.Event:2")
    # Field 2, the step, as a varint: 300 is ac 02.
    assert scalars[9:12] == b"\x10\xac\x02"
    assert b"\x0a\x0atrain/loss\x15" + struct.pack("<f", 2.5) in scalars


def test_an_event_file_is_read_by_the_reader_of_other_programs_files(tmp_path):
    board = Board(str(tmp_path))
    board.add(7, {"val/cider": 1.25, "train/loss": float("nan")})
    (path,) = tmp_path.iterdir()
    file = EventFile(path)
    one, other = file.new()
    assert (one.step, one.tag, one.value) == (7, "val/cider", 1.25)
    assert (other.tag, math.isnan(other.value)) == ("train/loss", True)
    assert file.damaged == ""


def test_without_a_folder_nothing_is_written_and_old_files_go_only_where_they_are_asked_for(tmp_path):
    Board("").add(1, {"loss": 1.0})
    (tmp_path / "events.out.tfevents.1.host.1.0").touch()
    (tmp_path / "notes.txt").touch()
    forget_boards("")
    forget_boards(str(tmp_path / "nowhere"))
    forget_boards(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


WRITTEN = {1: ["a red circle", "one red circle"], 2: ["a blue square", "one blue square"], 3: ["two green stars"]}


@pytest.mark.parametrize("baseline", ["mean", "greedy"])
def test_self_critical_steps_raise_the_reward(baseline):
    vocabulary = Vocabulary.from_captions(text for texts in WRITTEN.values() for text in texts)
    size = CaptionerSize(d_model=32, layers=1, heads=2, feed_forward=32, dropout=0.0)
    learner = Learner(spec(size=size), 6, len(vocabulary), torch.device("cpu"))
    critic = Critic(SelfCritical(epochs=1, samples=8, learning_rate=2e-3, baseline=baseline), WRITTEN, vocabulary)
    grids = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    rewards = [critic.step(learner, grids, [1, 2, 3]).reward for _ in range(60)]
    assert sum(rewards[-10:]) > 2 * sum(rewards[:10])


def test_samples_that_are_all_alike_teach_nothing():
    vocabulary = Vocabulary.from_captions(text for texts in WRITTEN.values() for text in texts)
    size = CaptionerSize(d_model=32, layers=1, heads=2, feed_forward=32, dropout=0.0)
    learner = Learner(spec(size=size), 6, len(vocabulary), torch.device("cpu"))
    with torch.no_grad():
        # Always the same word, and never an end.
        learner.captioner.decoder.norm.weight.zero_()
        learner.captioner.decoder.norm.bias.copy_(learner.captioner.output.weight[5] * 100)
    critic = Critic(SelfCritical(epochs=1, samples=4), WRITTEN, vocabulary)
    grids = torch.randn(3, 4, 6)
    done = critic.step(learner, grids, [1, 2, 3])
    assert done.loss == pytest.approx(0.0, abs=1e-6)
    assert done.norm == pytest.approx(0.0, abs=1e-6)
