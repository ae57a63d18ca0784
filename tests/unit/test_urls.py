from __future__ import annotations

import pytest

from alambique.urls import holds_credentials, without_credentials


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@host",
        "HTTPS://me:secret@host/x",
        " https://me:secret@host",
        "https://TOKEN@host/x.git",
        "https://me:@host",
        "https://me:se@cret@host",
        "https://me:se/cret@host",
        "https://me:se#cret@host",
        "http://[::1:me:secret@host",
        "postgresql+psycopg2://me:secret@host/database",
        "postgresql://host/database?password=secret",
        "ssh://git:secret@host/x.git",
        "me:secret@host/x.git",
        "s3://key:secret@bucket/prefix",
        "webdavs://me@host/x",
        "https://host/x?sv=1&sig=secret",
    ],
)
def test_a_secret_is_seen_however_it_is_written(url: str) -> None:
    assert holds_credentials(url)


@pytest.mark.parametrize(
    "url",
    [
        "/data/a:b@c",
        "../team.git",
        "git@github.com:me/x.git",
        "ssh://git@host:22/x.git",
        "https://host:8080/x@v1?ref=main",
        "https://[::1]:80/x",
        "file:///a@b",
        "s3://bucket/prefix",
        "hdfs://me@host/x",
        "sqlite:////it's:mine@/mlflow.db",
    ],
)
def test_what_holds_none_is_taken(url: str) -> None:
    assert not holds_credentials(url)


def test_a_message_keeps_all_but_the_secret() -> None:
    message = "cannot reach 'https://me:se@cret@host/x?a=1&sig=abc' for hf://me/model@main or git@host:x"
    assert without_credentials(message) == (
        "cannot reach 'https://…@host/x?a=1&sig=…' for hf://me/model@main or git@host:x"
    )
