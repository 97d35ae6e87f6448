"""Bars and lines of many programs are understood, and made into phase, count, rate and time left."""

from __future__ import annotations

import math

import pytest

from fsgr_tui.jobs.progress import bars, lines
from fsgr_tui.jobs.progress.rate import RecentRate
from fsgr_tui.jobs.progress.screen import Screen
from fsgr_tui.jobs.progress.tracker import Tracker


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        one[name] == other[name] or (math.isnan(one[name]) and math.isnan(other[name])) for name in one
    )


NAN = float("nan")


@pytest.mark.parametrize(
    ("row", "label", "step", "total", "unit", "metrics"),
    [
        ("  0%|          | 0/10 [00:00<?, ?it/s]", "", 0, 10, "it", {}),
        ("train:  45%|████▌     | 45/100 [00:10<00:12,  4.35it/s]", "train", 45, 100, "it", {}),
        ("train:  45%|4         | 45/100 [10:10<12:12, 13.35s/it]", "train", 45, 100, "it", {}),
        ("e:  45%|4  | 45/100 [1:02:03<2:01:00, 4it/s, loss=nan, lr=1e-4]", "e", 45, 100, "it", {"loss": NAN, "lr": 1e-4}),
        ("  7%|▋         | 7/100 [00:00<00:01, 67.96 images/s]", "", 7, 100, "images", {}),
        ("dl:  10%|█  | 3.40M/10.0M [00:01<00:03, 2.1MB/s]", "dl", 3_400_000, 10_000_000, "B", {}),
        ("100%|##| 2/2 [1 days, 00:00:00<00:00, 43200.00s/it]", "", 2, 2, "it", {}),
        ("123it [00:10, 12.3it/s]", "", 123, None, "it", {}),
        ("0it [00:00, ?it/s]", "", 0, None, "it", {}),
        ("45 images [00:10, 4.5 images/s, loss=2]", "", 45, None, "images", {"loss": 2.0}),
        ("read: 5.3MB [00:01, 4.1MB/s]", "read", 5_300_000, None, "B", {}),
        ("Epoch 0 - train:  12%|█▏ | 12/100 [00:01<00:10, 8it/s, loss=tensor(0.52)]", "Epoch 0 - train", 12, 100, "it", {"loss": 0.52}),
        ("Epoch 3:  45%|4 | 45/100 [00:10<00:12, 4.3it/s, v_num=0, train_loss=0.5]", "Epoch 3", 45, 100, "it", {"train_loss": 0.5}),
        ("Epoch 3/19 ━━━━━━━━━╸━━━━ 45/100 0:00:10 • 0:00:12 4.35it/s loss: 0.5 v_num: 1.0", "Epoch 3/19", 45, 100, "it", {"loss": 0.5}),
        (" 45/100 [=======>......] - ETA: 5s - loss: 0.52 - accuracy: 0.8", "", 45, 100, "steps", {"loss": 0.52, "accuracy": 0.8}),
        ("100/100 [=====] - 5s 50ms/step - loss: 0.5 - val_loss: nan", "", 100, 100, "steps", {"loss": 0.5, "val_loss": NAN}),
        ("45/100 ━━━━━━━━━━━━━━━━━━━━ 5s 50ms/step - accuracy: 0.8 - loss: 0.52", "", 45, 100, "steps", {"accuracy": 0.8, "loss": 0.52}),
    ],
)  # fmt: skip
def test_a_bar_is_read(row, label, step, total, unit, metrics):
    bar = bars.parse(row)
    assert bar is not None
    assert (bar.label, bar.step, bar.total, bar.unit) == (label, step, total, unit)
    assert same(bar.metrics, metrics)


@pytest.mark.parametrize("row", ["[a|b] 3/4 text", "45/100 [00:10<00:12] what", "50% | done", "", "|", "12/25/2026 x"])
def test_what_is_no_bar_is_none(row):
    assert bars.parse(row) is None


def test_text_glued_behind_a_bar_is_kept_apart():
    bar = bars.parse("train: 100%|##| 3/3 [00:01<00:00, 2.0it/s, loss=0.5]Epoch 2/20 loss 0.3")
    assert (bar.step, bar.metrics, bar.rest) == (3, {"loss": 0.5}, "Epoch 2/20 loss 0.3")


@pytest.mark.parametrize(
    ("line", "epoch", "epochs", "step", "total", "metrics"),
    [
        ("Epoch 3/20", 3, 20, None, None, {}),
        ("Epoch [3/20], Step [100/500], Loss: 0.5234", 3, 20, 100, 500, {"Loss": 0.5234}),
        ("step 200 loss 2.31", None, None, 200, None, {"loss": 2.31}),
        ("iter 200: loss 2.3112, time 50.2ms, mfu 3.2%", None, None, 200, None, {"loss": 2.3112}),
        ("Epoch: [3][ 45/100]\tTime 0.1 (0.2)\tLoss 2.31 (2.5)", 3, None, 45, 100, {"Loss": 2.31}),
        ("epoch 4 | step 100/2,000 | loss 3.2 | ppl 24.5 | lr 3.00e-04", 4, None, 100, 2000, {"loss": 3.2, "ppl": 24.5, "lr": 3e-4}),
        ("[200/1000] loss=0.3 lr=0.000000", None, None, 200, 1000, {"loss": 0.3, "lr": 0.0}),
        ("{'loss': 2.31, 'grad_norm': nan, 'learning_rate': 5e-05, 'epoch': 0.5}", 0.5, None, None, None, {"loss": 2.31, "grad_norm": NAN, "learning_rate": 5e-5}),
        ("{'loss': '2.31', 'learning_rate': '5e-05', 'epoch': '0.5'}", 0.5, None, None, None, {"loss": 2.31, "learning_rate": 5e-5}),
        ('{"step": 200, "loss": NaN}', None, None, 200, None, {"loss": NAN}),
        ("Validation scores {'BLEU': [0.7, 0.5, 0.3, 0.2], 'CIDEr': 0.0}", None, None, None, None,
         {"CIDEr": 0.0, "BLEU_1": 0.7, "BLEU_2": 0.5, "BLEU_3": 0.3, "BLEU_4": 0.2}),
        ("Epoch 3 finished, train loss: inf", 3, None, None, None, {"train_loss": math.inf}),
        ("lr = 0.0", None, None, None, None, {"lr": 0.0}),
        ("2026-11-25 13:00:00 INFO epoch=1 step=20 loss=-0.5", 1, None, 20, None, {"loss": -0.5}),
        ("Validation loss 3.4", None, None, None, None, {"Validation_loss": 3.4}),
    ],
)  # fmt: skip
def test_a_line_is_read(line, epoch, epochs, step, total, metrics):
    told = lines.parse(line)
    assert told is not None
    assert (told.epoch, told.epochs, told.step, told.total) == (epoch, epochs, step, total)
    assert same(dict(told.metrics), metrics)


@pytest.mark.parametrize(
    "line", ["GPU 0: 40 C", "loading step by step", "saved to /a/loss 3/", "step 3", "", "x" * 9000 + " loss 3"]
)
def test_prose_is_no_progress(line):
    assert lines.parse(line) is None


def play(*chunks: str, every_s: float = 1.0):
    screen, tracker, readings, now = Screen(), Tracker(), [], 0.0
    for chunk in chunks:
        now += every_s
        shown = screen.feed(chunk.encode())
        readings += tracker.see(shown.states, shown.lines, screen.live, now)
    return tracker, readings, now


def bar_row(step: int, total: int = 100, label: str = "train", postfix: str = "") -> str:
    return f"\r{label}: {step * 100 // total}%|#| {step}/{total} [00:10<00:12, ?it/s{postfix}]"


def test_rate_and_time_left_are_computed_here():
    tracker, _, now = play(*(bar_row(step) for step in range(0, 40, 2)))
    progress = tracker.progress(now)
    assert (progress.phase, progress.step, progress.total, progress.unit) == ("train", 38, 100, "it")
    assert progress.rate == pytest.approx(2)
    assert progress.eta_s == pytest.approx(31)


def test_the_jump_of_a_resumed_counter_is_no_rate():
    tracker, _, now = play(*(bar_row(step, 10_000) for step in (0, 5000)))
    assert tracker.progress(now).rate is None
    tracker, _, now = play(*(bar_row(step, 10_000) for step in (0, 5000, 5001, 5002, 5003)))
    assert tracker.progress(now).rate == pytest.approx(1)


def test_a_single_nan_between_two_looks_is_seen():
    _, readings, _ = play("".join(bar_row(step, postfix=f", loss={'nan' if step == 5 else 0.5}") for step in range(9)))
    assert [reading.step for reading in readings if math.isnan(reading.metrics["loss"])] == [5]


def test_a_bar_that_stands_still_tells_nothing_twice():
    _, readings, _ = play(bar_row(3, postfix=", loss=nan"), *[""] * 20)
    assert len(readings) == 1


def test_nested_bars_count_epochs_outside_and_steps_inside():
    chunks = []
    for epoch in range(3):
        chunks.append(f"\rEpoch: 1%|#| {epoch}/4 [00:00<00:00, ?it/s]")
        chunks += [f"\n\rtrain: 1%|#| {step}/10 [00:00<00:00, ?it/s]\x1b[A" for step in range(11)]
    tracker, _, now = play(*chunks[:-5])
    progress = tracker.progress(now)
    assert (progress.phase, progress.step, progress.total) == ("train", 5, 10)
    assert (progress.epoch, progress.epochs) == (3, 4)
    assert progress.eta_s == pytest.approx(5)
    assert progress.whole_eta_s == pytest.approx(15)


def test_lines_alone_make_progress():
    tracker, readings, now = play(
        *(f"Epoch 2/20\nstep {step}/500 loss 2.5\n" for step in range(0, 300, 50)), every_s=10
    )
    progress = tracker.progress(now)
    assert (progress.phase, progress.step, progress.total, progress.unit) == ("epoch 2 of 20", 250, 500, "steps")
    assert progress.rate == pytest.approx(5)
    assert [reading.step for reading in readings] == [0, 50, 100, 150, 200, 250]


def test_epochs_are_progress_where_nothing_finer_is_told():
    tracker, _, now = play(*(f"Epoch {epoch}/20 loss 2\n" for epoch in range(1, 7)), every_s=100)
    progress = tracker.progress(now)
    assert (progress.step, progress.total, progress.unit) == (6, 20, "epochs")
    assert progress.eta_s == pytest.approx(1400)


def test_runs_that_were_appended_to_one_log_are_told_apart():
    first = [f"Epoch {epoch}/20 loss 2\n" for epoch in range(1, 8)]
    tracker, _, now = play(*first, *first[:3], every_s=10)
    assert tracker.run == 2
    assert tracker.progress(now).epoch == 3
    assert play(*(f"step {step} loss 2\n" for step in (0, 100, 200, 0, 100)))[0].run == 2


def test_steps_that_begin_anew_in_each_epoch_are_one_run():
    chunks = [f"Epoch {epoch}/3\nstep {step} loss 2\n" for epoch in (1, 2, 3) for step in (0, 100, 200)]
    assert play(*chunks)[0].run == 1


def test_a_rate_falls_while_the_counter_stands_still():
    rate = RecentRate()
    for second in range(60):
        rate.add(second * 10, float(second))
    assert rate.value(59) == pytest.approx(10)
    assert rate.value(119) < 4


def test_slow_steps_have_a_rate_between_them():
    rate = RecentRate()
    for number in range(6):
        rate.add(number, number * 60.0)
    assert rate.value(300 + 50) == pytest.approx(1 / 60)


def test_a_counter_that_goes_back_begins_anew():
    rate = RecentRate()
    for second, step in enumerate((5, 6, 7, 0, 1)):
        rate.add(step, float(second))
    assert rate.value(4) is None
