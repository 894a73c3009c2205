"""Sample to Disk: the frames of Sample Video Frames, written as they are ready, and continued after an interruption."""

import importlib
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

SAMPLE = {
    "seed": 3, "steps": 2, "cfg": 2.0, "sampler_name": "default", "control_mode": "controlnet_important",
    "preset": "exact", "frames_per_batch": 2, "decode_chunk_size": 2,
}  # fmt: skip
FILE = {"fps": 12.5, "filename_prefix": "dance", "format": "mp4", "keep_frames": True, "width": 0, "height": 0}
FRAMES = 5


@pytest.fixture
def output(comfy, tmp_path, monkeypatch):
    """ComfyUI's output folder."""
    folder = tmp_path / "output"
    folder.mkdir()
    paths = sys.modules["folder_paths"]
    paths.get_output_directory = lambda: str(folder)

    def save_path(prefix, base):
        (folder / prefix).parent.mkdir(parents=True, exist_ok=True)
        return (folder / prefix).parent, (folder / prefix).name, 1 + len(list(folder.rglob("*.mp4"))), "", prefix

    paths.get_save_image_path = save_path
    api = ModuleType("comfy_api.input_impl")
    api.VideoFromFile = lambda path: SimpleNamespace(path=path)
    monkeypatch.setitem(sys.modules, "comfy_api", ModuleType("comfy_api"))
    monkeypatch.setitem(sys.modules, "comfy_api.input_impl", api)
    return folder


@pytest.fixture
def moving(held, tiny, core):
    """The tiny model with a motion module, whose frames depend on each other."""
    module = core("models").MotionModule.for_unet(tiny.unet)
    for name, weight in module.named_parameters():
        if "proj_out" in name:  # zero in a new module
            torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(7))
    hold = sys.modules[type(held).__module__.replace("link_types", "comfy.memory")].hold
    return replace(held, motion=hold(module, "motion"))


@pytest.fixture
def inputs(held, pose_maps):
    reference = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(1))
    return {"model": held, "reference": reference, "poses": pose_maps(FRAMES, 32, 32)}


@pytest.fixture
def sample(node, inputs, output):
    return lambda **changes: node("SampleToDisk").sample(**inputs | SAMPLE | FILE | changes)


@pytest.fixture
def decoded(pack, comfy, monkeypatch):
    """The numbers of the frames that were sampled; ComfyUI's interrupt comes after as many as `decoded.limit` says."""
    module = importlib.import_module(f"{pack.__name__}.nodes.comfy.progress")
    report = module.RunProgress.decoded
    numbers = Numbers()

    def interrupting(self, done, frames):
        numbers.extend(range(done, done + len(frames)))
        if numbers.limit is not None and len(numbers) >= numbers.limit:
            comfy.interrupt_after = 0
        report(self, done, frames)

    monkeypatch.setattr(module.RunProgress, "decoded", interrupting)
    return numbers


class Numbers(list):
    limit = None


def pixels(folder) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.glob("*.png"))]).astype(int)


def test_frames_are_those_of_sample_video_frames(sample, node, inputs, output):
    expected, _ = node("Sample").sample(**inputs | SAMPLE)
    made = sample()
    video, path = made["result"]
    assert path == video.path == str(output / "dance_00001_.mp4")
    assert made["ui"]["video"] == [{"filename": "dance_00001_.mp4", "subfolder": "", "type": "output"}]
    assert np.abs(pixels(output / "dance_00001_") - expected.numpy() * 255).max() <= 0.5 + 1e-3
    with av.open(path) as file:
        assert sum(1 for _ in file.decode(video=0)) == FRAMES and float(file.streams.video[0].average_rate) == 12.5
    assert not list((output / "magicdance_frames").iterdir())


def test_frames_are_removed_and_sound_is_added(sample, output):
    audio = {"waveform": torch.rand(1, 2, 16000) - 0.5, "sample_rate": 16000}
    _, path = sample(keep_frames=False, audio=audio, format="mkv", filename_prefix="mine/a")["result"]
    assert path == str(output / "mine" / "a_00001_.mkv")
    with av.open(path) as file:
        assert len(file.streams.audio) == 1 and float(file.duration / av.time_base) == pytest.approx(0.4, abs=0.1)
    assert [file.name for file in output.rglob("*") if file.is_file()] == ["a_00001_.mkv"]


@pytest.fixture
def scene(node, inputs):
    """A second person in the right half, and a background outside of the lower half, of each frame its own."""
    pictures = torch.rand(FRAMES + 1, 32, 32, 3, generator=torch.Generator().manual_seed(2)).mul(255).round().div(255)
    right, low = torch.zeros(FRAMES, 32, 32), torch.zeros(FRAMES, 32, 32)
    right[2:, :, 16:] = 1  # who is not there from the start
    low[:, 16:] = 1
    (regions,) = node("AddRegion").add(pictures[:1], right)
    return {"regions": regions, "background": pictures[1:], "background_mask": low}


def test_regions_and_background_are_those_of_sample_video_frames(sample, node, inputs, scene, output):
    expected, _ = node("Sample").sample(**inputs | SAMPLE | scene)
    sample(**scene)
    made = pixels(output / "dance_00001_")
    assert np.abs(made - expected.numpy() * 255).max() <= 0.5 + 1e-3
    assert np.array_equal(made[:, :16], (scene["background"] * 255).round().int().numpy()[:, :16])
    plain = node("Sample").sample(**inputs | SAMPLE | scene | {"regions": ()})[0]
    assert (plain - expected)[2:, 16:].abs().max() > 1e-4 and torch.allclose(plain[:2], expected[:2], atol=1e-5)


def test_a_lost_frame_of_a_scene_is_made_again(sample, scene, comfy, output, decoded):
    sample(**scene)
    whole = pixels(output / "dance_00001_")
    decoded.clear()
    decoded.limit = 4
    with pytest.raises(Exception) as error:
        sample(**scene)
    assert type(error.value).__name__ == "Interrupt"
    (folder,) = (output / "magicdance_frames").iterdir()
    (folder / "00000.png").unlink()
    decoded.limit = comfy.interrupt_after = None
    decoded.clear()
    sample(**scene)
    assert sorted(decoded) == [0, 1, 4]  # whole batches, of which one ends before the second person comes
    assert np.array_equal(pixels(output / "dance_00002_"), whole)


@pytest.mark.parametrize("role", ["appearance", "pose"])
def test_either_control_works_alone(sample, node, held, inputs, output, comfy, role):
    changes = {"model": replace(held, **{role: None})} | ({"reference": None} if role == "appearance" else {})
    if role == "pose":
        changes["poses"] = torch.full((FRAMES, 32, 32, 3), 0.5)  # no pose maps, which only give number and size
    expected, _ = node("Sample").sample(**inputs | SAMPLE | changes)
    sample(**changes)
    assert np.abs(pixels(output / "dance_00001_") - expected.numpy() * 255).max() <= 0.5 + 1e-3
    remarks = [sentence for _, shown in comfy.events for sentence in shown["sentences"]]
    assert any("only give number and size of the frames" in sentence for sentence in remarks) == (role == "pose")


@pytest.mark.parametrize("name", ["held", "moving"])
def test_an_interrupted_run_continues(sample, node, comfy, output, decoded, request, name):
    model = {"model": request.getfixturevalue(name)}
    if name == "moving":
        options = {
            key: value["default"] for key, (_, value) in node("ContextOptions").INPUT_TYPES()["required"].items()
        }
        (context,) = node("ContextOptions").make(**options | {"context_length": 2, "context_overlap": 1})
        model["context_options"] = context
    sample(**model)
    whole = pixels(output / "dance_00001_")
    assert sorted(decoded) == list(range(FRAMES))
    decoded.clear()
    decoded.limit = 2
    with pytest.raises(Exception) as error:
        sample(**model)
    assert type(error.value).__name__ == "Interrupt"
    (folder,) = (output / "magicdance_frames").iterdir()
    stamps = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.png")}
    assert len(stamps) == len(decoded) < FRAMES and not (folder / ".lock").exists()
    sentence = f"Queue the same workflow again to continue: {len(decoded)} of 5 frames are in {folder}."
    assert comfy.events[-1][1]["sentences"] == [sentence]
    decoded.limit = comfy.interrupt_after = None
    _, path = sample(**model)["result"]
    kept = output / "dance_00002_"
    assert path == f"{kept}.mp4" and np.array_equal(pixels(kept), whole)
    assert sorted(decoded) == list(range(FRAMES))  # each one once
    assert {name: (kept / name).stat().st_mtime_ns for name in stamps} == stamps


def test_whatever_decides_the_frames_gives_another_folder(sample, inputs, scene, comfy, output, decoded):
    background = {name: scene[name] for name in ("background", "background_mask")}

    def interrupted(**changes) -> set[str]:
        decoded.clear()
        decoded.limit, comfy.interrupt_after = 2, None
        with pytest.raises(Exception) as error:
            sample(**changes)
        assert type(error.value).__name__ == "Interrupt"
        return {file.parent.name for file in output.rglob("settings.json")}

    first = interrupted()
    for number, changes in enumerate(
        (
            {"seed": 4},
            {"cfg": 3.0},
            {"poses": inputs["poses"].roll(1, 0)},
            {"reference": inputs["reference"] / 2},
            {"positive": [[torch.ones(1, 5, 12), {}]]},
            {"regions": scene["regions"]},
            {"regions": scene["regions"] * 2},
            background,
            background | {"background": scene["background"] / 2},
            background | {"background_mask": scene["background_mask"] / 2},
        ),
        2,
    ):
        assert len(interrupted(**changes)) == number
    decoded.clear()
    decoded.limit = comfy.interrupt_after = None
    sample(fps=9.0, filename_prefix="other", decode_chunk_size=1, keep_frames=False)
    assert sorted(decoded) == [2, 3, 4]  # it continued
    assert not first & {file.parent.name for file in output.rglob("settings.json")}
    inputs["model"].unet.model.state_dict()["inner.conv_in.weight"].add_(0.5)
    assert len(interrupted()) == number


def test_keypoints_are_drawn_when_they_are_needed(sample, core, output):
    puppets, pose = core("puppets"), core("pose")
    person, moves = puppets.Identity.from_seed(1, "test"), puppets.Choreography.from_seed(1, "test")
    frames = [puppets.puppet_keypoints(person, moves.pose(k), 96) for k in range(3)]
    sample(poses=None, keypoints=pose.frames_to_pose_keypoint(frames), width=48)
    assert pixels(output / "dance_00001_").shape == (3, 48, 48, 3)


def test_wrong_inputs_are_refused_before_sampling(sample, inputs, output):
    with pytest.raises(ValueError, match="Connect one of `keypoints` and `poses`"):
        sample(poses=None)
    with pytest.raises(ValueError, match="leads out of ComfyUI's output folder"):
        sample(filename_prefix="../out")
    with pytest.raises(ValueError, match="`format` is 'exe'"):
        sample(format="exe")
    with pytest.raises(ValueError, match="`background_mask` is not connected"):
        sample(background=inputs["reference"])
    with pytest.raises(ValueError, match="`reference` is not connected"):
        sample(reference=None)
    with pytest.raises(ValueError, match="The background's mask has 3 pictures for 5 frames"):
        sample(background=inputs["reference"], background_mask=torch.ones(3, 32, 32))
    with pytest.raises(ValueError, match="`audio` is not an AUDIO"):
        sample(audio=torch.zeros(3))
    with pytest.raises(ValueError, match="Put Extract Pose and Draw Poses before `poses`"):
        sample(poses=torch.rand(2, 32, 32, 3))
    assert not list(output.iterdir())
