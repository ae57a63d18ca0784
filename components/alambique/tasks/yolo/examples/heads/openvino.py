"""Find objects and the shape of each in one image: python example.py IMAGE

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

# Letterbox: scaled to fit the square input without distortion, centred, grey around it.
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
scale = size / max(image.size)
width, height = (max(round(side * scale), 1) for side in image.size)
left, top, x, y = (size - width) // 2, (size - height) // 2, image.width / width, image.height / height
affine = (x, 0, -x * left, 0, y, -y * top)
grey = (card["preprocessing"]["padding"],) * 3
square = image.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR, fillcolor=grey)
pixels = np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 255)

model = openvino.Core().compile_model(here / card["file"], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
outputs = list(model(pixels).values())

rows = outputs[0][0]
for *box, score, index, extra in [(*row[:6], row[6:]) for row in rows[rows[:, 4] >= 0.25]]:
    if card["task"] == "obb":  # corners of the box, turned around its centre by an angle in radians
        side = np.array([(np.cos(extra[0]), np.sin(extra[0])), (-np.sin(extra[0]), np.cos(extra[0]))])
        turns = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * np.array(box[2:]) / 2
        points = box[:2] + turns @ side
    elif card["task"] == "pose":  # keypoints; a third number says how visible each is
        points = extra.reshape(card["output"]["kpt_shape"])[:, :2]
    else:  # corners of the box; the mask is where the weighted prototypes are above 0 inside it
        points = np.array(box).reshape(2, 2)
        mask = np.tensordot(extra, outputs[1][0], 1) > 0
        x1, y1, x2, y2 = (np.array(box) * mask.shape[-1] / size).round().astype(int).clip(0)
        area = mask[y1:y2, x1:x2].sum() * (size / mask.shape[-1] / scale) ** 2
    places = ((points - (left, top)) / scale).clip(0, image.size).round(1)
    words = f"{area:.0f} pixels within" if card["task"] == "segment" else ""
    print(card["classes"][int(index)], f"{score:.3f}", words, *places.ravel())
