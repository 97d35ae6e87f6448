"""Why a job died, told from the end of its log: one sentence, the line that it rests on, and advice."""

from __future__ import annotations

import signal

import pytest

from fsgr_tui.jobs.diagnosis import oom
from fsgr_tui.jobs.diagnosis.causes import Evidence, diagnose
from fsgr_tui.jobs.diagnosis.signals import Signals


def seen(text: str, code: int = 1, **more) -> Evidence:
    signals = Signals()
    signals.see(text.strip("\n").split("\n"), 1)
    return Evidence(code, signals, **more)


TRACE = """Epoch 1/20
Traceback (most recent call last):
  File "/home/lab/fsgr/train_transformer.py", line 388, in <module>
    train_loss = train_xe(model, dataloader_train, optim, text_field)
  File "/home/lab/fsgr/train_transformer.py", line 101, in train_xe
    out = model(detections, captions)
  File "/opt/conda/lib/python3.8/site-packages/torch/nn/modules/module.py", line 1194, in _call_impl
    return forward_call(*input, **kwargs)
"""

CASES = [
    ("GPU memory", 1, TRACE + "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.17 GiB (GPU 0; 23.69 GiB total capacity; 20.10 GiB already allocated; 512.00 MiB free; 21.00 GiB reserved in total by PyTorch)",
     "GPU memory ran out while it asked for 1.17 GiB; 512.00 MiB were free.", "Halve the batch size"),
    ("GPU memory", 1, TRACE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.15 GiB of which 14.00 MiB is free. Process 12 has 79.13 GiB memory in use.",
     "asked for 20.00 MiB; 14.00 MiB were free", "other processes"),
    ("GPU memory", 1, "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[64,196,768]", "GPU memory ran out.", "batch"),
    ("GPU memory", 1, '[rank1]: Traceback (most recent call last):\n[rank1]:   File "t.py", line 3, in f\n[rank1]:     x()\n[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.', "2.00 GiB", "batch"),
    ("disk full", 1, TRACE + "OSError: [Errno 28] No space left on device: '/scratch/save_models/fsgr_last.pth'", "The disk is full at /scratch/save_models/fsgr_last.pth.", "quota"),
    ("quota", 1, TRACE + "OSError: [Errno 122] Disk quota exceeded: 'save_models/last.pth'", "quota is used up", "quota -s"),
    ("Java", 1, TRACE + "FileNotFoundError: [Errno 2] No such file or directory: 'java'", "Java is missing", "JRE"),
    ("Java", 127, "/bin/sh: 1: java: not found", "Java is missing", "openjdk"),
    ("module", 1, TRACE + "ModuleNotFoundError: No module named 'cv2'", "The Python module cv2 is missing", "opencv-python-headless"),
    ("module", 1, TRACE + "ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "libGL.so.1 is missing", "headless"),
    ("spaCy model", 1, TRACE + "OSError: [E050] Can't find model 'en_core_web_sm'. It doesn't seem to be a Python package", "en_core_web_sm is not installed", "spacy download"),
    ("spaCy model", 1, TRACE + "OSError: [E941] Can't find model 'en'. It looks like you're trying to load a model from a shortcut", "spaCy model en is not", "spaCy 3"),
    ("key", 1, TRACE + "KeyError: '53643_grids'", "The feature file has no grids for image 53643", "fsgr-tui check"),
    ("key", 1, TRACE + "KeyError: 'state_dict'", "The key state_dict is missing.", "traceback"),
    ("features", 1, TRACE + "KeyError: \"Unable to synchronously open object (object '9_grids' doesn't exist)\"", "no grids for image 9 ", "fsgr-tui check"),
    ("features", 1, TRACE + "OSError: Unable to synchronously open file (truncated file: eof = 96, sblock->base_addr = 0, stored_eof = 2048)", "truncated", "fsgr-tui check"),
    ("not finite", 1, TRACE + "ValueError: loss is nan at step 4711", "no longer a finite number", "learning rate"),
    ("not finite", 1, "Loss is nan, stopping training", "no longer a finite number", "clip"),
    ("arguments", 2, "usage: train_transformer.py [-h] [--exp_name EXP_NAME]\ntrain_transformer.py: error: unrecognized arguments: --use_hdf5_features", "unrecognized arguments: --use_hdf5_features", "This checkout has no --use_hdf5_features"),
    ("arguments", 2, "Usage: fsgr-tui extract [OPTIONS]\n\nError: No such option: --foo", "No such option: --foo", "--help"),
    ("shapes", 1, TRACE + "RuntimeError: The size of tensor a (49) must match the size of tensor b (196) at non-singleton dimension 1", "Shapes do not fit", "49 against 196"),
    ("checkpoint", 1, TRACE + "RuntimeError: Error(s) in loading state_dict for Transformer:\n\tsize mismatch for decoder.word_emb.weight: copying a param", "does not fit the model Transformer", "vocabulary"),
    ("checkpoint", 1, TRACE + "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory", "damaged or cut off", "Download"),
    ("file missing", 2, "python: can't open file '/home/lab/train.py': [Errno 2] No such file or directory", "/home/lab/train.py", "path"),
    ("file missing", 1, TRACE + "FileNotFoundError: [Errno 2] No such file or directory: 'm2_annotations/coco_train_ids.npy'", "m2_annotations/coco_train_ids.npy", "working folder"),
    ("permission", 1, TRACE + "PermissionError: [Errno 13] Permission denied: '/data/x'", "/data/x", "ls -ld"),
    ("shared memory", 1, TRACE + "RuntimeError: unable to write to file </torch_12_3>: insufficient shared memory (shm)", "Shared memory", "--shm-size"),
    ("host memory", 1, TRACE + "RuntimeError: DataLoader worker (pid 8123) is killed by signal: Killed. ", "pid 8123", "workers"),
    ("host memory", 1, TRACE + "numpy.core._exceptions.MemoryError: Unable to allocate 74.2 GiB for an array", "Host memory ran out", "batch"),
    ("time limit", -15, "epoch 3 | step 100\nslurmstepd: error: *** JOB 4711 ON n1 CANCELLED AT 2026-11-25T13:00:00 DUE TO TIME LIMIT ***", "Slurm's time limit", "--time"),
    ("preempted", -15, "slurmstepd: error: *** JOB 4711 ON n1 CANCELLED AT 2026-11-25T13:00:00 DUE TO PREEMPTION ***", "preemption", "requeue"),
    ("host memory", 1, TRACE + "RuntimeError: x\nslurmstepd: error: Detected 1 oom-kill event(s) in StepId=4711.batch.", "host memory", "--mem"),
    ("no GPU", 1, TRACE + "RuntimeError: No CUDA GPUs are available", "No usable GPU", "CUDA_VISIBLE_DEVICES"),
    ("offline", 1, TRACE + "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub", "internet", "HF_HUB_OFFLINE"),
    ("command missing", 127, "bash: line 3: accelerate: command not found", "accelerate", "PATH"),
    ("traceback", 1, TRACE + "ValueError: empty range for randrange()", "ValueError: empty range for randrange() (in train_transformer.py, line 101, in train_xe)", "train_transformer.py:101"),
    ("traceback", 1, TRACE + "AssertionError", "AssertionError (in train_transformer.py, line 101", ":101"),
    ("signal", -11, "some output", "Ended by SIGSEGV.", "PYTHONFAULTHANDLER"),
    ("signal", 139, "some output", "Ended by SIGSEGV.", "PYTHONFAULTHANDLER"),
    ("exit code", 3, "done with the first half", "Ended with exit code 3. Its last words: done with the first half", "log"),
    ("exit code", 3, "", "It printed nothing", ""),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "code", "text", "sentence", "advice"), CASES)
def test_a_cause_is_told(kind, code, text, sentence, advice):
    cause = diagnose(seen(text, code))
    assert cause is not None
    assert cause.kind == kind, cause
    assert sentence in cause.text
    assert advice in cause.advice
    assert cause.line == "" or cause.line in text.replace("[rank1]: ", "")


def test_a_good_end_has_no_cause():
    assert diagnose(seen(TRACE + "ValueError: caught and told", 0)) is None


def test_device_side_asserts_are_folded_into_the_first_one():
    assertion = "../aten/src/ATen/native/cuda/Indexing.cu:1141: indexSelectLargeIndex: block: [12,0,0], thread: [3,0,0] Assertion `srcIndex < srcSelectDimSize` failed."
    lines = ["step 1 loss 2.3", "step 2 loss 2.2"]
    # Some are interleaved in the middle of a line, as several threads print them.
    lines += [assertion] * 280 + [assertion[:70] + assertion + assertion] * 10
    text = "\n".join(lines) + "\n" + TRACE + (
        "RuntimeError: CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported at some other API call.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1."
    )  # fmt: skip
    cause = diagnose(seen(text))
    assert cause.kind == "device-side assert"
    assert "301 assertion lines are folded; the first is line 3" in cause.text
    assert cause.line == assertion
    assert "CUDA_LAUNCH_BLOCKING=1" in cause.advice
    assert "vocabulary" in cause.text
    assert "memory ran out" not in cause.text


def test_a_plain_failed_assertion_of_a_c_program_is_no_device_assert():
    cause = diagnose(seen("a.out: x.c:3: main: Assertion `n > 0' failed.", -6))
    assert (cause.kind, cause.text) == ("signal", "Ended by SIGABRT.")


def test_an_out_of_memory_that_was_survived_is_not_the_cause():
    text = (
        "RuntimeError: CUDA out of memory, going on with batch 32\n"
        + "step 1 loss 2\n" * 100
        + TRACE
        + "KeyError: 'lr'"
    )
    assert diagnose(seen(text)).kind == "key"


def test_the_source_line_in_a_traceback_is_no_survival():
    evidence = seen(
        TRACE
        + '    raise RuntimeError("CUDA out of memory. Tried to allocate")\nRuntimeError: CUDA out of memory. Tried to allocate'
    )
    assert evidence.signals.count("out of GPU memory, survived") == 0


def test_the_root_of_a_chain_of_exceptions_counts():
    text = (
        TRACE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n\n"
        "During handling of the above exception, another exception occurred:\n\n" + TRACE[11:] + "ValueError: no checkpoint to go back to"
    )  # fmt: skip
    assert diagnose(seen(text)).kind == "GPU memory"
    plain = text.replace("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "StopIteration: x")
    assert "no checkpoint to go back to" in diagnose(seen(plain)).text


def test_text_without_a_newline_counts_too():
    cause = diagnose(seen("starting", 127, live=["bash: java: command not found"]))
    assert cause.kind == "Java"


@pytest.mark.parametrize(
    ("text", "more", "kind", "words"),
    [
        ("", {"oom_kills": 1, "peak_memory_bytes": 4 << 30}, "host memory", "killed a process of this job for exceeding its memory limit (SIGKILL). Its processes held 4.0 GiB"),
        ("", {"oom_kills": 3}, "host memory", "3 processes"),
        ("", {"host_oom_kills": 2}, "host memory", "killed 2 process(es) on this host"),
        ("slurmstepd: error: Detected 1 oom-kill event(s)", {}, "host memory", "host memory ran out"),
        ("Killed", {}, "signal", "somebody or a scheduler killed it"),
        ("step 3", {}, "signal", "SIGKILL"),
    ],
)  # fmt: skip
def test_a_kill_is_told_apart_from_lacking_memory(text, more, kind, words):
    for code in (-signal.SIGKILL, 137):
        cause = diagnose(seen(text, code, **more))
        assert cause.kind == kind
        assert words in cause.text


def test_the_kernels_counters_are_read_in_both_versions_of_control_groups(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 1\noom_kill 7\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/job/7\n")
    group = tmp_path / "sys/fs/cgroup/job/7"
    group.mkdir(parents=True)
    (group / "memory.events").write_text("low 0\nmax 3\noom 2\noom_kill 2\n")
    assert oom.read(tmp_path) == oom.OomKills(2, 7)
    (tmp_path / "proc/self/cgroup").write_text("3:cpu:/\n9:memory:/slurm/uid_1\n")
    group = tmp_path / "sys/fs/cgroup/memory/slurm/uid_1"
    group.mkdir(parents=True)
    (group / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    assert oom.read(tmp_path) == oom.OomKills(5, 7)
    assert oom.read(tmp_path / "nowhere") == oom.OomKills(None, None)
    assert oom.OomKills(5, None).since(oom.OomKills(2, 7)) == oom.OomKills(3, None)


def test_ids_of_missing_features_are_kept():
    signals = Signals()
    signals.see([f"Could not find detections for {number}" for number in (53643, 9, 53643)], 10)
    folded = signals.folded["missing features"]
    assert (folded.count, folded.ids, folded.first.number) == (3, ["53643", "9"], 10)


def test_warnings_that_differ_in_numbers_are_one():
    signals = Signals()
    signals.see([f"/x/y.py:12: UserWarning: row {number} is empty" for number in range(500)], 1)
    assert [folded.count for folded in signals.warnings.values()] == [500]
