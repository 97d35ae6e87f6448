"""Profiles and batch scripts: what they say, and what is refused."""

from __future__ import annotations

import subprocess

import msgspec
import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.slurm_profile import Profile, light, suggested_time_s
from fsgr_tui.core.slurm_script import Batch, job_name, on_several_nodes, script, torchrun_words
from fsgr_tui.core.units import Estimate
from fsgr_tui.service.profiles import EXAMPLE, read_profile


def batch(profile: Profile | None = None, **changes) -> Batch:
    values = {
        "what": "extract: 8 shards of coco.hdf5", "name": "fsgr-extract-1.extract", "folder": "/runs/extract-1",
        "output": "/runs/extract-1/slurm-%A_%a.out", "workdir": "/work", "profile": profile or Profile(), "profile_name": "gpu",
        "time_s": 7200, "python": "/venv/bin/python", "tasks": 8,
    }  # fmt: skip
    return Batch(**{**values, **changes})


WHOLE = Profile(
    partition="gpu", account="vision", qos="high", constraint="a100&nvlink", gpus=2, gpu_type="a100", cpus=16, memory="32GiB",
    at_once=4, signal_s=180, modules=("cuda/12.4",), conda="fsgr", setup=("ulimit -n 4096",), extra=("--exclude=n3", "#SBATCH --mail-type=END"),
)  # fmt: skip

EXPECTED = """#!/bin/bash -l
# extract: 8 shards of coco.hdf5
# Made by fsgr-tui for the profile 'gpu'. It can be submitted by hand: sbatch THIS-FILE;
# what is finished is not done again.
#SBATCH --job-name=fsgr-extract-1.extract
#SBATCH --output="/runs/extract-1/slurm-%A_%a.out"
#SBATCH --open-mode=append
#SBATCH --chdir="/work"
#SBATCH --array=1-8%4
#SBATCH --partition=gpu
#SBATCH --account=vision
#SBATCH --qos=high
#SBATCH --constraint="a100&nvlink"
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gres=gpu:a100:2
#SBATCH --mem=32768M
#SBATCH --time=0-02:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --exclude=n3
#SBATCH --mail-type=END

module load cuda/12.4 || exit 1
eval "$("${CONDA_EXE:-conda}" shell.bash hook)" && conda activate fsgr || exit 1
ulimit -n 4096
exec /venv/bin/python -m fsgr_tui.jobs.slurm.node /runs/extract-1/shard-"$SLURM_ARRAY_TASK_ID"
"""


def test_a_script_says_everything_that_the_profile_asks_for():
    text = script(batch(WHOLE)).replace(" 180\n", "\n")
    assert text == EXPECTED


def test_the_node_is_told_how_long_before_its_limit_it_is_warned():
    assert script(batch(WHOLE)).splitlines()[-1].endswith('shard-"$SLURM_ARRAY_TASK_ID" 180')


@pytest.mark.parametrize(
    ("time", "signal_s", "fits"), [("3m", 120, True), ("2m", 120, False), ("2m", 30, True), ("1m", 30, False)]
)
def test_a_time_that_leaves_nothing_before_slurms_warning_is_refused(time, signal_s, fits):
    profile = Profile(time=time, signal_s=signal_s)
    if fits:
        assert profile.checked("x") == profile
        return
    with pytest.raises(BadRequest, match=f"profile 'x': time = {time} leaves no time for work"):
        profile.checked("x")


def test_what_a_profile_leaves_open_is_left_to_the_site():
    text = script(batch(tasks=0))
    for option in ("partition", "account", "qos", "gres", "mem", "constraint", "array"):
        assert f"--{option}=" not in text
    assert text.startswith("#!/bin/bash\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A shell in which modules and conda are there, and write down what they are told."""
    told = tmp_path / "told"
    for name, text in {
        "module": f'echo "module $*" >> {told}; [ "$2" != absent ]',
        "conda": f'if [ "$1" = shell.bash ]; then echo \'conda() {{ echo "conda $*" >> {told}; }}\'; fi',
        "python": f'echo "python $*" >> {told}',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CONDA_EXE", raising=False)
    return told


def ran(profile: Profile, tmp_path) -> int:
    text = script(batch(profile, tasks=0, python=str(tmp_path / "python"))).replace("#!/bin/bash -l", "#!/bin/bash")
    (tmp_path / "x.sbatch").write_text(text)
    return subprocess.run(["bash", str(tmp_path / "x.sbatch")], check=False).returncode


def test_modules_conda_and_setup_come_before_the_command(site, tmp_path):
    profile = Profile(modules=("cuda/12.4", "gcc"), conda="my env", setup=(f"echo setup >> {site}",))
    assert ran(profile, tmp_path) == 0
    assert site.read_text().splitlines() == [
        "module load cuda/12.4",
        "module load gcc",
        "conda activate my env",
        "setup",
        "python -m fsgr_tui.jobs.slurm.node /runs/extract-1 120",
    ]


def test_a_module_that_is_not_there_ends_the_job_before_its_command(site, tmp_path):
    assert ran(Profile(modules=("absent",)), tmp_path) == 1
    assert site.read_text() == "module load absent\n"


def test_folders_with_spaces_and_quotes_stay_one_word_for_the_shell(tmp_path):
    folder = "/runs/it's my run"
    text = script(batch(folder=folder, tasks=3, python="echo"))
    last = text.splitlines()[-1].replace("exec echo", "printf '%s\\n'")
    done = subprocess.run(
        ["bash", "-c", last], env={"SLURM_ARRAY_TASK_ID": "2"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[2] == f"{folder}/shard-2"


@pytest.mark.parametrize("path", ['/runs/a"b', "/runs/a\nb"])
def test_a_path_that_would_break_the_script_is_refused(path):
    with pytest.raises(BadRequest, match="batch script"):
        script(batch(output=path))


def test_several_nodes_meet_at_the_first_host_and_the_text_says_so():
    """`tests/slurm/test_slurm_training.py` runs one."""
    text = script(
        batch(msgspec.structs.replace(WHOLE, nodes=4, gpus=8), tasks=0, torchrun=("train.py", "--name", "a b"))
    )
    assert "#SBATCH --nodes=4" in text
    assert "#SBATCH --ntasks-per-node=1" in text
    assert 'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)' in text
    assert "PET_NPROC_PER_NODE=8" in text
    assert 'PET_RDZV_ENDPOINT="$first:$((20000 + SLURM_JOB_ID % 10000))"' in text
    assert "#   srun torchrun --nnodes=$SLURM_JOB_NUM_NODES --nproc-per-node=8 --rdzv-backend=c10d" in text
    assert "train.py --name 'a b'" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert "RDZV" not in script(batch(msgspec.structs.replace(WHOLE, nodes=4), tasks=0))


def test_the_first_host_is_reached_by_the_address_that_slurm_knows():
    text = script(batch(msgspec.structs.replace(WHOLE, nodes=2), tasks=0, torchrun=("train.py",)))
    answers = """scontrol() {
        if [ "$2" = hostnames ]; then printf 'n1\\nn2\\n'
        else echo "NodeName=$4 Arch=x86_64 NodeAddr=10.1.2.3 NodeHostName=$4 Version=22.05.8"; fi
    }"""
    lines = [line for line in text.splitlines() if line.startswith(("first=", "export"))]
    shell = "\n".join([answers, *lines, 'echo "$PET_RDZV_ENDPOINT"'])
    env = {
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_ID": "123456",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(["bash", "-c", shell], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "10.1.2.3:23456"


def test_torchrun_is_started_once_a_node_by_srun():
    argv = on_several_nodes(("python", "train.py", "--epochs", "3"), "/venv/bin/python")
    assert argv == (
        "srun", "--kill-on-bad-exit=1", "--cpu-bind=none", "python", "-m", "torch.distributed.run",
        "train.py", "--epochs", "3",
    )  # fmt: skip
    assert torchrun_words(argv) == ("train.py", "--epochs", "3")
    assert torchrun_words(("python", "train.py")) == ()
    with pytest.raises(BadRequest, match="only a Python script"):
        on_several_nodes(("bash", "train.sh"), "/venv/bin/python")


@pytest.mark.parametrize("run", ["训练 run", "a b", "x" * 300, "ü/'\""])
def test_names_of_jobs_are_ascii_without_spaces(run):
    name = job_name(run, "merge")
    assert name.isascii()
    assert len(name) < 130
    assert not set(name) & set(" '\"/")
    assert name.endswith(".merge")


def test_merging_asks_for_no_gpu_and_its_own_partition():
    small = light(msgspec.structs.replace(WHOLE, light_partition="cpu"))
    assert (small.gpus, small.partition, small.cpus, small.gpu_type, small.account) == (0, "cpu", 2, "", "vision")


def test_a_suggested_time_has_a_margin_and_keeps_to_the_partition():
    work = Estimate(1800, 3600, 7200, "s", "guess")
    # 1.5 times the slow end and ten minutes for the start, in steps of ten minutes.
    assert suggested_time_s(work, None) == 7200 * 1.5 + 600
    assert suggested_time_s(work, 3600) == 3600
    assert suggested_time_s(Estimate.exact(1, "s"), None) == 1200


@pytest.mark.parametrize(
    ("text", "seconds"), [("4h", 14400), ("90min", 5400), ("1.5d", 129600), ("2-00:00", 172800), ("04:00:00", 14400)]
)
def test_times_are_taken_as_people_write_them(text, seconds):
    assert Profile(time=text).time_s == seconds


def test_a_time_that_slurm_reads_as_minutes_is_refused():
    with pytest.raises(BadRequest, match="minutes and seconds to Slurm"):
        _ = Profile(time="04:00").time_s


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    path = tmp_path / "slurm.toml"
    monkeypatch.setenv("FSGR_TUI_PROFILES", str(path))
    return path


def test_a_profile_is_a_table_of_the_file(profiles):
    profiles.write_text(EXAMPLE)
    name, profile = read_profile("gpu")
    assert (name, profile.partition, profile.cpus, profile.time_s, profile.conda) == ("gpu", "gpu", 8, 14400, "fsgr")


def test_without_a_file_the_site_decides(profiles):
    assert read_profile("") == ("site defaults", Profile())


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("[gpu]\ncpus = 4", "gpus", "There is no profile 'gpus'"),
        ("[gpu]\ncpu = 4", "gpu", "nothing reads the key 'cpu'"),
        ("[gpu]\ncpus = 0", "gpu", "cpus = 0 cannot be"),
        ("[gpu]\ncpus = 'four'", "gpu", "got `str` - at `$.cpus`"),
        ("[gpu]\npartition = 'big gpu'", "gpu", "partition = 'big gpu' cannot be"),
        ("[gpu]\nmemory = 'much'", "gpu", "'much' is not a size"),
        ("[gpu]\ntime = 'long'", "gpu", "is no time limit"),
        ("[gpu]\nextra = ['exclude=n3']", "gpu", "is no option of sbatch"),
        ("[gpu", "gpu", "is no valid TOML"),
        ("gpu = 3", "gpu", "Expected `object`"),
    ],
)
def test_a_faulty_profile_is_named_with_its_key(profiles, text, name, told):
    profiles.write_text(text)
    with pytest.raises(BadRequest) as caught:
        read_profile(name)
    assert told in caught.value.what
    assert caught.value.fix
