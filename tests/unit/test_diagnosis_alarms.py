"""Alarms while a job runs: each once, with first and last time, count, and what to try."""

from __future__ import annotations

import math

import pytest

from fsgr_tui.core.job import JobProgress, Usage
from fsgr_tui.core.units import Unknown
from fsgr_tui.jobs.diagnosis.alarms import Alarms
from fsgr_tui.jobs.diagnosis.machine_rules import DiskFills, GpuIdle, Silent, Slower, workers_of
from fsgr_tui.jobs.diagnosis.metric_rules import NonFinite, RateZero, StuckAtVocabulary
from fsgr_tui.jobs.diagnosis.score_rules import ValidationGap, ZeroScore
from fsgr_tui.jobs.diagnosis.signals import Signals

NAN = math.nan


def told(rule, *readings, every_s: float = 1.0):
    """The alarms after readings of (step, metrics)."""
    for number, (step, metrics) in enumerate(readings):
        rule.see(number * every_s, step, metrics, f"step {step}")
    return list(rule.alarms())


def test_a_single_nan_is_a_warning_and_the_run_is_healthy():
    (alarm,) = told(NonFinite(), (1, {"loss": 0.52}), (2, {"loss": NAN}), (3, {"loss": 0.25}))
    assert (alarm.level, alarm.count, alarm.first, alarm.line) == ("warning", 1, 1.0, "step 2")
    assert "once, first at step 2; the last finite value was 0.25 at step 3" in alarm.text


def test_lasting_nan_is_an_alarm_with_the_first_bad_step_and_the_last_finite_value():
    readings = [(step, {"loss": 2.0 - step / 100, "grad_norm": 1.0}) for step in range(49)]
    readings += [(49, {"loss": 1.51, "grad_norm": NAN})]
    readings += [(step, {"loss": NAN, "grad_norm": NAN}) for step in range(50, 100)]
    alarms = {alarm.kind: alarm for alarm in told(NonFinite(), *readings)}
    loss = alarms["loss not finite"]
    assert (loss.level, loss.count, loss.first, loss.last) == ("alarm", 50, 50.0, 99.0)
    assert "since step 50 (50 readings); the last finite value was 1.51 at step 49" in loss.text
    assert "since step 49" in alarms["grad_norm not finite"].text


def test_a_lasting_nan_that_ends_is_told_as_past():
    readings = [(step, {"loss": NAN if 5 <= step < 20 else 1.0}) for step in range(30)]
    (alarm,) = told(NonFinite(), *readings)
    assert alarm.level == "warning"
    assert "from step 5 on, and is finite again" in alarm.text


def test_infinity_counts_and_a_best_value_before_the_first_does_not():
    assert [alarm.kind for alarm in told(NonFinite(), (1, {"loss": math.inf, "best_loss": math.inf}))] == ["loss not finite"]  # fmt: skip


def test_a_negative_loss_is_normal():
    alarms = Alarms((), 2, "/x")
    for step in range(200):
        alarms.metrics(float(step), step, {"rl_loss": -0.3 - step / 1000, "reward": 0.8}, "")
    assert alarms.told() == ()


def test_a_learning_rate_of_zero_for_a_whole_run_is_an_alarm():
    (alarm,) = told(RateZero(), *((step, {"lr": 0.0, "loss": 9.2}) for step in range(0, 2000, 50)))
    assert (alarm.level, alarm.line) == ("alarm", "step 0")
    assert "from step 0 to step 1,950" in alarm.text


def test_a_warm_up_that_begins_at_zero_and_a_schedule_that_ends_there_are_normal():
    readings = [(0, {"learning_rate": 0.0}), *((step, {"learning_rate": step / 100}) for step in range(1, 50))]
    assert told(RateZero(), *readings, (50, {"learning_rate": 0.0})) == []


def test_a_loss_at_the_vocabularys_logarithm_is_told_with_the_number_of_steps():
    level = math.log(10_201)
    readings = [(step, {"loss": level + 0.03 * math.sin(step)}) for step in range(0, 2214, 20)]
    (alarm,) = told(StuckAtVocabulary(), *readings)
    assert "for 2,200 steps" in alarm.text
    assert "ln(10,2" in alarm.text
    (known,) = told(StuckAtVocabulary(10_201), *readings)
    assert "ln(10,201), the vocabulary" in known.text
    assert told(StuckAtVocabulary(4000), *readings) == []


def test_a_loss_that_leaves_the_vocabularys_logarithm_is_normal():
    readings = [(step, {"loss": math.log(10_201) * math.exp(-step / 400)}) for step in range(0, 2000, 10)]
    assert told(StuckAtVocabulary(), *readings) == []
    assert told(StuckAtVocabulary(), *((step, {"loss": 2.3}) for step in range(0, 2000, 10))) == []


def test_a_validation_loss_far_above_is_told_the_second_time():
    epoch = [(step, {"loss": 1.0}) for step in range(10)]
    once = [*epoch, (10, {"val_loss": 2.6})]
    assert told(ValidationGap(), *once) == []
    (alarm,) = told(ValidationGap(), *once, *epoch, (20, {"val_loss": 2.8}))
    assert "val_loss 2.8 is far above the training loss 1, 2 times in a row" in alarm.text
    assert told(ValidationGap(), *epoch, (10, {"val_loss": 1.4}), (20, {"val_loss": 1.5})) == []


def test_a_caption_score_of_exactly_zero_is_told_and_an_early_accuracy_is_not():
    (alarm,) = told(ZeroScore(), (1, {"CIDEr": 0.0, "accuracy": 0.0}))
    assert (alarm.kind, alarm.level) == ("score zero", "warning")
    (alarm,) = told(ZeroScore(), (1, {"CIDEr": 0.0}), (2, {"CIDEr": 0.0}))
    assert (alarm.level, alarm.count) == ("alarm", 2)
    assert told(ZeroScore(), (1, {"CIDEr": 0.0}), (2, {"CIDEr": 0.4})) == []
    assert [alarm.kind for alarm in told(ZeroScore(), *((step, {"val_acc": 0.0}) for step in range(3)))] == ["score zero"]  # fmt: skip


def test_scores_that_are_zero_epoch_after_epoch_are_one_alarm():
    scores = {"bleu_1": 0.0, "bleu_2": 0.0, "cider": 0.3}
    (alarm,) = told(ZeroScore(), (100, scores), (200, scores), (300, {**scores, "bleu_1": 0.1}), (400, {**scores, "bleu_1": 0.0}))  # fmt: skip
    assert alarm.text == "bleu_2, bleu_1 are exactly 0, up to 4 times in a row, last at step 400."
    assert (alarm.count, alarm.level) == (4, "alarm")


def progress(rate: float, phase: str = "epoch 1") -> JobProgress:
    return JobProgress(phase=phase, step=5, rate=rate, unit="it")


def test_a_rate_that_falls_to_less_than_half_is_told_once():
    rule = Slower()
    for number in range(40):
        rule.see(number * 5.0, progress(10.0))
    for number in range(40, 80):
        rule.see(number * 5.0, progress(4.0))
    (alarm,) = rule.alarms()
    assert "fell from 10 to 4 it/s" in alarm.text
    assert alarm.count == 1


def test_another_kind_of_work_has_a_rate_of_its_own():
    rule = Slower()
    for number in range(60):
        rule.see(number * 5.0, progress(10.0, f"epoch {number}"))
    for number in range(60, 120):
        rule.see(number * 5.0, progress(1.0, "validate"))
    assert list(rule.alarms()) == []


def usage(at: float, gpu: float | Unknown, cpu: float = 100.0, gpu_bytes: int | Unknown = 4 << 30) -> Usage:
    return Usage(at, 3, cpu, 1 << 30, 0.0, 0.0, gpu, gpu_bytes)


def idle(argv: tuple[str, ...], gpu: float | Unknown, cpu: float = 100.0, cpus: int = 8, *, moves: bool = True):
    rule = GpuIdle(argv, cpus)
    for number in range(30):
        rule.see(usage(number * 5.0, gpu, cpu), moves=moves)
    return list(rule.alarms())


@pytest.mark.parametrize(
    ("argv", "cpu", "advice"),
    [
        (("t.py", "--workers", "2"), 200.0, "too slow with 2 workers: try 7"),
        (("t.py", "--num_workers=1"), 200.0, "too slow with 1 workers: try 4"),
        (("t.py",), 200.0, "try --workers 7"),
        (("t.py", "--workers", "7"), 790.0, "All processors are busy"),
        (("t.py", "--workers", "7"), 200.0, "look at the disk"),
    ],
)
def test_an_idle_gpu_is_told_with_the_number_of_workers_to_try(argv, cpu, advice):
    (alarm,) = idle(argv, 20.0, cpu)
    assert "busy only 20 %" in alarm.text
    assert advice in alarm.advice
    assert alarm.count == 1


def test_no_gpu_a_busy_one_and_a_job_that_does_not_move_are_not_idle():
    assert idle((), Unknown("no driver")) == []
    assert idle((), 90.0) == []
    assert idle((), 0.0, moves=False) == []


def test_the_number_of_workers_is_read_from_a_command():
    assert workers_of(("t.py", "--num-workers", "4")) == 4
    assert workers_of(("t.py", "--workers")) is None
    assert workers_of(("t.py", "workers", "4")) is None


def test_silence_is_told_and_its_end_too():
    rule = Silent(600)
    rule.see(500, 0, "step 9", 0.0)
    assert list(rule.alarms()) == []
    for at in (601, 700, 1200):
        rule.see(at, 0, "step 9", 0.0)
    (alarm,) = rule.alarms()
    assert "Nothing was printed or told for 20 min; its processes use 0 % of a processor." in alarm.text
    assert (alarm.first, alarm.last, alarm.count, alarm.line) == (601, 1200, 1, "step 9")
    rule.see(1210, 1205, "step 10", 90.0)
    assert "went on" in next(iter(rule.alarms())).text


def test_a_disk_that_will_be_full_before_the_end_is_told_with_the_time(monkeypatch):
    rule = DiskFills("/data")
    for minute in range(8):
        rule.see(minute * 60.0, 100 * 10**9 - minute * 10**9, 10 * 3600.0)
    (alarm,) = rule.alarms()
    assert "/data will be full in 93 min, about " in alarm.text
    assert "before the job's end (in 10.0 h): 93.0 GB free, 1.00 GB less every minute" in alarm.text


@pytest.mark.parametrize(("lost_per_minute", "left_s"), [(10**9, 1800.0), (0, 1e6), (-(10**8), 1e6), (10**8, None)])
def test_a_disk_that_lasts_is_no_alarm(lost_per_minute, left_s):
    rule = DiskFills("/data")
    for minute in range(30):
        rule.see(minute * 60.0, 100 * 10**9 - minute * lost_per_minute, left_s)
    assert list(rule.alarms()) == []


def test_room_that_was_made_ends_the_extrapolation():
    rule = DiskFills("/data")
    for minute in range(4):
        rule.see(minute * 60.0, (20 - minute) * 10**9, 1e6)
    rule.see(240.0, 500 * 10**9, 1e6)
    for minute in range(5, 20):
        rule.see(minute * 60.0, 500 * 10**9, 1e6)
    assert list(rule.alarms()) == []


def test_little_space_is_told_at_once():
    rule = DiskFills("/data")
    rule.see(0.0, 10**8, None)
    assert "only 100 MB free" in next(iter(rule.alarms())).text


def log_alarms(*lines: str):
    alarms = Alarms((), 2, "/x")
    for number, line in enumerate(lines):
        alarms.lines(float(number), [line], number + 1)
    return alarms.told()


def test_missing_features_are_counted_and_their_ids_kept():
    lines = [f"Could not find detections for {number}" for number in range(53643, 53653)]
    (alarm,) = log_alarms("epoch 1", *lines)
    assert (alarm.level, alarm.count, alarm.first, alarm.last) == ("alarm", 10, 1.0, 10.0)
    assert alarm.line == "Could not find detections for 53643"
    assert alarm.ids == tuple(str(number) for number in range(53643, 53653))
    assert "10 images: 53643, 53644, 53645, 53646, 53647 and 5 more" in alarm.text


def test_skipped_batches_become_an_alarm_when_they_are_many():
    (few,) = log_alarms("Gradient overflow. Skipping step, loss scaler reducing loss scale to 32768")
    assert few.level == "warning"
    (many,) = log_alarms(*[f"CUDA error, skipping batch {number}" for number in range(40)])
    assert (many.level, many.count) == ("alarm", 40)


def test_division_warnings_are_folded():
    (alarm,) = log_alarms(*["/x.py:3: RuntimeWarning: invalid value encountered in true_divide"] * 500)
    assert (alarm.kind, alarm.count, alarm.level) == ("division by zero", 500, "warning")


def test_a_warning_that_repeats_a_hundred_times_is_told_once():
    (alarm,) = log_alarms(*[f"/x.py:3: UserWarning: caption {number} was cut" for number in range(150)])
    assert (alarm.kind, alarm.count) == ("repeated warning", 150)


def test_ordinary_lines_are_no_alarm():
    signals = Signals()
    signals.see(["step 1 loss 2.3", "saving", "skipping rope", "no batch was harmed", "assert x"] * 10, 1)
    assert signals.folded == {}


def test_another_run_in_the_log_begins_anew_and_what_was_told_stays():
    alarms = Alarms((), 2, "/x")
    for step in range(30):
        alarms.metrics(float(step), step, {"loss": NAN}, "")
    alarms.new_run()
    for step in range(30):
        alarms.metrics(100.0 + step, step, {"loss": 1.0}, "")
    (alarm,) = alarms.told()
    assert (alarm.kind, alarm.last) == ("loss not finite", 29.0)


def test_an_alarm_that_comes_again_in_another_run_of_the_log_is_folded_into_the_first():
    alarms = Alarms((), 2, "/x")
    for run in range(3):
        for step in range(2):
            alarms.metrics(100.0 * run + step, step, {"cider": 0.0}, "")
        alarms.new_run()
    (alarm,) = alarms.told()
    assert (alarm.kind, alarm.count, alarm.first, alarm.last) == ("score zero", 6, 0.0, 201.0)
