"""What Slurm prints, read into values: states, times, exit codes, rows."""

from __future__ import annotations

import time

import pytest

from fsgr_tui.core import slurm
from fsgr_tui.core.slurm import parse_duration, parse_exit, parse_queue, parse_state, parse_submitted


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("PENDING", "PENDING", "waiting"),
        ("RUNNING", "RUNNING", "running"),
        ("COMPLETING", "COMPLETING", "running"),
        ("REQUEUED", "REQUEUED", "waiting"),
        ("REQUEUE_HOLD", "REQUEUE_HOLD", "waiting"),
        ("SUSPENDED", "SUSPENDED", "waiting"),
        ("CANCELLED by 1000", "CANCELLED", "ended"),
        ("CANCELLED+", "CANCELLED", "ended"),
        ("OUT_OF_ME+", "OUT_OF_MEMORY", "ended"),
        ("NODE_FAIL", "NODE_FAIL", "ended"),
        ("PREEMPTED", "PREEMPTED", "ended"),
        ("timeout", "TIMEOUT", "ended"),
        ("REQUEUE_+", "REQUEUE_", "unknown"),  # held or of a federation: a cut name that fits two is neither
        ("SOMETHING_NEW", "SOMETHING_NEW", "unknown"),
        ("", "nothing", "unknown"),
    ],
)
def test_every_spelling_of_a_state_is_known(text, name, kind):
    state = parse_state(text)
    assert (state.name, state.kind) == (name, kind)


def test_every_state_of_the_manual_is_mapped():
    """Job state codes of squeue(1) of 22.05 to 25.05."""
    manual = (
        "BOOT_FAIL CANCELLED COMPLETED CONFIGURING COMPLETING DEADLINE EXPEDITING FAILED LAUNCH_FAILED NODE_FAIL OUT_OF_MEMORY "
        "PENDING POWER_UP_NODE PREEMPTED RECONFIG_FAIL REQUEUED REQUEUE_FED REQUEUE_HOLD RESIZING RESV_DEL_HOLD REVOKED RUNNING "
        "SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED TIMEOUT UPDATE_DB"
    )
    assert set(manual.split()) == set(slurm.STATES)


def test_only_completed_is_well_and_only_lost_nodes_may_return():
    assert [state.name for state in slurm.STATES.values() if state.well] == ["COMPLETED"]
    assert {state.name for state in slurm.STATES.values() if state.may_return} == {
        "NODE_FAIL",
        "PREEMPTED",
        "BOOT_FAIL",
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10:00", 600),
        ("1:00:00", 3600),
        ("1-00:00:00", 86400),
        ("2-12", 2 * 86400 + 12 * 3600),
        ("1-06:30", 86400 + 6 * 3600 + 1800),
        ("90", 5400),
        ("0:30", 30),
        ("UNLIMITED", None),
        ("infinite", None),
        ("Partition_Limit", None),
    ],
)
def test_limits_are_read_in_all_their_forms(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["4h", "soon", "1:2:3:4", "-5"])
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(60, "0-00:01"), (61, "0-00:02"), (90000, "1-01:00")])
def test_a_limit_is_written_in_whole_minutes_and_never_shorter(seconds, text):
    assert slurm.format_limit(seconds) == text
    assert parse_duration(text) >= seconds


@pytest.mark.parametrize(
    ("text", "ended", "words"),
    [
        ("768", (3, 0), "exit code 3"),
        ("9", (0, 9), "signal 9"),
        ("0", (0, 0), ""),
        ("3:0", (3, 0), "exit code 3"),
        ("0:15", (0, 15), "signal 15"),
        ("0:53", (0, 53), "its output file could not be opened (0:53)"),
        ("N/A", None, ""),
    ],
)
def test_exit_codes_come_as_wait_status_and_as_pair(text, ended, words):
    assert parse_exit(text) == ended
    assert slurm.exit_words(parse_exit(text)) == words


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("4711\n", (4711, "")),
        ("4711;gpu2\n", (4711, "gpu2")),
        ("*** Welcome! ***\nYour project has 12 hours left\n4711\n", (4711, "")),
        ("4711\nThank you.\n", (4711, "")),
        ("sbatch: nothing\n", None),
        ("", None),
    ],
)
def test_the_job_id_is_found_among_banners(printed, found):
    assert parse_submitted(printed) == found


QUEUE = """CLUSTER: gpu
19862|1|19863|RUNNING|0|2026-11-25T14:11:16|2026-11-25T14:21:16|10:00|n1|None|fsgr-extract.extract|
19862|2|19862|PENDING|0|N/A|N/A|1-00:00:00||Priority|fsgr-extract.extract|
70|N/A|70|FAILED|768|2026-11-25T14:11:16|2026-11-25T14:12:16|UNLIMITED|n2|NonZeroExitCode|a job | of \ufffd\ufffd mine|
80|N/A|80|PENDING|0|N/A|N/A|10:00||(ReqNodeNotAvail, UnavailableNodes:n[1-2])|x|
"""


def test_rows_of_the_queue_keep_names_whole_and_pass_over_banners():
    first, second, third, fourth = parse_queue(QUEUE)
    assert (first.key, first.job_id, first.state.name, first.nodes, first.reason) == (
        "19862_1",
        19863,
        "RUNNING",
        "n1",
        "",
    )
    assert first.end - first.start == 600
    # The last task of an array has the array's own id inside.
    assert (second.key, second.job_id, second.start, second.reason) == ("19862_2", 19862, None, "Priority")
    assert (third.key, third.exit, third.limit_s, third.name) == ("70", (3, 0), None, "a job | of \ufffd\ufffd mine")
    assert fourth.reason == "(ReqNodeNotAvail, UnavailableNodes:n[1-2])"


def test_rows_of_the_accounting_name_who_cancelled():
    (row,) = slurm.parse_accounts(
        "12_3|CANCELLED by 1000|0:15|2026-11-25T14:11:16|fsgr-x\n12_3.batch|CANCELLED|0:15||batch\n"
    )
    assert (row.key, row.state.name, row.exit, row.by, row.name) == ("12_3", "CANCELLED", (0, 15), "1000", "fsgr-x")
    assert row.end == time.mktime((2026, 11, 25, 14, 11, 16, 0, 0, -1))
