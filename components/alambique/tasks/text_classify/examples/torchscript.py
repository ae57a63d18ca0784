"""Classify a text: python example.py "My card has not arrived"

Needs  pip install numpy tokenizers torch
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

here = Path(__file__).parent
card = json.loads((here / "card.json").read_text())
tokenizer = Tokenizer.from_file(str(here / "tokenizer.json"))  # cuts off what is too long
model = torch.jit.load(here / card["file"])  # type: ignore[no-untyped-call]

ids = np.array([tokenizer.encode(sys.argv[1]).ids], np.int64)
logits = model(torch.from_numpy(ids)).numpy()
chances = np.exp(logits[0] - logits.max())
chances /= chances.sum()
for index in (-chances).argsort()[:5]:
    print(f"{chances[index]:.3f}  {card['classes'][index]}")
