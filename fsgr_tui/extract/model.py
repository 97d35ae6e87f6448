"""Loading a CLIP vision tower: from a tag, a local file of any usual kind, or random numbers.

A state dict does not carry its activation, and the wrong one gives plausible but different features without a
warning. So the activation follows from the source, is recorded, and has to be given where the source does not tell.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.extraction import WEIGHTS_SUFFIXES, Activation, ModelChoice
from fsgr_tui.core.language import tr
from fsgr_tui.core.tower import Tower, find_tower, tower_from_config
from fsgr_tui.extract.weights import first_line, is_torchscript, read_state
from fsgr_tui.features.planned import file_digest

# open_clip logs its own progress and warns about activations; both are handled and told here.
logging.getLogger().setLevel(logging.ERROR)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import huggingface_hub
    import open_clip
    from open_clip.openai import load_openai_model
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

QUICK = "-quickgelu"
_NO_TEXT = "fsgr_no_text"
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_logger = logging.getLogger(__name__)
_RANDOM = re.compile(r"random:(\d+)")
_REACH_S = 4.0

open_clip.add_model_config(Path(__file__).with_name("model_configs"))


@dataclass(frozen=True)
class LoadedTower:
    """A vision tower in eval mode, fp32, on the CPU.

    Attributes:
        visual: the module.
        tower: its sizes.
        activation: "quick-gelu" or "gelu".
        sha256: of the weights file, or of all tensors for random weights.
        mean, std: normalisation of values in 0..1 that the weights were trained with.
        notices: what a person should know about the choice.
        model: the whole model, when its text tower was asked for.
    """

    visual: nn.Module
    tower: Tower
    activation: str
    sha256: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    notices: tuple[str, ...] = ()
    model: Any = None


def load_tower(choice: ModelChoice, *, with_text: bool = False) -> LoadedTower:
    """The vision tower of a choice.

    Args:
        with_text: keep the text tower too, as `model`.

    Raises:
        BadRequest: unknown model or tag, weights of another architecture, a folder, or an activation that does not fit.
        MachineCannot: the weights are not here, are cut off, or cannot be loaded safely.
    """
    tower = find_tower(choice.clip_model, installed_towers())
    shape = choice.shape(tower)
    image_px = shape.input_px if shape.input_px != tower.image_px else None
    if match := _RANDOM.fullmatch(choice.weights):
        loaded = _random(tower, int(match[1]), choice.activation, image_px)
    elif _is_path(choice.weights):
        loaded = _from_file(tower, Path(choice.weights), choice.activation, image_px)
    else:
        loaded = _from_tag(tower, choice.weights, choice.activation, image_px)
    if image_px is not None and not match:
        told = tr(
            "The position table was resized for {image_px} pixels ({side}x{side} to {native_side}x{native_side}, "
            "bicubic).",
            image_px=image_px,
            side=tower.side,
            native_side=shape.native_side,
        )
        loaded = replace(loaded, notices=(*loaded.notices, told))
    if not with_text:
        # The text tower is a third of the model, and nothing here would use it.
        return replace(loaded, model=None)
    if getattr(loaded.model, _NO_TEXT, False):
        raise BadRequest(
            tr("{weights} holds a vision tower without its text tower.", weights=choice.weights),
            tr("Give the whole model's weights."),
        )
    return loaded


def installed_towers() -> dict[str, Tower]:
    """The towers with a plain patch grid that open_clip and this package have a config of."""
    towers = {}
    for name in open_clip.list_models():
        tower = tower_from_config(name, open_clip.get_model_config(name) or {})
        if tower:
            towers[name] = tower
    return towers


def _is_path(weights: str) -> bool:
    return os.sep in weights or weights.endswith(WEIGHTS_SUFFIXES) or Path(weights).exists()


def _random(tower: Tower, seed: int, activation: Activation, image_px: int | None) -> LoadedTower:
    torch.manual_seed(seed)
    quick = tower.quick_gelu if activation == "auto" else activation == "quick-gelu"
    model = _create(tower, quick=quick, image_px=image_px)
    return _loaded(model, tower, quick, _tensor_digest(model.visual), (tr("Untrained weights (random)."),))


def _from_tag(tower: Tower, tag: str, activation: Activation, image_px: int | None) -> LoadedTower:
    base = tower.name.removesuffix(QUICK)
    config = (
        get_pretrained_cfg(tower.name, tag) or get_pretrained_cfg(base, tag) or get_pretrained_cfg(base + QUICK, tag)
    )
    if not config:
        tags = list_pretrained_tags_by_model(base)
        raise BadRequest(
            tr("open_clip has no weights {tag!r} for {name}, and there is no such file.", tag=tag, name=tower.name),
            tr(
                "Tags of {base}: {tags}; or give a file, or random:SEED.", base=base, tags=", ".join(tags) or tr("none")
            ),
        )
    quick = bool(config.get("quick_gelu", False))
    _refuse_other_activation(tr("the tag {tag!r}", tag=tag), quick, tower, activation)
    notices: tuple[str, ...] = ()
    if quick and not tower.quick_gelu:
        notices = (
            tr(
                "The weights {tag!r} were trained with quick-gelu, so it is used, as in {base}{quick}.",
                tag=tag,
                base=base,
                quick=QUICK,
            ),
        )
    path = _downloaded(config, base, tag)
    if config.get("hf_hub") is None and is_torchscript(path):
        return _openai(tower, path, notices)
    model = _create(tower, quick=quick, image_px=image_px)
    _load_state(model, read_state(path), path, tower)
    mean, std = tuple(config.get("mean") or OPENAI_MEAN), tuple(config.get("std") or OPENAI_STD)
    return _loaded(model, tower, quick, file_digest(path), notices, mean, std)


def _downloaded(config: dict[str, Any], model: str, tag: str) -> Path:
    """The weights file of a tag: from the cache, else fetched if the source can be reached at all.

    Without the look at the source first, a compute node without internet retries for a minute.
    """
    try:
        if config.get("hf_hub"):
            try:
                return Path(_offline(lambda: download_pretrained(config)))
            except Exception as error:  # noqa: BLE001 - huggingface_hub raises a dozen kinds for "not in the cache"
                _logger.debug("not in the cache: %s", error)
        _reach(config)
        return Path(download_pretrained(config))
    except Exception as error:  # noqa: BLE001 - huggingface_hub, urllib and open_clip each raise kinds of their own
        cache = huggingface_hub.constants.HF_HUB_CACHE
        raise MachineCannot(
            tr(
                "The weights {tag!r} of {model} are not in the cache ({cache}) and cannot be fetched: {error}.",
                tag=tag,
                model=model,
                cache=cache,
                error=first_line(error),
            ),
            tr(
                "On a login node run: python -c \"import open_clip; open_clip.create_model('{model}', '{tag}')\", or name "
                "a file with --weights.",
                model=model,
                tag=tag,
            ),
        ) from None


def _offline(fetch: Callable[[], str]) -> str:
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        return fetch()
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def _reach(config: dict[str, Any]) -> None:
    """Raise OSError when the host that has the weights does not answer within a few seconds."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    if urllib.request.getproxies():
        return
    url = config.get("url") if not config.get("hf_hub") else huggingface_hub.constants.ENDPOINT
    host = urllib.parse.urlsplit(str(url)).hostname or ""
    with ThreadPoolExecutor(1) as pool:
        # Name resolution has no time-out of its own, so the wait is on a thread.
        answer = pool.submit(socket.create_connection, (host, 443), _REACH_S)
        answer.result(timeout=2 * _REACH_S).close()


def _from_file(tower: Tower, path: Path, activation: Activation, image_px: int | None) -> LoadedTower:
    if path.is_dir():
        found = sorted(file.name for file in path.iterdir() if file.name.endswith(WEIGHTS_SUFFIXES))
        raise BadRequest(
            tr("--weights {path} is a folder.", path=path),
            tr("Name one of its files: {found}.", found=", ".join(found[:8]))
            if found
            else tr("It holds no .pt, .pth or .safetensors file."),
        )
    if not path.is_file():
        raise MachineCannot(
            tr("There is no weights file {path}.", path=path), tr("Look at --weights, or give an open_clip tag.")
        )
    if is_torchscript(path):
        _refuse_other_activation(
            tr("{path} (OpenAI's own archive)", path=path), quick=True, tower=tower, activation=activation
        )
        notices = () if tower.quick_gelu else (tr("{name} is OpenAI's archive: quick-gelu is used.", name=path.name),)
        if image_px is not None:
            return _openai_resized(tower, path, notices, image_px)
        return _openai(tower, path, notices)
    # A file that is cut off has to be told for that, before anything is asked about it.
    state = read_state(path)
    digest = file_digest(path)
    if activation == "auto" and not tower.quick_gelu:
        if not _is_openai_digest(digest):
            raise BadRequest(
                tr(
                    "{path} does not tell which activation it was trained with, and the wrong one gives different features "
                    "silently.",
                    path=path,
                ),
                tr(
                    "Add --activation quick-gelu (OpenAI's weights and what was fine-tuned from them) or --activation gelu "
                    "(LAION, DataComp and most others)."
                ),
            )
        activation = "quick-gelu"
    quick = tower.quick_gelu if activation == "auto" else activation == "quick-gelu"
    model = _create(tower, quick=quick, image_px=image_px)
    _load_state(model, state, path, tower)
    mean, std = _usual_scale(tower)
    told = (
        ()
        if mean == OPENAI_MEAN
        else (
            tr(
                "Normalised with mean {mean} and deviation {std}, as all published weights of {name}.",
                mean=mean,
                std=std,
                name=tower.name,
            ),
        )
    )
    return _loaded(model, tower, quick, digest, told, mean, std)


def _usual_scale(tower: Tower) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation that all published weights of a model share; OpenAI's where they differ or there are none.

    A bare weights file does not carry them.
    """
    base = tower.name.removesuffix(QUICK)
    configs = [
        get_pretrained_cfg(name, tag) or {}
        for name in (base, base + QUICK)
        for tag in list_pretrained_tags_by_model(name)
    ]
    scales = {(tuple(config.get("mean") or OPENAI_MEAN), tuple(config.get("std") or OPENAI_STD)) for config in configs}
    return scales.pop() if len(scales) == 1 else (OPENAI_MEAN, OPENAI_STD)


def _openai(tower: Tower, path: Path, notices: tuple[str, ...]) -> LoadedTower:
    """A TorchScript archive as OpenAI ships it; such weights always use quick-gelu."""
    model = load_openai_model(str(path), precision="fp32", device="cpu")
    visual = model.visual
    width, patch_px = _measured(visual)
    if (width, patch_px) != (tower.width, tower.patch_px):
        raise BadRequest(
            tr(
                "{path} holds a tower of width {width} and patch {patch_px}; {name} has {width2} and {patch_px2}.",
                path=path,
                width=width,
                patch_px=patch_px,
                name=tower.name,
                width2=tower.width,
                patch_px2=tower.patch_px,
            ),
            tr("Give the --clip-model that the file belongs to."),
        )
    return _loaded(model, tower, True, file_digest(path), notices)


def _openai_resized(tower: Tower, path: Path, notices: tuple[str, ...], image_px: int) -> LoadedTower:
    """The same for another input size: the position table is resized while the weights go into a new model."""
    state = load_openai_model(str(path), precision="fp32", device="cpu").state_dict()
    model = _create(tower, quick=True, image_px=image_px)
    open_clip.factory.resize_pos_embed(state, model)
    _apply_state(model, state, path, tower)
    return _loaded(model, tower, True, file_digest(path), notices)


def _create(tower: Tower, *, quick: bool, image_px: int | None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_clip.create_model(
            tower.name, pretrained=None, precision="fp32", force_quick_gelu=quick, force_image_size=image_px
        )


def _load_state(model: Any, state: dict[str, torch.Tensor], path: Path, tower: Tower) -> None:
    if model.visual.image_size != (tower.image_px, tower.image_px) and "visual.positional_embedding" in state:
        open_clip.factory.resize_pos_embed(state, model)
    _apply_state(model, state, path, tower)


def _apply_state(model: Any, state: dict[str, torch.Tensor], path: Path, tower: Tower) -> None:
    prefix = "visual."
    visual = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        model.visual.load_state_dict(visual or state, strict=True)
    except RuntimeError as error:
        raise BadRequest(
            tr(
                "{path} does not hold the weights of {name}: {error}.",
                path=path,
                name=tower.name,
                error=first_line(error, 1),
            ),
            tr("Give the --clip-model that the file belongs to."),
        ) from None
    # What is left is the text tower; many files leave it out, which only matters to those who ask for it.
    missing = model.load_state_dict(state, strict=False).missing_keys if visual else ["all"]
    setattr(model, _NO_TEXT, any(not name.startswith(prefix) and name != "logit_scale" for name in missing))


def _is_openai_digest(sha256: str) -> bool:
    """Whether open_clip's own table lists the file: OpenAI's addresses carry the SHA-256."""
    return any(
        sha256 in str((get_pretrained_cfg(name, "openai") or {}).get("url", "")) for name in open_clip.list_models()
    )


def _refuse_other_activation(source: str, quick: bool, tower: Tower, activation: Activation) -> None:
    if activation != "auto" and (activation == "quick-gelu") != quick:
        right = "quick-gelu" if quick else "gelu"
        raise BadRequest(
            tr(
                "--activation {activation} does not fit {source}, which uses {right}.",
                activation=activation,
                source=source,
                right=right,
            ),
            tr("Leave --activation out."),
        )
    if tower.quick_gelu and not quick:
        raise BadRequest(
            tr("{name} asks for quick-gelu, but {source} was trained with gelu.", name=tower.name, source=source),
            tr("Use --clip-model {model}.", model=tower.name.removesuffix(QUICK)),
        )


def _loaded(
    model: Any,
    tower: Tower,
    quick: bool,
    sha256: str,
    notices: tuple[str, ...] = (),
    mean: tuple[float, ...] = OPENAI_MEAN,
    std: tuple[float, ...] = OPENAI_STD,
) -> LoadedTower:
    visual = model.visual.eval().requires_grad_(requires_grad=False)
    table = getattr(visual, "positional_embedding", None)
    if isinstance(table, torch.Tensor) and float(table.detach().norm()) == 0.0:
        raise BadRequest(
            tr("The position table of these weights is all zeros: every patch would look the same to the tower."),
            tr("The file was probably resized by a faulty script; get the original weights."),
        )
    activation = "quick-gelu" if quick else "gelu"
    return LoadedTower(visual, tower, activation, sha256, _triple(mean), _triple(std), notices, model.eval())


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _measured(visual: nn.Module) -> tuple[int, int]:
    """Width and patch edge of a loaded tower."""
    conv = visual.conv1
    if hasattr(visual, "layer4"):
        return int(visual.layer4[-1].conv3.out_channels), 32  # type: ignore[index, union-attr]
    return int(conv.out_channels), int(conv.kernel_size[0])  # type: ignore[union-attr, index, arg-type]


def _tensor_digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(json.dumps([name, list(value.shape)]).encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
