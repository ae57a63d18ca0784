"""Classify one image: python example.py IMAGE

Needs  pip install numpy pillow torch
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

here = Path(__file__).parent
card = json.loads((here / "card.json").read_text())
size = card["image_size"]

# The largest square in the middle of the upright image, scaled to the input.
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
side, (x, y) = min(image.size), ((length - min(image.size)) / 2 for length in image.size)
square = image.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
pixels = np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 255)

model = torch.jit.load(here / card["file"])  # type: ignore[no-untyped-call]
logits = model(torch.from_numpy(pixels))[0].numpy()

chances = np.exp(logits - logits.max())
chances /= chances.sum()
for index in chances.argsort()[::-1][:5]:
    print(card["classes"][index], f"{chances[index]:.3f}")
