from __future__ import annotations

import re
from pathlib import Path

import great_expectations as gx
import pandas as pd

from alambique.data.expectations import judge

EVIL = "<script>alert(1)</script>"


def test_names_and_texts_are_shown_and_never_run(tmp_path: Path) -> None:
    tables = {"images": pd.DataFrame({"path": [f"{EVIL}.png", "b.png"], "width": [0, 10], "label": [EVIL, "a"]})}
    contract = {
        "images": [
            gx.expectations.ExpectColumnValuesToBeBetween(column="width", min_value=1, notes="wide"),
            gx.expectations.ExpectColumnValuesToBeInSet(column="label", value_set=["a", EVIL + "b"], notes="known"),
        ]
    }
    results = judge(tables, contract, docs=tmp_path / "docs")
    assert results["images"]["results"][0]["result"]["unexpected_index_list"][0]["path"] == f"{EVIL}.png"
    pages = [page.read_text() for page in (tmp_path / "docs").rglob("*.html")]
    assert pages and not any(EVIL in page for page in pages)
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;.png" in page for page in pages)
    for page in pages:
        assert re.search(r"<head>\s*<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'", page)
        assert not re.search(r"<(script|link)\b[^>]*https?:", page)
