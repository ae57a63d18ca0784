"""Classify one image: python example.py IMAGE

Needs  pip install numpy openvino pillow
"""

import json
import sys
from pathlib import Path

import numpy as np
import openvino
from PIL import Image, ImageOps

here = Path(__file__).parent
card = json.loads((here / "card.json").read_text())
size = card["image_size"]

# The largest square in the middle of the upright image, scaled to the input.
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
side, (x, y) = min(image.size), ((length - min(image.size)) / 2 for length in image.size)
square = image.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
pixels = np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 255)

model = openvino.Core().compile_model(here / card["file"], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
logits = model(pixels)[0][0]

chances = np.exp(logits - logits.max())
chances /= chances.sum()
for index in chances.argsort()[::-1][:5]:
    print(card["classes"][index], f"{chances[index]:.3f}")
