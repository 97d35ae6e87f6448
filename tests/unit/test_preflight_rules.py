from __future__ import annotations

import msgspec
import pytest

from fsgr_tui.core.dataset import SplitFacts
from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.lab import (
    CachedWeights,
    Checkout,
    Copies,
    GivenFlag,
    IdFile,
    Interpreter,
    Java,
    LoginSession,
    Place,
    SavedFile,
    ScriptFlag,
    TensorShape,
    TorchBuild,
)
from fsgr_tui.core.machine import CpuBudget, Disk, Gpu, GpuReport, MemoryBudget
from fsgr_tui.core.preflight import (
    Finding,
    PreflightReport,
    cached_weights_finding,
    coverage_finding,
    disk_findings,
    from_problem,
    gpu_findings,
    image_findings,
    login_findings,
    memory_finding,
    worker_findings,
)
from fsgr_tui.core.preflight_lab import (
    device_findings,
    embedding_finding,
    flag_findings,
    grid_findings,
    id_file_findings,
    needed_flag_findings,
    reads_hdf5_finding,
    return_index_findings,
    source_findings,
    vocabulary_finding,
    weights_finding,
)
from fsgr_tui.core.preflight_runtime import has_decimal_comma, interpreter_findings, java_findings, spacy_findings
from fsgr_tui.core.units import GB, GIB, Estimate, Unknown

GPU = Gpu(0, "GPU-a", "A100", 40 * GIB, 30 * GIB, 10 * GIB, 0, 0)
ONE, TWO = GpuReport("ok", (GPU,), "550"), GpuReport("ok", (GPU, msgspec.structs.replace(GPU, index=1)), "550")
MISMATCH = GpuReport("driver_mismatch", driver="535", message="the NVIDIA driver was updated while it was in use")
TORCH = TorchBuild("2.3.0", "12.1", 1)
DISK = Disk(
    "features",
    "/data",
    "xfs",
    "/dev/sda1",
    1000 * GB,
    100 * GB,
    Unknown("quota not checked: no quota command"),
    1000,
    True,
)
JAVA = Java("/usr/bin/java", "17.0.1", "en")
LAB = Checkout("lab", "train_transformer.py", java_lines=(Place("tok.py", 3, "java"),))


def verdicts(findings) -> list[str]:
    return [finding.verdict for finding in findings]


# -- exit codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ((), 0),
        (("ok data", "warn data", "warn machine"), 0),
        (("stop data",), 1),
        (("stop data", "stop machine"), 3),
        (("stop machine", "stop data", "stop request"), 2),
    ],
)
def test_warnings_pass_and_the_worst_fault_gives_the_exit_code(rows, code):
    findings = [Finding(row, row, verdict=row.split()[0], blame=row.split()[1]) for row in rows]
    assert PreflightReport.of("train", findings).exit_code == code


@pytest.mark.parametrize(("kind", "code"), [(BadRequest, 2), (MachineCannot, 3), (FoundFaults, 1)])
def test_a_refusal_keeps_its_exit_code(kind, code):
    report = PreflightReport.of("extract", [from_problem("request", kind("what", "fix"))])
    assert (report.exit_code, report.stops[0].remedy) == (code, "fix")


def test_the_same_refusal_met_twice_is_told_once():
    twice = [from_problem("weights", BadRequest("no file")), from_problem("request", BadRequest("no file"))]
    assert len(PreflightReport.of("extract", twice).findings) == 1


# -- GPU ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "device", "needs_gpu", "verdict"),
    [
        (ONE, "auto", False, "ok"),
        (ONE, "cuda:0", False, "ok"),
        (ONE, "cuda:1", False, "stop"),
        (ONE, "cuda:0,cuda:3", False, "stop"),
        (MISMATCH, "auto", False, "warn"),
        (MISMATCH, "cuda", False, "stop"),
        (MISMATCH, "auto", True, "stop"),
        (GpuReport("hidden", message="hidden"), "auto", False, "warn"),
        (GpuReport("no_driver", message="no NVIDIA driver here"), "auto", False, "ok"),
        (GpuReport("no_driver", message="no NVIDIA driver here"), "all", False, "stop"),
        (GpuReport("none"), "auto", True, "stop"),
        (MISMATCH, "cpu", False, "ok"),
    ],
)
def test_a_gpu_that_cannot_be_used_stops_only_what_needs_it(report, device, needs_gpu, verdict):
    findings = gpu_findings(report, TORCH, device=device, needs_gpu=needs_gpu)
    assert findings[0].verdict == verdict
    assert verdict != "stop" or PreflightReport.of("extract", findings).exit_code == 3


def test_memory_used_by_processes_that_are_not_visible_is_told():
    full = GpuReport("ok", (GPU,), "550", "GPU 0: 70.0 GiB used by processes not visible from here")
    (finding, *_rest) = gpu_findings(full, TORCH, device="auto", needs_gpu=False)
    assert (finding.verdict, "not visible from here" in finding.found) == ("warn", True)


@pytest.mark.parametrize(
    ("torch", "device", "verdict"),
    [
        (TorchBuild("2.3.0+cpu", "", 0), "auto", "warn"),
        (TorchBuild("2.3.0+cpu", "", 0), "cuda", "stop"),
        (TorchBuild("2.3.0", "12.8", 0), "cuda", "stop"),
        (TORCH, "cuda", "ok"),
    ],
)
def test_a_torch_that_sees_no_gpu_is_found_out(torch, device, verdict):
    assert gpu_findings(ONE, torch, device=device, needs_gpu=False)[1].verdict == verdict


@pytest.mark.parametrize(("low", "likely", "verdict"), [(10, 20, "ok"), (20, 40, "warn"), (31, 40, "stop")])
def test_gpu_memory_stops_only_when_even_the_low_estimate_does_not_fit(low, likely, verdict):
    need = Estimate(low * GIB, likely * GIB, 60 * GIB, "bytes", "table")
    last = gpu_findings(ONE, TORCH, device="cuda", needs_gpu=True, need=need, advice="Use less.")[-1]
    assert (last.verdict, last.remedy) == (verdict, "" if verdict == "ok" else "Use less.")


# -- disks, hosts, log-out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "ok", "quota not checked: no quota command"),
        ({"free_bytes": 40 * GB}, "stop", "40.0 GB free on /data (xfs)"),
        ({"free_bytes": 10**8, "quota_bytes": 10**8}, "stop", "quota leaves 100 MB"),
        ({"free_bytes": Unknown("no answer within 2 s")}, "warn", "unknown (no answer within 2 s)"),
        ({"writable": False}, "stop", "not writable"),
        (
            {
                "writable": False,
                **dict.fromkeys(("total_bytes", "free_bytes", "inodes_free"), Unknown("no answer within 2 s")),
            },
            "stop",
            "features: unknown (no answer within 2 s)",
        ),
    ],
)
def test_space_is_judged_with_what_the_quota_leaves_and_an_unchecked_quota_is_said(changes, verdict, words):
    (finding,) = disk_findings(msgspec.structs.replace(DISK, **changes), 50 * GB, 2, "features")
    assert (finding.verdict, words in finding.found) == (verdict, True)


@pytest.mark.parametrize(
    ("inodes", "stops"), [(5, True), (0, True), (20, False), (Unknown("reports no inode count"), False)]
)
def test_missing_inodes_stop_and_a_file_system_without_a_count_does_not(inodes, stops):
    findings = disk_findings(msgspec.structs.replace(DISK, inodes_free=inodes), GB, 20, "checkpoints")
    assert ("stop" in verdicts(findings)) is stops
    if stops:
        assert findings[1].needed == "20"


@pytest.mark.parametrize(("workers", "cpus", "verdict"), [(4, 8, "ok"), (4, 4, "ok"), (4, 1, "warn"), (0, 1, "ok")])
def test_more_loaders_than_cores_are_a_warning(workers, cpus, verdict):
    (finding,) = worker_findings(workers, CpuBudget(cpus, "SLURM_CPUS_PER_TASK", 36))
    assert finding.verdict == verdict
    assert "-" not in finding.found


def test_the_memory_of_a_container_is_told_with_its_limit_and_not_the_hosts():
    limit = "/sys/fs/cgroup/job/memory.max"
    assert memory_finding(MemoryBudget(4 * GIB, 3 * GIB, limit)).found == f"3.0 GiB of 4.0 GiB free ({limit})"
    assert "unknown" in memory_finding(Unknown("/proc/meminfo is not readable")).found


@pytest.mark.parametrize(
    ("session", "told"),
    [
        (LoginSession(True, False, True, "loginctl"), ("loginctl enable-linger", "systemd-run --user --scope")),
        (LoginSession(True, True, True, "loginctl"), ("systemd-run --user --scope",)),
        (LoginSession(Unknown("no loginctl command"), False, True, "logind.conf"), ("not known",)),
        (LoginSession(False, False, True, "loginctl"), ()),
        (LoginSession(True, False, False, "loginctl"), ()),
    ],
)
def test_a_log_out_that_ends_jobs_is_told_with_its_remedy(session, told):
    findings = login_findings(session)
    assert bool(findings) == bool(told)
    for words in told:
        assert words in f"{findings[0].found} {findings[0].remedy}"


# -- images, coverage, weights ----------------------------------------------------------------------------------------


def test_an_incomplete_split_and_empty_files_are_warnings_with_names():
    rows = image_findings([SplitFacts("val2014", "x", 40_000, 1, 40_504)], ["a/1.jpg", "a/2.jpg"])
    assert verdicts(rows) == ["warn", "warn"]
    assert "2 of 0 bytes: a/1.jpg, a/2.jpg" in rows[1].found


def test_every_missing_id_is_listed_and_the_first_ten_are_shown():
    finding = coverage_finding("features", range(1, 31), 100, "Extract them.")
    assert (finding.verdict, len(finding.listed)) == ("stop", 30)
    assert finding.found == "30 of 100 are missing: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."
    assert coverage_finding("features", (), 100, "Extract them.").verdict == "ok"


@pytest.mark.parametrize(
    ("path", "known", "offline", "verdict"),
    [("/cache/a", True, True, "ok"), ("", True, False, "warn"), ("", True, True, "stop"), ("", False, False, "stop")],
)
def test_weights_that_are_not_in_the_cache_stop_a_node_that_may_not_fetch_them(path, known, offline, verdict):
    finding = cached_weights_finding(
        CachedWeights("ViT-B-16", "openai", known, path, "/cache", "timm/x"), offline=offline
    )
    assert finding.verdict == verdict
    assert verdict == "ok" or not known or "on a login node run" in finding.remedy


@pytest.mark.parametrize(
    ("saved", "verdict"),
    [
        (SavedFile("torchscript", 10), "ok"),
        (SavedFile("dict", 10, tensors={"a": TensorShape((1,), "float32")}), "ok"),
        (SavedFile("dict", 10), "stop"),
    ],
)
def test_a_weights_file_has_to_hold_weights(saved, verdict):
    assert weights_finding("a.pt", saved).verdict == verdict


# -- the lab's files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "verdict", "words"),
    [
        (IdFile("a.npy", 5, 5, 1), "ok", "5 annotation ids"),
        (IdFile("a.npy", 5, 0, 5, (9,)), "stop", "image ids (5 of 5 are)"),
        (IdFile("a.npy", 5, 1, 5, (9,)), "stop", "image ids"),
        (IdFile("a.npy", 5, 3, 1, (7, 8)), "stop", "2 of 5 ids that no caption has: 7, 8"),
        (IdFile("a.npy", Unknown("it holds float64")), "stop", "it holds float64"),
    ],
)
def test_image_ids_in_an_id_file_are_told_from_annotation_ids(file, verdict, words):
    (finding,) = id_file_findings([file])
    assert (finding.verdict, words in finding.found) == (verdict, True)


def saved_tensor(*shape: int) -> SavedFile:
    return SavedFile("tensor", 10, TensorShape(shape, "float32"))


@pytest.mark.parametrize(
    ("saved", "largest_label", "verdict", "words"),
    [
        (saved_tensor(4585, 512), None, "ok", "4585 x 512"),
        (saved_tensor(20, 512), 19, "ok", "20 x 512"),
        (saved_tensor(19, 512), None, "stop", "19 x 512"),
        (saved_tensor(80, 768), None, "stop", "80 x 768"),
        (saved_tensor(512), None, "stop", "512 float32"),
        (saved_tensor(80, 512), 4584, "stop", "patch labels go up to 4584"),
        (
            SavedFile("dict", 10, keys=("e",), tensors={"e": TensorShape((80, 512), "float32")}),
            None,
            "stop",
            "a dict with e",
        ),
    ],
)
def test_text_embeddings_are_a_bare_tensor_of_at_least_twenty_rows_of_512(saved, largest_label, verdict, words):
    finding = embedding_finding("e.pth", saved, largest_label)
    assert (finding.verdict, words in finding.found) == (verdict, True)
    assert verdict == "ok" or finding.remedy


@pytest.mark.parametrize(("rows", "verdict"), [(10_201, "ok"), (10_200, "stop"), (10_199, "stop")])
def test_a_vocabulary_has_as_many_words_as_the_checkpoints_table_has_rows(rows, verdict):
    saved = SavedFile("dict", 10, tensors={"state_dict.decoder.word_emb.weight": TensorShape((rows, 512), "float32")})
    assert verdicts(vocabulary_finding("v.pkl", 10_201, "c.pth", saved)) == [verdict]


def test_a_checkpoint_without_a_word_table_says_nothing_of_the_vocabulary():
    assert vocabulary_finding("v.pkl", 3, "c.pth", SavedFile("dict", 10)) == []


# -- the lab's source -------------------------------------------------------------------------------------------------

FLAGGED = Checkout(
    "lab",
    "train.py",
    (
        ScriptFlag(("--exp_name",)),
        ScriptFlag(("--text",), takes_value=False),
        ScriptFlag(("--batch_size",), kind="int"),
        ScriptFlag(("--mode",), choices=("a", "b")),
        ScriptFlag(("--need",), required=True),
    ),
)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (GivenFlag("--use_hdf5_features"), "train.py does not know --use_hdf5_features"),
        (GivenFlag("--batch_size", ("many",)), "'many' is no int"),
        (GivenFlag("--batch_size"), "no value follows it"),
        (GivenFlag("--text", ("yes",)), "'yes' follows it, and it takes no value"),
        (GivenFlag("--mode", ("c",)), "'c' is none of a, b"),
    ],
)
def test_a_flag_that_the_scripts_argparse_would_refuse_is_named(flag, words):
    findings = flag_findings(FLAGGED, [flag, GivenFlag("--need", ("1",))])
    assert [finding.found for finding in findings] == [words]
    assert PreflightReport.of("train", findings).exit_code == 2


def test_known_flags_in_both_spellings_pass():
    given = [
        GivenFlag("--exp-name", ("a",)),
        GivenFlag("--text"),
        GivenFlag("--batch_size", ("150",)),
        GivenFlag("--need", ("1",)),
    ]
    assert verdicts(flag_findings(FLAGGED, given)) == ["ok"]


def test_a_required_flag_that_was_not_given_is_named():
    (finding,) = flag_findings(FLAGGED, [])
    assert (finding.what, finding.found) == ("flag --need", "not given")


def test_a_mistyped_flag_is_answered_with_the_scripts_own():
    (finding, *_rest) = flag_findings(FLAGGED, [GivenFlag("--bach_size", ("1",))])
    assert finding.remedy == "Did you mean --batch_size?"


def test_the_guides_hdf5_flag_gets_an_answer_of_its_own():
    (finding, *_rest) = flag_findings(FLAGGED, [GivenFlag("--use_hdf5_features")])
    assert f"fsgr-tui integrate {FLAGGED.root} shows the change" in finding.remedy


def test_a_script_that_drops_unknown_flags_gets_a_warning():
    lax = msgspec.structs.replace(FLAGGED, takes_any_flag=True)
    assert flag_findings(lax, [GivenFlag("--x"), GivenFlag("--need", ("1",))])[0].verdict == "warn"


def test_a_script_whose_flags_cannot_be_read_is_told_not_judged():
    assert verdicts(flag_findings(Checkout("lab", "train.py"), [GivenFlag("--x")])) == ["warn"]


def test_data_that_neither_the_command_nor_the_script_names_is_asked_for():
    checkout = Checkout(
        "lab",
        "train.py",
        (
            ScriptFlag(("--features_path",)),
            ScriptFlag(("--pre_vs_path",), default="a.pt"),
            ScriptFlag(("--text_embed_path",)),
        ),
    )
    assert [row.what for row in needed_flag_findings(checkout, [])] == ["flag --features_path"]
    assert [
        row.what for row in needed_flag_findings(checkout, [GivenFlag("--text"), GivenFlag("--features-path", ("f",))])
    ] == ["flag --text_embed_path"]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("return_index", "text", "labels_path"), ""),
        (("return-index", "text"), "without --labels_path"),
        (("return_index",), "without --text and --labels_path"),
    ],
)
def test_return_index_needs_text_and_labels(names, missing):
    (finding,) = return_index_findings([GivenFlag(f"--{name}") for name in names])
    assert finding.verdict == ("stop" if missing else "ok")
    assert missing in finding.found
    assert return_index_findings([GivenFlag("--text")]) == []


@pytest.mark.parametrize(("tokens", "found"), [(196, ["ok"]), (49, ["stop"]), (None, [])])
def test_features_of_another_grid_than_the_models_numbers_stop(tokens, found):
    checkout = Checkout("lab", "train.py", grid_lines=(Place("models/net.py", 3, "x.view(b, 14, 14, c)"),))
    assert verdicts(grid_findings(checkout, tokens)) == found
    assert grid_findings(Checkout("lab", "train.py"), tokens) == []


@pytest.mark.parametrize(
    ("features", "imports", "found"),
    [("f.hdf5", set(), ["stop"]), ("f.hdf5", {"h5py"}, []), ("images", set(), [])],
)
def test_a_checkout_that_reads_no_hdf5_is_not_given_any(features, imports, found):
    rows = reads_hdf5_finding(Checkout("my lab", "train.py", imports=frozenset(imports)), features)
    assert verdicts(rows) == found
    assert all("fsgr-tui integrate 'my lab'" in row.remedy for row in rows)


@pytest.mark.parametrize(
    ("report", "visible", "verdict"),
    [(ONE, None, "ok"), (ONE, "0", "ok"), (TWO, None, "warn"), (ONE, "3", "warn"), (TWO, "0", "warn")],
)
def test_a_gpu_that_the_script_chooses_itself_is_told_where_there_is_a_choice(report, visible, verdict):
    checkout = Checkout("lab", "train.py", device_lines=(Place("train.py", 7, "0"),))
    (finding,) = device_findings(checkout, report, visible)
    assert (finding.verdict, "train.py:7 sets '0'" in finding.found) == (verdict, True)


def test_copies_and_unreadable_sources_are_warnings():
    checkout = Checkout(
        "lab",
        "train.py",
        copies=(Copies("data/field.py", ("data/field_old.py",)),),
        unread=(Place("net.py", 1, "bad syntax"),),
    )
    assert verdicts(source_findings(checkout)) == ["warn", "warn"]


# -- the lab's Python and Java ----------------------------------------------------------------------------------------


def lab_python(*absent: str, torch: TorchBuild | Unknown = TORCH, late: bool = False, **packages: str) -> Interpreter:
    return Interpreter("env/bin/python", "3.8.19", packages, absent, torch, late)


def test_a_package_that_the_checkout_imports_and_the_python_lacks_is_named():
    checkout = Checkout("lab", "train.py", imports=frozenset({"h5py", "torch"}))
    (finding,) = interpreter_findings(lab_python("h5py", torch=TORCH), checkout)
    assert (finding.verdict, finding.blame, finding.listed) == ("stop", "machine", ("h5py",))


def test_a_package_that_only_parts_of_the_checkout_import_is_a_warning():
    checkout = Checkout("lab", "train.py", imports=frozenset({"wandb", "torch"}), perhaps=frozenset({"wandb"}))
    assert verdicts(interpreter_findings(lab_python("wandb", torch=TORCH), checkout)) == ["warn", "ok"]


def test_a_python_without_torch_is_the_wrong_one():
    findings = interpreter_findings(
        lab_python("torch", torch=Unknown("not installed there")), Checkout("lab", "train.py")
    )
    assert (findings[0].verdict, "--python" in findings[0].remedy) == ("stop", True)


@pytest.mark.parametrize(
    ("reason", "late", "verdict"),
    [("no answer within 60 s", True, "warn"), ("OSError: libcudart.so.11.0", False, "stop")],
)
def test_a_torch_that_was_too_slow_to_answer_is_unknown_and_one_that_fails_stops(reason, late, verdict):
    findings = interpreter_findings(lab_python(torch=Unknown(reason), late=late), Checkout("lab", "train.py"))
    assert (findings[0].verdict, reason in findings[0].found) == (verdict, True)


@pytest.mark.parametrize(
    ("version", "absent", "name", "stops"),
    [
        ("3.5.1", (), "en_core_web_sm", []),
        ("3.5.1", ("en_core_web_sm",), "en_core_web_sm", ["spaCy's en_core_web_sm"]),
        ("3.5.1", (), "en", ["spaCy's short name"]),
        ("3.5.1", ("en_core_web_sm",), "en", ["spaCy's short name", "spaCy's en_core_web_sm"]),
        ("2.3.9", (), "en", []),
    ],
)
def test_spacy_3_needs_the_packages_full_name_and_the_package(version, absent, name, stops):
    checkout = Checkout("lab", "train.py", spacy_models=(Place("field.py", 9, name),), imports=frozenset({"spacy"}))
    findings = spacy_findings(lab_python(*absent, spacy=version), checkout)
    assert [finding.what for finding in findings if finding.verdict == "stop"] == stops
    assert not stops or PreflightReport.of("train", findings).exit_code == 3
    if absent:
        assert "without internet" in findings[-1].remedy


def test_a_checkout_without_spacy_is_not_asked_for_it():
    assert spacy_findings(lab_python("spacy"), Checkout("lab", "train.py")) == []


@pytest.mark.parametrize(
    ("java", "words"),
    [
        (Java("", Unknown("not on PATH"), Unknown("no Java")), "not on PATH"),
        (
            Java("/x/java", Unknown("exit 1: Error: no JVM"), Unknown("it does not run")),
            "does not run: exit 1: Error: no JVM",
        ),
    ],
)
def test_without_a_java_that_runs_the_first_epoch_would_end_in_a_fault(java, words):
    findings = java_findings(java, LAB, "C", ())
    assert (verdicts(findings), words in findings[0].found) == (["stop"], True)
    assert "at the end of the first epoch" in findings[0].remedy
    assert PreflightReport.of("train", findings).exit_code == 3


@pytest.mark.parametrize(
    ("language", "locale", "warns"),
    [
        ("it", "C", True),
        ("it_IT", "C", True),
        ("en", "it_IT.UTF-8", False),
        (Unknown("silent"), "it_IT.UTF-8", True),
        (Unknown("silent"), "C.UTF-8", False),
        ("zh_CN", "C", False),
        ("de_CH", "C", False),
        ("es_MX", "C", False),
    ],
)
def test_a_locale_with_decimal_commas_is_a_warning(language, locale, warns):
    findings = java_findings(msgspec.structs.replace(JAVA, language=language), LAB, locale, ())
    assert ("warn" in verdicts(findings)) is warns
    if warns:
        assert "LC_ALL=C.UTF-8" in findings[1].remedy


def test_a_blank_in_the_path_is_a_warning():
    assert verdicts(java_findings(JAVA, LAB, "C", ("/home/my run",))) == ["ok", "warn"]


def test_a_checkout_that_starts_no_java_is_not_asked_for_one():
    assert (
        java_findings(Java("", Unknown("not on PATH"), Unknown("")), Checkout("lab", "train.py"), "it_IT", ("a b",))
        == []
    )


@pytest.mark.parametrize(
    ("locale", "comma"), [("de_DE", True), ("fr", True), ("en_US", False), ("ja_JP", False), ("C", False)]
)
def test_decimal_commas_by_language(locale, comma):
    assert has_decimal_comma(locale) is comma
