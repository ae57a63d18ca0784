"""Alambique: from a DVC-versioned dataset to a promoted, edge-ready student model."""

from importlib.metadata import version

__version__ = version("alambique")
