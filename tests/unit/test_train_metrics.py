import shutil
import stat
from pathlib import Path

import pytest

pytest.importorskip("pycocoevalcap.cider.cider")

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.training import METRICS
from fsgr_tui.train import java, metrics
from fsgr_tui.train.reward import Reward

REFERENCES = {
    9: ["a red circle above a blue square", "a blue square below a red circle", "two shapes on a plain background"],
    25: ["a small green star left of a white ring", "there is a white ring to the right of a green star"],
    30: ["a black cross in the middle of the picture", "one shape a black cross in the middle of the picture"],
}
SAID = {9: "a red circle above a square", 25: "a white ring", 30: "a black cross in the middle of the picture"}

JAVA = shutil.which("java")


def test_captions_that_repeat_their_references_get_the_full_marks():
    scores = metrics.score({image: written[0] for image, written in REFERENCES.items()}, REFERENCES)
    assert tuple(scores) == METRICS
    for name in ("bleu_1", "bleu_4", "rouge_l"):
        assert scores[name] == pytest.approx(1.0)
    assert scores["cider"] > 4


def test_captions_of_other_images_score_lower():
    own = metrics.score(SAID, REFERENCES)
    images = list(SAID)
    others = dict(zip(images, [SAID[images[number - 1]] for number in range(3)], strict=True))
    assert all(metrics.score(others, REFERENCES)[name] < own[name] for name in METRICS)


def test_no_images_have_no_scores():
    assert metrics.score({}, {}) == {}


def test_the_reward_is_the_packages_cider_d_over_the_same_corpus():
    from pycocoevalcap.cider.cider import Cider

    _, expected = Cider().compute_score(REFERENCES, {image: [caption] for image, caption in SAID.items()})
    reward = Reward(REFERENCES)
    assert [reward(image, [SAID[image]])[0] for image in REFERENCES] == pytest.approx(list(expected))
    assert expected.min() > 0


def test_the_reward_of_a_caption_does_not_depend_on_its_neighbours():
    reward = Reward(REFERENCES)
    together = reward(9, ["a red circle", "a blue square", ""])
    assert together == [reward(9, [caption])[0] for caption in ("a red circle", "a blue square", "")]
    assert together[2] == 0.0


def test_a_metric_that_is_zero_is_told():
    scores = metrics.score(dict.fromkeys(REFERENCES, "yes no"), REFERENCES)
    assert scores["cider"] == 0.0
    (told,) = metrics.doubts(scores, dict.fromkeys(REFERENCES, "yes no"))
    assert told.startswith("cider is 0: no caption shares a telling word")


def test_scores_of_long_runs_of_words_that_are_zero_are_told_as_usual():
    (told,) = metrics.doubts({"cider": 0.3, "bleu_3": 1e-9, "bleu_4": 0.0, "rouge_l": 0.2}, SAID)
    assert told.startswith("bleu_3, bleu_4 are 0: no caption has so many words in a row right.")


def test_a_single_image_is_told_to_have_no_cider():
    one = {9: SAID[9]}
    (told,) = metrics.doubts(metrics.score(one, REFERENCES), one)
    assert "single image" in told


def test_empty_captions_and_one_sentence_for_all_are_told():
    said = dict.fromkeys(range(12), "a circle")
    assert any("same sentence" in line for line in metrics.doubts({"cider": 0.5}, said))
    assert any("12 of 12 captions are empty" in line for line in metrics.doubts({}, dict.fromkeys(range(12), "")))
    assert not metrics.doubts(metrics.score(SAID, REFERENCES) | {"bleu_4": 0.1}, SAID)


def program(folder: Path, script: str) -> Path:
    path = folder / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_tokenizer_that_dies_names_itself_and_the_way_round(tmp_path):
    fake = str(program(tmp_path, "echo 'OutOfMemoryError' >&2; exit 1"))
    with pytest.raises(
        MachineCannot, match=r"the tokenizer \(Java\) ended with exit code 1: OutOfMemoryError"
    ) as fault:
        java.java_scores(fake, SAID, REFERENCES)
    assert "--java never" in fault.value.fix


def test_a_locale_with_decimal_commas_reaches_no_java_program(monkeypatch, tmp_path):
    monkeypatch.setenv("LC_ALL", "it_IT.UTF-8")
    seen = tmp_path / "seen"
    fake = str(program(tmp_path, f'echo "$LC_ALL $*" > "{seen}"; echo "a b"'))
    assert java.ptb_words(fake, tmp_path, ["A b."]) == ["a b"]
    assert seen.read_text().startswith("C.UTF-8 -Duser.language=en -Duser.country=US -Dfile.encoding=UTF-8")


@pytest.mark.slow
@pytest.mark.skipif(JAVA is None, reason="needs a Java that works")
def test_the_java_free_words_are_those_of_the_java_tokenizer():
    found, folder = JAVA, java.package_folder()
    said = [
        "A man's red T-shirt isn't 3.5 m long, is it?",
        "The dog's \"toy\" -- a caf\u00e9 chair; they're here!",
        "Two people at 10:30, in the U-shaped room...",
    ]
    assert java.ptb_words(found, folder, said) == [metrics.split_words(sentence) for sentence in said]


@pytest.mark.slow
@pytest.mark.skipif(JAVA is None, reason="needs a Java that works")
def test_meteor_is_scored_where_java_works():
    scores = java.java_scores(JAVA, SAID, REFERENCES)
    assert {name: scores[name] for name in METRICS} == pytest.approx(metrics.score(SAID, REFERENCES))
    assert 0.2 < scores["meteor"] < 1
