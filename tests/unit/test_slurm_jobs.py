"""How jobs in Slurm stand, from their folders and from fakes of its commands: the rare states."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from fsgr_tui.core import slurm_job
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.job import Cause, JobProgress, JobStatus
from fsgr_tui.core.slurm import AccountRow, QueueRow, parse_state
from fsgr_tui.core.slurm_facts import cluster_of, parse_config, parse_nodes
from fsgr_tui.core.slurm_fit import fitted
from fsgr_tui.core.slurm_job import GRACE_S, Part, Seen, Submission, standing
from fsgr_tui.core.slurm_parts import combined, part_rows
from fsgr_tui.core.slurm_profile import Profile
from fsgr_tui.core.slurm_turns import STALLED_TURNS, after_run, fruitless, reached, stalled
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.jobs.slurm import commands, queue
from fsgr_tui.jobs.slurm import standing as looks
from fsgr_tui.jobs.slurm.cancel import Cancelling
from fsgr_tui.jobs.slurm.commands import Answer
from fsgr_tui.jobs.slurm.node import Node
from fsgr_tui.jobs.slurm.queue import Queue
from fsgr_tui.jobs.slurm.submit import Work, part_of, submit, write_member
from fsgr_tui.service import cluster
from tests.unit.test_slurm_script import batch

NOW = 1_800_000_000.0


def status(state: str = "queued", **changes) -> JobStatus:
    return JobStatus("extract-1", state, "extract", ("x",), "/runs/extract-1", backend="slurm", **changes)


def row(state: str, **changes) -> QueueRow:
    values = {
        "array_id": 70, "task": None, "job_id": 70, "state": parse_state(state), "exit": (0, 0), "start": None, "end": None,
        "limit_s": None, "nodes": "n1", "reason": "", "name": "fsgr-extract-1.extract",
    }  # fmt: skip
    return QueueRow(**{**values, **changes})


def seen(state: str = "", **changes) -> Seen:
    known = {"row": row(state)} if state else {}
    return Seen(**{"answered": NOW, **known, **changes})


LONG_AGO = NOW - 10 * GRACE_S


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("PENDING", "queued"), ("CONFIGURING", "queued"), ("REQUEUED", "queued"), ("REQUEUE_HOLD", "queued"), ("SUSPENDED", "queued"),
        ("RUNNING", "running"), ("COMPLETING", "running"), ("STAGE_OUT", "running"), ("SOMETHING_NEW", "queued"),
        ("CANCELLED", "stopped"), ("TIMEOUT", "interrupted"), ("OUT_OF_ME+", "failed"), ("NODE_FAIL", "interrupted"),
        ("PREEMPTED", "interrupted"), ("BOOT_FAIL", "interrupted"), ("DEADLINE", "failed"), ("FAILED", "failed"),
        ("COMPLETED", "interrupted"),
    ],
)  # fmt: skip
def test_every_state_becomes_one_of_ours_and_never_a_success_that_the_folder_did_not_tell(word, state):
    assert standing(status(), seen(word), LONG_AGO, NOW).state == state


@pytest.mark.parametrize("word", ["NODE_FAIL", "PREEMPTED", "FAILED", "COMPLETED", "TIMEOUT"])
def test_an_end_is_believed_only_after_the_folder_had_time_to_speak(word):
    found = standing(status("running"), seen(word), NOW - GRACE_S / 2, NOW)
    assert found.state == "running"
    assert "may still come" in found.note


def test_a_pending_job_says_why_and_when():
    waits = standing(status(), seen(row=row("PENDING", reason="Priority", start=NOW)), NOW, NOW)
    assert "Priority: others come first" in waits.note
    assert "expected to start 2027-01-15" in waits.note
    assert (waits.pending, waits.expected) == ("Priority", NOW)
    never = standing(status(), seen(row=row("PENDING", reason="DependencyNeverSatisfied")), NOW, NOW)
    assert "will never start" in never.note


def test_a_job_that_is_back_in_the_queue_has_no_end():
    before = status("stopped", exit_code=143, ended=NOW, cause=Cause("signal", "x"), started=NOW, attempt=2)
    found = standing(before, seen("REQUEUED"), NOW, NOW)
    assert (found.state, found.exit_code, found.ended, found.cause) == ("queued", None, None, None)
    assert found.note.startswith("attempt 2: ")


def test_without_accounting_a_job_that_is_gone_is_neither_success_nor_failure():
    gone = seen(accounting="off", last_seen=LONG_AGO)
    found = standing(status("running"), gone, LONG_AGO, NOW)
    assert (found.state, found.exit_code, found.cause.kind) == ("interrupted", None, "result unknown")
    assert "whether it ended well is not known" in found.cause.text


def test_accounting_that_cannot_be_reached_keeps_the_last_state_with_its_age():
    found = standing(status("running"), seen(accounting="unreachable", last_seen=LONG_AGO), LONG_AGO, NOW)
    assert found.state == "running"
    assert "cannot be reached now" in found.note
    assert "20 min ago" in found.note


def test_accounting_that_answers_explains_a_job_that_left_the_queue():
    account = AccountRow("70", parse_state("CANCELLED by 1000"), (0, 15), NOW, "x", by="1000")
    found = standing(status("running"), seen(account=account, accounting="ok", last_seen=LONG_AGO), LONG_AGO, NOW)
    assert (found.state, found.cause.text) == ("stopped", "Slurm: the job was cancelled by user 1000.")


def test_a_slurm_that_does_not_answer_keeps_the_last_state_and_says_so():
    found = standing(
        status("running"), seen(error="Unable to contact slurm controller", answered=NOW - 180), LONG_AGO, NOW
    )
    assert found.state == "running"
    assert "does not answer (Unable to contact slurm controller); it last answered 3 min ago" in found.note


def test_out_of_memory_and_a_lost_log_say_what_to_do():
    killed = standing(status("running"), seen("OUT_OF_MEMORY"), LONG_AGO, NOW)
    assert "Raise `memory`" in killed.cause.advice
    lost = standing(status(), seen(row=row("FAILED", exit=(0, 53))), LONG_AGO, NOW)
    assert "its output file could not be opened (0:53)" in lost.cause.text


def shard_status(number: int, state: str, step: int, **changes) -> JobStatus:
    progress = JobProgress("extract", step, 100, 5.0, "images", 10.0)
    return msgspec.structs.replace(status(state, progress=progress, **changes), name=f"extract-1/shard-{number}")


def grouped(*statuses: JobStatus, merge: str = "queued"):
    array = Part("extract", "", "extract.sbatch", "x", 70, len(statuses), tuple(range(1, len(statuses) + 1)))
    last = Part("merge", "merge", "merge.sbatch", "y", 71)
    return [(array, list(zip(array.members, statuses, strict=True))), (last, [(last.members[0], status(merge))])]


def test_tasks_are_shown_as_one_job_with_shards():
    whole = combined(
        status(),
        grouped(
            shard_status(1, "done", 100, started=NOW), shard_status(2, "running", 40), shard_status(3, "queued", 0)
        ),
    )
    assert (whole.state, whole.progress.step, whole.progress.total, whole.progress.rate) == ("running", 140, 300, 5.0)
    assert whole.note == "shards: 1 of 3 done, 1 running, 1 waiting"
    assert [part.name for part in whole.parts] == ["shard 1 of 3", "shard 2 of 3", "shard 3 of 3", "merge"]


def test_the_shards_are_one_row_of_the_details_with_slurms_reason_and_every_step_is_another():
    waits = msgspec.structs.replace(shard_status(3, "queued", 0), pending="Priority")
    whole = combined(
        status(), grouped(shard_status(1, "done", 100, started=NOW), shard_status(2, "running", 40, started=NOW), waits)
    )
    assert part_rows(whole.parts) == (
        ("shards", "1 of 3 done, 1 running, 1 waiting (Priority)"),
        ("merge", "waiting"),
    )
    assert [(part.kind, part.number, part.why) for part in whole.parts[2:]] == [
        ("shard", 3, "Priority"),
        ("merge", 0, ""),
    ]
    assert (whole.pending, part_rows(())) == ("Priority", ())


def test_an_array_fails_by_its_first_bad_shard_once_nothing_of_it_goes_on():
    bad = shard_status(2, "failed", 40, exit_code=3, cause=Cause("fault", "no space"))
    going = combined(status(), grouped(shard_status(1, "running", 5), bad))
    assert (going.state, going.cause) == ("running", None)
    assert "1 ended badly: shard 2 of 2" in going.note
    over = combined(status(), grouped(shard_status(1, "done", 100), bad, merge="stopped"))
    assert (over.state, over.exit_code, over.cause.text) == ("failed", 3, "shard 2 of 2: no space")


def test_refused_images_do_not_stop_what_depends_on_the_shard():
    after = after_run(status("done", exit_code=1), "", cancelled=False, marks=[10], shard=True)
    assert (after.exit_code, after.requeue) == (0, False)
    # In a chain they do, as they do between jobs of a host.
    assert after_run(status("done", exit_code=1), "", cancelled=False, marks=[10]).exit_code == 1


def test_at_the_time_limit_a_job_goes_back_until_it_gets_no_further():
    stopped = status("stopped", exit_code=143)
    again = after_run(stopped, "limit", cancelled=False, marks=[10, 30])
    assert (again.requeue, again.status.state, again.status.ended) == (True, "queued", None)
    stuck = after_run(stopped, "limit", cancelled=False, marks=[10, 30, 30, 30])
    assert (stuck.requeue, stuck.status.state) == (False, "failed")
    assert "got no further than 30" in stuck.status.cause.text
    by_user = after_run(stopped, "limit", cancelled=True, marks=[10])
    assert (by_user.requeue, by_user.status) == (False, None)


@pytest.mark.parametrize(
    ("kind", "changes", "mark"),
    [
        ("extract", {"progress": JobProgress("extract", 40, 100, unit="images")}, 40),
        ("extract", {"progress": JobProgress("load model")}, 0),
        # The phase counts images, but what is kept are steps; and those since the checkpoint are lost.
        ("train", {"progress": JobProgress("caption", 500, unit="images")}, None),
        ("train", {"progress": JobProgress("epoch 3 of 5", 640, unit="pairs"), "kept": 120}, 120),
        ("merge", {"progress": JobProgress("merge", 7, unit="rows")}, 7),
        ("command", {"progress": JobProgress("epoch", 9, epoch=4)}, 4),
        ("command", {}, None),
    ],
)
def test_how_far_a_turn_came_is_what_it_leaves_behind(kind, changes, mark):
    assert reached(msgspec.structs.replace(status("stopped", **changes), kind=kind)) == mark


@pytest.mark.parametrize(
    ("marks", "turns"),
    [([], 0), ([5], 0), ([0], 1), ([10, 30, 30, 30], 2), ([30, 0, 30, 29], 3), ([30, 30, 31], 0), ([None] * 4, 4)],
)
def test_turns_that_got_no_further_are_counted(marks, turns):
    assert fruitless(marks) == turns


def test_a_training_that_never_reaches_its_next_checkpoint_is_given_up_and_a_foreign_program_later():
    training = msgspec.structs.replace(status("stopped", kept=120), kind="train")
    stuck = after_run(training, "limit", cancelled=False, marks=[120, 120, 120])
    assert (stuck.requeue, stuck.status.state, stuck.status.cause.kind) == (False, "failed", "stalled")
    foreign = msgspec.structs.replace(status("stopped"), kind="command")
    assert after_run(foreign, "limit", cancelled=False, marks=[None] * 9).requeue
    assert stalled(foreign, [None] * 9, STALLED_TURNS) is None
    assert "nothing tells that they came any further" in stalled(foreign, [None] * 10, STALLED_TURNS).text


def test_a_preempted_job_is_left_open_for_its_next_turn():
    after = after_run(
        status("failed", exit_code=1, cause=Cause("x", "a loader was killed")), "stop", cancelled=False, marks=[5]
    )
    assert (after.requeue, after.status.state, after.status.cause) == (False, "queued", None)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class FakeSlurm:
    """Commands that answer from a table and remember what they were asked."""

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, argv, timeout_s: float = 15.0) -> Answer:
        self.asked.append(tuple(argv))
        answer = self.answers.get(argv[0], Answer(127, missing=True))
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer

    def count(self, name: str) -> int:
        return sum(1 for argv in self.asked if argv[0] == name)


ROW = "70|N/A|70|RUNNING|0|N/A|N/A|10:00|n1|None|fsgr-extract-1.extract|\n"


def test_many_faces_share_one_question_and_ask_no_oftener_than_every_fifteen_seconds(tmp_path):
    slurm, clock = FakeSlurm(squeue=Answer(0, ROW)), Clock()
    faces = [Queue(tmp_path, 0, "", slurm, clock) for _ in range(20)]
    for second in range(46):
        clock.now = NOW + second
        assert all(face.look().rows for face in faces)
    assert slurm.count("squeue") == 4
    flags = " ".join(slurm.asked[0])
    assert "-h -r -t all -u 0 -O ArrayJobID:|" in flags


def test_a_controller_that_fails_is_asked_more_and_more_seldom_and_the_rows_stay(tmp_path):
    slurm, clock = (
        FakeSlurm(squeue=[Answer(0, ROW), Answer(1, err="slurm_load_jobs error: Unable to contact")]),
        Clock(),
    )
    face = Queue(tmp_path, 0, "", slurm, clock)
    for second in range(600):
        clock.now = NOW + second
        look = face.look()
    assert look.rows
    assert "Unable to contact" in look.error
    assert look.answered == NOW
    assert slurm.count("squeue") <= 6


@pytest.mark.parametrize(
    ("answer", "accounting"),
    [
        (Answer(1, err="Slurm accounting storage is disabled"), "off"),
        (Answer(127, missing=True), "off"),
        (Answer(1, err="sacct: error: slurm_persist_conn_open: Connection refused"), "unreachable"),
        (Answer(1, late=True), "unreachable"),
        (Answer(0, "70|TIMEOUT|0:0|2026-11-25T14:11:16|x\n"), "ok"),
    ],
)
def test_the_accounting_is_there_absent_or_out_of_reach(tmp_path, answer, accounting):
    face = Queue(tmp_path, 0, "", FakeSlurm(squeue=Answer(0), sacct=answer), Clock())
    assert face.accounts(["70"]).accounting == accounting


SACCT = """70_1|COMPLETED|0:0|2026-11-25T17:32:18|ours
70_1.batch|COMPLETED|0:0|2026-11-25T17:32:18|batch
70_1.extern|COMPLETED|0:0|2026-11-25T17:32:18|extern
70_2|FAILED|3:0|2026-11-25T17:32:18|ours
70_3|OUT_OF_MEMORY|0:125|2026-11-25T17:32:18|ours
70_3.batch|OUT_OF_MEMORY|0:125|2026-11-25T17:32:18|batch
70_4|TIMEOUT|0:0|2026-11-25T17:32:18|ours
70_4.0|CANCELLED|0:15|2026-11-25T17:32:18|python3
70_5|NODE_FAIL|1:0|2026-11-25T17:32:18|ours
70_6|CANCELLED by 1000|0:15|2026-11-25T17:32:20|ours
70_7|PREEMPTED|0:0|2026-11-25T17:32:18|ours
70_8|RUNNING|0:0|Unknown|ours
70_[9-12%2]|PENDING|0:0|Unknown|ours
"""
"""As sacct of 22.05 prints it (`tests/slurm/accounting.py` has a real one); the states by its manual page."""


@pytest.mark.parametrize(
    ("task", "state", "kind", "told"),
    [
        (1, "interrupted", "result unknown", "its runner left no last word"),
        (2, "failed", "slurm", "FAILED, the job ended with an exit code other than 0 (exit code 3)"),
        (3, "failed", "out of memory", "needed more memory than it had asked for (signal 125)"),
        (4, "interrupted", "time limit", "reached its time limit"),
        (5, "interrupted", "node", "lost a node (exit code 1). It was not put back"),
        (6, "stopped", "cancelled", "was cancelled by user 1000"),
        (7, "interrupted", "node", "had to make room for another job"),
        (8, "running", "", "accounting: runs"),
        (9, "running", "", "accounting: waits in the queue"),
        (12, "running", "", "accounting: waits in the queue"),
        (13, "interrupted", "result unknown", "does not know it"),
    ],
)
def test_the_accounting_explains_every_end_of_a_task_and_passes_steps_over(tmp_path, task, state, kind, told):
    face = Queue(tmp_path, 0, "", FakeSlurm(squeue=Answer(0), sacct=Answer(0, SACCT)), Clock())
    face.look()
    found = face.accounts([f"70_{number}" for number in range(1, 14)]).seen(f"70_{task}", "ours")
    ended = standing(status("running"), found, LONG_AGO, NOW)
    assert (ended.state, ended.cause.kind if ended.cause else "") == (state, kind)
    assert told.lower() in (ended.cause.text if ended.cause else ended.note).lower()


def test_an_accounting_that_refuses_connections_is_asked_more_and_more_seldom(tmp_path):
    refused = (
        "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection: Connection refused"
    )
    slurm, clock = FakeSlurm(squeue=Answer(0), sacct=Answer(1, err=refused)), Clock()
    face = Queue(tmp_path, 0, "", slurm, clock)
    for second in range(600):
        clock.now = NOW + second
        assert face.accounts(["70"]).accounting == "unreachable"
    assert 3 <= slurm.count("sacct") <= 6


def test_a_row_of_another_name_is_somebody_elses_job(tmp_path):
    look = Queue(
        tmp_path, 0, "", FakeSlurm(squeue=Answer(0, ROW.replace("fsgr-extract-1.extract", "his job"))), Clock()
    ).look()
    assert look.seen("70", "fsgr-extract-1.extract").row is None


def test_a_folder_that_cannot_be_written_still_gets_an_answer(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    assert Queue(blocked / "x", 0, "", FakeSlurm(squeue=Answer(0, ROW)), Clock()).look().rows


def submitted(slurm: FakeSlurm) -> RunFolder:
    run = new_run("extract")
    write_member(run, Work(kind="extract", argv=("true",), cwd=Path.cwd()), Profile())
    submit(run, ((part_of(run, "extract"), batch(tasks=0, folder=str(run.folder))),), slurm=slurm)
    return run


def test_what_is_submitted_is_kept_in_the_run_folder_and_can_be_submitted_by_hand(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    slurm = FakeSlurm(sbatch=Answer(0, "Welcome\n70;gpu\n"))
    run = submitted(slurm)
    assert slurm.asked == [("sbatch", "--parsable", str(run.folder / "extract.sbatch"))]
    submission = looks.read_submission(run)
    assert (submission.ids, submission.cluster, submission.uid) == ((70,), "gpu", os.getuid())
    # The GPUs of the login node are not those of the job.
    assert "CUDA_VISIBLE_DEVICES" not in run.read_spec().environment


def test_a_job_behind_one_that_is_refused_is_taken_back(own_runs):
    slurm = FakeSlurm(sbatch=[Answer(0, "70\n"), Answer(1, err="sbatch: error: Invalid account")], scancel=Answer(0))
    run = new_run("extract")
    parts = tuple((part_of(run, name), batch(tasks=0, folder=str(run.folder))) for name in ("extract", "merge"))
    with pytest.raises(MachineCannot, match="Invalid account"):
        submit(run, parts, slurm=slurm)
    assert slurm.asked[-1] == ("scancel", "70")
    assert "--dependency=afterok:70" in slurm.asked[1]
    assert "--kill-on-invalid-dep=yes" in slurm.asked[1]


def test_only_our_own_jobs_are_cancelled(monkeypatch):
    run = submitted(FakeSlurm(sbatch=Answer(0, "70\n")))
    strangers = (
        "70|N/A|70|RUNNING|0|N/A|N/A|10:00|n1|None|somebody's|\n71|N/A|71|RUNNING|0|N/A|N/A|1:00|n1|None|fsgr-x|\n"
    )
    slurm = FakeSlurm(squeue=Answer(0, strangers), scancel=Answer(0))
    monkeypatch.setattr(commands, "run", slurm)
    assert Cancelling(run, slurm).stop(0.1).state == "stopped"
    assert slurm.count("scancel") == 0


def test_a_run_that_has_ended_is_not_cancelled():
    run = submitted(FakeSlurm(sbatch=Answer(0, "70\n")))
    run.write_status(msgspec.structs.replace(run.recorded_status(), state="done", exit_code=0))
    with pytest.raises(BadRequest, match="does not run"):
        Cancelling(run, FakeSlurm()).stop(0.1)
    assert not (run.folder / looks.STOPPED).exists()


def test_a_run_of_another_user_is_not_cancelled():
    run = submitted(FakeSlurm(sbatch=Answer(0, "70\n")))
    path = run.folder / looks.SUBMISSION
    path.write_bytes(path.read_bytes().replace(f'"uid":{os.getuid()}'.encode(), b'"uid":4242'))
    with pytest.raises(BadRequest, match="another user"):
        Cancelling(run, FakeSlurm())


def test_while_slurm_does_not_answer_nothing_is_said_to_be_cancelled(monkeypatch):
    run = submitted(FakeSlurm(sbatch=Answer(0, "70\n")))
    monkeypatch.setattr(commands, "run", FakeSlurm(squeue=Answer(1, late=True)))
    with pytest.raises(MachineCannot, match="cannot be cancelled now"):
        Cancelling(run, FakeSlurm(squeue=Answer(1, late=True))).stop(0.1)


def test_a_status_is_read_with_slurms_word_where_the_folder_is_silent(monkeypatch):
    run = submitted(FakeSlurm(sbatch=Answer(0, "70\n")))
    name = looks.read_submission(run).parts[0].job_name
    told = ROW.replace("fsgr-extract-1.extract", name).replace("RUNNING", "PENDING").replace("None", "Resources")
    monkeypatch.setattr(commands, "run", FakeSlurm(squeue=Answer(0, told)))
    assert "Resources: nothing is free" in run.read_status().note
    run.write_status(msgspec.structs.replace(run.recorded_status(), state="done", exit_code=0))
    looks.forget(run)
    monkeypatch.setattr(commands, "run", None)
    # What the folder says at last needs no Slurm.
    assert run.read_status().state == "done"


NODES = """gpu|up|1-00:00:00|n1|64|512000+|900000|idle|gpu:a100:4(S:0-1)|gpu*|a100,nvlink
gpu|up|1-00:00:00|n2|64|512000|900000|drained*|gpu:a100:4|gpu*|a100
old|down|infinite|n3|16|64000|0|allocated|gpu:2|old|(null)
cpu|up|infinite|n4|128|256000|0|mixed|(null)|cpu|(null)
"""
CONFIG = "ClusterName             = lab\nAccountingStorageType   = accounting_storage/slurmdbd\nKillWait = 30 sec\nJobRequeue = 1\nTmpFS = /scratch\n"


def lab():
    return cluster_of(parse_nodes(NODES), parse_config(CONFIG))


def test_partitions_gpus_and_limits_are_read_from_sinfo():
    gpu, cpu, old = lab().partitions
    assert (gpu.default, gpu.nodes, gpu.usable, gpu.idle, gpu.limit_s) == (True, 2, 1, 1, 86400)
    assert (gpu.all_gpus, gpu.most_gpus, gpu.gpus[0].type, gpu.features) == (8, 4, "a100", ("a100", "nvlink"))
    assert (gpu.memory_bytes, gpu.disk_bytes) == (512000 * 2**20, 900000 * 2**20)
    assert (old.up, old.gpus[0].type, cpu.gpus) == (False, "", ())
    assert (lab().accounting, lab().kill_wait_s, lab().scratch) == (True, 30, "/scratch")


def test_what_a_profile_leaves_open_follows_from_the_partition():
    profile, partition = fitted(Profile(), lab())
    assert (partition.name, profile.gpus, profile.cpus) == ("gpu", 1, 4)
    assert fitted(Profile(partition="cpu"), lab())[0].gpus == 0


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (Profile(partition="gup"), "There is no partition 'gup'"),
        (Profile(light_partition="cup"), "There is no partition 'cup'"),
        (Profile(partition="old"), "is down"),
        (Profile(gpus=5), "more than 4"),
        (Profile(gpu_type="h100"), "gpu_type = 'h100': the partition gpu has a100"),
        (Profile(partition="cpu", gpus=1), "has no GPU"),
        (Profile(time="3d"), "gives 1-00:00 at the most"),
    ],
)
def test_more_than_the_cluster_has_is_refused(profile, told):
    with pytest.raises(BadRequest) as caught:
        fitted(profile, lab())
    assert told in caught.value.what
    assert caught.value.fix


def test_without_slurm_the_remedy_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineCannot, match="Slurm is not here: sbatch, squeue") as caught:
        cluster.place("", {})
    assert "without --backend slurm" in caught.value.fix


def test_slurm_variables_of_an_allocation_and_own_filters_reach_no_command(monkeypatch):
    for name in ("SLURM_JOB_ID", "SQUEUE_STATES", "SBATCH_TIMELIMIT", "SLURM_CPUS_PER_TASK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/x")
    kept = commands.environment()
    assert {name for name in kept if name.startswith(("SLURM_", "SQUEUE_", "SBATCH_"))} == {
        "SLURM_CONF",
        "SLURM_TIME_FORMAT",
    }


def test_a_command_that_hangs_or_is_missing_is_an_answer_too(tmp_path):
    began = time.monotonic()
    assert commands.run(("sleep", "5"), 0.2).late
    assert time.monotonic() - began < 2
    assert commands.run(("no-such-command-of-slurm",)).missing
    assert slurm_job.GRACE_S > queue.POLL_S


def test_a_submission_reads_back_as_it_was_written():
    made = Submission(0, "gpu", Profile(modules=("a",)), (Part("extract", "", "x", "n", 3, 2, (1, 2)),), NOW)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Submission) == made


@pytest.fixture
def own_signals():
    """A node takes signals for itself, which it would keep."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
def test_a_job_that_slurm_puts_back_again_and_again_is_given_up_before_it_begins_once_more(monkeypatch):
    """A node that dies takes the job's last word with it, so that only the next turn can tell."""
    run = submitted(FakeSlurm(sbatch=Answer(0, "70\n")))
    told = msgspec.structs.replace(
        run.recorded_status(), state="running", started=NOW, progress=JobProgress("extract", 40, 100, unit="images")
    )
    for number in range(1, 12):
        (run.folder / f"attempt-{number}").mkdir()
        (run.folder / f"attempt-{number}/status.json").write_bytes(msgspec.json.encode(told))
    run.write_status(msgspec.structs.replace(told, attempt=12))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "12")
    assert Node(run, 60.0, FakeSlurm()).work() == 3
    status = run.recorded_status()
    assert (status.state, status.attempt, status.cause.kind) == ("failed", 12, "stalled")
    assert "got no further than 40" in status.cause.text
    # What was before a `resume`, which is another job of Slurm, does not count.
    run.write_status(msgspec.structs.replace(told, attempt=12))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert Node(run, 60.0, FakeSlurm()).work() == 0
    assert run.recorded_status().attempt == 13
