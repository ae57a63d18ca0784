"""What classifiers of images and of texts share: every sample has one class, whatever the sample is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alambique.tasks import submodules

if TYPE_CHECKING:
    from alambique.tasks.classifiers import evaluation as evaluation
    from alambique.tasks.classifiers import inspection as inspection
    from alambique.tasks.classifiers import pictures as pictures
    from alambique.tasks.classifiers import results as results
    from alambique.tasks.classifiers import soft_labels as soft_labels
    from alambique.tasks.classifiers import validation as validation

__getattr__ = submodules.importer(__name__)
