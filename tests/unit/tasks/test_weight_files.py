from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from factories.given_weights import of_yolov5, saved
from onnx import TensorProto, helper
from safetensors.torch import save_file

from alambique import tasks
from alambique.errors import DataError
from alambique.tasks import weight_files


def onnx_graph() -> bytes:
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", shape[:1], shape[1:])
    content: bytes = helper.make_model(graph, producer_name="pytorch").SerializeToString()
    return content


def archive(**members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, text in members.items():
            target.writestr(name.replace("__", "/").replace("_", "."), text)
    return file.getvalue()


ENGINE = json.dumps({"task": "detect"}).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (onnx_graph(), "an ONNX graph"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 9\n", "a Git LFS pointer.*git lfs pull"),
        (b"outs:\n- md5: a\n  path: best.pt\n", "a pointer of DVC.*dvc pull"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>Sign in</html>", "a web page"),
        ("<html><title>Zugriff über".encode(), "a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page or an answer in XML"),
        (b'<?xml version="1.0"?><net name="x" version="11">', "the graph of an OpenVINO model"),
        (b'{"message": "Not Found"}', "JSON"),
        (b"not a checkpoint", 'a text, which begins "not a checkpoint"'),
        (saved()[:-30], "cut short or damaged, with"),
        (archive(x__code__x_py="", x__constants_pkl="", x__data_pkl=""), "a TorchScript archive"),
        (archive(best_pt="weights"), "a zip archive that holds best.pt"),
        (archive(readme_txt="x"), "a zip archive of readme.txt"),
        (b"\x20\0\0\0TFL3" + bytes(20), "a TensorFlow Lite model"),
        (len(ENGINE).to_bytes(4, "little") + ENGINE + bytes(64), "a TensorRT engine"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
        (b"GGUF" + bytes(20), "a GGUF file"),
        (bytes(range(1, 60)), "no file of torch: it begins with 01 02 03"),
    ],
)
def test_what_is_no_file_of_torch_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "given.pt").write_bytes(content)
    with pytest.raises(DataError, match=f"cannot use {tmp_path}/given.pt: it is {words}"):
        weight_files.require_pytorch(tmp_path / "given.pt")


def test_safetensors_and_a_folder_are_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "given.pt")
    with pytest.raises(DataError, match="it is a safetensors file"):
        weight_files.require_pytorch(tmp_path / "given.pt")
    (tmp_path / "train/weights").mkdir(parents=True)
    (tmp_path / "train/weights/best.pt").touch()
    with pytest.raises(DataError, match=r"it is a folder; give a file in it, such as weights/best\.pt"):
        weight_files.require_pytorch(tmp_path / "train")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_no_network_but_a_file_of_torch(tmp_path: Path, zipped: bool) -> None:
    state = torch.nn.Linear(1, 1).state_dict()
    torch.save(state, tmp_path / "given.pt", _use_new_zipfile_serialization=zipped)
    weight_files.require_pytorch(tmp_path / "given.pt")
    with pytest.raises(DataError, match="it is a state dict, tensors without the network"):
        weight_files.require_network(tmp_path / "given.pt")


def test_a_checkpoint_of_the_yolov5_repository_is_named(tmp_path: Path) -> None:
    path = of_yolov5(tmp_path / "given.pt")
    with pytest.raises(DataError, match=r"of the YOLOv5 repository.*it needs models\.yolo\.DetectionModel"):
        weight_files.require_network(path)


def test_files_of_a_hugging_face_folder_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(100)}, path, metadata={"format": "pt"})
    weight_files.require_folder_file(path)
    whole = path.read_bytes()
    for content, words in (
        (whole[:-1], "a safetensors file that is cut short"),
        (whole[:20], "a safetensors file that is cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"", "empty"),
        (b"<html>", "a web page"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"cannot use {path}: it is {words}"):
            weight_files.require_folder_file(path)


def test_an_error_names_what_the_user_gave(tmp_path: Path) -> None:
    path = tmp_path / "inputs/main.pt"
    with pytest.raises(DataError, match=r"^cannot use s3://bucket/a\.pt: no$"):
        with weight_files.named(path, "s3://bucket/a.pt"):
            raise DataError(f"cannot use {path}: no")


@pytest.mark.parametrize("task", ["segment", "pose", "classify", "text", "text_classify"])
def test_every_task_refuses_what_none_reads(task: str, tmp_path: Path) -> None:
    (tmp_path / "best.onnx").write_bytes(onnx_graph())
    with pytest.raises(DataError, match=r"best\.onnx: it is (an ONNX graph|a file; give the Hugging Face)"):
        tasks.load(task).require_weights(tmp_path / "best.onnx")
