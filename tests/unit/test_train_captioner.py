import math

import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.training import CaptionerSize  # noqa: E402
from fsgr_tui.train.captioner import Captioner, caption_loss  # noqa: E402
from fsgr_tui.train.vocabulary import BOS, EOS, MAX_TOKENS, PAD  # noqa: E402

pytestmark = pytest.mark.torch

SIZE = CaptionerSize(d_model=32, layers=2, heads=4, feed_forward=64)
WIDTH, WORDS = 24, 40


@pytest.fixture
def captioner():
    torch.manual_seed(0)
    return Captioner(SIZE, WIDTH, WORDS).eval()


def grids(captions: int = 1, tokens: int = 9):
    return torch.randn(captions, tokens, WIDTH, generator=torch.Generator().manual_seed(1))


def test_a_future_word_does_not_change_earlier_scores(captioner):
    tokens = torch.tensor([[BOS, 5, 6, 7, 8]])
    other = torch.tensor([[BOS, 5, 6, 30, 31]])
    with torch.no_grad():
        one, two = captioner(grids(), tokens), captioner(grids(), other)
    torch.testing.assert_close(one[:, :3], two[:, :3])
    assert not torch.allclose(one[:, 3], two[:, 3])


def test_an_earlier_word_changes_later_scores(captioner):
    with torch.no_grad():
        one = captioner(grids(), torch.tensor([[BOS, 5, 6, 7]]))
        two = captioner(grids(), torch.tensor([[BOS, 9, 6, 7]]))
    assert not torch.allclose(one[:, 3], two[:, 3])


def test_padding_does_not_change_the_scores_of_the_words_before_it(captioner):
    short = torch.tensor([[BOS, 5, 6]])
    padded = torch.tensor([[BOS, 5, 6, PAD, PAD], [BOS, 7, 8, 9, 10]])
    with torch.no_grad():
        alone = captioner(grids(2)[:1], short)
        together = captioner(grids(2), padded)
    torch.testing.assert_close(together[:1, :3], alone)


def test_what_stands_in_place_of_padding_does_not_change_earlier_scores(captioner):
    with torch.no_grad():
        padded = captioner(grids(), torch.tensor([[BOS, 5, PAD, PAD]]))
        filled = captioner(grids(), torch.tensor([[BOS, 5, 17, 18]]))
    torch.testing.assert_close(padded[:, :2], filled[:, :2])
    assert padded.isfinite().all()


def test_padding_neither_counts_in_the_loss_nor_gets_a_gradient():
    scores = torch.randn(2, 4, WORDS, requires_grad=True)
    targets = torch.tensor([[5, 6, EOS, PAD], [7, EOS, PAD, PAD]])
    loss = caption_loss(scores, targets)
    loss.backward()
    picked = scores.log_softmax(-1).gather(2, targets.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(loss, -picked[targets != PAD].mean())
    assert (scores.grad[targets == PAD] == 0).all()
    torch.testing.assert_close(caption_loss(scores, targets, "sum"), loss * 5)


def test_the_picture_decides_the_words(captioner):
    tokens = torch.tensor([[BOS, 5]])
    with torch.no_grad():
        assert not torch.allclose(captioner(grids(), tokens), captioner(grids() * -1, tokens))


def test_any_number_of_grid_tokens_is_taken(captioner):
    with torch.no_grad():
        for count in (1, 49, 196):
            assert captioner(grids(2, count), torch.full((2, 3), BOS)).shape == (2, 3, WORDS)


def test_an_untrained_captioner_begins_near_the_logarithm_of_the_vocabulary(captioner):
    tokens = torch.randint(4, WORDS, (64, 10), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        loss = caption_loss(captioner(grids(64), tokens[:, :-1]), tokens[:, 1:])
    assert abs(float(loss) - math.log(WORDS)) < 0.5


def test_several_captions_of_an_image_are_scored_with_their_own_image(captioner):
    tokens = torch.randint(4, WORDS, (6, 5), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        together = captioner(grids(2), tokens)
        torch.testing.assert_close(together, captioner(grids(2).repeat_interleave(3, 0), tokens))


def test_the_longest_caption_still_has_positions(captioner):
    with torch.no_grad():
        assert captioner(grids(), torch.full((1, MAX_TOKENS), 5)).isfinite().all()
