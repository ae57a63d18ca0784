"""Go on with a text: python example.py "Once upon a time"

Needs  pip install numpy onnxruntime tokenizers
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

here = Path(__file__).parent
card = json.loads((here / "card.json").read_text())
tokenizer = Tokenizer.from_file(str(here / "tokenizer.json"))
session = onnxruntime.InferenceSession(here / card["file"])

ids = tokenizer.encode(sys.argv[1]).ids
if card["begin"] is not None and ids[:1] != [card["begin"]]:
    ids.insert(0, card["begin"])
layers, heads, _, width = card["input"]["past_keys"]["shape"]
keys = values = np.zeros((layers, heads, 0, width), np.float32)  # of what was read and written so far
fresh = list(ids)
while len(ids) < card["max_tokens"]:
    logits, keys, values = session.run(None, {"ids": np.array([fresh]), "past_keys": keys, "past_values": values})
    fresh = [int(logits[0, -1].argmax())]
    if fresh[0] == card["end"]:
        break
    ids += fresh
print(tokenizer.decode(ids))
