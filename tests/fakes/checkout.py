"""Small checkouts of the kind that labs train from: a script with the published flags, a field, a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

FLAGS = {
    "exp_name": "type=str, default='fsgr'", "batch_size": "type=int, default=50", "workers": "type=int, default=4",
    "m": "type=int, default=40", "head": "type=int, default=8", "warmup": "type=int, default=10000",
    "resume_last": "action='store_true'", "resume_best": "action='store_true'", "text": "action='store_true'",
    "return_index": "action='store_true'", "adapter_b": "type=int, default=6", "adapter_e": "type=int, default=11",
    "beta": "type=float, default=0.25", "features_path": "type=str, default='datasets/coco/images'",
    "labels_path": "type=str, default='labels.hdf5'", "annotation_folder": "type=str, default='m2_annotations'",
    "text_embed_path": "type=str, default='embeddings.pth'", "pre_vs_path": "type=str, default='ViT-B-16.pt'",
    "pre_name": "type=str, default='ViT-B/16'", "logs_folder": "type=str, default='tensorboard_logs'",
    "xe_least": "type=int, default=15", "xe_most": "type=int, default=100", "refine_epoch_rl": "type=int, default=28",
    "xe_base_lr": "type=float, default=1e-4", "rl_base_lr": "type=float, default=5e-6", "epochs": "type=int, default=100",
}  # fmt: skip
"""The flags of the labs' train_transformer.py."""

SCRIPT = '''\
import os
os.environ["CUDA_VISIBLE_DEVICES"] = '0'
import argparse
import json
import sys
import time

import numpy as np

from data import ImageDetectionsField
from models.transformer import Transformer


def captions(folder):
    """Base names of the images of the training captions, as the ids list them."""
    with open(os.path.join(folder, 'captions_train2014.json')) as file:
        told = json.load(file)
    names = {image['id']: image['file_name'] for image in told['images']}
    images = {each['id']: each['image_id'] for each in told['annotations']}
    return [names[images[number]] for number in np.load(os.path.join(folder, 'coco_train_ids.npy')).tolist()]


def bar(label, done, total, loss):
    filled = 20 * done // total
    sys.stderr.write('\\r%s: %3d%%|%s| %d/%d [00:01<00:01, 10.00it/s, loss=%.4f]' % (
        label, 100 * done // total, '#' * filled + ' ' * (20 - filled), done, total, loss))
    sys.stderr.flush()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Transformer')
FLAGS
    args = parser.parse_args()
    print(args)
    image_field = ImageDetectionsField(detections_path=args.features_path,
                                       labels_path=args.labels_path if args.return_index else None,
                                       max_detections=49, load_in_tmp=False)
    model = Transformer()
    names = captions(args.annotation_folder)
    steps = len(names) // args.batch_size
    for e in range(args.epochs):
        print('Epoch %d: lr = %.6f' % (e, args.xe_base_lr))
        for it in range(steps):
            batch = [image_field.preprocess('images/coco_2014/' + name)
                     for name in names[it * args.batch_size:(it + 1) * args.batch_size]]
            loss = 4.0 / (1 + e + it / steps) + 0 * model.forward(np.stack([sample[1] for sample in batch]))
            bar('Epoch %d - train' % e, it + 1, steps, loss)
            time.sleep(0.05)
        sys.stderr.write('\\n')
    os.makedirs('save_models', exist_ok=True)
    with open('save_models/%s_last.pth' % args.exp_name, 'w') as file:
        file.write('%s %s' % (batch[0][1].shape, os.getcwd()))
'''

FIELD = '''\
# coding: utf8
import os
import warnings

import h5py
import numpy as np


class RawField(object):
    """A value of a sample."""

    def __init__(self, preprocessing=None, postprocessing=None):
        self.preprocessing = preprocessing
        self.postprocessing = postprocessing

    def preprocess(self, x):
        return x if self.preprocessing is None else self.preprocessing(x)


class ImageDetectionsField(RawField):
    def __init__(self, preprocessing=None, postprocessing=None, detections_path=None, labels_path=None,
                 max_detections=100, sort_by_prob=False, load_in_tmp=True):
        """Where the images are."""
        self.max_detections = max_detections
        self.detections_path = detections_path
        self.labels_path = labels_path
        super(ImageDetectionsField, self).__init__(preprocessing, postprocessing)

    def preprocess(self, x, avoid_precomp=False):
        image_id = int(os.path.basename(x).split('_')[-1].split('.')[0])
        from PIL import Image
        pixels = np.asarray(Image.open(os.path.join(self.detections_path, os.path.basename(x))).convert('RGB'))
        if self.labels_path:
            with h5py.File(self.labels_path, 'r') as f:
                return pixels, f['%d_labels' % image_id][()].astype(np.float32)
        return image_id, pixels, np.random.randn(100, 2048).astype(np.float32)


class TextField(RawField):
    pass
'''

MODELS = {
    "features": "class Transformer:\n    def forward(self, grids):\n        return float(grids.mean())\n",
    "clip": dedent("""\
        class Transformer:
            def forward(self, images):
                grids = self.backbone.encode_image(images)
                return grids.view(len(images), 14, 14, -1)

            def step(self, t, images):
                if t == 0:
                    self.grids = self.backbone.encode_image(images)
        """),
    "either": dedent("""\
        class Transformer:
            def forward(self, images):
                if images.ndim == 3:
                    return float(images.mean())
                return self.backbone.encode_image(images)
        """),
    "grid": "class Transformer:\n    def forward(self, grids):\n        return grids.reshape(len(grids), 14, 14, -1)\n",
}
"""Models that take features; that run CLIP; that do the one or the other; that take 14x14 tokens alone."""


def write_checkout(root: Path, model: str = "features", *, field: str = FIELD, script: str = SCRIPT) -> Path:
    """A checkout in a folder; returns the folder."""
    (root / "data").mkdir(parents=True)
    (root / "models").mkdir()
    flags = "\n".join(f"parser.add_argument('--{name}', {rest})" for name, rest in FLAGS.items())
    (root / "train_transformer.py").write_text(script.replace("FLAGS", indent(flags, "    ")))
    (root / "data" / "__init__.py").write_text("from .field import ImageDetectionsField, RawField, TextField\n")
    (root / "data" / "field.py").write_text(field)
    (root / "models" / "__init__.py").write_text("")
    (root / "models" / "transformer.py").write_text(MODELS[model])
    return root


def lab_python(root: Path) -> Path:
    """The Python of a lab in a checkout's `venv`: it has numpy and h5py, and not this program."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True, timeout=120)
    packages = root / "venv" / "packages"
    packages.mkdir()
    for name in ("numpy", "h5py"):
        installed = Path(__import__(name).__file__).parents[1]
        for path in (*installed.glob(name), *installed.glob(f"{name}.libs"), *installed.glob(f"{name}-*.dist-info")):
            os.symlink(path, packages / path.name)
    site = next((root / "venv" / "lib").glob("python*")) / "site-packages"
    (site / "lab.pth").write_text(f"{packages}\n")
    return root / "venv" / "bin" / "python"
