import itertools

import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.training import CaptionerSize  # noqa: E402
from fsgr_tui.train.captioner import Captioner  # noqa: E402
from fsgr_tui.train.generate import UNSAID, Decoding, beam_search, greedy, sampled  # noqa: E402
from fsgr_tui.train.vocabulary import BOS, EOS, PAD  # noqa: E402

pytestmark = pytest.mark.torch

SIZE = CaptionerSize(d_model=32, layers=2, heads=4, feed_forward=64, dropout=0.3)
WIDTH, IMAGES = 24, 3


def captioner_of(words: int, sharpness: float = 4.0) -> Captioner:
    """An untrained captioner whose scores are far enough apart to have favourites."""
    torch.manual_seed(0)
    captioner = Captioner(SIZE, WIDTH, words).eval()
    with torch.no_grad():
        captioner.output.weight *= sharpness
    return captioner


def memory_of(captioner, images: int = IMAGES):
    grids = torch.randn(images, 9, WIDTH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return captioner.encode(grids)


def log_probability(captioner, memory, caption) -> float:
    """The score of a whole caption by the captioner's ordinary way of decoding; memory of one image."""
    with torch.no_grad():
        scores = captioner.decode(memory, torch.tensor([caption[:-1]]))[0].float()
    scores[:, list(UNSAID)] = -torch.inf
    logs = scores.log_softmax(-1)
    return sum(float(logs[place, word]) for place, word in enumerate(caption[1:]))


def all_captions(words: int, max_tokens: int):
    """Every caption that can be said: it ends, or it is cut."""
    said = range(len(UNSAID) + 1, words)
    for length in range(max_tokens):
        for middle in itertools.product(said, repeat=length):
            if length + 2 <= max_tokens:
                yield [BOS, *middle, EOS]
            if length + 1 == max_tokens:
                yield [BOS, *middle]


def stripped(row) -> list[int]:
    return [int(number) for number in row if number != PAD]


def test_word_by_word_gives_the_scores_of_the_whole_sentence():
    captioner = captioner_of(12)
    memory = memory_of(captioner)
    tokens = torch.randint(4, 12, (IMAGES * 2, 6), generator=torch.Generator().manual_seed(2))
    tokens[:, 0] = BOS
    with torch.no_grad():
        whole = captioner.decode(memory.repeat_interleave(2, 0), tokens).float()
        whole[..., list(UNSAID)] = -torch.inf
        decoding = Decoding(captioner, memory, per_image=2)
        for place in range(6):
            torch.testing.assert_close(
                decoding.next_scores(tokens[:, place]), whole[:, place].log_softmax(-1), rtol=1e-4, atol=1e-5
            )


def test_captions_can_be_made_in_half_precision():
    captioner = captioner_of(12)
    memory = memory_of(captioner)
    words = torch.full((IMAGES,), BOS)
    with torch.no_grad():
        exact = Decoding(captioner, memory).next_scores(words)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = Decoding(captioner, memory).next_scores(words)
            found = beam_search(captioner, memory, 3, 8)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded[:, EOS:], exact[:, EOS:], rtol=0.05, atol=0.3)
    assert found.shape[0] == IMAGES
    assert (found[:, 0] == BOS).all()


def test_kept_captions_go_on_with_their_own_past():
    captioner = captioner_of(12)
    memory = memory_of(captioner, 1)
    with torch.no_grad():
        decoding = Decoding(captioner, memory, per_image=2)
        decoding.next_scores(torch.tensor([BOS, BOS]))
        decoding.next_scores(torch.tensor([5, 6]))
        decoding.keep(torch.tensor([1, 1]))
        scores = decoding.next_scores(torch.tensor([7, 8]))
        whole = captioner.decode(memory, torch.tensor([[BOS, 6, 8]]))[:, -1].float()
    whole[:, list(UNSAID)] = -torch.inf
    torch.testing.assert_close(scores[1:], whole.log_softmax(-1), rtol=1e-4, atol=1e-5)


def test_greedy_takes_the_likeliest_word_of_the_sentence_so_far():
    captioner = captioner_of(12)
    memory = memory_of(captioner)
    for image, row in enumerate(greedy(captioner, memory, max_tokens=7)):
        caption = stripped(row)
        with torch.no_grad():
            scores = captioner.decode(memory[image : image + 1], torch.tensor([caption[:-1]]))[0]
        scores[:, list(UNSAID)] = -torch.inf
        assert scores.argmax(-1).tolist() == caption[1:]


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_a_wide_beam_finds_the_likeliest_of_all_captions(sharpness):
    words, max_tokens = 7, 5
    captioner = captioner_of(words, sharpness)
    memory = memory_of(captioner)
    # Three words and the end, at most five tokens: a beam of 81 keeps every beginning.
    found = beam_search(captioner, memory, beam=81, max_tokens=max_tokens)
    for image in range(IMAGES):
        one = memory[image : image + 1]
        best = max(all_captions(words, max_tokens), key=lambda caption: log_probability(captioner, one, caption))
        assert stripped(found[image]) == best


@pytest.mark.parametrize("beam", [2, 3])
def test_a_narrow_beam_keeps_the_likeliest_beginnings(beam):
    words, max_tokens = 9, 6
    captioner = captioner_of(words)
    memory = memory_of(captioner)
    found = beam_search(captioner, memory, beam=beam, max_tokens=max_tokens)
    for image in range(IMAGES):
        one = memory[image : image + 1]
        kept = [[BOS]]
        for _ in range(max_tokens - 1):
            longer = [
                [*caption, word]
                for caption in kept
                if caption[-1] != EOS
                for word in (EOS, *range(len(UNSAID) + 1, words))
            ]
            ended = [caption for caption in kept if caption[-1] == EOS]
            kept = sorted([*longer, *ended], key=lambda caption: -log_probability(captioner, one, caption))[:beam]
        assert stripped(found[image]) == kept[0]


def test_a_beam_is_no_worse_than_greedy_and_a_beam_of_one_is_greedy():
    captioner = captioner_of(12)
    memory = memory_of(captioner)
    alone, wide = greedy(captioner, memory, 8), beam_search(captioner, memory, 5, 8)
    assert torch.equal(beam_search(captioner, memory, 1, 8), alone)
    for image in range(IMAGES):
        one = memory[image : image + 1]
        scores = [log_probability(captioner, one, stripped(row[image])) for row in (alone, wide)]
        assert scores[1] >= scores[0] - 1e-5


def test_images_do_not_change_each_others_captions():
    captioner = captioner_of(12)
    memory = memory_of(captioner)
    together = beam_search(captioner, memory, 3, 8)
    for image in range(IMAGES):
        assert stripped(beam_search(captioner, memory[image : image + 1], 3, 8)[0]) == stripped(together[image])


def test_a_caption_ends_at_its_end_token_and_is_padded_behind_it():
    captioner = captioner_of(12)
    with torch.no_grad():
        captioner.decoder.norm.weight.zero_()
        captioner.decoder.norm.bias.copy_(captioner.output.weight[EOS] * 100)
    memory = memory_of(captioner)
    assert greedy(captioner, memory).tolist() == [[BOS, EOS]] * IMAGES
    assert [stripped(row) for row in beam_search(captioner, memory, 2)] == [[BOS, EOS]] * IMAGES


def test_samples_follow_the_captioners_distribution():
    captioner = captioner_of(8)
    memory = memory_of(captioner, 1)
    torch.manual_seed(3)
    first = sampled(captioner, memory, samples=4000, max_tokens=2)[:, 1]
    expected = Decoding(captioner, memory).next_scores(torch.tensor([BOS]))[0].exp()
    drawn = torch.bincount(first, minlength=8) / len(first)
    torch.testing.assert_close(drawn, expected.detach(), rtol=0, atol=0.03)


def test_samples_are_the_same_for_the_same_state_of_the_generator():
    captioner = captioner_of(12)
    memory = memory_of(captioner)
    torch.manual_seed(5)
    one = sampled(captioner, memory, 3)
    torch.manual_seed(5)
    assert torch.equal(sampled(captioner, memory, 3), one)
    assert len({tuple(row) for row in one.tolist()}) > 1
