import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.features.annotations import Pair  # noqa: E402
from fsgr_tui.train.pairs import EncodedPairs, EpochOrder, in_order  # noqa: E402
from fsgr_tui.train.vocabulary import BOS, EOS, PAD, Vocabulary  # noqa: E402

pytestmark = pytest.mark.torch

PAIRS = [Pair(9, 1, "a red circle"), Pair(9, 2, "a circle"), Pair(25, 3, "a blue square")]


def encoded(pairs=PAIRS) -> EncodedPairs:
    return EncodedPairs(pairs, Vocabulary.from_captions(pair.caption for pair in PAIRS))


def test_a_batch_is_padded_to_its_own_longest_caption():
    vocabulary = Vocabulary.from_captions(pair.caption for pair in PAIRS)
    tokens = encoded().tokens([1, 0])
    assert tokens.tolist() == [[*vocabulary.encode("a circle"), PAD], vocabulary.encode("a red circle")]
    assert tokens[0].tolist()[:1] == [BOS]
    assert tokens[0].tolist()[-2:] == [EOS, PAD]
    assert encoded().tokens([1]).shape == (1, 4)


def test_every_pair_brings_its_image_repeats_included():
    assert encoded().images([2, 0, 1]) == [25, 9, 9]


def test_the_digest_names_the_pairs_and_their_order():
    assert encoded().digest == encoded().digest
    assert encoded().digest != encoded(PAIRS[::-1]).digest
    assert encoded().digest != encoded(PAIRS[:2]).digest


def test_no_pairs_are_no_fault():
    assert len(encoded([])) == 0


def test_an_epoch_takes_every_pair_once_and_leaves_out_a_last_small_batch():
    order = EpochOrder(pairs=103, batch_size=10, seed=0)
    batches = list(order.batches(0))
    assert order.per_epoch == len(batches) == 10
    taken = [pair for batch in batches for pair in batch]
    assert len(set(taken)) == 100
    assert set(taken) <= set(range(103))
    assert taken != sorted(taken)


def test_an_epoch_that_is_taken_up_in_the_middle_goes_on_with_the_same_batches():
    order = EpochOrder(pairs=103, batch_size=10, seed=0)
    whole = list(order.batches(2))
    assert list(order.batches(2, start=4)) == whole[4:]
    assert list(order.batches(2, start=4, stop=6)) == whole[4:6]


def test_epochs_and_seeds_have_orders_of_their_own():
    def first(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(next(EpochOrder(pairs=1000, batch_size=50, seed=seed).batches(epoch)))

    assert len({first(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9
    assert first(1, 2) == first(1, 2)


def test_a_validation_takes_all_pairs_in_order_or_the_first_batches():
    assert [list(batch) for batch in in_order(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [list(batch) for batch in in_order(7, 3, most=1)] == [[0, 1, 2]]
    assert in_order(0, 3) == []
