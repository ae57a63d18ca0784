"""Great Expectations' HTML report (Data Docs), made safe to open: it shows file names and label texts as they are.

Its tables of offenders do not escape what they show, and its pages fetch scripts and styles from other servers.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

from alambique.errors import AlambiqueError

POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="'
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; base-uri 'none'; "
    "form-action 'none'\">"
)
"""No script runs, and nothing is fetched from elsewhere."""
FOREIGN = re.compile(
    r"<script\b[^>]*\bsrc=[\"']?https?:[^>]*>\s*</script>|<link\b[^>]*\bhref=[\"']?https?:[^>]*>", re.I
)


def build(context: Any, project: Path, target: Path) -> None:
    """Write the report of a context of files, which lies in the folder `project`, to the new folder `target`."""
    for path in (project / "gx/uncommitted/validations").rglob("*.json"):
        path.write_text(json.dumps(_escaped(json.loads(path.read_text()))))
    context.build_data_docs()
    shutil.copytree(project / "gx/uncommitted/data_docs/local_site", target)
    for page in target.rglob("*.html"):
        text, count = re.subn("<head>", lambda head: head[0] + POLICY, FOREIGN.sub("", page.read_text()), count=1)
        if not count:
            raise AlambiqueError(f"Great Expectations wrote {page.name} without a head; pin its version in the lock")
        page.write_text(text)


def _escaped(content: Any, offender: bool = False) -> Any:
    """A validation's result with its lists of offenders escaped; the rest is, by Great Expectations."""
    if isinstance(content, dict):
        return {key: _escaped(value, offender or "unexpected" in key) for key, value in content.items()}
    if isinstance(content, list):
        return [_escaped(value, offender) for value in content]
    return html.escape(content) if offender and isinstance(content, str) else content
