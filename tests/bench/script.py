"""The straightforward extraction script that a lab writes: one process, one loop, one gzip data set per image.

It is the alternative of the benchmark `extraction`, on the same images and the same random weights.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import open_clip
import torch
from PIL import Image as Pillow

from fsgr_tui.features.images import read_image_list

BATCH = 64
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def load(path: str) -> torch.Tensor:
    picture = Pillow.open(path).convert("RGB").resize((224, 224), Pillow.Resampling.BICUBIC)
    values = (np.asarray(picture, np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(values).permute(2, 0, 1)


def main() -> None:
    images, output = read_image_list(Path(sys.argv[1])), sys.argv[2]
    torch.manual_seed(0)
    visual = open_clip.create_model("ViT-B-16").visual.eval()
    visual.output_tokens = True
    began, work = time.perf_counter(), time.process_time()
    with h5py.File(output, "w") as file, torch.no_grad():
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            _, tokens = visual(torch.stack([load(image.path) for image in batch]))
            grid = tokens.transpose(1, 2).reshape(len(batch), -1, 14, 14)
            pooled = torch.nn.functional.avg_pool2d(grid, 2).flatten(2).transpose(1, 2).numpy()
            for image, features in zip(batch, pooled, strict=True):
                file.create_dataset(f"{image.id}_grids", data=features, compression="gzip", compression_opts=4)
    print(json.dumps({"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - work}))


if __name__ == "__main__":
    main()
