"""The detector `mediapipe` with the real networks: on noise, against the real runtime's answers (golden/mediapipe.npz,
every k-th value of each output); on a real picture, step by step (golden/astronaut.json); on real clips.

The wheel is looked for in MAGICDANCE_POSE_MODELS, else where the Makefile puts it; clips in MAGICDANCE_CLIPS, else in
../shared/mediapipe/data."""

import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.detection import measure, summarise
from magicdance_core.media import read_frames
from magicdance_core.pose.detectors.mediapipe import MediaPipeDetector, _Followed
from magicdance_core.pose.detectors.mediapipe_body import Body, find_body
from magicdance_core.pose.detectors.mediapipe_face import Face, find_face
from magicdance_core.pose.detectors.mediapipe_files import FILES, find_source, read_networks
from magicdance_core.pose.detectors.mediapipe_hands import Hand
from magicdance_core.pose.detectors.mediapipe_networks import FACE_BOX, PALM, PERSON, make_networks
from magicdance_core.pose.detectors.regions import Region
from magicdance_core.pose.detectors.tflite_file import DENSIFY, DEQUANTIZE, fold_weights, read_graph
from magicdance_core.pose.keypoints import PARTS

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
MODELS = Path(os.environ.get("MAGICDANCE_POSE_MODELS") or Path(sys.prefix) / "magicdance_pose")
CLIPS = Path(os.environ.get("MAGICDANCE_CLIPS") or ROOT.parent / "shared" / "mediapipe" / "data")

pytestmark = pytest.mark.skipif(
    find_source(MODELS) is None, reason=f"MediaPipe's wheel is not in {MODELS}: `make test` fetches it"
)
needs_clips = pytest.mark.skipif(not (CLIPS / "xdyna_2.npz").is_file(), reason=f"there are no real clips in {CLIPS}")

# Operators of the file, DENSIFY and DEQUANTIZE among them; tensors; float16 weights and the sum of their magnitudes.
CONTENTS = {
    "person": (291, 38, 144, 442, 2_965_026, 184_848.809),
    "pose": (332, 0, 192, 535, 3_169_489, 996_681.405),
    "palm": (272, 0, 133, 413, 1_132_536, 117_777.808),
    "hand": (165, 0, 102, 269, 2_715_680, 160_523.653),
    "face_box": (164, 0, 74, 250, 101_390, 31_231.292),
    "face": (712, 0, 371, 1096, 1_189_328, 262_090.628),
}
# Largest difference over largest value; the heat map is stored in half precision.
TOLERANCES = {"pose_1": 1e-4, "pose_3": 1e-3, "pose_4": 1e-4}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files():
    return read_networks(MODELS)


@pytest.fixture(scope="module")
def shared_detector(files):
    return MediaPipeDetector(make_networks(files))


@pytest.fixture
def detector(shared_detector):
    shared_detector.reset()
    return shared_detector


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data", reason="scikit-image has the picture").astronaut()


@pytest.fixture(scope="module")
def golden():
    return json.loads((GOLDEN / "astronaut.json").read_text())


# The networks


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_completely(files, name):
    graph = read_graph(files[name])
    operators, sparse, halves, tensors, count, total = CONTENTS[name]
    codes = Counter(operator.code for operator in graph.operators)
    assert (len(graph.operators), codes[DENSIFY], codes[DEQUANTIZE], len(graph.tensors)) == (
        operators, sparse, halves, tensors
    )  # fmt: skip
    folded = fold_weights(graph)
    weights = [folded.tensors[o.outputs[0]].values for o in graph.operators if o.code == DEQUANTIZE]
    assert sum(values.size for values in weights) == count
    assert sum(np.abs(values.astype(np.float64)).sum() for values in weights) == pytest.approx(total, abs=0.001)


@pytest.mark.parametrize("name", FILES)
def test_networks_answer_as_the_real_runtime(files, name):
    from magicdance_core.pose.detectors.tflite_network import TFLiteNetwork

    network = TFLiteNetwork(files[name])
    noise = np.random.RandomState(7).randint(0, 256, network.input_shape[1:]).astype(np.uint8)
    pixels = torch.from_numpy(noise)[None].float() / 255
    with torch.inference_mode():
        outputs = network(pixels * 2 - 1 if name in ("person", "face_box") else pixels)
    expected = np.load(GOLDEN / "mediapipe.npz")
    compared = 0
    for number, output in enumerate(outputs):
        if (key := f"{name}_{number}") not in expected.files:
            continue  # the segmentation is not kept
        values, largest = expected[key].astype(np.float32), float(expected[f"{key}_largest"])
        step = max(1, -(-output.numel() // 3000))
        made = output.flatten()[:: step + (step > 1 and step % 2 == 0)].numpy()
        assert np.abs(made - values).max() / largest < TOLERANCES.get(key, 1e-5), key
        compared += 1
    assert compared == {"person": 2, "pose": 4, "palm": 2, "hand": 4, "face_box": 2, "face": 7}[name]


# A real picture


def test_each_step_on_the_astronaut_is_within_a_pixel(detector, astronaut, golden):
    assert hashlib.sha256(astronaut.tobytes()).hexdigest() == golden["sha256_of_bytes"]
    run, faces = detector._run, 0
    for step in golden["steps"]:
        region = Region(*step["region"])
        if step["network"] in ("person", "palm", "face_box"):
            network = {"person": PERSON, "palm": PALM, "face_box": FACE_BOX}[step["network"]]
            found = network.find(run, astronaut, region)
            assert [round(one.score, 3) for one in found] == [round(one["score"], 3) for one in step["detections"]]
            for one, expected in zip(found, step["detections"]):
                assert one.box == pytest.approx(np.array(expected["box"]), abs=1)
                assert one.keypoints == pytest.approx(np.array(expected["keypoints"]), abs=1)
        elif step["network"] == "pose":
            body = find_body(run, astronaut, region)
            expected = np.array(step["points"])
            assert body.points[:, :2] == pytest.approx(expected[:, :2], abs=1)
            assert body.points[:, 2:] == pytest.approx(expected[:, 2:], abs=0.01)
            after = body.next_region
            assert [after.x, after.y, after.side, after.angle] == pytest.approx(step["next_region"], abs=1)
        elif step["network"] == "hand":
            landmarks, presence = run("hand", region.crop(astronaut, 224, True))
            places = region.to_picture(landmarks.reshape(21, 3)[:, :2] / 224)
            assert places == pytest.approx(np.array(step["points"]), abs=1)
            assert presence.item() == pytest.approx(step["presence"], abs=0.01)
        else:
            faces += 1
    body = find_body(run, astronaut, Region(*golden["steps"][2]["region"]))
    face = find_face(run, astronaut, body, None, new=True)
    assert faces == 2 and face.points == pytest.approx(np.array(golden["mesh"]), abs=1)


def test_the_astronaut_has_a_body_and_a_face_and_no_hands(detector, astronaut, golden):
    (person,) = detector.detect(astronaut)
    for part in ("body", "left_hand", "right_hand", "face"):
        expected = np.array(golden["person"][part])
        assert getattr(person, part)[:, :2] == pytest.approx(expected[:, :2], abs=1), part
        assert getattr(person, part)[:, 2] == pytest.approx(expected[:, 2], abs=0.01), part
    assert not person.body[[8, 9, 10, 11, 12, 13]].any()  # the picture ends above the hips


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_picture_is_found_at_the_same_places(detector, astronaut, golden, turns):
    (person,) = detector.detect(np.ascontiguousarray(np.rot90(astronaut, turns)))
    expected = np.array(golden["person"]["face"])[:, :2]
    for _ in range(turns):
        expected = np.stack([expected[:, 1], 512 - expected[:, 0]], axis=1)
    assert person.face[:, 2].all()
    assert np.linalg.norm(person.face[:, :2] - expected, axis=1).mean() < 0.03 * 109  # of the face's height


def test_dark_grey_and_noisy_pictures_are_found(detector, astronaut, golden):
    expected = np.array(golden["person"]["face"])[:, :2]
    grey = np.repeat(astronaut.mean(axis=2, keepdims=True), 3, axis=2)
    noisy = astronaut + np.random.default_rng(0).normal(0, 40, astronaut.shape)
    for picture in (0.15 * astronaut, grey, noisy):
        detector.reset()
        (person,) = detector.detect(picture.clip(0, 255).astype(np.uint8))
        assert np.linalg.norm(person.face[:, :2] - expected, axis=1).mean() < 0.05 * 109


def test_two_people_are_found_beside_each_other(detector, astronaut):
    people = detector.detect(np.concatenate([astronaut, astronaut[:, ::-1]], axis=1))
    assert sorted(int(person.body[0, 0]) for person in people) == [pytest.approx(222, abs=8), pytest.approx(801, abs=8)]


def test_pictures_without_people_have_nobody(detector):
    data = pytest.importorskip("skimage.data", reason="scikit-image has the pictures")
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (512, 512, 3), np.uint8)
    empty = [noise, noise[:1, :1], np.zeros((300, 500, 3), np.uint8)]
    for picture in [data.coffee(), data.chelsea(), data.rocket(), *empty]:
        detector.reset()
        assert detector.detect(np.ascontiguousarray(picture)) == ()


# Real clips


def frames_of(name):
    return [np.asarray(picture) for picture in read_frames(CLIPS / name)]


def last_person(row, k):
    """The person of picture k of a golden file, as the detector keeps it."""
    hands = {side: Hand(row[side][k].astype(float), float(row[f"{side}_score"][k])) for side in ("left", "right")}
    hands = {side: hand if np.isfinite(hand.points).all() else None for side, hand in hands.items()}
    face = Face(row["mesh"][k].astype(float), float(row["mesh_score"][k]))
    body = Body(row["pose"][k].astype(float), float(row["pose_score"][k]), Region(*map(float, row["region"][k])))
    return _Followed(body, hands, face if np.isfinite(face.points).all() else None)


@needs_clips
@pytest.mark.parametrize("name, body, blurred_hands", [("xdyna_2", 0.3, 5), ("moore_1", 3.2, 0)])
def test_one_step_from_a_golden_state_gives_the_next(detector, name, body, blurred_hands):
    row, pictures, far = np.load(CLIPS / f"{name}.npz"), frames_of(f"{name}.mp4"), 0
    for k in range(1, len(pictures), 3):
        detector.reset()
        detector._size = pictures[k].shape[1::-1]
        detector._people = [last_person(row, k - 1)]
        (person,) = detector.detect(pictures[k])
        (found,), expected = detector._people, last_person(row, k)
        assert found.body.points[:, :2] == pytest.approx(expected.body.points[:, :2], abs=body)
        assert found.face.points == pytest.approx(expected.face.points, abs=2)
        for side in ("left", "right"):
            hand, wanted = found.hands[side], expected.hands[side]
            assert (hand is None) == (wanted is None)
            far += hand is not None and np.abs(hand.points - wanted.points).max() > 8
        for part in set(PARTS) - {"feet"}:
            assert np.array_equal(getattr(person, part)[:, 2] > 0, row[f"out_{part}"][k][:, 2] > 0)
    assert far <= blurred_hands


@needs_clips
def test_a_dance_is_followed_as_the_published_maps_show_it(detector):
    clip = measure(frames_of("xdyna_2.mp4"), frames_of("xdyna_2_poses.mp4"), detector)
    figures = summarise([clip])
    assert figures["all"]["median"] < 1.33 and figures["all"]["p90"] < 3 and figures["all"]["within_5"] > 96
    for part, median in {"nose": 1.1, "shoulders": 1.0, "right elbow": 1.8, "left elbow": 1.8, "right wrist": 2.7,
                         "left wrist": 2.7, "hips": 1.7, "right knee": 1.2}.items():  # fmt: skip
        assert figures[part]["median"] < median and figures[part]["shown"] > 97, part
    assert figures["faces"]["found"] > 97 and figures["hands"]["found"] > 60


@needs_clips
def test_a_talking_head_has_a_face_in_every_picture_and_no_hands(detector):
    for picture in frames_of("moore_1.mp4"):
        (person,) = detector.detect(picture)
        assert person.face[:, 2].min() > 0.5 and not person.left_hand.any() and not person.right_hand.any()
