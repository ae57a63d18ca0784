"""`python -m alambique.demo.batch PROJECT [--drifted]`: what happens to a pipeline that lives, for the demo's project.

New labelled scenes appear where its data arrives, or darker and blurred ones where production images do, in the bucket
that `alambique up` serves.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image, ImageFilter

from alambique import config, tasks
from alambique.data.store import client, open_store, reaching
from alambique.demo.digits import Scenes
from alambique.local import s3 as local_s3

LABELLED = 80
IN_THE_FIELD = 200


def send(project: Path, drifted: bool) -> str:
    """Put another batch into the bucket; returns where. A TransientError if no `alambique up` serves it."""
    os.environ["AWS_CONFIG_FILE"] = str(local_s3.configuration(project.resolve() / ".alambique" / "s3"))
    params = config.load(project)
    places = local_s3.places(params.project, tasks.load(params.task).abilities)
    place = places["ALAMBIQUE_PRODUCTION" if drifted else "ALAMBIQUE_ARRIVALS"]
    number = 1 + len({item.key.partition("/")[0] for item in open_store(place).items()})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scenes"
        if drifted:
            Scenes(train=0, val=0, test=0, unlabelled=IN_THE_FIELD, seed=1000 + number).write(folder)
            for path in (folder / "images").rglob("*.png"):
                _worsen(path)
        else:
            Scenes(train=LABELLED, val=0, test=0, seed=number).write(folder)
        batch = f"{place}/batch-{number}"
        _upload(folder, batch)
    return batch


def _worsen(path: Path) -> None:
    """As if the lamp were weaker and the lens out of focus."""
    with Image.open(path) as image:
        dark = image.convert("RGB").point(lambda value: value * 0.6)
    dark.filter(ImageFilter.GaussianBlur(1.0)).save(path)


def _upload(folder: Path, url: str) -> None:
    place = urlsplit(url)
    with reaching(url):
        s3 = client()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            s3.upload_file(str(path), place.netloc, f"{place.path[1:]}/{path.relative_to(folder).as_posix()}")


if __name__ == "__main__":
    print(send(Path(sys.argv[1]), drifted="--drifted" in sys.argv[2:]))  # noqa: T201
