"""Why a job ended badly: one sentence, the line that it rests on, and what to do. Pure rules over what was seen."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from typing import Final, NamedTuple

from fsgr_tui.core.job import Cause
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import format_gib
from fsgr_tui.jobs.diagnosis import tracebacks
from fsgr_tui.jobs.diagnosis.rules import RULES, Rule
from fsgr_tui.jobs.diagnosis.signals import LogLine, Signals, without_rank

NEAR_LINES: Final = 60
"""So far from its end a log is believed to speak of the end."""


LAST_CHARS: Final = 160


class Evidence(NamedTuple):
    """What is known when a job has ended.

    Attributes:
        return_code: as `subprocess` gives it: negative for a signal.
        signals: the log's tail and what was counted in it.
        live: rows that were not finished: text without a newline.
        oom_kills: processes that the kernel killed for memory in the job's control group while it ran.
        host_oom_kills: the same on the whole host; None where the kernel does not tell.
        peak_memory_bytes: of the job's process tree, as sampled.
    """

    return_code: int
    signals: Signals
    live: Sequence[str] = ()
    oom_kills: int = 0
    host_oom_kills: int | None = None
    peak_memory_bytes: int | None = None


def diagnose(seen: Evidence) -> Cause | None:
    """The cause of a bad end; None for a good one."""
    if seen.return_code == 0:
        return None
    tail = [*seen.signals.tail, *(LogLine(0, row) for row in seen.live)]
    chain = tracebacks.last_chain(tail)
    near = tail[-NEAR_LINES:]
    asserted = _device_assert(seen, chain)
    if asserted is not None:
        return asserted
    number = killed_by(seen.return_code)
    if number == signal.SIGKILL:
        return _killed(seen, near)
    exceptions = [line for one in chain for line in one.message]
    cause = _by_rules(exceptions) if exceptions else None
    cause = cause or _by_rules(near, everywhere=bool(number) or not chain)
    if cause is not None:
        return cause
    if chain:
        return _traceback(chain)
    return _signal(number) if number else _exit_code(seen.return_code, near)


def of_fault(text: str) -> Cause | None:
    """The cause in an exception's text, where a rule knows it."""
    return _by_rules([LogLine(0, line) for line in text.splitlines()])


def killed_by(return_code: int) -> int:
    """The signal that ended a process, also when a shell tells it as 128 + its number; 0 for none."""
    number = -return_code if return_code < 0 else return_code - 128
    return number if number in {each.value for each in signal.Signals} and return_code not in (129, 130, 143) else 0


def _by_rules(lines: Sequence[LogLine], *, everywhere: bool = True) -> Cause | None:
    for rule in RULES:
        if not (everywhere or rule.alone):
            continue
        for line in reversed(lines):
            match = rule.pattern.search(without_rank(line.text))
            if match:
                return _told(rule, match, line)
    return None


def _told(rule: Rule, match: re.Match[str], line: LogLine) -> Cause:
    groups = {name: (value or "").strip() for name, value in match.groupdict().items()}
    return Cause(rule.kind, rule.text(groups), without_rank(line.text).strip(), rule.advice(groups))


def _device_assert(seen: Evidence, chain: Sequence[tracebacks.Traceback]) -> Cause | None:
    folded = seen.signals.folded.get("device assert")
    # An assertion that was met long ago need not be what ended the job; its context is lost, so nothing works after it.
    if folded is None or not (chain or seen.return_code < 0 or seen.return_code == 134):
        return None
    where = chain[-1].own if chain else None
    text = (
        tr(
            "An index was out of range on the GPU: a token id beyond the vocabulary, or a position beyond its table? "
            "{number:,} assertion lines are folded; the first is line {first:,}; Python noticed in {place}.",
            number=folded.count,
            first=folded.first.number,
            place=where.words,
        )
        if where
        else tr(
            "An index was out of range on the GPU: a token id beyond the vocabulary, or a position beyond its table? "
            "{number:,} assertion lines are folded; the first is line {first:,}.",
            number=folded.count,
            first=folded.first.number,
        )
    )
    advice = tr(
        "Run again with CUDA_LAUNCH_BLOCKING=1 (or one batch on the CPU): the traceback then names the operation. Compare "
        "the largest token id with the rows of the embedding, and the longest caption with the position table. It is no "
        "lack of memory, and nothing works on the GPU after it: a retry has to be a new process."
    )
    return Cause("device-side assert", text, folded.first.text.strip(), advice)


def _killed(seen: Evidence, near: Sequence[LogLine]) -> Cause:
    advice = tr(
        "Fewer loader workers and a smaller prefetch are the first to try: every worker holds its own copies. Then a smaller "
        "batch, or a larger memory limit (Slurm: --mem; container: --memory)."
    )
    line = next((line for line in reversed(near) if re.search(r"oom.?kill|out of memory|^Killed$|\bKilled\b", line.text, re.IGNORECASE)), None)  # fmt: skip
    told = line.text.strip() if line else ""
    if seen.oom_kills:
        text = trn(
            "The kernel killed a process of this job for exceeding its memory limit (SIGKILL).",
            "The kernel killed {count} processes of this job for exceeding its memory limit (SIGKILL).",
            seen.oom_kills,
        )
        return Cause("host memory", _with_peak(text, seen), told or f"cgroup memory.events: oom_kill +{seen.oom_kills}", advice)  # fmt: skip
    if line is not None and re.search(r"oom|out of memory", line.text, re.IGNORECASE):
        return Cause("host memory", _with_peak(tr("Killed because host memory ran out (SIGKILL)."), seen), told, advice)
    if seen.host_oom_kills:
        text = tr(
            "Ended by SIGKILL while the kernel killed {number} process(es) on this host because memory ran out.",
            number=seen.host_oom_kills,
        )
        return Cause("host memory", _with_peak(text, seen), told or f"/proc/vmstat: oom_kill +{seen.host_oom_kills}", advice)  # fmt: skip
    return Cause(
        "signal",
        _with_peak(
            tr("Ended by SIGKILL, and no word of lacking memory was seen: somebody or a scheduler killed it."), seen
        ),
        told,
        tr(
            "The kernel's log tells whether memory ran out (dmesg, or journalctl -k). Look also for the site's limits on run time."
        ),
    )


def _with_peak(text: str, seen: Evidence) -> str:
    if not seen.peak_memory_bytes:
        return text
    return tr("{text} Its processes held {peak} at their peak.", text=text, peak=format_gib(seen.peak_memory_bytes))


def _traceback(chain: Sequence[tracebacks.Traceback]) -> Cause:
    last = chain[-1]
    name, _, message = last.exception.text.partition(": ")
    said = f"{name.rpartition('.')[2]}: {message}" if message else name
    if last.own is None:
        return Cause("traceback", said, last.exception.text.strip())
    text = tr("{error} (in {place})", error=said, place=last.own.words)
    advice = tr("The frame: {file}:{line}.", file=last.own.file, line=last.own.line)
    return Cause("traceback", text, last.exception.text.strip(), advice)


_SIGNAL_ADVICE: Final = {
    signal.SIGSEGV: mark(
        "A crash inside a compiled library: run again with PYTHONFAULTHANDLER=1 to see where, and look whether torch, CUDA and the driver fit together."
    ),
    signal.SIGBUS: mark(
        "Often shared memory that is too small for the loader's workers (df /dev/shm), or a file that was truncated while it was mapped."
    ),
    signal.SIGABRT: mark("A library gave up; its last words stand at the end of the log."),
    signal.SIGTERM: mark("Somebody or a scheduler asked it to end; no stop was asked for here."),
    signal.SIGXCPU: mark("The limit on processor time (ulimit -t, or the scheduler's) was reached."),
    signal.SIGXFSZ: mark("The limit on the size of files (ulimit -f) was reached."),
    signal.SIGILL: mark("A library was built for another processor: reinstall it on this machine."),
}


def _signal(number: int) -> Cause:
    name, advice = signal.Signals(number).name, _SIGNAL_ADVICE.get(signal.Signals(number))
    return Cause("signal", tr("Ended by {name}.", name=name), advice=tr(advice) if advice else "")


def _exit_code(code: int, near: Sequence[LogLine]) -> Cause:
    if code in {128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}:
        name = signal.Signals(code - 128).name
        return Cause("signal", tr("It ended itself after {name}, which was not sent from here.", name=name))
    last = next((line.text.strip() for line in reversed(near) if line.text.strip()), "")
    if not last:
        return Cause("exit code", tr("Ended with exit code {code}. It printed nothing.", code=code))
    text = tr("Ended with exit code {code}. Its last words: {words}", code=code, words=last[:LAST_CHARS])
    return Cause("exit code", text, last, tr("The log has the whole story."))
