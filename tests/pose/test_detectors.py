"""Detectors: decoding compared with known keypoints, and the real networks with random weights."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from onnx_networks import write_network

from magicdance_core.errors import InputError
from magicdance_core.media import read_frames
from magicdance_core.pose import draw_pose
from magicdance_core.pose.detectors import make_detector
from magicdance_core.pose.detectors.drawn_map import DrawnMapDetector
from magicdance_core.pose.detectors.dwpose import (
    STRIDES,
    DWPoseDetector,
    decode_yolox,
    letterbox,
    person_from_wholebody,
)
from magicdance_core.pose.detectors.openpose import FILES, OpenPoseDetector, face_box, hand_box, new_network
from magicdance_core.pose.detectors.openpose_decoding import FIELDS, LIMBS, find_peaks, highest_peaks, people_from_maps
from magicdance_core.pose.keypoints import SLICES, PoseFrame, frames_to_points, person_to_points
from magicdance_core.puppets import Choreography, Identity, puppet_clip

REPOSITORY = Path(__file__).parents[2]
CLIPS = Path(os.environ.get("MAGICDANCE_CLIPS") or REPOSITORY.parent / "shared" / "mediapipe" / "data")
PUBLISHED_MAPS = CLIPS / "xdyna_2_poses.mp4"
needs_aux = pytest.mark.skipif(importlib.util.find_spec("controlnet_aux") is None, reason="controlnet-aux is missing")


def puppet(seed, moment=40):
    """True points [136, 3] on 512 x 512 pixels."""
    clip = puppet_clip(Identity.from_seed(seed, "test"), Choreography.from_seed(seed, "test"), [moment])
    return frames_to_points(clip)[0]


# Heat maps as OpenPose's networks make them


def bumps(points, cells, sigma=0.9):
    """A heat map [cells, cells] at an eighth of the size with a Gaussian at each of [N, 2] pixels."""
    y, x = np.mgrid[:cells, :cells] * 8 + 4.0
    heat = np.zeros((cells, cells), np.float32)
    for px, py in points:
        heat = np.maximum(heat, np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * (8 * sigma) ** 2)))
    return heat


def openpose_maps(bodies, cells):
    """Part affinities [38, cells, cells] and joints [19, ...] of bodies [18, 3] in pixels."""
    joints = np.zeros((19, cells, cells), np.float32)
    for k in range(18):
        joints[k] = bumps([b[k, :2] for b in bodies if b[k, 2] > 0], cells)
    joints[18] = 1 - joints[:18].max(axis=0)
    fields = np.zeros((38, cells, cells), np.float32)
    y, x = np.mgrid[:cells, :cells] * 8 + 4.0
    for (a, b), channel in zip(LIMBS, FIELDS, strict=True):
        for body in bodies:
            if body[a, 2] > 0 and body[b, 2] > 0:
                along = body[b, :2] - body[a, :2]
                length = np.linalg.norm(along)
                along = along / length
                t = (x - body[a, 0]) * along[0] + (y - body[a, 1]) * along[1]
                beside = np.abs((x - body[a, 0]) * along[1] - (y - body[a, 1]) * along[0])
                on = (t > -4) & (t < length + 4) & (beside < 10)
                fields[channel][on], fields[channel + 1][on] = along
    return fields, joints


def test_peaks_have_sub_pixel_precision():
    random = np.random.default_rng(0)
    wanted = random.uniform(40, 320, (40, 2))
    found = np.array([highest_peaks(bumps([p], 46)[None], 0.1)[0] for p in wanted])
    assert np.linalg.norm(found[:, :2] - wanted, axis=1).max() < 0.6 and found[:, 2].min() > 0.7
    assert not highest_peaks(np.zeros((3, 5, 5), np.float32), 0.1).any()
    assert len(find_peaks(np.zeros((40, 40), np.float32), 0.1)) == 0


@pytest.mark.parametrize("seed", range(6))
def test_one_body_is_decoded(seed):
    body = puppet(seed)[:18]
    (found,) = people_from_maps(*openpose_maps([body], 64))
    apart = np.linalg.norm(found[:, :2] - body[:, :2], axis=1)[found[:, 2] > 0]
    assert len(apart) >= 16 and apart.mean() < 1.5 and apart.max() < 6


def test_several_people_are_separated():
    bodies = [puppet(seed)[:18] * [0.5, 0.5, 1] + [x, 100, 0] for seed, x in ((1, -40), (2, 60), (3, 170), (4, 260))]
    found = people_from_maps(*openpose_maps(bodies, 64))
    assert len(found) == 4
    for body in bodies:
        errors = [np.linalg.norm(f[:, :2] - body[:, :2], axis=1)[f[:, 2] > 0].mean() for f in found]
        assert min(errors) < 2


def test_cut_off_bodies_are_found_and_noise_is_not():
    body = puppet(5)[:18].copy()
    body[8:14] = 0
    (found,) = people_from_maps(*openpose_maps([body], 64))
    assert found[8:14].sum() == 0 and (found[:8, 2] > 0).all()
    noise = np.random.default_rng(0).uniform(0, 0.09, (57, 30, 30)).astype(np.float32)
    assert people_from_maps(noise[:38], noise[38:]) == []
    lonely = np.zeros((18, 3))
    lonely[[2, 3]] = [(100, 100, 1), (150, 100, 1)]
    assert people_from_maps(*openpose_maps([lonely], 64)) == []


class DrawnNetwork(torch.nn.Module):
    """Replaces a network: returns the maps that a function makes for the picture's size."""

    def __init__(self, answer):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer = answer

    def forward(self, pixels):
        assert pixels.dtype == torch.float32 and -0.5 <= pixels.min() <= pixels.max() < 0.5
        return tuple(torch.from_numpy(m)[None] for m in self.answer(pixels.shape[2]))


def test_openpose_coordinates_through_every_resize():
    """Networks return maps of known keypoints; decoding gives the keypoints in picture pixels."""
    truth = puppet(2)
    body = truth[:18]

    def see_body(height):
        scaled = body * [height / 512, height / 512, 1]
        return openpose_maps([scaled], height // 8)

    hands = iter([("right_hand", (2, 3, 4)), ("left_hand", (5, 6, 7))])

    def see_part(part, box, side, channels):
        points = (truth[SLICES[part], :2] - box[:2]) * side / box[2]
        maps = np.zeros((channels, side // 8, side // 8), np.float32)
        for k, point in enumerate(points):
            maps[k] = bumps([point], side // 8)
        return (maps,)

    def see_hand(side):
        part, arm = next(hands)
        return see_part(part, hand_box(found_body, *arm), side, 22)

    networks = torch.nn.ModuleDict({"body": DrawnNetwork(see_body)})
    picture = np.zeros((512, 512, 3), np.uint8)
    (person,) = OpenPoseDetector(networks).detect(picture)
    found_body = person.body
    networks["hand"] = DrawnNetwork(see_hand)
    networks["face"] = DrawnNetwork(lambda side: see_part("face", face_box(found_body), side, 71))
    (person,) = OpenPoseDetector(networks).detect(picture)
    for part in ("body", "right_hand", "left_hand", "face"):
        found, true = getattr(person, part), truth[SLICES[part]]
        seen = found[:, 2] > 0
        assert seen.mean() > 0.8
        assert np.linalg.norm(found[:, :2] - true[:, :2], axis=1)[seen].mean() < 2.0, part


def test_hand_and_face_boxes():
    body = np.zeros((18, 3))
    assert hand_box(body, 2, 3, 4) is None and face_box(body) is None
    body[[2, 3, 4]] = [(0, 0, 1), (100, 0, 1), (200, 0, 1)]
    assert hand_box(body, 2, 3, 4).tolist() == [233 - 75, -75, 150]
    body[[0, 14]] = [(50, 50, 1), (60, 45, 1)]
    assert face_box(body).tolist() == [20, 20, 60]
    body[14] = (51, 50, 1)
    assert face_box(body) is None  # too small to see anything in


# The real networks


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Write the three published files with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for kind, name in FILES.items():
        state = new_network(kind).half().state_dict()
        short = (lambda key: key) if kind == "face" else (lambda key: key.split(".", 1)[1])
        torch.save({short(key): value for key, value in state.items()}, folder / name)
    return folder


@needs_aux
def test_real_networks_run_with_random_weights(weights):
    detector = OpenPoseDetector.from_folder(weights, resolution=64)
    fields, joints = detector._run("body", np.zeros((64, 48, 3), np.uint8))
    assert fields.shape == (38, 8, 6) and joints.shape == (19, 8, 6)
    assert detector._run("hand", np.zeros((64, 64, 3), np.uint8))[-1].shape == (22, 8, 8)
    assert detector._run("face", np.zeros((64, 64, 3), np.uint8))[-1].shape == (71, 8, 8)
    stored = torch.load(weights / FILES["body"], weights_only=True)
    assert torch.equal(
        detector.networks["body"].state_dict()["model0.conv1_1.weight"], stored["conv1_1.weight"].float()
    )
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (50, 70), (7, 300)):
        assert detector.detect(random.integers(0, 256, (height, width, 3), np.uint8)) == ()
    hand = detector._part(np.zeros((90, 90, 3), np.uint8), "hand", np.array([10.0, 20, 30]), 64, 21)
    assert hand.shape == (21, 3)


@needs_aux
def test_missing_and_wrong_files_are_refused(weights, tmp_path):
    with pytest.raises(
        InputError,
        match=f"body.* and hand.* and facenet.pth are not in {tmp_path}: download them from https://hugg.*Annot",
    ):
        make_detector("openpose", tmp_path)
    for kind in ("hand", "face"):
        (tmp_path / FILES[kind]).touch()
    (tmp_path / FILES["body"]).write_bytes((weights / FILES["hand"]).read_bytes())
    with pytest.raises(InputError, match="does not contain the body network"):
        make_detector("openpose", tmp_path)
    (tmp_path / FILES["body"]).write_bytes(b"nothing")
    with pytest.raises(InputError, match="does not contain the body network"):
        make_detector("openpose", tmp_path)
    with pytest.raises(InputError, match="detector 'eyes' is unknown"):
        make_detector("eyes", tmp_path)


@needs_aux
def test_networks_load_when_controlnet_aux_cannot_be_imported(tmp_path):
    (tmp_path / "mediapipe.py").write_text("")  # like a current one: no `solutions`
    code = (
        "import sys, torch\n"
        "torch.set_default_device('meta')\n"
        "from magicdance_core.pose.detectors.openpose import new_network\n"
        "print(*(type(new_network(kind)).__name__ for kind in ('body', 'hand', 'face')))\n"
        "print([name for name in ('controlnet_aux', 'mediapipe', 'scipy', 'skimage') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout == "bodypose_model handpose_model FaceNet\n[]\n", done.stderr


def test_importing_the_pack_imports_no_detector():
    code = (
        "import sys, magicdance_core.pose.extraction, magicdance_core.pose.smooth, magicdance_core.pose.retarget, "
        "magicdance_core.pose.keypoint_files, magicdance_core.pose.detectors.detector\n"
        "print([m for m in ('torch', 'scipy', 'controlnet_aux', 'onnxruntime', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


# DWPose


def test_yolox_boxes_are_decoded_in_picture_pixels():
    picture = np.full((100, 200, 3), (255, 0, 0), np.uint8)
    pixels, scale = letterbox(picture)
    assert pixels.shape == (1, 3, 640, 640) and scale == 3.2
    assert pixels[0, :, 10, 10].tolist() == [0, 0, 255] and pixels[0, :, 400, 10].tolist() == [114] * 3
    boxes = decode_yolox(yolox_output([(20, 10, 60, 90), (21, 11, 61, 91), (120, 5, 180, 95)], scale), scale)
    assert len(boxes) == 2
    assert boxes[np.argsort(boxes[:, 0])] == pytest.approx(np.array([[20, 10, 60, 90], [120, 5, 180, 95]]), abs=0.01)
    assert decode_yolox(yolox_output([], scale), scale).shape == (0, 4)


def yolox_output(boxes, scale):
    """[1, 8400, 85] with each box in its cell of the grid of stride 16, with falling scores."""
    output = np.full((1, 8400, 85), -1.0, np.float32)
    output[..., 4:] = 0
    start, row = (640 // STRIDES[0]) ** 2, 640 // 16
    for number, box in enumerate(boxes):
        left, top, right, bottom = np.array(box) * scale / 16
        x, y = (left + right) / 2, (top + bottom) / 2
        cell = start + int(y) * row + int(x) + 3 * (number == 1)  # the second is seen from a neighbouring cell
        cx, cy = (cell - start) % row, (cell - start) // row
        output[0, cell, :6] = x - cx, y - cy, np.log(right - left), np.log(bottom - top), 1 - 0.1 * number, 0.9
        output[0, cell, 6] = 0.05  # some other class
    return output


@pytest.mark.parametrize("width, height", [(512, 512), (900, 300), (240, 700)])
def test_dwpose_coordinates_through_every_resize(width, height):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.arange(width)[None] % 250
    whole = np.random.default_rng(4).uniform((40, 30, 0.5), (200, 220, 1), (133, 3)) * (np.arange(133) % 5 > 0)[:, None]
    shown = whole[whole[:, 2] > 0]
    box = np.array([*shown[:, :2].min(axis=0), *shown[:, :2].max(axis=0)])
    scale = min(640 / width, 640 / height)

    def find_people(pixels):
        assert pixels.shape == (1, 3, 640, 640) and pixels.dtype == np.float32
        return [yolox_output([box], scale)]

    def find_points(pixels):
        assert pixels.shape == (1, 3, 384, 288) and pixels.dtype == np.float32
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        step = 1.25 * max(size[0], size[1] * 0.75) / 288
        at = (whole[:, :2] - (centre - step * np.array([144, 192]))) / step
        x, y = np.zeros((1, 133, 576), np.float32), np.zeros((1, 133, 768), np.float32)
        for k, (px, py) in enumerate(at):
            if whole[k, 2] > 0:
                x[0, k, int(round(2 * px))], y[0, k, int(round(2 * py))] = 0.9, 0.8
        return [x, y]

    (person,) = DWPoseDetector(find_people, find_points).detect(picture)
    found, truth = person_to_points(person), person_to_points(person_from_wholebody(whole))
    there = truth[:, 2] > 0
    assert (found[there, 2] > 0).all() and not found[~there].any()
    assert np.linalg.norm(found[there, :2] - truth[there, :2], axis=1).max() < 0.6
    assert found[there, 2].max() == pytest.approx(0.8)


def test_dwpose_through_onnxruntime(tmp_path):
    pytest.importorskip("onnxruntime")
    box = np.array([100.0, 60, 340, 380])
    write_network(tmp_path / "yolox_l.onnx", [1, 3, 640, 640], yolox_output([box], 1.25))
    x, y = np.zeros((1, 133, 576), np.float32), np.zeros((1, 133, 768), np.float32)
    x[0, :, 2 * 144], y[0, :, 2 * 192] = 0.9, 0.7  # all points in the middle of the crop, which is the box's
    write_network(tmp_path / "dw-ll_ucoco_384.onnx", [1, 3, 384, 288], x, y)
    (person,) = make_detector("dwpose", tmp_path).detect(np.full((512, 512, 3), 90, np.uint8))
    assert person.body == pytest.approx(np.tile([220, 220, 0.7], (18, 1)), abs=0.5)
    assert person.left_hand[:, 2] == pytest.approx(0.7) and not person.face[68:].any()


def test_dwpose_crop_matches_its_matrix():
    from magicdance_core.pose.detectors.dwpose import pose_input

    picture = np.zeros((400, 300, 3), np.uint8)
    cv2.circle(picture, (150, 200), 6, (255, 255, 255), -1)
    pixels, back = pose_input(picture, np.array([100.0, 100, 220, 300]))
    bright = np.argwhere(pixels[0, 0] > 1).mean(axis=0)[::-1] + 0.5
    assert back[:, :2] @ bright + back[:, 2] == pytest.approx([150.5, 200.5], abs=0.3)


def test_dwpose_refuses_missing_files_and_finds_nobody_in_noise(tmp_path):
    with pytest.raises(InputError, match="yolox_l.onnx and .*onnx are not in .*: download them from https://.*DWPose"):
        make_detector("dwpose", tmp_path)
    nobody = DWPoseDetector(lambda pixels: [yolox_output([], 1)], lambda pixels: pytest.fail("asked for points"))
    assert nobody.detect(np.zeros((1, 1, 3), np.uint8)) == ()


def test_dwpose_refuses_missing_onnxruntime_and_damaged_files(tmp_path, monkeypatch):
    for name in ("yolox_l.onnx", "dw-ll_ucoco_384.onnx"):
        (tmp_path / name).write_bytes(b"nothing")
    if importlib.util.find_spec("onnxruntime"):
        with pytest.raises(InputError, match="cannot be loaded by onnxruntime"):
            make_detector("dwpose", tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        make_detector("dwpose", tmp_path)


# Drawn maps


@pytest.mark.parametrize("side", [256, 512, 604])
def test_drawn_map_is_read_back(side):
    clip = puppet_clip(Identity.from_seed(6, "test"), Choreography.from_seed(6, "test"), range(0, 60, 12))
    errors, found = [], 0
    for frame in clip:
        (person,) = DrawnMapDetector().detect(draw_pose(frame, side, side, face=False, hands=False))
        seen = person.body[:, 2] > 0
        found += seen.sum()
        errors.append(np.linalg.norm(person.body * [512 / side, 512 / side, 1] - frame.people[0].body, axis=1)[seen])
    assert found > 0.8 * 18 * len(clip) and np.concatenate(errors).mean() < 1.5
    assert DrawnMapDetector().detect(np.zeros((1, 1, 3), np.uint8)) == ()


def test_knee_and_wrists_are_told_from_the_points_and_lines_of_hands():
    """Hand points have the colour of the left knee, hand lines those of other joints."""
    errors, found = [], []
    for seed in range(6):
        clip = puppet_clip(Identity.from_seed(seed, "test"), Choreography.from_seed(seed, "test"), range(0, 60, 20))
        for frame in clip:
            (person,) = DrawnMapDetector().detect(draw_pose(frame, 512, 512, face=False))
            seen = person.body[:, 2] > 0
            errors.append(np.where(seen, np.linalg.norm(person.body[:, :2] - frame.people[0].body[:, :2], axis=1), 0))
            found.append(seen)
    errors, found = np.array(errors), np.array(found)
    assert errors.max() < 20 and errors[:, 12].max() < 2 and errors[found].mean() < 2
    assert found[:, [1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 13]].mean() > 0.98


def test_a_knee_that_is_not_drawn_is_not_found_in_a_hand():
    (frame,) = puppet_clip(Identity.from_seed(1, "test"), Choreography.from_seed(1, "test"), [0])
    body = frame.people[0].body.copy()
    body[[12, 13]] = 0
    without = PoseFrame((replace(frame.people[0], body=body),), frame.width, frame.height)
    (person,) = DrawnMapDetector().detect(draw_pose(without, face=False))
    assert person.body[11, 2] > 0 and not person.body[[12, 13], 2].any()


@pytest.mark.skipif(not PUBLISHED_MAPS.is_file(), reason=f"{PUBLISHED_MAPS} is not there")
def test_a_published_pose_video_is_read():
    """Maps of another project, with hands: both thighs of a standing person are equally long."""
    for picture in list(read_frames(PUBLISHED_MAPS))[::4]:
        (person,) = DrawnMapDetector().detect(np.asarray(picture))
        left, right = (np.linalg.norm(person.body[hip, :2] - person.body[hip + 1, :2]) for hip in (11, 8))
        assert person.body[8:14, 2].all() and 0.9 < left / right < 1.1
