"""The pose nodes, called as ComfyUI calls them."""

import json
import os
import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.pose_accuracy import other_proportions

ROOT = Path(__file__).parents[2]
SIDE = 256
TYPES = {"INT": int, "FLOAT": (int, float), "BOOLEAN": bool, "STRING": str}


@pytest.fixture
def dance(core):
    """Return a function that makes the keypoints of a puppet's dance: `dance(identity, frames)`."""
    puppets, pose = core("puppets"), core("pose")

    def make(identity, frames=12, child=False):
        person, moves = puppets.Identity.from_seed(identity, "test"), puppets.Choreography.from_seed(1, "test")
        if child:
            person = other_proportions(person)
        return pose.frames_to_pose_keypoint(
            [puppets.puppet_keypoints(person, moves.pose(k), SIDE) for k in range(frames)]
        )

    return make


@pytest.fixture
def points(core):
    """Return a function from POSE_KEYPOINT to float32 `[F, 136, 3]`."""
    return lambda keypoints: core("pose.keypoints").frames_to_points(core("pose").frames_from_pose_keypoint(keypoints))


@pytest.fixture
def folders(comfy, tmp_path):
    """Make ComfyUI's input and output folders."""
    paths, made = sys.modules["folder_paths"], {}
    for name in ("input", "output"):
        made[name] = tmp_path / name
        made[name].mkdir()
    paths.get_input_directory = lambda: str(made["input"])
    paths.get_output_directory = lambda: str(made["output"])
    paths.get_annotated_filepath = lambda name: str(made["input"] / name)
    paths.get_save_image_path = lambda prefix, base: (
        base, prefix, 1 + len(list(made["output"].iterdir())), "", prefix,
    )  # fmt: skip
    return made


# Extract


def extract(node, **inputs):
    return node("ExtractPose").extract(
        **{"detector": "drawn", "person": "continuity", "person_index": 0, "max_gap": 15, "fps": 30.0, "min_score": 0.3}
        | inputs
    )


def test_extract_reads_poses_from_drawn_maps(node, core, dance, points, comfy):
    maps = node("DrawPoses").draw(dance(0), 512, 512, True, False, False)[0]
    keypoints, report, audio, fps = extract(node, images=maps)
    made, truth = points(keypoints)[:, :18], points(dance(0))[:, :18] * [2, 2, 1]
    seen = made[..., 2] > 0
    assert seen.mean() > 0.7 and np.linalg.norm(made - truth, axis=-1)[seen].mean() < 3
    assert json.loads(report)["frames_with_person"] == 12
    assert len(comfy.bars[-1]) == 12 and audio is None and fps == 30.0


def test_extract_gives_the_sound_and_the_rate_of_a_video(node, film, tmp_path):
    from sound_videos import RATE, write_source

    video = Video(str(write_source(tmp_path / "source.mp4", "mp4", "aac", seconds=1.0, beep=0.3)))
    *_, audio, fps = extract(node, video=video, fps=12.0)
    assert fps == 12.0 and audio["sample_rate"] == RATE and audio["waveform"].shape[:2] == (1, 1)
    loud = (audio["waveform"][0, 0].abs() > 0.2).nonzero()[:, 0] / RATE
    assert abs(float(loud[0]) - 0.3) < 0.08 and abs(float(loud[-1]) - 0.8) < 0.08


def test_extract_follows_one_person_in_given_keypoints(node, dance, points):
    crowd = dance(0)
    crowd[5]["people"] = []
    for frame in crowd:
        frame["people"] += [{"pose_keypoints_2d": [300.0, 9.0, 1.0] * 18}]
    keypoints, report, *_ = extract(node, keypoints=crowd)
    assert np.linalg.norm(points(keypoints) - points(dance(0)), axis=-1)[:, :130].max() < 10
    assert json.loads(report)["parts"]["face"]["filled"] == 70
    assert extract(node, keypoints=crowd, person="index", person_index=1)[0][0]["people"][0]["person_id"] == [1]


def test_low_scores_of_other_programs_are_left_out_but_saved(node, points, folders):
    body = [value for k in range(18) for value in (10.0 + k, 20.0, 0.9 if k < 8 else 0.1)]
    foreign = [{"people": [{"pose_keypoints_2d": body}], "canvas_width": 64, "canvas_height": 64}]
    assert (points(extract(node, keypoints=foreign)[0])[0, :18, 2] > 0).sum() == 8
    assert (points(extract(node, keypoints=foreign, min_score=0.05)[0])[0, :18, 2] > 0).sum() == 18
    node("SaveKeypoints").save(foreign, "low", "json")
    (saved,) = folders["output"].glob("low*.json")
    assert "0.1" in saved.read_text()


def test_extract_remarks_that_nobody_was_found(node, comfy, dance):
    extract(node, images=torch.zeros(3, 64, 64, 3))
    nobody = [frame | {"people": []} for frame in dance(0, frames=2)]
    extract(node, keypoints=nobody)
    extract(node, keypoints=dance(0))
    assert [data["sentences"] for _, data in comfy.events] == [
        ["Connect pose maps or change the detector: `drawn` found nobody in 3 of 3 frames."],
        ["Check the keypoints: they have nobody in 2 of 2 frames."],
    ]


def test_extract_names_missing_files_and_inputs(node, dance):
    picture = torch.zeros(1, 8, 8, 3)
    for detector, name in (("openpose", "hand_pose_model.pth and facenet.pth"), ("dwpose", "yolox_l.onnx")):
        with pytest.raises(ValueError, match=f"{name} .*are not in .*magicdance_pose: download them from https"):
            extract(node, detector=detector, images=picture)
    for several in ({}, {"images": picture, "keypoints": dance(0)}, {"images": picture, "video": Video("x.mp4")}):
        with pytest.raises(ValueError, match="connect one of `images`, `video` and `keypoints`"):
            extract(node, **several)


def test_extract_runs_openpose_networks_under_memory_management(node, core, comfy, monkeypatch):
    pytest.importorskip("scipy")
    networks = core("pose.detectors.openpose")
    torch.manual_seed(0)
    folder = comfy.models / "magicdance_pose"
    folder.mkdir()
    for kind, name in networks.FILES.items():
        state = networks.new_network(kind).half().state_dict()
        torch.save(
            {key if kind == "face" else key.split(".", 1)[1]: value for key, value in state.items()}, folder / name
        )
    make = core("pose.detectors.openpose").OpenPoseDetector.from_folder
    monkeypatch.setitem(make.__func__.__kwdefaults__, "resolution", 32)
    keypoints, report, *_ = extract(node, detector="openpose", images=torch.rand(2, 16, 24, 4))
    assert json.loads(report)["frames"] == 2 and keypoints[0]["canvas_width"] == 24
    assert len(comfy.loads) == 1 and comfy.checks > 50


def test_extract_takes_mediapipe_if_only_its_wheel_is_there(node, core, comfy):
    files = core("pose.detectors.mediapipe_files")
    wheel = Path(os.environ.get("MAGICDANCE_POSE_MODELS") or Path(sys.prefix) / "magicdance_pose") / files.WHEEL
    if not wheel.is_file():
        pytest.skip(f"{wheel} is missing: `make test` fetches it")
    folder = comfy.models / "magicdance_pose"
    folder.mkdir()
    (folder / files.WHEEL).symlink_to(wheel)
    picture = pytest.importorskip("skimage.data", reason="scikit-image has the picture").astronaut()
    keypoints, report, *_ = extract(node, detector="auto", images=torch.from_numpy(picture)[None] / 255)
    report = json.loads(report)
    assert report["detector"] == "mediapipe" and "dwpose lacks yolox_l.onnx" in report["detector_reason"]
    assert report["parts"]["face"]["found"] == 70 and report["missing"] and len(comfy.loads) == 1
    assert keypoints[0]["people"][0]["pose_keypoints_2d"][:2] == pytest.approx([223, 130], abs=2)


def test_detectors_downloaded_by_another_pack_are_found(pack, comfy, node):
    folders = sys.modules[f"{pack.__name__}.nodes.comfy.folders"]
    downloads = comfy.models.parent / "custom_nodes" / "comfyui_controlnet_aux" / "ckpts"
    folder = downloads / "yzd-v" / "DWPose"
    folder.mkdir(parents=True)
    (folder / "yolox_l.onnx").touch()
    folders.register_model_folders()
    assert folders.detector_folder("yolox_l.onnx") == folder
    with pytest.raises(ValueError, match="dw-ll_ucoco_384.onnx is not in .*DWPose: download it from"):
        extract(node, detector="dwpose", images=torch.zeros(1, 8, 8, 3))
    assert folders.detector_folder("body_pose_model.pth") == comfy.models / "magicdance_pose"


class Video:
    """Stand-in for a VIDEO of a file, of bytes, or of a part of a file."""

    def __init__(self, source, duration=None):
        self.source, self.duration, self.saved = source, duration, None

    def get_stream_source(self):
        return self.source

    def get_duration(self):
        return 2.0 if self.duration is None else self.duration

    def save_to(self, path):
        self.saved = Path(path)
        self.saved.write_bytes(Path(self.source).read_bytes())


@pytest.fixture
def film(node, core, dance, tmp_path, monkeypatch):
    """Return a function that writes a video of pose maps at 15 fps: `film(frames)`."""
    monkeypatch.setitem(sys.modules, "comfy_api.input_impl", SimpleNamespace(VideoFromFile=Video))

    def make(frames=12):
        maps = node("DrawPoses").draw(dance(0, frames), 512, 512, True, False, False)[0]
        with core("media").write_animation(tmp_path / "film.mp4", 15) as add:
            for picture in maps:
                add(Image.fromarray((picture * 255).byte().numpy()))
        return str(tmp_path / "film.mp4")

    return make


def test_extract_samples_videos_at_the_given_frame_rate(node, film, dance, points):
    file = film()
    keypoints, report, *_ = extract(node, video=Video(file), fps=15.0)
    made, truth = points(keypoints)[:, :18], points(dance(0))[:, :18] * [2, 2, 1]
    seen = made[..., 2] > 0
    assert seen.mean() > 0.6 and np.linalg.norm(made - truth, axis=-1)[seen].mean() < 4
    assert json.loads(report)["frames"] == 12 and json.loads(report)["damaged"] == 0
    assert len(extract(node, video=Video(file), fps=30.0)[0]) == 24  # from the first picture to the last
    in_memory = extract(node, video=Video(BytesIO(Path(file).read_bytes())), fps=15.0)[0]
    assert in_memory == keypoints
    cut = Video(file, duration=0.5)
    assert extract(node, video=cut, fps=15.0)[0] == keypoints and cut.saved and not cut.saved.exists()


def test_another_gap_does_not_run_the_detector_again(node, comfy, dance):
    images = node("DrawPoses").draw(dance(0, 3), 64, 64, True, False, False)[0]
    extracting = node("ExtractPose")
    settings = {"person": "continuity", "person_index": 0, "max_gap": 15, "fps": 30.0, "min_score": 0.3}
    first = extracting.extract("drawn", images=images, **settings)
    bars = len(comfy.bars)
    assert extracting.extract("drawn", images=images, **settings | {"max_gap": 3, "fps": 15.0})[:2] == first[:2]
    assert len(comfy.bars) == bars
    extracting.extract("drawn", images=images.clone(), **settings)
    assert len(comfy.bars) == bars + 1


def test_unreadable_videos_are_refused(node, film, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken.mp4 cannot be read as a video"):
        extract(node, video=Video(str(tmp_path / "broken.mp4")))
    with pytest.raises(ValueError, match="does not exist"):
        extract(node, video=Video(str(tmp_path / "gone.mp4")))


def test_extract_can_be_interrupted(node, comfy):
    comfy.interrupt_after = 3
    with pytest.raises(Exception, match="^$") as caught:
        extract(node, images=torch.zeros(9, 8, 8, 3))
    assert type(caught.value).__name__ == "Interrupt"


# Retarget and smooth


def test_retarget_fits_the_motion_to_the_reference(node, dance, points):
    driving, person = dance(3, child=True), dance(4)
    made, report = node("RetargetPose").retarget(driving, person, "auto", -1, True, 30.0)
    assert report.startswith("- The reference has other proportions than the dancer (")
    before, after = (np.linalg.norm(points(k) - points(person), axis=-1)[:, :130].mean() for k in (driving, made))
    assert after < 0.02 * SIDE and after < before
    again, report = node("RetargetPose").retarget(person, person, "driving", 0, True, 30.0)
    assert report == "Nothing stands out: the reference and the motion fit each other."
    assert points(again) == pytest.approx(points(person), abs=0.05)
    with pytest.raises(ValueError, match="reference shows nobody"):
        node("RetargetPose").retarget(
            driving, [{"people": [], "canvas_width": 9, "canvas_height": 9}], "auto", -1, True, 30.0
        )


def test_smoothing_reduces_noise(node, dance, points):
    noisy = dance(0, 40)
    random = np.random.default_rng(0)
    for frame in noisy:
        values = frame["people"][0]["pose_keypoints_2d"]
        frame["people"][0]["pose_keypoints_2d"] = [v + random.normal(0, 2) * (i % 3 < 2) for i, v in enumerate(values)]
    truth = points(dance(0, 40))[:, :18]
    for method in ("savitzky-golay", "one-euro"):
        made = node("SmoothPose").smooth(noisy, method, 7, 1.5, 30.0, 30.0)[0]
        errors = [np.linalg.norm(points(k)[:, :18] - truth, axis=-1).mean() for k in (made, noisy)]
        assert errors[0] < 0.85 * errors[1]


# Files


@pytest.mark.parametrize("format", ["json", "npz"])
def test_keypoint_files_round_trip(node, dance, points, folders, format):
    for number in (1, 2):
        saved = node("SaveKeypoints").save(dance(0), "dance", format)
        assert saved["result"][0] == dance(0) and saved["ui"]["text"][0].endswith(f"dance_{number:05}_.{format}")
    name = f"dance_00002_.{format}"
    (folders["input"] / name).write_bytes((folders["output"] / name).read_bytes())
    cls = type(node("LoadKeypoints"))
    assert cls.INPUT_TYPES()["required"]["file"][0] == [name, "dance.npz [example]"]
    assert cls.VALIDATE_INPUTS(name) is True and "put it there" in cls.VALIDATE_INPUTS("none.json")
    keypoints, count = node("LoadKeypoints").load(name, 0, 0, 0.3)
    assert count == 12 and keypoints == dance(0)
    assert "put it there" in cls.VALIDATE_INPUTS(None)
    stamp = cls.IS_CHANGED(name, width=0, height=0)
    (folders["input"] / name).write_bytes(b"other")
    assert cls.IS_CHANGED(name, width=0, height=0) != stamp


def test_extract_repairs_the_example_motion(node, folders):
    cls = type(node("LoadKeypoints"))
    (name,) = cls.INPUT_TYPES()["required"]["file"][0]
    assert cls.VALIDATE_INPUTS(name) is True and cls.IS_CHANGED(name)
    keypoints, frames = node("LoadKeypoints").load(name, 0, 0, 0.3)
    report = json.loads(extract(node, keypoints=keypoints)[1])
    assert frames == report["frames_with_person"] == 32
    assert report["frames_empty"] == 1 and report["people"] == 2 and report["dropped"] == 1
    assert cls.VALIDATE_INPUTS("../../x.npz [example]") is not True


def test_openpose_json_needs_width_and_height(node, core, dance, folders):
    text = json.dumps({"people": dance(0)[0]["people"]})
    (folders["input"] / "a.json").write_text(text)
    with pytest.raises(ValueError, match="width and height"):
        node("LoadKeypoints").load("a.json", 0, 0, 0.3)
    assert node("LoadKeypoints").load("a.json", SIDE, SIDE, 0.3)[1] == 1


# Draw


def test_poses_are_drawn_in_the_given_size(node):
    _, _, keypoints, *_ = node("Puppets").draw(1, 2, 2, 4, 64, 64)
    draw = node("DrawPoses").draw
    assert draw(keypoints, 96, 128, True, False, False)[0].shape == (2, 128, 96, 3)
    assert draw(keypoints, 0, 0, False, False, False)[0].max() == 0
    assert draw(keypoints[0], 0, 0, True, True, True)[0].shape == (1, 64, 64, 3)
    with pytest.raises(ValueError, match="has no frames"):
        draw([], 0, 0, True, True, True)
    with pytest.raises(ValueError, match="set `width` and `height`"):
        draw([*keypoints, {**keypoints[0], "canvas_width": 96}], 0, 0, True, True, True)
    with pytest.raises(ValueError, match="lacks 'people'"):
        draw([{}], 0, 0, True, True, True)


# Preview


def test_preview_draws_skeletons_over_pictures(node, dance):
    def preview(keypoints, opacity, pictures=None, video=None, fps=30.0):
        return node("PreviewPose").preview(keypoints, opacity, True, True, True, fps, pictures, video)[0]

    pictures = torch.full((12, 64, 64, 3), 0.5)
    shown = preview(dance(0), 0.8, pictures)
    assert shown.shape == (12, 64, 64, 3) and (shown[0, 0, 0] - 0.5).abs().max() < 0.01 and shown.std() > 0.05
    assert torch.equal(preview(dance(0), 0.8, pictures[:1]), shown)
    assert preview(dance(0), 1.0).shape == (12, SIDE, SIDE, 3)
    assert torch.equal(preview(dance(0), 0.0, pictures), (pictures * 255).round() / 255)
    with pytest.raises(ValueError, match="5 pictures, `keypoints` has 12 frames"):
        preview(dance(0), 0.8, pictures[:5])
    with pytest.raises(ValueError, match="has no frames"):
        preview([], 0.8)
    with pytest.raises(ValueError, match="both `images` and `video`"):
        preview(dance(0), 0.8, pictures, video=Video("x.mp4"))


def test_preview_over_a_shorter_video_holds_its_last_frame(node, dance, film):
    preview = node("PreviewPose").preview
    shown = preview(dance(0, 14), 0.0, True, True, True, 15.0, video=Video(film()))[0]
    assert shown.shape == (14, 512, 512, 3) and shown[0].mean() > 0.001
    assert torch.equal(shown[11], shown[13]) and not torch.equal(shown[0], shown[11])  # the last picture stays


# The workflow


def test_the_pose_nodes_of_workflow_6_run_together(node, pack, points):
    """Run the pack's nodes of the workflow up to the poses, with its links and widget values."""
    graph = json.loads((ROOT / "workflows" / "06 Video to dance.json").read_text())
    links = {link[0]: link for link in graph["links"]}
    results = {}
    for entry in graph["nodes"]:
        cls = pack.NODE_CLASS_MAPPINGS.get(entry["type"])
        needed = [links[slot["link"]] for slot in entry["inputs"] if slot["link"] is not None]
        if cls is None or any(link[1] not in results for link in needed):
            continue
        if entry["type"] in ("MagicDanceLoadBackbone", "MagicDanceSample"):
            continue
        kinds = cls.INPUT_TYPES()["required"] | cls.INPUT_TYPES().get("optional", {})
        wired = {slot["name"]: slot["link"] for slot in entry["inputs"]}
        inputs = {name: results[links[k][1]][links[k][2]] for name, k in wired.items() if k is not None}
        values = iter(entry["widgets_values"])
        for name, (kind, options) in kinds.items():
            if name not in wired:
                value = inputs[name] = next(values)
                assert value in kind if isinstance(kind, list) else isinstance(value, TYPES[kind])
                if options.get("control_after_generate"):
                    assert next(values) in ("fixed", "randomize")
        assert next(values, None) is None and set(wired) <= set(kinds)
        assert [slot["type"] for slot in entry["outputs"]] == list(cls.RETURN_TYPES)
        results[entry["id"]] = getattr(cls(), cls.FUNCTION)(**inputs)
    made = {entry["type"]: results[entry["id"]] for entry in graph["nodes"] if entry["id"] in results}
    assert {"MagicDanceExtractPose", "MagicDanceSmoothPose", "MagicDanceRetargetPose"} < set(made)
    assert made["MagicDanceDrawPoses"][0].shape == (24, 256, 256, 3) and points(made["MagicDanceRetargetPose"][0]).any()
