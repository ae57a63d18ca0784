"""Find objects in one image: python example.py IMAGE

Needs  pip install numpy pillow torch, and torchvision for a YOLO11 or YOLOv8
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

with contextlib.suppress(ImportError):
    import torchvision  # noqa: F401 - has the operator by which a YOLO11 or YOLOv8 suppresses overlapping boxes

here = Path(__file__).parent
card = json.loads((here / "card.json").read_text())
size = card["image_size"]

# Letterbox: scaled to fit the square input without distortion, centred, grey around it.
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
scale = size / max(image.size)
width, height = (max(round(side * scale), 1) for side in image.size)
left, top, x, y = (size - width) // 2, (size - height) // 2, image.width / width, image.height / height
affine = (x, 0, -x * left, 0, y, -y * top)
grey = (card["preprocessing"]["padding"],) * 3
square = image.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR, fillcolor=grey)
pixels = np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 255)

model = torch.jit.load(here / card["file"])  # type: ignore[no-untyped-call]
boxes = model(torch.from_numpy(pixels))[0].numpy()

for *corners, score, index in boxes[boxes[:, 4] >= 0.25]:
    place = ((np.array(corners) - (left, top) * 2) / scale).clip(0, image.size * 2)
    print(card["classes"][int(index)], f"{score:.3f}", *place.round(1))
