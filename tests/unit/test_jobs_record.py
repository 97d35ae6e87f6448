"""What a full, slow or broken disk does to a job: it goes on, says so, and loses nothing that can be kept."""

from __future__ import annotations

import errno
import json
import os
import resource
import threading
import time

import msgspec
import pytest

from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import JobStatus
from fsgr_tui.jobs import control
from fsgr_tui.jobs import record as record_module
from fsgr_tui.jobs.folder import new_run, runner_pid
from fsgr_tui.jobs.processes import table
from fsgr_tui.jobs.progress.thin import Thinner
from fsgr_tui.jobs.pump import Waiting, pump
from fsgr_tui.jobs.record import Record
from tests.fakes.jobs import end_all, ended, started, wait_for


@pytest.fixture(autouse=True)
def _no_job_stays(own_runs):
    yield
    end_all()


class Disk:
    """A log on a disk that takes nothing for a while, or a few bytes at a time."""

    def __init__(self, refusals: int = 0, most: int = 1 << 20) -> None:
        self.refusals, self.most, self.log = refusals, most, b""

    def write(self, chunk: bytes) -> int:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.log += chunk[: self.most]
        return len(chunk[: self.most])


def pumped(disk: Disk, output: bytes, **options) -> list[dict]:
    """Carry output to a disk; returns what the pump told."""
    source, into = os.pipe()
    heard, tell = os.pipe()
    feeding = threading.Thread(target=lambda: (os.write(into, output), os.close(into)))
    feeding.start()
    pump(source, disk.write, tell, options.pop("waiting", Waiting()), retry_s=0.01, **options)
    feeding.join()
    os.close(tell)
    with os.fdopen(heard, "rb") as file:
        return [json.loads(line) for line in file]


def test_all_output_is_in_the_log_byte_by_byte():
    output = bytes(range(256)) * 200 + "训练 ▏50%|\r".encode() + b"no end"
    disk = Disk(most=1000)
    assert pumped(disk, output) == []
    assert disk.log == output


def test_output_waits_for_a_disk_that_was_full():
    disk = Disk(refusals=5)
    assert pumped(disk, b"epoch 1\nepoch 2\n") == [{"full": "No space left on device"}]
    assert disk.log == b"epoch 1\nepoch 2\n"


def test_what_does_not_fit_in_memory_is_counted_where_it_is_missing():
    waiting = Waiting(kept_bytes=100)
    for number in range(10):
        waiting.put(bytes([48 + number]) * 40)
    assert waiting.left_bytes == 80
    disk = Disk()
    told = pumped(disk, b"end\n", waiting=waiting)
    assert {"lost": 320} in told
    assert b"320 bytes of output are missing here" in disk.log
    assert disk.log.endswith(b"8" * 40 + b"9" * 40 + b"end\n")


def test_output_that_no_disk_ever_takes_is_given_up_in_the_end():
    told = pumped(Disk(refusals=10**9), b"x" * 10, give_up_s=0.05)
    assert told == [{"full": "No space left on device"}, {"lost": 10}]


def test_a_job_whose_log_finds_no_room_goes_on_and_all_is_kept_when_there_is_room_again():
    code = "import time\nfor i in range(3000): print(f'{i:99d}', flush=True)\nprint('printed', flush=True); time.sleep(2); raise SystemExit(0)"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        run = started(code)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert wait_for(lambda: any("The log takes nothing (File too large)" in each for each in run.read_status().notices))
    assert run.log.stat().st_size == 100_000
    assert (run.read_status().state, run.read_status().life) == ("running", "here")
    for process in table().values():
        if process.parent == runner_pid(run):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
    assert (ended(run).state, run.read_status().exit_code) == ("done", 0)
    assert run.log.read_bytes() == b"".join(b"%99d\n" % number for number in range(3000)) + b"printed\n"


def test_a_disk_that_gives_no_answer_does_not_hold_a_job_that_is_told_to_end_at_once(monkeypatch):
    monkeypatch.setattr(record_module, "GIVE_UP_S", 0.2)

    class Hanging:
        has_result = False

        def look(self, status):
            threading.Event().wait(60)
            return status

        def cause(self, status, return_code):
            return None

    run = new_run("command")
    record = Record(run, status_of(run), lambda: None)
    record.follow(Hanging(), list)
    record.start()
    began = time.monotonic()
    record.end(lambda _: {"state": "stopped"}, lambda: True)
    assert time.monotonic() - began < 3
    assert run.recorded_status().state == "stopped"


class Folder:
    """A run folder whose status cannot be written for a while."""

    def __init__(self, run, refusals=0, pause_s=0.0):
        self._run, self.refusals, self.pause_s, self.processes = run, refusals, pause_s, run.processes

    def write_status(self, status):
        time.sleep(self.pause_s)
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self._run.write_status(status)


def status_of(run) -> JobStatus:
    return JobStatus(run.name, "running", "command", ("true",), str(run.folder))


def test_a_status_is_written_when_space_is_back_and_tells_of_it(capsys):
    run = new_run("command")
    record = Record(Folder(run, refusals=2), status_of(run), lambda: None)
    record.start()
    record.end(lambda _: {"state": "done", "exit_code": 0}, lambda: False)
    written = run.recorded_status()
    assert (written.state, written.exit_code) == ("done", 0)
    assert "took nothing for" in record.status.notices[-1]
    assert "No space left" in capsys.readouterr().err


def test_a_slow_disk_does_not_hold_up_who_changes_the_status():
    run = new_run("command")
    record = Record(Folder(run, pause_s=0.5), status_of(run), lambda: None)
    record.start()
    time.sleep(0.1)
    began = time.monotonic()
    for number in range(100):
        record.change(note=str(number))
    assert time.monotonic() - began < 0.2
    record.end(lambda _: {"state": "done"}, lambda: False)
    assert run.recorded_status().note == "99"


def test_a_disk_that_never_comes_back_can_be_given_up(capsys):
    run = new_run("command")
    record = Record(Folder(run, refusals=10**9), status_of(run), lambda: None)
    record.start()
    began = time.monotonic()
    assert record.end(lambda _: {"state": "done"}, lambda: True).state == "done"
    assert time.monotonic() - began < 3


def test_a_fault_in_reading_what_the_job_tells_does_not_end_the_job(capsys):
    class Broken:
        has_result = False

        def look(self, status):
            raise ValueError("a line that nobody expected")

        def cause(self, status, return_code):
            return None

    run = new_run("command")
    record = Record(run, status_of(run), lambda: None)
    record.follow(Broken(), list)
    record.start()
    assert wait_for(lambda: "a line that nobody expected" in "".join(record.status.notices))
    record.end(lambda _: {"state": "done"}, lambda: False)
    assert run.recorded_status().notices == record.status.notices
    assert capsys.readouterr().err.count("Traceback") == 1


def test_what_the_runner_says_stands_above_what_the_watch_saw():
    class Slow:
        has_result = False

        def look(self, status):
            time.sleep(0.3)
            return msgspec.structs.replace(status, refused=status.refused + 1)

        def cause(self, status, return_code):
            return None

    run = new_run("command")
    record = Record(run, status_of(run), lambda: None)
    record.follow(Slow(), list)
    record.start()
    time.sleep(0.1)
    record.change(state="stopping")
    record.notice("said meanwhile")
    assert wait_for(lambda: record.status.refused >= 1)
    assert (record.status.state, record.status.notices) == ("stopping", ("said meanwhile",))
    record.end(lambda _: {"state": "stopped"}, lambda: False)
    assert run.recorded_status().state == "stopped"


def test_a_file_that_finds_no_room_leaves_no_draft(tmp_path, monkeypatch):
    (tmp_path / "status.json").write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "status.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
    assert (tmp_path / "status.json").read_bytes() == b"old"


def test_rubbish_in_output_arguments_and_variables_passes_through():
    code = "import os, sys; os.write(1, os.fsencode(sys.argv[1]) + b'|' + os.environb[b'ODD'] + b'|\\xff\\x00\\x1b]0;title\\x07')"
    odd = os.fsdecode(b"caf\xe9 \n[run] $(x)")
    run = new_run("command", "训练集-1")
    control.start(run, "command", ("python3", "-c", code, odd), env={"ODD": odd})
    assert ended(run).state == "done"
    assert run.log.read_bytes() == b"|".join([os.fsencode(odd)] * 2) + b"|\xff\x00\x1b]0;title\x07"
    json.loads(run.status.read_bytes())
    assert run.read_spec().argv[3] == odd


def test_a_child_in_a_latin_1_locale_can_print_everything(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    run = started("print('█▏训练')")
    assert ended(run).state == "done"
    assert run.log.read_text("utf-8") == "█▏训练\n"


def test_a_bar_that_redraws_itself_for_ever_does_not_fill_the_log_and_no_line_is_lost():
    redraws = b"".join(b"\r%6d/99999 [loss=2.31]" % number for number in range(99_999))
    output = b"first\n" + redraws * 2 + b"\nbetween\n" + redraws + b"\nlast, without a newline"
    disk = Disk()
    pumped(disk, output, sieve=Thinner())
    assert len(output) > 6_000_000
    assert len(disk.log) < 2_000_000
    # What a terminal would show at the end is the same.
    assert disk.log.startswith(b"first\n")
    assert b" 99998/99999 [loss=2.31]\nbetween\n" in disk.log
    assert disk.log.endswith(b" 99998/99999 [loss=2.31]\nlast, without a newline")


def test_what_is_held_back_is_kept_when_nothing_comes_for_a_moment():
    class Holding:
        """Holds everything back until it is asked for."""

        held = b""

        def feed(self, data):
            self.held += data
            return b""

        def flush(self):
            held, self.held = self.held, b""
            return held

    source, into = os.pipe()
    _, tell = os.pipe()
    disk = Disk()
    threading.Thread(
        target=pump, args=(source, disk.write, tell, Waiting()), kwargs={"sieve": Holding()}, daemon=True
    ).start()
    os.write(into, b"epoch 1")
    assert wait_for(lambda: disk.log == b"epoch 1")
    os.write(into, b", done")
    os.close(into)
    assert wait_for(lambda: disk.log == b"epoch 1, done")


def test_the_log_of_a_real_job_with_an_endless_bar_stays_small():
    script = (
        "import sys\nfor n in range(400000): sys.stdout.write(f'\\r{n}/400000 [loss=2.3]')\nprint()\nprint('whole')"
    )
    run = started(script)
    assert ended(run).state == "done"
    assert run.log.stat().st_size < 2_000_000
    assert run.log.read_bytes().endswith(b"399999/400000 [loss=2.3]\nwhole\n")


def test_the_user_s_command_hears_of_the_end(tmp_path, monkeypatch):
    heard = tmp_path / "heard"
    monkeypatch.setenv("FSGR_TUI_NOTIFY", json.dumps(["sh", "-c", f'echo "$1 $2" >> {heard}', "notify"]))
    run = started("raise SystemExit(1)")
    assert ended(run).state == "failed"
    assert wait_for(heard.exists)
    assert heard.read_text() == f"failed {run.name}\n"
