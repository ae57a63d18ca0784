"""Read-only access to the files below an S3 prefix or in a folder: list them, download one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from alambique.errors import ConfigurationError, DataError, TransientError

S3 = "s3://"


class Item(NamedTuple):
    """A file of a store.

    Attributes:
        key: its path below the store's URL, with slashes.
        size: bytes.
        version: changes when the content does: S3's ETag; of a file in a folder its size and time of change.
        modified: seconds since 1970.
    """

    key: str
    size: int
    version: str
    modified: float


class Store(Protocol):
    """A place with files. Alambique never writes there."""

    url: str

    def items(self) -> Iterator[Item]:
        """Every file below the URL, in the order of the keys.

        Raises:
            ConfigurationError: there is no such place, or it refuses these credentials.
            TransientError: it is out of reach.
        """

    def fetch(self, item: Item, target: Path) -> None:
        """Write the content of a listed file into the file `target`.

        Raises:
            DataError: the file is gone.
            TransientError: the store is out of reach, or what came is not what was sent or listed.
        """


def open_store(url: str) -> Store:
    """The store at `url`: s3://bucket/prefix, or an absolute folder; a ConfigurationError if it is neither."""
    if url.startswith(S3):
        return _Bucket(url)
    if not Path(url).is_absolute():
        raise ConfigurationError(f"{url!r} is neither s3://bucket/prefix nor an absolute folder")
    return _Folder(url)


class _Folder:
    def __init__(self, url: str) -> None:
        self.url = url

    def items(self) -> Iterator[Item]:
        root = Path(self.url)
        if not root.is_dir():
            raise ConfigurationError(f"there is no folder {root}; make it, or correct alambique.yaml")
        # Links may lead anywhere; hidden files belong to tools and unfinished copies.
        paths = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        for key, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
            if not any(part.startswith(".") for part in Path(key).parts):
                status = path.stat()
                yield Item(key, status.st_size, f"{status.st_size}-{status.st_mtime_ns}", status.st_mtime)

    def fetch(self, item: Item, target: Path) -> None:
        try:
            shutil.copyfile(Path(self.url) / item.key, target)
        except FileNotFoundError:
            raise DataError(f"{item.key} is no longer in {self.url}; start again") from None
        except OSError as error:
            raise TransientError(f"cannot copy {item.key} from {self.url}: {error}") from error
        if target.stat().st_size != item.size:
            raise TransientError(f"{item.key} in {self.url} changed while it was copied; a retry takes it as it is")


class _Bucket:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.bucket, _, prefix = url.removeprefix(S3).partition("/")
        self.prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        if not self.bucket:
            raise ConfigurationError(f"{url!r} names no bucket; write s3://bucket/prefix")

    def items(self) -> Iterator[Item]:
        with reaching(self.url):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
            for page in pages:  # a thousand keys each, which S3 sorts
                for entry in page.get("Contents", ()):
                    key = entry["Key"].removeprefix(self.prefix)
                    if key and not key.endswith("/"):  # consoles mark folders by empty objects
                        yield Item(key, entry["Size"], entry["ETag"].strip('"'), entry["LastModified"].timestamp())

    def fetch(self, item: Item, target: Path) -> None:
        download(f"{self.url}/{item.key}", target)
        if target.stat().st_size != item.size:
            raise TransientError(f"{item.key} in {self.url} changed while it was fetched; a retry takes it as it is")


def download(url: str, target: Path) -> None:
    """Download an S3 object into the file `target`, in parts if it is large, and verify its checksum.

    Raises:
        DataError: there is no such object.
        TransientError: S3 is out of reach.
    """
    from botocore.exceptions import ClientError

    bucket, _, key = url.removeprefix(S3).partition("/")
    with reaching(url):
        try:
            client().download_file(bucket, key, str(target), ExtraArgs={"ChecksumMode": "ENABLED"})
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                raise DataError(f"there is no {url}; it was taken away, or is misspelt") from None
            raise


def client() -> Any:
    """An S3 client with the credentials of the environment, which retries transient errors."""
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Raise boto3's errors as Alambique's, with the URL, by whether a retry can help.

    Raises:
        ConfigurationError: there are no credentials, or they are refused, or there is no such bucket.
        TransientError: anything else.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise ConfigurationError(f"no credentials for {url}; set AWS_ACCESS_KEY_ID or a profile") from None
    except ClientError as error:
        refused = error.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 401, 403, 404}
        kind = ConfigurationError if refused else TransientError
        raise kind(f"{url} answered: {error}") from error
    except (Boto3Error, BotoCoreError, OSError) as error:
        raise TransientError(f"{url} is out of reach: {error}") from error
