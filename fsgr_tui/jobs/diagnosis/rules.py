"""The table of known endings: what a line looks like, what it means, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from fsgr_tui.core.language import mark, tr

Groups = Mapping[str, str]
Words = Callable[[Groups], str]


class Rule(NamedTuple):
    """A known ending.

    Attributes:
        alone: whether it is believed beside a traceback that says something else (a scheduler's word, say).
    """

    kind: str
    pattern: re.Pattern[str]
    text: Words
    advice: Words
    alone: bool = False


def _rule(kind: str, pattern: str, text: str | Words, advice: str | Words, *, alone: bool = False) -> Rule:
    return Rule(kind, re.compile(pattern), _words(text), _words(advice), alone)


def _words(given: str | Words) -> Words:
    return given if callable(given) else lambda groups: tr(given, **groups) if given else ""


def _gpu_memory(groups: Groups) -> str:
    asked, free = groups["asked"], groups["free"]
    if asked and free:
        return tr("GPU memory ran out while it asked for {asked}; {free} were free.", asked=asked, free=free)
    if asked:
        return tr("GPU memory ran out while it asked for {asked}.", asked=asked)
    return tr("GPU memory ran out; {free} were free.", free=free) if free else tr("GPU memory ran out.")


def _module(groups: Groups) -> str:
    return tr("The Python module {name} is missing in the interpreter that ran the job.", name=groups["name"])


def _module_advice(groups: Groups) -> str:
    package = {
        "cv2": "opencv-python-headless", "PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml", "skimage": "scikit-image",
        "clip": "git+https://github.com/openai/CLIP.git", "open_clip": "open_clip_torch",
    }.get(groups["name"].partition(".")[0], groups["name"].partition(".")[0])  # fmt: skip
    return tr(
        "Activate the environment that has it, or install it there: pip install {package}. If it is a file of the checkout, "
        "start the job in the checkout's own folder.",
        package=package,
    )


def _key(groups: Groups) -> str:
    key = groups["key"].strip("'\"")
    match = re.fullmatch(r"(\d+)_(\w+)", key)
    if match:
        return tr(
            "The feature file has no {what} for image {image} (key {key}).", what=match[2], image=match[1], key=key
        )
    return tr("The key {key} is missing.", key=key)


def _key_advice(groups: Groups) -> str:
    if re.fullmatch(r"'?\d+_\w+'?", groups["key"]):
        return tr(
            "`fsgr-tui check FILE --annotations DIR` lists all images that are missing; extracting again with --resume adds them."
        )
    return tr(
        "The traceback in the log shows which mapping was asked; compare the names of the configuration, the checkpoint or the file."
    )


def _argument(groups: Groups) -> str:
    if groups["prog"]:
        return tr("{program} does not accept its command line: {what}.", program=groups["prog"], what=groups["what"])
    return tr("The program does not accept its command line: {what}.", what=groups["what"])


def _argument_advice(groups: Groups) -> str:
    if "--use_hdf5_features" in groups["what"]:
        return tr(
            "This checkout has no --use_hdf5_features: leave the flag out, or change its data field to read HDF5 first."
        )
    return tr(
        "Nothing was started. Compare the flags with the script's --help; other versions of a checkout have other flags."
    )


def _tokens(groups: Groups) -> str:
    return tr("Shapes do not fit: {what}.", what=groups["what"])


_GRIDS = mark(
    "49 against 196 tokens: features of another grid than the model expects. 768 against 512: features before and after the projection. `fsgr-tui check FILE` tells what a file holds."
)
_DISK = mark(
    "Free space where the job writes (checkpoints, logs, /tmp), or write elsewhere. Where `df` shows space, look for a quota "
    "(`quota -s`), for inodes (`df -i`), or ask whether the file server itself is full. What was finished is kept."
)

RULES: Final[tuple[Rule, ...]] = (
    _rule("time limit", r"CANCELLED AT (?P<at>\S+) DUE TO TIME LIMIT|DUE TO TIME LIMIT",
          mark("The job reached Slurm's time limit."),
          mark("Resume from the last checkpoint, and ask for more time (--time), or save checkpoints before the limit (--signal=B:USR1@120)."), alone=True),
    _rule("preempted", r"CANCELLED AT \S+ DUE TO PREEMPTION|DUE TO PREEMPTION",
          mark("Slurm ended the job to make room for another one (preemption)."),
          mark("Submit it again with --requeue, and resume from the last checkpoint."), alone=True),
    _rule("node failure", r"DUE TO NODE FAILURE|NODE_FAIL",
          mark("The node failed."), mark("Submit it again; leave the node out with --exclude if it happens twice."), alone=True),
    _rule("host memory", r"[Dd]etected \d+ oom.?kill event|OOM Killed|oom-kill:|Exceeded job memory limit|Out Of Memory",
          mark("Killed because host memory ran out."),
          mark("Fewer loader workers and a smaller prefetch first; then more memory (Slurm: --mem)."), alone=True),
    _rule("GPU memory",
          r"(?:CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation|RESOURCE_EXHAUSTED: (?:Out of memory|OOM)|OOM when allocating tensor|HIP out of memory)"
          r"(?:.*?Tried to allocate (?P<asked>[\d.]+ [KMG]i?B))?(?:.*?(?P<free>[\d.]+ [KMG]i?B) (?:is |bytes )?free)?",
          _gpu_memory,
          mark("Halve the batch size (and halve the learning rate, or accumulate two steps). If less is in use than the card has, other processes are on it: `nvidia-smi`, or choose another card. Precomputed features leave CLIP out of the GPU.")),
    _rule("shared memory", r"insufficient shared memory|unable to (?:write|open|resize|allocate) .*(?:shared memory|shm)|unable to mmap .*shm",
          mark("Shared memory (/dev/shm) is too small for the loader's workers."),
          mark("Fewer workers (--workers), or a larger /dev/shm (docker: --shm-size=8g); torch.multiprocessing.set_sharing_strategy('file_system') is slower and needs none.")),
    _rule("host memory", r"DataLoader worker \(pid[( ]?s?\)? ?(?P<pid>[\d, ]+)\) (?:is killed by signal: Killed|exited unexpectedly)",
          mark("A loader worker was killed (pid {pid}), most likely because host memory ran out."),
          mark("Fewer workers and a smaller prefetch; every worker holds its own copies.")),
    _rule("host memory", r"DefaultCPUAllocator: can't allocate memory|\bMemoryError\b|Cannot allocate memory|\[Errno 12\]|std::bad_alloc",
          mark("Host memory ran out."),
          mark("A smaller batch, fewer workers, or features that are read on demand instead of loaded whole.")),
    _rule("quota", r"Disk quota exceeded|\[Errno 122\](?:.*?'(?P<path>[^']+)')?",
          mark("The user's disk quota is used up, whatever space the disk shows."),
          mark("`quota -s` (or the site's own command) shows it. Delete old checkpoints and features, or write to another file system.")),
    _rule("disk full", r"(?:No space left on device|\[Errno 28\])(?:.*?'(?P<path>[^']+)')?",
          lambda groups: tr("The disk is full at {path}.", path=groups["path"]) if groups["path"] else tr("The disk is full."), _DISK),
    _rule("Java", r"(?:\[Errno 2\] No such file or directory|FileNotFoundError).*'java'|java: (?:command )?not found|Unable to locate a Java Runtime|JAVA_HOME.*not (?:set|defined)|Could not create the Java Virtual Machine|UnsupportedClassVersionError",
          mark("Java is missing or does not run; METEOR, SPICE and the PTB tokenizer need it."),
          mark("Install a JRE (conda install -c conda-forge openjdk; module load java), or leave those scores out. The last checkpoint is kept: only the scoring has to be done again.")),
    _rule("spaCy model", r"\[E050\] Can't find model '(?P<name>[^']+)'|\[E941\] Can't find model '(?P<old>[^']+)'|en_core_web_sm",
          lambda groups: tr("The spaCy model {name} is not installed.", name=groups["name"] or groups["old"] or "en_core_web_sm"),
          mark("python -m spacy download en_core_web_sm; without internet pip install the wheel of en_core_web_sm. The short name `en` is not known since spaCy 3.")),
    _rule("module", r"(?:ModuleNotFoundError|ImportError): No module named '?(?P<name>[\w.]+)'?", _module, _module_advice),
    _rule("module", r"ImportError: (?P<library>lib\S+\.so[.\d]*): cannot open shared object file",
          mark("The system library {library} is missing."),
          lambda groups: tr("Use opencv-python-headless instead of opencv-python.") if "libGL" in groups["library"] else tr("Install the package that holds it, or load its module.")),
    _rule("module", r"ImportError: cannot import name '(?P<name>[^']+)' from '?(?P<module>[\w.]+)'?",
          mark("{module} has no {name}: the installed version of the package is another than the code expects."),
          mark("Install the version that the checkout's requirements name.")),
    _rule("no GPU", r"No CUDA GPUs are available|Torch not compiled with CUDA enabled|CUDA driver version is insufficient|no CUDA-capable device|Found no NVIDIA driver|invalid device ordinal",
          mark("No usable GPU was found by the job."),
          mark("Look at `fsgr-tui doctor`, at CUDA_VISIBLE_DEVICES, and whether torch is a CUDA build that fits the driver.")),
    _rule("no GPU", r"no kernel image is available for execution",
          mark("This torch was not built for this GPU."), mark("Install a torch build that supports the card (pytorch.org), or use another card.")),
    _rule("GPU fault", r"uncorrectable ECC error|CUDA error: (?:an illegal memory access|unspecified launch failure|misaligned address)|has fallen off the bus|Xid",
          mark("The GPU or a kernel on it failed."),
          mark("Run again with CUDA_LAUNCH_BLOCKING=1. ECC and bus errors are the hardware's: tell the administrator, and use another card.")),
    _rule("GPU fault", r"Watchdog caught collective operation timeout|NCCL (?:error|timeout)|ncclInternalError|ncclSystemError",
          mark("The GPUs waited for one another until NCCL gave up: one of the processes died or fell behind."),
          mark("Look for the first error in the other ranks' output; NCCL_DEBUG=INFO tells more.")),
    _rule("features", r"truncated file: eof = (?P<has>\d+).*?stored_eof = (?P<expects>\d+)|truncated file",
          mark("A feature file is truncated: it is shorter than its header says."),
          mark("`fsgr-tui check FILE` tells how much is missing; download or extract it again.")),
    _rule("features", r"[Uu]nable to (?:synchronously )?(?:open|create) file.*(?:unable to lock file|errno = 11|Resource temporarily unavailable)",
          mark("Another process holds the HDF5 file open."), mark("Let it finish, or give each process a file of its own.")),
    _rule("features", r"file signature not found",
          mark("A file is no HDF5 file: perhaps a web page that was saved instead of the download."), mark("`fsgr-tui check FILE` tells what it is.")),
    _rule("features", r"KeyError: [\"']?.*Unable to (?:synchronously )?open object.*object '(?P<key>[^']+)' doesn't exist",
          _key, _key_advice),
    _rule("key", r"^KeyError: (?P<key>.+)$", _key, _key_advice),
    _rule("checkpoint", r"Error\(s\) in loading state_dict for (?P<model>\w+)",
          mark("The checkpoint does not fit the model {model}."),
          mark("Its lines below name the layers. A vocabulary of another size and another width of the features are the usual reasons; start without --resume, or with the checkpoint of this configuration.")),
    _rule("checkpoint", r"PytorchStreamReader failed|invalid load key|unexpected EOF, expected \d+ more bytes|failed finding central directory",
          mark("A checkpoint or weights file is damaged or cut off."), mark("Download it again, or go back to the checkpoint before it.")),
    _rule("checkpoint", r"Weights only load failed|weights_only",
          mark("torch refused a weights file because it holds more than tensors."), mark("Load it with a torch before 2.6, or save its state dict alone; trust only files of your own.")),
    _rule("not finite", r"\b(?:[Ll]oss|[Gg]radient|grad(?:ient)?[ _]norm)\b.{0,40}\b(?:is|was|became|=|:)\s*(?:nan|NaN|inf|not finite)|FloatingPointError|[Nn]on-?finite (?:loss|gradient)|(?:contain|found|got|detected)\w*\s+(?:NaN|nan)\b|Function '\w+' returned nan values",
          mark("The loss or a gradient was no longer a finite number."),
          mark("Lower the learning rate or lengthen the warm-up, clip gradients (1.0), and look whether features hold NaN: `fsgr-tui check FILE --deep`. With fp16, try bf16 or fp32.")),
    _rule("arguments", r"^(?:(?P<prog>[\w./-]+): )?error: (?P<what>(?:unrecognized arguments|the following arguments are required|argument |ambiguous option|invalid choice|No such option|one of the arguments).*?)\.?$",
          _argument, _argument_advice, alone=True),
    _rule("arguments", r"^(?P<prog>)Error: (?P<what>(?:No such option|Missing option|Invalid value|Got unexpected).*?)\.?$",
          _argument, _argument_advice, alone=True),
    _rule("shapes", r"(?P<what>mat1 and mat2 shapes cannot be multiplied \([^)]*\)|The size of tensor a \(\d+\) must match the size of tensor b \(\d+\)[^.]*|size mismatch,? [^.]*|shape '\[[^\]]*\]' is invalid for input of size \d+|could not broadcast input array from shape [^.]*)",
          _tokens, _GRIDS),
    _rule("file missing", r"(?:FileNotFoundError|No such file or directory|cannot open|can't open file).*?[:'](?P<path> ?[^':]+)'?(?:: \[Errno 2\].*)?$",
          lambda groups: tr("A file is missing: {path}.", path=groups["path"].strip()), mark("Look at the path; relative ones count from the job's working folder.")),
    _rule("permission", r"(?:PermissionError|Permission denied)(?:.*?'(?P<path>[^']+)')?",
          lambda groups: tr("Permission was denied for {path}.", path=groups["path"]) if groups["path"] else tr("Permission was denied."), mark("Look at the owner and the mode of the path (ls -ld).")),
    _rule("offline", r"LocalEntryNotFoundError|Name or service not known|Temporary failure in name resolution|ConnectionError|Max retries exceeded|Network is unreachable",
          mark("The job tried to reach the internet and could not."), mark("Fetch what it needs on a login node first, and set HF_HUB_OFFLINE=1 so that it says at once what is missing.")),
    _rule("command missing", r"(?P<name>[\w./-]+): (?:command )?not found$",
          mark("The program {name} was not found."), mark("Look at PATH and at the environment that was active; a comment behind a backslash at a line's end also cuts a command in two.")),
    _rule("port", r"Address already in use|EADDRINUSE", mark("The port of the distributed start is taken by another job."), mark("Choose another one (--master_port, or --rdzv-endpoint=localhost:0).")),
    _rule("interrupted", r"^KeyboardInterrupt\b", mark("Interrupted (KeyboardInterrupt)."), ""),
)  # fmt: skip
