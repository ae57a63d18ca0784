"""Classify one image: python example.py IMAGE

Needs  pip install ncnn numpy pillow
"""

import json
import sys
from pathlib import Path

import ncnn
import numpy as np
from PIL import Image, ImageOps

here = Path(__file__).parent
card = json.loads((here / "card.json").read_text())
size = card["image_size"]

# The largest square in the middle of the upright image, scaled to the input.
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
side, (x, y) = min(image.size), ((length - min(image.size)) / 2 for length in image.size)
square = image.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
pixels = np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 255)

net = ncnn.Net()
# Half precision, its default where the CPU can, would answer a little differently.
net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
net.load_param(str(here / card["file"]))
net.load_model(str((here / card["file"]).with_suffix(".bin")))
with net.create_extractor() as extractor:
    extractor.input(card["input"]["name"], ncnn.Mat(pixels[0]))
    logits = np.array(extractor.extract(card["output"]["name"])[1])

chances = np.exp(logits - logits.max())
chances /= chances.sum()
for index in chances.argsort()[::-1][:5]:
    print(card["classes"][index], f"{chances[index]:.3f}")
