"""The smallest BERT that still has layers to choose from."""

from __future__ import annotations

from alambique.config.text_classify import Network

NETWORK = Network(layers=3, hidden=16, heads=2, ffn=32)
TOKENS = 24
"""Of a text at most."""
