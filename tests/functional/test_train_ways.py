"""The ways from a picture to features: pixel caches, adapters inside the tower, other grids, the shuffled control."""

import shutil
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.errors import BadRequest  # noqa: E402
from fsgr_tui.core.training import Adapters  # noqa: E402
from fsgr_tui.extract.encoder import make_encoder  # noqa: E402
from fsgr_tui.features.images import read_image_list  # noqa: E402
from fsgr_tui.features.reader import FeatureFile, MissingIds  # noqa: E402
from fsgr_tui.train.adapters import AdaptedTower  # noqa: E402
from fsgr_tui.train.data import RealtimeGrids, ShuffledGrids  # noqa: E402
from tests.functional.training import MODEL, PER_EPOCH, image_ids, run  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

ADAPTERS = Adapters(first=1, last=2, bottleneck=8, learning_rate=3e-3)


@pytest.fixture(scope="module")
def realtime(data):
    return run(data.spec(mode="realtime"))


@pytest.fixture(scope="module")
def adapted(data):
    return run(data.spec(mode="realtime", adapters=ADAPTERS, pixels=str(data.pixels), max_steps=PER_EPOCH + 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pixel_cache_gives_the_losses_of_decoded_pictures_to_the_bit(data, realtime, workers):
    cached = run(data.spec(mode="realtime", pixels=str(data.pixels), images_file="", workers=workers))
    assert cached.losses == realtime.losses
    assert cached.result["val_loss"] == realtime.result["val_loss"]
    assert cached.result["metrics"] == realtime.result["metrics"]


def test_a_run_on_pictures_goes_on_from_their_pixel_cache(data, realtime):
    spec = data.spec(mode="realtime", max_steps=2)
    begun = run(spec)
    went_on = run(msgspec.structs.replace(spec, pixels=str(data.pixels), max_steps=4, resume=True))
    assert {**begun.losses, **went_on.losses} == realtime.losses


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"resize": "crop"}, "resize: squash there, crop needed"), ({"grid": "7x7-112px"}, "image_px: 224 there, 112")],
)
def test_a_cache_of_other_pictures_is_refused_with_the_difference(data, changes, told):
    model = msgspec.structs.replace(MODEL, **changes)
    with pytest.raises(BadRequest, match=told):
        run(data.spec(mode="realtime", pixels=str(data.pixels), model=model))


def test_a_cache_of_another_program_is_refused(data, tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        for number in set(image_ids(data, "train")):
            file[f"{number}_pixels"] = np.zeros((224, 224, 3), np.uint8)
    with pytest.raises(BadRequest, match=r"other.hdf5 is no pixel cache of this program"):
        run(data.spec(mode="realtime", pixels=str(tmp_path / "other.hdf5")))


def test_a_cache_that_lacks_images_is_refused_by_id(data, tmp_path):
    path = Path(shutil.copy(data.pixels, tmp_path / "some.hdf5"))
    lost = image_ids(data, "dev")[0]
    with h5py.File(path, "a") as file:
        del file[f"{lost}_pixels"]
    with pytest.raises(MissingIds, match=str(lost)):
        run(data.spec(mode="realtime", pixels=str(path)))


def tower(adapters: Adapters = ADAPTERS, **changes) -> tuple[AdaptedTower, object]:
    encoder = make_encoder(msgspec.structs.replace(MODEL, **changes))
    return AdaptedTower(encoder, adapters, seed=0), encoder


def pixels(count: int = 2):
    return torch.randint(0, 256, (count, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_adapters_begin_as_the_frozen_tower():
    adapted, _ = tower()
    frozen = make_encoder(MODEL)
    torch.testing.assert_close(adapted(pixels()), frozen(pixels()).clone(), rtol=1e-5, atol=1e-5)


def test_gradients_reach_every_adapter_and_no_weight_of_the_tower():
    adapted, encoder = tower()
    with torch.no_grad():
        for adapter in adapted.adapters.values():
            adapter.up.weight.normal_(generator=torch.Generator().manual_seed(1))
    adapted(pixels()).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in adapted.parameters())
    assert not any(parameter.requires_grad for parameter in encoder.visual.parameters())
    assert set(adapted.adapters) == {"1", "2"}


@pytest.mark.parametrize(
    ("adapters", "changes", "told"),
    [
        (Adapters(first=6, last=11), {}, "has no blocks 6 to 11: its blocks are 0 to 2"),
        (Adapters(first=2, last=1), {}, "has no blocks 2 to 1"),
    ],
)
def test_blocks_that_the_tower_does_not_have_are_refused(adapters, changes, told):
    with pytest.raises(BadRequest, match=told):
        tower(adapters, **changes)


def test_adapters_learn_and_are_kept(adapted):
    content = torch.load(adapted.result["checkpoint"], weights_only=True)
    kept = content["learner"]["adapters"]
    assert sorted(kept) == sorted(
        f"{block}.{part}" for block in (1, 2) for part in ("down.bias", "down.weight", "up.bias", "up.weight")
    )
    assert all(kept[f"{block}.up.weight"].abs().sum() > 0 for block in (1, 2))
    assert adapted.result["last_loss"] < 0.85 * adapted.result["first_loss"]
    # 2 x (96 x 8 + 8 + 8 x 96 + 96) numbers beside those of the captioner.
    assert content["identity"]["adapters bottleneck"] == 8


def test_adapters_change_the_losses_but_not_the_first_one(data, realtime, adapted):
    # Without adapters features are rounded to float16.
    assert adapted.losses[1] == pytest.approx(realtime.losses[1], rel=1e-3)
    assert adapted.losses[4] != pytest.approx(realtime.losses[4], rel=1e-5)


def test_a_run_with_adapters_goes_on_to_the_bit(data, adapted):
    spec = data.spec(mode="realtime", adapters=ADAPTERS, pixels=str(data.pixels), max_steps=3)
    begun = run(spec)
    went_on = run(msgspec.structs.replace(spec, max_steps=PER_EPOCH + 2, resume=True))
    assert {**begun.losses, **went_on.losses} == adapted.losses
    with pytest.raises(BadRequest, match=r"adapters learning_rate: 0.003 there, 0.1 now"):
        run(msgspec.structs.replace(spec, adapters=msgspec.structs.replace(ADAPTERS, learning_rate=0.1), resume=True))


def test_adapters_on_stored_features_are_refused(data):
    with pytest.raises(BadRequest, match="cannot be trained on stored features"):
        run(data.spec(adapters=ADAPTERS))


@pytest.mark.parametrize(("tokens", "width"), [(196, 24), (49, 40), (1, 7)])
def test_any_grid_of_any_width_trains(data, tmp_path, tokens, width):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        for number in sorted({*image_ids(data, "train"), *image_ids(data, "restval"), *image_ids(data, "dev")}):
            file[f"{number}_grids"] = rng.standard_normal((tokens, width)).astype(np.float16)
    told = run(data.spec(features=str(tmp_path / "other.hdf5"), max_steps=8))
    assert told.result["last_loss"] < told.result["first_loss"]


def test_the_control_gives_every_image_the_features_of_another_one(data):
    encoder = make_encoder(MODEL)
    source = RealtimeGrids((), encoder, MODEL, 0, cache=FeatureFile(str(data.pixels), "pixels"))
    ids = [image.id for image in read_image_list(data.images_file)]
    other = ShuffledGrids(source, ids, seed=0)
    (own,), (exchanged,) = list(source.batches([ids])), list(other.batches([ids]))
    places = [next(place for place in range(len(ids)) if torch.equal(own[place], row)) for row in exchanged]
    assert sorted(places) == list(range(len(ids)))
    assert all(place != number for number, place in enumerate(places))


def test_the_control_is_another_run_and_says_so(data):
    spec = data.spec(max_steps=2, shuffle_images=True)
    told = run(spec)
    assert any("A control: every image has the features of another one" in notice for notice in told.notices)
    with pytest.raises(BadRequest, match="shuffle_images: True there, False now"):
        run(msgspec.structs.replace(spec, shuffle_images=False, resume=True))
