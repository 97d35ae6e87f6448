"""Plans for machines and data sets that are not here, and choices side by side."""

from __future__ import annotations

import pytest

from fsgr_tui.core import coco
from fsgr_tui.core.compare import compare
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.gpus import GPU_MODELS, gpus_like, model_of
from fsgr_tui.core.units import GB, GIB, Unknown
from fsgr_tui.core.whatif import WhatIf, simulated
from fsgr_tui.probes.dataset import assumed_dataset
from tests.fakes.planning import disk, gpu, machine, situation

# What a person writes, and the GPUs that it stands for: count, name, GiB.
WISHES = [
    ("RTX 3090", 1, "NVIDIA RTX 3090", 24),
    ("3090", 1, "NVIDIA RTX 3090", 24),
    ("rtx3090", 1, "NVIDIA RTX 3090", 24),
    ("NVIDIA GeForce RTX 4090", 1, "NVIDIA RTX 4090", 24),
    ("A100", 1, "NVIDIA A100", 80),
    ("A100 40GB", 1, "NVIDIA A100", 40),
    ("a100-40gb", 1, "NVIDIA A100", 40),
    ("8xA100", 8, "NVIDIA A100", 80),
    ("8 x A100 80 GB", 8, "NVIDIA A100", 80),
    ("V100 16GB", 1, "NVIDIA V100", 16),
    ("Tesla V100", 1, "NVIDIA V100", 32),
    ("A6000", 1, "NVIDIA RTX A6000", 48),
    ("H100 MIG 1g.10gb", 1, "NVIDIA H100 MIG 1g.10gb", 10),
    ("L4", 1, "NVIDIA L4", 24),
]


@pytest.mark.parametrize(("wish", "count", "name", "gib"), WISHES, ids=[row[0] for row in WISHES])
def test_a_gpu_is_found_as_people_write_it(wish, count, name, gib):
    gpus = gpus_like(wish)
    assert len(gpus) == count
    assert (gpus[0].name, gpus[0].memory_free_bytes) == (name, gib * GIB)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("RTX 3900", "Did you mean RTX 3090"),
        ("A1000", "Did you mean A100"),
        ("abacus", "--vram"),
        ("A100 24GB", "40 or 80 GB"),
        ("99xA100", "1 to 16"),
        ("", "--vram"),
    ],
)
def test_a_gpu_that_is_not_known_is_refused_with_near_names(wish, words):
    with pytest.raises(BadRequest) as refused:
        gpus_like(wish)
    assert words in str(refused.value)


# The names that drivers give, and the entry whose rates count; None where a name only looks like one.
DRIVER_NAMES = [
    ("Tesla V100-SXM2-16GB", "V100"),
    ("NVIDIA A100-SXM4-40GB", "A100"),
    ("NVIDIA A100 80GB PCIe", "A100"),
    ("NVIDIA GeForce RTX 3090", "RTX 3090"),
    ("NVIDIA GeForce RTX 3090 Ti", "RTX 3090"),
    ("NVIDIA H100 80GB HBM3", "H100"),
    ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "H100"),
    ("NVIDIA A10", "A10"),
    ("NVIDIA A10G", "A10G"),
    ("NVIDIA L40S", "L40S"),
    ("NVIDIA L40", "L40"),
    ("NVIDIA L4", "L4"),
    ("NVIDIA RTX A6000", "RTX A6000"),
    ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
    ("NVIDIA A1000", None),
    ("NVIDIA GeForce GTX 1080 Ti", None),
]


@pytest.mark.parametrize(("name", "model"), DRIVER_NAMES, ids=[row[0] for row in DRIVER_NAMES])
def test_a_drivers_name_finds_its_rates(name, model):
    found = model_of(gpu(name))
    assert (found.name if found else None) == model


@pytest.mark.parametrize("model", GPU_MODELS, ids=lambda model: model.name)
def test_every_gpu_of_the_table_finds_itself(model):
    assert model_of(gpus_like(model.name)[0]) == model


def test_nothing_simulated_is_nothing_changed():
    here = machine(gpu())
    assert simulated(here, WhatIf().checked()) == here
    assert WhatIf().words == ()


def test_another_gpu_other_memory_and_other_free_space_are_simulated_and_said():
    what_if = WhatIf(gpu="RTX 3090", vram="12GB", disk_free="80GB", dataset="karpathy").checked()
    there = simulated(machine(disks=(disk(5 * GB),)), what_if)
    assert (there.gpus[0].memory_free_bytes, there.disks[0].free_bytes) == (12 * GIB, 80 * GB)
    assert isinstance(there.disks[0].quota_bytes, Unknown)
    assert what_if.words == (
        "GPU: NVIDIA RTX 3090, 12.0 GiB",
        "disk: 80.0 GB free",
        "data set: karpathy, by its published counts",
    )


def test_memory_alone_resizes_this_machines_gpu_or_gives_one_of_unknown_make():
    assert simulated(machine(gpu()), WhatIf(vram="8GB")).gpus[0].name == "NVIDIA GeForce RTX 3090"
    assert model_of(simulated(machine(), WhatIf(vram="8GB")).gpus[0]) is None


def test_a_machine_without_its_gpu_is_simulated_too():
    assert simulated(machine(gpu()), WhatIf(gpu="none")).gpus == ()


@pytest.mark.parametrize(
    ("what_if", "words"),
    [
        (WhatIf(vram="much"), "--vram 'much' is not a size"),
        (WhatIf(vram="24"), "less than any GPU has"),
        (WhatIf(disk_free="8"), "--disk-free 8 is 8 bytes"),
        (WhatIf(disk_free="80QB"), "--disk-free '80QB' is not a size"),
        (WhatIf(dataset="coco2041"), "Did you mean"),
        (WhatIf(gpu="none", vram="8GB"), "Leave one of them out"),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_its_flag(what_if, words):
    with pytest.raises(BadRequest) as refused:
        what_if.checked()
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "images", "captions"),
    [("karpathy", 123_287, 566_747), ("coco2014", 123_287, 414_113), ("coco2017", 123_287, 591_753)],
)
def test_data_sets_are_planned_by_their_published_counts(name, images, captions):
    facts = assumed_dataset(coco.DATASETS[name], karpathy=name == "karpathy")
    assert (facts.images, facts.captions, facts.assumed) == (images, captions, True)


def test_choices_stand_side_by_side_with_what_they_cost():
    made = compare(situation(80 * GB, gpu(), models=("ViT-B/16", "ViT-L/14"), clip_model="ViT-B/16"))
    rows = {(row.clip_model, row.way, row.row, row.only_training): row for row in made.alternatives}
    native = rows["ViT-B-16", "precomputed", "196 x 768 float16", False]
    assert (native.stored_bytes, native.fits, native.exact) == (37_116_291_072, True, True)
    assert rows["ViT-L-14", "precomputed", "256 x 1024 float32", False].fits is False
    assert rows["ViT-B-16", "pixels", "224 x 224 x 3 uint8", False].stored_bytes == 18_558_145_536
    assert rows["ViT-B-16", "realtime", "-", False].stored_bytes == 0
    for row in made.alternatives:
        assert row.total.likely == pytest.approx(row.preparation.likely + made.epochs * row.epoch.likely)


def test_trained_adapters_make_every_stored_token_another_model():
    made = compare(situation(80 * GB, gpu(), adapters=True))
    assert {row.way: row.exact for row in made.alternatives} == {"realtime": True, "precomputed": False, "pixels": True}
