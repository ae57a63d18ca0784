"""Transformers on texts: causal language models (`text`) and classifiers (`text_classify`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alambique.tasks import submodules

if TYPE_CHECKING:
    from alambique.tasks.transformers import checkpoint as checkpoint
    from alambique.tasks.transformers import class_objectives as class_objectives
    from alambique.tasks.transformers import contract as contract
    from alambique.tasks.transformers import dataset as dataset
    from alambique.tasks.transformers import encoding as encoding
    from alambique.tasks.transformers import evaluate as evaluate
    from alambique.tasks.transformers import export as export
    from alambique.tasks.transformers import import_dataset as import_dataset
    from alambique.tasks.transformers import inspection as inspection
    from alambique.tasks.transformers import models as models
    from alambique.tasks.transformers import narrowing as narrowing
    from alambique.tasks.transformers import objectives as objectives
    from alambique.tasks.transformers import pictures as pictures
    from alambique.tasks.transformers import pretraining as pretraining
    from alambique.tasks.transformers import prunable as prunable
    from alambique.tasks.transformers import results as results
    from alambique.tasks.transformers import sequences as sequences
    from alambique.tasks.transformers import soft_labels as soft_labels
    from alambique.tasks.transformers import structured_pruning as structured_pruning
    from alambique.tasks.transformers import tokenizers as tokenizers

__getattr__ = submodules.importer(__name__)
