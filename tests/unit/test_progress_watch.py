"""The watch folds log, events, TensorBoard, use of the machine and alarms of a job into its status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import msgspec
import pytest

from fsgr_tui.core import jsontext
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import Cause, JobSpec, JobStatus
from fsgr_tui.core.units import Unknown
from fsgr_tui.jobs import notify, usage
from fsgr_tui.jobs.folder import new_run
from fsgr_tui.jobs.notify import Notifier
from fsgr_tui.jobs.series import Series, read
from fsgr_tui.jobs.usage import GpuTaken, NoGpu, NvmlMeter, Sampler
from fsgr_tui.jobs.watch import Watch


class Job:
    """A run folder with a watch, and no process."""

    def __init__(self, tmp_path) -> None:
        self.run = new_run("command")
        spec = JobSpec(self.run.name, "command", ("python", "train.py", "--logs_folder", "tb"), str(tmp_path))
        write_whole(self.run.spec, jsontext.encode(spec))
        self.run.log.touch()
        self.status = JobStatus(
            self.run.name, "running", "command", spec.argv, str(self.run.folder), started=time.time()
        )
        self.notes: list[tuple[str, str]] = []
        self.watch = Watch(self.run, gpus=NoGpu(), notifier=self)

    def send(self, state, job, text, document) -> None:
        self.notes.append((state, text))

    def poll(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def prints(self, text: str | bytes) -> JobStatus:
        with self.run.log.open("ab") as log:
            log.write(text.encode() if isinstance(text, str) else text)
        self.status = self.watch.look(self.status)
        return self.status


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


def test_a_foreign_program_shows_progress_metrics_and_its_last_line(job):
    status = job.prints("Epoch 2/20\n\rtrain:  45%|####      | 45/100 [00:10<00:12,  4.35it/s, loss=0.52]")
    assert (status.progress.phase, status.progress.step, status.progress.total) == ("train", 45, 100)
    assert (status.progress.epoch, status.progress.epochs) == (2, 20)
    assert status.metrics == {"loss": 0.52}
    assert status.last_line.startswith("train:  45%")
    assert [sample["values"] for sample in read(job.run.series)] == [{"loss": 0.52}]


def test_nothing_new_leaves_the_very_status(job):
    status = job.prints("step 5 loss 2.0\n")
    assert job.watch.look(status) is status


def test_an_incomplete_last_line_is_told(job):
    assert job.prints("a\nenter the password: ").last_line == "enter the password:"


def test_nan_is_null_in_the_status(job):
    status = job.prints("step 5 loss nan\n")
    document = json.loads(jsontext.encode(status), parse_constant=pytest.fail)
    assert document["metrics"] == {"loss": None}
    assert status.alarms[0].kind == "loss not finite"


def test_events_of_own_children_win_over_what_they_print(job):
    events = EventWriter(str(job.run.events))
    events.phase("extract", 10, "images")
    events.progress(4, 10, 2.0)
    events.metric(4, loss=float("nan"))
    status = job.prints("\rtrain:  45%|####      | 45/100 [00:10<00:12,  4.35it/s, loss=0.52]")
    assert (status.progress.phase, status.progress.step) == ("extract", 4)
    assert status.metrics == {"loss": None}
    assert status.alarms[0].line == "step 4: loss=nan"


def test_an_alarm_is_sent_once_and_again_when_it_becomes_grave(job):
    for step in range(30):
        job.prints(f"step {step} loss {'nan' if step > 3 else 1.0}\n")
    assert [state for state, _ in job.notes] == ["warning", "alarm"]


def test_the_end_is_sent_with_its_cause(job):
    job.watch.ended(msgspec.structs.replace(job.status, state="failed", cause=Cause("x", "It broke.")))
    assert job.notes == [("failed", "It broke.")]


def test_the_cause_reads_the_log_to_its_end(job):
    with job.run.log.open("ab") as log:
        log.write(
            b"filler " * 4_000_000
            + b'\nTraceback (most recent call last):\n  File "t.py", line 3, in f\nValueError: late'
        )
    assert job.watch.cause(job.status, 1).text == "ValueError: late (in t.py, line 3, in f)"


def test_no_cause_for_success_nor_for_a_job_with_a_result(job):
    assert job.watch.cause(job.status, 0) is None
    EventWriter(str(job.run.events)).result("check", {"faults": 3})
    job.status = job.watch.look(job.status)
    assert job.watch.cause(job.status, 1) is None


def test_a_fault_that_a_child_foresaw_stays_and_another_one_is_named(job):
    foreseen = msgspec.structs.replace(
        job.status, cause=Cause("fault", "CUDA out of memory, batch 64", advice="Use 32.")
    )
    assert job.watch.cause(foreseen, 3).text == "CUDA out of memory, batch 64"
    other = Cause("unforeseen", "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. (in x.py:3)", advice="The log has the whole story.")  # fmt: skip
    refined = job.watch.cause(msgspec.structs.replace(job.status, cause=other), 1)
    assert (refined.kind, refined.line) == ("GPU memory", other.text)


def test_a_flood_of_lines_keeps_its_nan_and_its_end(job):
    lines = [f"step {step} loss {'nan' if step == 777 else 2.0}" for step in range(50_000)]
    status = job.prints("\n".join(lines) + "\n")
    assert status.progress.step == 49_999
    assert [(alarm.kind, alarm.count) for alarm in status.alarms] == [("loss not finite", 1)]


def test_a_truncated_log_and_rubbish_do_no_harm(job):
    job.prints("step 5 loss 2.0\n")
    os.truncate(job.run.log, 0)
    job.prints("")
    status = job.prints(b"\xff\xfe\x00\x1b[\nstep 6 loss 1.5\n")
    assert status.metrics == {"loss": 1.5}


def test_tensorboard_scalars_of_a_folder_that_the_command_names_are_metrics(job, tmp_path):
    from tests.unit.test_progress_tensorboard import event, record, simple

    (tmp_path / "tb").mkdir()
    body = record(event(time.time(), 30, simple("loss/train", 0.75)))
    (tmp_path / "tb" / f"events.out.tfevents.{int(time.time()) + 1}.host").write_bytes(body)
    assert job.watch.look(job.status).metrics == {"loss/train": 0.75}


def test_a_series_stays_bounded_and_spans_everything(tmp_path):
    series = Series(tmp_path / "s", limit=100)
    for number in range(5000):
        series.add({"n": number})
    kept = [sample["n"] for sample in read(tmp_path / "s")]
    assert len(kept) <= 100
    assert kept[0] < 100
    assert kept[-1] > 4900
    assert kept == sorted(kept)


def test_a_series_on_a_full_disk_is_silent(tmp_path):
    Series(tmp_path / "no such folder" / "s").add({"n": 1})
    (tmp_path / "s").write_bytes(b'{"n": 1}\n{"n": 2')
    assert read(tmp_path / "s") == [{"n": 1}]


def test_the_use_of_a_process_tree_is_sampled():
    code = (
        "import subprocess, sys\nx = bytearray(80_000_000)\nsubprocess.run([sys.executable, '-c', 'while True: pass'])"
    )
    # Not below this process: what other tests left behind is there, too.
    runner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    child = subprocess.Popen([sys.executable, "-c", runner], start_new_session=True)
    try:
        sampler = Sampler(child.pid, NoGpu())
        until = time.monotonic() + 20
        sampler.sample()
        while time.monotonic() < until:
            time.sleep(0.5)
            seen = sampler.sample()
            if seen.last.processes >= 2 and seen.last.cpu_percent > 20 and seen.last.memory_bytes > 80_000_000:
                break
        assert seen.last.processes >= 2
        assert seen.last.cpu_percent > 20
        assert 80_000_000 < seen.last.memory_bytes < 300_000_000
        assert seen.peak.memory_bytes >= seen.last.memory_bytes
        assert seen.last.gpu_percent == Unknown("no NVIDIA driver here")
    finally:
        os.killpg(child.pid, 9)
        child.wait()


class FakeNvml:
    """The few functions of pynvml that the meter calls."""

    class NVMLError(Exception):
        pass

    def __init__(self, *cards: dict[int, int], percent: int = 55, samples: dict[int, int] | None = None) -> None:
        self.cards, self.percent, self.samples = cards, percent, samples

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.cards[handle].items()]

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        return SimpleNamespace(gpu=self.percent)

    def nvmlDeviceGetProcessUtilization(self, handle, since):  # noqa: N802
        if self.samples is None:
            raise self.NVMLError("Not Supported")
        return [SimpleNamespace(pid=pid, smUtil=used) for pid, used in self.samples.items()]


def test_gpu_use_is_that_of_the_jobs_own_processes():
    assert NvmlMeter(FakeNvml({7: 5 << 30}, {})).read({7, 8}) == GpuTaken(55.0, 5 << 30)
    shared = FakeNvml({7: 1 << 30, 99: 9 << 30}, samples={7: 30, 99: 60})
    assert NvmlMeter(shared).read({7}) == GpuTaken(30.0, 1 << 30)
    untold = NvmlMeter(FakeNvml({7: 1 << 30, 99: 9 << 30})).read({7})
    assert untold == GpuTaken(Unknown("Not Supported"), 1 << 30)


def test_processes_that_the_driver_names_otherwise_are_unknown_not_idle():
    taken = NvmlMeter(FakeNvml({4242: 5 << 30})).read({7})
    assert isinstance(taken.percent, Unknown)
    assert NvmlMeter(FakeNvml({})).read({7}) == GpuTaken(0.0, 0)


def test_without_a_driver_the_gpu_is_unknown(monkeypatch):
    def no_library(name):
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", no_library)
    assert isinstance(usage.nvml_meter().read({1}).percent, Unknown)


def recorder(tmp_path, code: str = "") -> str:
    script = tmp_path / "note.py"
    script.write_text(
        f"import json, sys\n{code}\n"
        f"json.dump([sys.argv[1:], json.load(sys.stdin)], open({str(tmp_path / 'note.json')!r}, 'w'))"
    )
    return json.dumps([sys.executable, str(script), "my word"])


def test_the_users_command_gets_words_and_a_document(tmp_path):
    notifier = Notifier({notify.NOTIFY_VARIABLE: recorder(tmp_path)})
    notifier.send("alarm", "train-1", "loss; rm -rf $HOME `x`\n'", {"exit_code": None})
    notifier.finish()
    words, document = json.loads((tmp_path / "note.json").read_text())
    assert words == ["my word", "alarm", "train-1", "loss; rm -rf $HOME `x`\n'"]
    assert (document["schema"], document["state"], document["exit_code"]) == ("fsgr-tui/notice/1", "alarm", None)


def test_a_command_that_hangs_is_ended_and_told_once(tmp_path, capsys):
    notifier = Notifier({notify.NOTIFY_VARIABLE: recorder(tmp_path, "import time; time.sleep(60)")}, deadline_s=0.5)
    for _ in range(8):
        notifier.send("alarm", "j", "t", {})
    notifier.finish()
    assert not (tmp_path / "note.json").exists()
    assert capsys.readouterr().err.count("FSGR_TUI_NOTIFY:") == 1


def test_a_command_that_is_not_there_is_told_once(capsys):
    notifier = Notifier({notify.NOTIFY_VARIABLE: "/no/such/program -x"})
    notifier.send("alarm", "j", "t", {})
    notifier.send("alarm", "j", "t", {})
    assert capsys.readouterr().err.count("/no/such/program cannot be run") == 1


@pytest.mark.parametrize(
    ("setting", "words"),
    [("", []), ('["a b", "c"]', ["a b", "c"]), ("mail -s 'a b'", ["mail", "-s", "a b"]), ("'unclosed", []), ('{"a": 1}', ["{a:", "1}"]), ("[1]", [])],
)  # fmt: skip
def test_the_setting_is_a_list_or_words(setting, words):
    assert notify.command(setting) == words
