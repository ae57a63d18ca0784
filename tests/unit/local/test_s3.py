from __future__ import annotations

from pathlib import Path

from alambique.local import s3


def test_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    path = s3.configuration(tmp_path / "s3")
    keys = s3.keys(path)
    assert path.stat().st_mode & 0o077 == 0
    again = s3.keys(s3.configuration(tmp_path / "s3"))
    assert [again[name] for name in again if name.startswith("AWS_")] == [keys[name] for name in keys if "AWS_" in name]
    assert len(keys["AWS_SECRET_ACCESS_KEY"]) == 40


def test_its_parts_let_nobody_in_without_the_key_of_this_start(tmp_path: Path) -> None:
    one, other = (s3.keys(s3.configuration(tmp_path)) for _ in range(2))
    for part in ("SIGNING", "FILER_SIGNING", "FILER_SIGNING_READ", "SIGNING_READ"):
        assert len(one[f"WEED_JWT_{part}_KEY"]) == 64
        assert one[f"WEED_JWT_{part}_KEY"] != other[f"WEED_JWT_{part}_KEY"]


def test_keys_reach_no_argument(tmp_path: Path) -> None:
    keys = s3.keys(s3.configuration(tmp_path))
    command = " ".join(s3.command("weed", tmp_path / "files", s3.PORTS))
    assert keys["AWS_SECRET_ACCESS_KEY"] not in command
    assert "-ip.bind=127.0.0.1" in command
