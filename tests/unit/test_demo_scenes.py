import os
import re
import subprocess
import sys
import time
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs the extract extra")

from fsgr_tui.demo import scenes
from fsgr_tui.demo.scenes import COLOURS, KINDS, Relation, Scene, Shape, captions, draw, make_scene, place, relation

SCENES = [make_scene(0, index) for index in range(300)]

NAME = rf"(?:an?|the) (?:(small|little|large|big) )?({'|'.join(COLOURS)}) ({'|'.join(KINDS)}|one)"
BETWEEN = r"(?:is|sits)? ?(?:to the|on the)? ?(above|over|below|under|left of|right of)"
MEANING = {"over": "above", "under": "below"}
SIZE_OF = {"small": "small", "little": "small", "large": "large", "big": "large", "": "medium"}
PLACES = {
    "in the middle": "middle",
    "at the top": "top",
    "at the bottom": "bottom",
    "on the left side": "left",
    "on the right side": "right",
}


def told_relations(caption: str) -> list[tuple[str, str, str]]:
    """Each told relation as (colour, relation, colour); a relation without a subject belongs to the first shape."""
    text = caption.lower()
    names = list(re.finditer(NAME, text))
    told = []
    for found in re.finditer(rf"{BETWEEN} (?={NAME})", text):
        before = [name for name in names if found.start() - name.end() in (0, 1)]
        after = next(name for name in names if name.start() >= found.end())
        word = found[1]
        told.append(((before or names)[0][2], MEANING.get(word, word), after[2]))
    return told


def stands(first: Shape, word: str, second: Shape) -> bool:
    return {
        "above": first.y + first.radius < second.y - second.radius,
        "below": first.y - first.radius > second.y + second.radius,
        "left of": first.x + first.radius < second.x - second.radius,
        "right of": first.x - first.radius > second.x + second.radius,
    }[word]


def test_every_told_relation_is_true_of_the_coordinates():
    for scene in SCENES:
        by_colour = {shape.colour: shape for shape in scene.shapes}
        for caption in captions(scene):
            told = told_relations(caption)
            assert len(told) == len(scene.shapes) - 1, caption
            for first, word, second in told:
                assert stands(by_colour[first], word, by_colour[second]), (caption, scene)


def test_every_caption_names_every_shape_with_its_colour_and_size():
    for scene in SCENES:
        expected = {(shape.size, shape.colour, shape.kind) for shape in scene.shapes}
        for caption in captions(scene):
            named = re.findall(NAME, caption.lower())
            assert {(SIZE_OF[size], colour, kind) for size, colour, kind in named if kind != "one"} == expected, caption


def test_a_lonely_shape_is_told_where_it_stands():
    alone = [scene for scene in SCENES if len(scene.shapes) == 1]
    assert {place(scene) for scene in alone} == set(PLACES.values())
    for scene in alone:
        for caption in captions(scene):
            assert [name for words, name in PLACES.items() if words in caption] == [place(scene)], caption


def test_a_scene_has_five_different_sentences():
    for scene in SCENES:
        told = captions(scene)
        assert len(told) == len(set(told)) == 5
        assert all(re.fullmatch(r"[A-Z][a-z, ]+\.", caption) for caption in told), told


def test_articles_fit_their_words():
    for scene in SCENES:
        for caption in captions(scene):
            assert not re.search(r"\b(a (orange|image)|an (?!orange|image))", caption.lower()), caption


def test_the_vocabulary_stays_small():
    words = {word for scene in SCENES for caption in captions(scene) for word in re.findall("[a-z]+", caption.lower())}
    assert 45 <= len(words) <= 65


def test_every_colour_shape_size_count_and_relation_appears():
    shapes = [shape for scene in SCENES for shape in scene.shapes]
    assert {shape.colour for shape in shapes} == set(COLOURS)
    assert {shape.kind for shape in shapes} == set(KINDS)
    assert {shape.size for shape in shapes} == {"small", "medium", "large"}
    assert {len(scene.shapes) for scene in SCENES} == {1, 2, 3}
    found = {relation(scene.shapes[0], other) for scene in SCENES for other in scene.shapes[1:]}
    assert found == set(get_args(Relation))


def test_shapes_stand_inside_the_picture_and_apart():
    for scene in SCENES:
        for shape in scene.shapes:
            left, top, right, bottom = shape.box
            assert left > 0, scene
            assert top > 0, scene
            assert right < scene.width, scene
            assert bottom < scene.height, scene
        assert all(first.keeps_clear_of(second) for first, second in combinations(scene.shapes, 2)), scene


def test_shapes_are_large_enough_for_a_seven_by_seven_grid():
    for scene in SCENES:
        shorter_px = min(scene.width, scene.height)
        assert all(2 * shape.radius >= shorter_px / 6 for shape in scene.shapes), scene


def test_a_relation_stays_the_same_when_the_picture_is_squashed_to_a_square():
    for scene in SCENES:
        first, *others = scene.shapes
        for other in others:
            across, down = abs(first.x - other.x) / scene.width, abs(first.y - other.y) / scene.height
            assert (down > across) == (relation(first, other) in ("above", "below")), scene


def test_shapes_of_a_scene_differ_in_colour():
    assert all(len({shape.colour for shape in scene.shapes}) == len(scene.shapes) for scene in SCENES)


def test_picture_sizes_are_mostly_those_of_coco():
    frames = [(scene.width, scene.height) for scene in SCENES]
    usual = sum(frame in ((640, 480), (480, 640)) for frame in frames)
    assert 0.5 < usual / len(frames) < 0.9
    assert {(500, 375), (427, 640)} <= set(frames)


def test_another_seed_or_index_gives_another_scene():
    drawn = {make_scene(seed, index).shapes for seed in range(4) for index in range(50)}
    assert len(drawn) == 200


def test_scenes_do_not_depend_on_hash_randomisation():
    code = (
        "from fsgr_tui.demo.scenes import *; import hashlib\n"
        "s = [make_scene(5, i) for i in range(6)]\n"
        "print(s, [captions(x) for x in s], hashlib.sha256(draw(s[0]).tobytes()).hexdigest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(scenes.__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(told) == 1


@pytest.mark.parametrize("index", range(12))
def test_the_picture_shows_each_shape_in_its_colour_where_the_scene_says(index):
    scene = SCENES[index]
    pixels = np.asarray(draw(scene), dtype=float)
    assert pixels.shape == (scene.height, scene.width, 3)
    for shape in scene.shapes:
        # A ring is empty in its middle; its band is at three quarters of the radius.
        x = shape.x + (round(0.77 * shape.radius) if shape.kind == "ring" else 0)
        seen = pixels[shape.y - 3 : shape.y + 4, x - 3 : x + 4].mean(axis=(0, 1))
        nearest = min(COLOURS, key=lambda name: float(np.abs(seen - COLOURS[name]).sum()))
        assert nearest == shape.colour


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_stays_inside_its_box(kind):
    empty = Scene(0, 0, 300, 300, (168, 168, 168), ())
    scene = Scene(0, 0, 300, 300, (168, 168, 168), (Shape(kind, "black", "large", 150, 150, 60),))
    touched = np.argwhere(np.asarray(draw(empty)) != np.asarray(draw(scene)))
    assert touched[:, :2].min() >= 90
    assert touched[:, :2].max() < 210
    assert len(touched) > 3 * 0.25 * 120**2


def test_kinds_cover_different_pixels():
    pictures = [
        np.asarray(draw(Scene(0, 0, 200, 200, (168, 168, 168), (Shape(kind, "black", "large", 100, 100, 50),))))
        for kind in KINDS
    ]
    for first, second in combinations(pictures, 2):
        assert (np.abs(first.astype(int) - second) > 60).any(axis=2).sum() > 0.1 * 100**2


def test_jpeg_files_have_the_size_of_photographs():
    for scene in SCENES[:40]:
        packed = BytesIO()
        draw(scene).save(packed, "JPEG", quality=88)
        assert 20_000 <= len(packed.getvalue()) <= 80_000


def test_drawing_is_fast():
    # CPU time of this thread, so that a busy machine does not fail the test; the limit is a third of the usual speed.
    start_s = time.thread_time()
    for scene in SCENES[:40]:
        draw(scene)
    assert 40 / (time.thread_time() - start_s) > 40
