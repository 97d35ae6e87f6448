"""What the demo says at its end."""

import pytest

from fsgr_tui.features.check import CheckReport
from fsgr_tui.service.demo import CONTROL, DemoResult, same_step, summary, verdict


def trained(mode, pairs_per_s, cider, losses=(4.0, 1.0), epochs=3):
    return {
        "mode": mode, "batch_size": 32, "first_loss": losses[0], "last_loss": losses[1], "step_s": 32 / pairs_per_s,
        "pairs_per_s": pairs_per_s, "epoch_s": 37 * 32 / pairs_per_s, "peak_memory_bytes": 300_000_000,
        "baseline_memory_bytes": 100_000_000, "memory_kind": "process RSS", "largest_batch": None, "data_wait_share": 0.02,
        "best": {"by": "cider", "value": cider, "step": 37},
        "curve": [{"step": 37 * epoch, "val_loss": 3.0 - epoch / 2, "cider": 0.1 * epoch} for epoch in range(1, epochs + 1)],
    }  # fmt: skip


def result(cider=1.6, control=0.6, good=True, **losses):
    check = CheckReport("demo.hdf5", good, "", (), 280, 280, "deep")
    runs = {
        "realtime": trained("realtime", 100.0, 0.9, **losses),
        "precomputed": trained("precomputed", 400.0, cider, epochs=5, **losses),
        CONTROL: trained("precomputed", 400.0, control, epochs=5),
    }
    return DemoResult("demo", "fsgr-demo-16", "random:0", 1, {}, check, runs, 60.0)


def test_both_ways_stand_side_by_side_with_the_measured_speed_up_and_the_guides():
    rows = {row[0]: row[1:] for row in summary(result())}
    assert rows["faster by"] == ("1x", "4.0x", "1x", "3-5x said")
    assert rows["time per step"] == ("320 ms", "80 ms", "2.5 s", "0.8 s")
    assert rows["caption pairs/s"] == ("100", "400", "26", "188")
    assert rows["memory beyond start"] == ("200 MB process RSS", "200 MB process RSS", "22 GB", "16 GB")
    assert rows["validation loss, step 111"] == ("1.500", "1.500", "-", "-")


def test_losses_are_compared_after_the_same_step():
    one, other = trained("realtime", 1.0, 1.0, epochs=2), trained("precomputed", 1.0, 1.0, epochs=5)
    assert same_step(one, other) == (74, 2.0, 2.0)


@pytest.mark.parametrize(
    ("made", "good"),
    [
        (result(), True),
        (result(cider=1.0), False),
        (result(control=1.2), False),
        (result(good=False), False),
        (result(losses=(1.0, 4.0)), False),
    ],
)
def test_a_demo_is_good_when_captions_follow_the_pictures_and_the_controls_do_not(made, good):
    assert made.good == good


def test_the_verdict_names_what_was_reached_and_what_was_stated():
    told = verdict(result())
    assert "CIDEr-D 1.60 on 20 images that it never saw, above the stated 1.1" in told
    assert "the control reaches 0.60" in told
    assert "below it" in told
    assert "NOT above" in verdict(result(cider=1.0))
    assert "NOT below it" in verdict(result(control=1.2))
