"""How an extraction scales with its shards, on paper: `python -m tests.bench.scaling` writes the tables of assets/docs/scaling.md.

Nothing is measured here. The model is a chain of rates that hold at the same time, and of work that one process does
alone; each assumption is a field with its source.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from fsgr_tui.core.timing import DECODE_IMAGES_PER_S_PER_CPU
from fsgr_tui.core.units import format_bytes, format_duration

SHARDS = (1, 8, 64)
IMAGES = (10**5, 10**6, 10**7, 10**8, 10**9)
PAGE = Path(__file__).parents[2] / "assets/docs/scaling.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"


class Assumptions(msgspec.Struct, frozen=True):
    """What the estimate rests on.

    Attributes:
        gpu_images_s: ViT-B/16 at half precision on one GPU of the A100 class.
        cpus: per shard, for decoding.
        image_bytes: a COCO picture.
        feature_bytes: 49 x 768 values of two bytes, and the key.
        share_read_bytes_s, share_write_bytes_s: what the shared file system gives to all nodes together.
        node_bytes_s: what one node gets through its own link.
        open_s, opens_s: latency of opening a small file on it, and opens per second that its metadata server takes.
        copy_bytes_s: reading and writing of the one process that merges, and reading of the one that checks.
        queue_s, start_s: waiting for a turn, and imports and weights; for each of the jobs in a row.
        limit_s: time limit of a job; after it the shard waits for another turn.
    """

    gpu_images_s: float = 1100.0
    cpus: int = 8
    image_bytes: float = 160e3
    feature_bytes: float = 49 * 768 * 2 + 560
    share_read_bytes_s: float = 5e9
    share_write_bytes_s: float = 2e9
    node_bytes_s: float = 1.2e9
    open_s: float = 2e-3
    opens_s: float = 20e3
    copy_bytes_s: float = 400e6
    queue_s: float = 600.0
    start_s: float = 60.0
    limit_s: float = 24 * 3600.0


class Scaled(msgspec.Struct, frozen=True):
    """One cell of the tables; rates in images per second over all shards."""

    rate: float
    limit: str
    extract_s: float
    merge_s: float
    check_s: float
    whole_s: float
    turns: int
    bytes: float


def scaled(images: int, shards: int, given: Assumptions) -> Scaled:
    """An extraction of so many images in so many shards that all run at the same time."""
    rates = {
        "GPU": shards * given.gpu_images_s,
        "decoding": shards * given.cpus * DECODE_IMAGES_PER_S_PER_CPU,
        # Every decoding thread waits for its own file.
        "latency of opens": shards * given.cpus / given.open_s,
        "opens per second": given.opens_s,
        "link of a node": shards * given.node_bytes_s / (given.image_bytes + given.feature_bytes),
        "shared reads": given.share_read_bytes_s / given.image_bytes,
        "shared writes": given.share_write_bytes_s / given.feature_bytes,
    }
    limit = min(rates, key=lambda name: rates[name])
    work_s = images / rates[limit]
    turns = max(1, -(-round(work_s) // round(given.limit_s)))
    extract_s = work_s + turns * (given.queue_s + given.start_s)
    size = images * given.feature_bytes
    # Every row is read back once by the extraction itself before a shard gets its name.
    verify_s = size / min(shards * given.node_bytes_s, given.share_read_bytes_s)
    merge_s = check_s = 0.0
    if shards > 1:
        merge_s = 2 * size / given.copy_bytes_s + given.queue_s
        check_s = size / given.copy_bytes_s + given.queue_s
    return Scaled(
        rates[limit],
        limit,
        extract_s + verify_s,
        merge_s,
        check_s,
        extract_s + verify_s + merge_s + check_s,
        turns,
        size,
    )


def tables(given: Assumptions) -> str:
    """The tables in Markdown."""
    lines = [
        "| images | shards | images/s | held up by | extraction | merge | check | whole | faster than 1 | one file |"
    ]
    lines.append("|" + " ---: |" * 3 + " --- |" + " ---: |" * 6)
    for images in IMAGES:
        alone = scaled(images, 1, given).whole_s
        for shards in SHARDS:
            one = scaled(images, shards, given)
            later = [format_duration(each) if each else "-" for each in (one.merge_s, one.check_s)]
            turns = f" ({one.turns} turns)" if one.turns > 1 else ""
            lines.append(
                f"| 10^{len(str(images)) - 1} | {shards} | {one.rate:,.0f} | {one.limit} | {format_duration(one.extract_s)}{turns} "
                f"| {later[0]} | {later[1]} | {format_duration(one.whole_s)} | {alone / one.whole_s:.1f}x | {format_bytes(one.bytes)} |"
            )
    return "\n".join(lines) + "\n"


def assumption_rows(given: Assumptions) -> str:
    """The assumptions in Markdown, with what they rest on."""
    source = {
        "gpu_images_s": "the planner's prior for an A100 (a published rate, not measured here)",
        "cpus": "a common share of a GPU node",
        "image_bytes": "train2014: 13 GB in 82,783 pictures",
        "feature_bytes": "exact: 49 x 768 float16 and the key's metadata",
        "share_read_bytes_s": "assumed: a parallel file system of middle size, used by others too",
        "share_write_bytes_s": "assumed, as above",
        "node_bytes_s": "10 Gbit/s",
        "open_s": "assumed: a round trip and a lookup on NFS or Lustre under load",
        "opens_s": "assumed: one metadata server",
        "copy_bytes_s": "assumed: one process on a shared file system",
        "queue_s": "assumed; a busy cluster takes hours, which changes nothing in the rates",
        "start_s": "assumed: imports and weights from the shared file system",
        "limit_s": "a usual partition limit",
    }
    rows = [f"| {name} | {value:,g} | {source[name]} |" for name, value in msgspec.structs.asdict(given).items()]
    decode = f"| decoding | {DECODE_IMAGES_PER_S_PER_CPU:g} images/s per CPU | measured on a two-core server |"
    return "\n".join(["| assumption | value | rests on |", "| --- | ---: | --- |", *rows, decode]) + "\n"


def page(text: str, given: Assumptions | None = None) -> str:
    """The page with fresh tables between its marks."""
    given = given or Assumptions()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{assumption_rows(given)}\n{tables(given)}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
