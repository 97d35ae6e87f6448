"""What a checkout's model and field do with images and features, seen in the trees of its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from fsgr_tui.core.lab import Place

FIELD_CLASS: Final = "ImageDetectionsField"
HDF5_SWITCH: Final = "use_hdf5"
FEATURE_KEY: Final = "_grids"
"""End of the keys in a feature file."""

# Methods that run CLIP's vision tower on pictures: OpenAI's clip and open_clip; `visual` is the tower itself in both.
_RUNS_CLIP: Final = frozenset({"encode_image", "visual"})
_RANDOM: Final = frozenset({"rand", "randn", "random", "uniform", "normal", "standard_normal", "random_sample"})


class ModelFacts(msgspec.Struct, frozen=True):
    """What was seen in the modules that the training script reaches.

    Attributes:
        clip_lines: where CLIP runs on whatever comes in; clip_choices: where it runs under a condition.
        reads_grids: whether any module asks for a key that ends in _grids.
        random_lines: where the field gives out random numbers.
        pair_lines: where the script takes a sample apart into a pair.
        gives_three: where the field gives out three values for a sample, as it does without labels.
    """

    clip_lines: tuple[Place, ...] = ()
    clip_choices: tuple[Place, ...] = ()
    reads_grids: bool = False
    random_lines: tuple[Place, ...] = ()
    pair_lines: tuple[Place, ...] = ()
    gives_three: tuple[Place, ...] = ()


def read_model(trees: Mapping[Path, ast.Module]) -> ModelFacts:
    """Look at the modules of a checkout, by their path in it."""
    always: list[Place] = []
    choices: list[Place] = []
    random: list[Place] = []
    pairs: list[Place] = []
    threes: list[Place] = []
    reads_grids = False
    for path, tree in trees.items():
        for node, guarded in _walk(tree, guarded=False):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RUNS_CLIP:
                (choices if guarded else always).append(_place(path, node))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and FEATURE_KEY in node.value:
                reads_grids = True
            elif isinstance(node, ast.For) and _takes_a_pair(node.target):
                pairs.append(Place(str(path), node.lineno, ast.unparse(node.target)))
        for _, method in field_methods(tree, "preprocess"):
            for inner in ast.walk(method):
                if isinstance(inner, ast.Call) and _is_random(inner):
                    random.append(_place(path, inner))
                elif (
                    isinstance(inner, ast.Return) and isinstance(inner.value, ast.Tuple) and len(inner.value.elts) == 3
                ):
                    threes.append(Place(str(path), inner.lineno, "return of three values"))
    return ModelFacts(tuple(always), tuple(choices), reads_grids, tuple(random), tuple(pairs), tuple(threes))


def field_methods(tree: ast.Module, name: str) -> Iterator[tuple[ast.ClassDef, ast.FunctionDef]]:
    """The methods of that name in classes called ImageDetectionsField."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == FIELD_CLASS:
            yield from ((node, each) for each in node.body if isinstance(each, ast.FunctionDef) and each.name == name)


def _walk(node: ast.AST, *, guarded: bool) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes of a tree, and whether a condition decides if they are reached within their function.

    A class that is CLIP itself is left out: that it runs its own tower says nothing of who runs it.
    """
    if isinstance(node, ast.ClassDef) and any(
        isinstance(e, ast.FunctionDef) and e.name in _RUNS_CLIP for e in node.body
    ):
        return
    yield node, guarded
    if isinstance(node, ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        guarded = False
    for name, value in ast.iter_fields(node):
        conditional = isinstance(node, ast.If | ast.IfExp) and name in ("body", "orelse")
        below = guarded or conditional
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, guarded=below)
                # Behind a condition that leaves, the rest is its other branch.
                below |= isinstance(child, ast.If) and _leaves(child.body)


def _leaves(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def _takes_a_pair(target: ast.expr) -> bool:
    """Whether a loop's target is `it, ((images, _), captions)` or `(images, _), captions`: a sample of two values."""
    if not isinstance(target, ast.Tuple) or len(target.elts) != 2:
        return False
    first, second = target.elts
    if isinstance(second, ast.Tuple) and len(second.elts) == 2 and not isinstance(first, ast.Tuple):
        first = second.elts[0]
    return isinstance(first, ast.Tuple) and len(first.elts) == 2 and all(isinstance(e, ast.Name) for e in first.elts)


def _is_random(call: ast.Call) -> bool:
    words = ast.unparse(call.func).split(".")
    return words[-1] in _RANDOM and words[0] in ("np", "numpy", "torch", "random")


def _place(path: Path, node: ast.expr) -> Place:
    return Place(str(path), node.lineno, ast.unparse(node)[:60])
