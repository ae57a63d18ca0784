"""Transformers on texts: causal language models (`text`) and classifiers (`text_classify`)."""

from __future__ import annotations

from alambique.tasks import Task
from alambique.tasks.transformers.causal import TEXT
from alambique.tasks.transformers.classifier import TEXT_CLASSIFY

TASKS: dict[str, Task] = {"text": TEXT, "text_classify": TEXT_CLASSIFY}
