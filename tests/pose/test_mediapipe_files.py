"""Where the detector `mediapipe` finds its networks, and what it says when they are missing, damaged or others."""

import hashlib
import importlib.util
import os
import sys
import tracemalloc
import zipfile

import pytest

from magicdance_core.errors import InputError
from magicdance_core.pose.detectors import choose_detector, detector_file, make_detector, mediapipe_files
from magicdance_core.pose.detectors.mediapipe_files import (
    FILES,
    HEAVY_POSE,
    WHEEL,
    NetworkFile,
    read_network,
    read_networks,
)

CONTENTS = {name: f"the network {name}".encode() for name in FILES}


def described(member, data):
    return NetworkFile(member, len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """Files of a few bytes in place of the real ones; no package is installed."""
    for name, data in CONTENTS.items():
        monkeypatch.setitem(FILES, name, described(FILES[name].member, data))
    monkeypatch.setattr(mediapipe_files, "HEAVY_POSE", described(HEAVY_POSE.member, b"a heavy network"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def write_wheel(path, contents=CONTENTS):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mediapipe/__init__.py", "raise SystemExit('it was run')")
        for name, data in contents.items():
            archive.writestr(f"mediapipe/modules/{FILES[name].member}", data)


def test_networks_are_read_in_place_from_the_wheel(tmp_path):
    write_wheel(tmp_path / WHEEL)
    assert read_networks(tmp_path) == CONTENTS and [path.name for path in tmp_path.iterdir()] == [WHEEL]
    (tmp_path / WHEEL).rename(tmp_path / "mediapipe-0.10.14-cp312-cp312-win_amd64.whl")
    assert read_networks(tmp_path) == CONTENTS


def test_the_segmentation_network_is_found_by_itself(tmp_path):
    data = b"the network of masks"
    file = described("selfie_segmentation/selfie_segmentation.tflite", data)
    with pytest.raises(InputError, match="networks are not in .*: get them with `pip download mediapipe==0.10.21"):
        read_network(tmp_path, file)
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as archive:
        archive.writestr(f"mediapipe/modules/{file.member}", data)
    assert read_network(tmp_path, file) == data
    with pytest.raises(InputError, match="networks are not in"):
        read_networks(tmp_path)
    with pytest.raises(InputError, match="selfie_segmentation.tflite in .* is damaged or of another version"):
        read_network(tmp_path, described(file.member, data[::-1]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_and_devices_are_no_wheels(tmp_path):
    os.mkfifo(tmp_path / WHEEL)
    (tmp_path / "mediapipe-0.10.14-cp312-cp312-win_amd64.whl").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="networks are not in"):
        read_networks(tmp_path)


def test_a_member_that_unpacks_to_more_than_it_says_is_cut_and_refused(tmp_path):
    write_wheel(tmp_path / WHEEL, CONTENTS | {"person": bytes(50_000_000)})
    archive = bytearray((tmp_path / WHEEL).read_bytes())
    entry = archive.rindex(b"PK\x01\x02", 0, archive.rindex(FILES["person"].member.encode()))
    archive[entry + 24 : entry + 28] = len(CONTENTS["person"]).to_bytes(4, "little")
    (tmp_path / WHEEL).write_bytes(archive)
    tracemalloc.start()
    with pytest.raises(InputError, match="pose_detection.tflite in .* is damaged"):
        read_networks(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_bare_files_come_before_the_wheel(tmp_path):
    (tmp_path / WHEEL).write_bytes(b"not read")
    for name, data in CONTENTS.items():
        (tmp_path / FILES[name].name).write_bytes(data)
    assert read_networks(tmp_path) == CONTENTS


def test_files_of_an_installed_package_serve_without_running_it(tmp_path, monkeypatch):
    monkeypatch.undo()
    for name, data in CONTENTS.items():
        monkeypatch.setitem(FILES, name, described(FILES[name].member, data))
    package = tmp_path / "site" / "mediapipe"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('it was run')")
    for name, data in CONTENTS.items():
        path = package / "modules" / FILES[name].member
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
    assert read_networks(tmp_path / "none") == CONTENTS


def test_a_heavy_pose_network_beside_the_others_is_used(tmp_path):
    write_wheel(tmp_path / WHEEL)
    (tmp_path / "pose_landmark_heavy.tflite").write_bytes(b"a heavy network")
    assert read_networks(tmp_path) == CONTENTS | {"pose": b"a heavy network"}
    (tmp_path / "pose_landmark_heavy.tflite").write_bytes(b"a heavy netw0rk")
    with pytest.raises(InputError, match="pose_landmark_heavy.tflite .* is damaged or of another version"):
        read_networks(tmp_path)


def test_missing_networks_are_told_with_the_command_that_gets_them(tmp_path):
    with pytest.raises(InputError) as error:
        read_networks(tmp_path / "my models")
    assert str(error.value) == (
        f"MediaPipe's networks are not in {tmp_path / 'my models'}: get them with `pip download mediapipe==0.10.21 "
        "--no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 "
        f'-d "{tmp_path / "my models"}"`.'
    )


def test_a_newer_wheel_without_networks_is_refused(tmp_path):
    write_wheel(tmp_path / "mediapipe-0.10.35-py3-none-any.whl", {})
    with pytest.raises(InputError, match=r"0.10.35-py3-none-any.whl is of another version, without them\): get them"):
        read_networks(tmp_path)


@pytest.mark.parametrize("damage", ["shorter", "changed", "swapped", "no zip", "truncated", "bomb"])
def test_damaged_wheels_are_refused_before_they_are_parsed(tmp_path, damage):
    contents = dict(CONTENTS)
    if damage == "shorter":
        contents["hand"] = contents["hand"][:-1]
    elif damage == "changed":
        contents["hand"] = b"x" * len(contents["hand"])
    elif damage == "swapped":
        contents["hand"], contents["face"] = contents["face"], contents["hand"]
    elif damage == "bomb":
        contents["hand"] = bytes(50_000_000)
    write_wheel(tmp_path / WHEEL, contents)
    if damage == "no zip":
        (tmp_path / WHEEL).write_bytes(b"nothing")
    elif damage == "truncated":
        (tmp_path / WHEEL).write_bytes((tmp_path / WHEEL).read_bytes()[:-200])
    with pytest.raises(InputError, match="is damaged or of another version of MediaPipe: remove it and get .*pip down"):
        make_detector("mediapipe", tmp_path)


# Which detector "auto" is


def chosen(folder):
    return choose_detector("auto", lambda file: folder)


def test_auto_takes_dwpose_then_openpose_then_mediapipe_and_says_why(tmp_path, monkeypatch):
    installed = ["controlnet_aux", "onnxruntime"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    write_wheel(tmp_path / WHEEL)
    choice = chosen(tmp_path)
    assert choice.name == "mediapipe" and choice.folder == tmp_path
    assert choice.reason.startswith("its files are there; dwpose lacks yolox_l.onnx and dw-ll_ucoco_384.onnx, openpose")
    for name in ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth", "yolox_l.onnx"):
        (tmp_path / name).touch()
    assert chosen(tmp_path).name == "openpose" and chosen(tmp_path).reason.endswith("dwpose lacks dw-ll_ucoco_384.onnx")
    (tmp_path / "dw-ll_ucoco_384.onnx").touch()
    assert chosen(tmp_path).name == "dwpose" and chosen(tmp_path).reason == "its files are there"
    installed.remove("onnxruntime")
    assert chosen(tmp_path).name == "openpose" and "the package onnxruntime" in chosen(tmp_path).reason


def test_auto_without_any_files_names_the_easiest_way(tmp_path):
    for make in (chosen, lambda folder: make_detector("auto", folder)):
        with pytest.raises(InputError, match="No pose detector's files were found in .*easiest way is `pip download"):
            make(tmp_path)


def test_a_named_detector_is_not_replaced(tmp_path):
    write_wheel(tmp_path / WHEEL)
    choice = choose_detector("openpose", lambda file: tmp_path / file)
    assert choice.name == "openpose" and choice.folder == tmp_path / "body_pose_model.pth"
    assert detector_file("mediapipe") == WHEEL and detector_file("drawn") is None
