"""The pack in a real server: nodes and workflows, interrupts, errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
SMALL = {
    "MagicDancePuppets.frames": 2,
    "MagicDancePuppets.width": 64,
    "MagicDancePuppets.height": 64,
    "MagicDanceSample.steps": 2,
    "KSampler.steps": 2,
    "MagicDanceSampleToDisk.steps": 2,
    "LoadVideo.file": "dance.mp4",
    "ImageScaleToTotalPixels.megapixels": 0.25,
}
WITHOUT_WEIGHTS = {  # reads the pose maps that stand in for a user's files
    "MagicDanceExtractPose.detector": "drawn",
    "MagicDanceExtractPose.fps": 10.0,
    "MagicDanceDrawPoses.width": 64,
    "MagicDanceDrawPoses.height": 64,
    "MagicDanceSelectPerson.person": 0,  # drawn maps are read for one person only
}


def source(**sample) -> dict:
    """Return a prompt that samples with the embedded model and saves pictures. sample: inputs of the sampler."""
    puppets = {"identity": 1, "choreography": 2, "frames": 4, "seed": 3, "width": 64, "height": 64}
    sample = {
        "model": ["1", 0], "reference": ["2", 0], "poses": ["2", 1], "seed": 7, "steps": 2, "cfg": 0.0,
        "sampler_name": "default", "control_mode": "controlnet_important", "frames_per_batch": 4,
        "decode_chunk_size": 4, "preset": "exact",
    } | sample  # fmt: skip
    return {
        "1": {"class_type": "MagicDanceLoadBackbone", "inputs": {"ckpt_name": "embedded"}},
        "2": {"class_type": "MagicDancePuppets", "inputs": puppets},
        "3": {"class_type": "MagicDanceSample", "inputs": sample},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "frame"}},
    }


def pictures(server, outputs: dict) -> np.ndarray:
    return np.stack([np.asarray(Image.open(server.output / image["filename"])) for image in outputs["4"]["images"]])


def test_nodes_and_workflows_are_registered(server):
    definitions = server.ask("/object_info")
    ours = [name for name, info in definitions.items() if info["python_module"].endswith("ComfyUI-MagicDance-Video")]
    assert len(ours) >= 8 and all(name.startswith("MagicDance") for name in ours)
    assert "IMPORT FAILED" not in server.log.read_text()
    templates = server.ask("/api/workflow_templates")["ComfyUI-MagicDance-Video"]
    assert set(templates) == {file.stem for file in WORKFLOWS}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_every_workflow_runs(server, file):
    from magicdance_core.media import read_frames

    if "AnimateDiff" in file.stem:
        pytest.skip("motion modules go with models of full size only: test_full_size.py runs it")
    own_files = WITHOUT_WEIGHTS if '"LoadVideo"' in file.read_text() else {}
    longer = {"MagicDancePuppets.frames": 9} if "disk" in file.stem else {}  # it begins slowly
    outputs = server.run(server.prompt(json.loads(file.read_text()), SMALL | own_files | longer))
    images = (entry for output in outputs.values() for key in ("images", "video") for entry in output.get(key, []))
    (saved,) = (entry for entry in images if entry["type"] == "output")
    file = server.output / saved["subfolder"] / saved["filename"]
    frames = [np.asarray(frame, np.int16) for frame in read_frames(file)]
    assert len(frames) >= 2 and np.abs(frames[0] - frames[-1]).mean() > 0.5  # it moves
    if own_files:
        assert len(frames) == 4  # 0.4 seconds at 10 frames a second, with its sound
        if file.suffix != ".webp":
            import av

            with av.open(str(file)) as video:
                assert video.streams.audio


@pytest.mark.parametrize("file", BLUEPRINTS, ids=lambda file: file.stem)
def test_every_blueprint_runs(server, file):
    """Connect a photo and a video to its inputs, and what it gives to Save Video."""
    graph = json.loads(file.read_text())
    (subgraph,) = graph["nodes"]
    for number, slot in enumerate(subgraph["inputs"][:2], 1):
        slot["link"] = number
    graph["links"] = [[1, 11, 0, 1, 0, "IMAGE"], [2, 12, 0, 1, 1, "VIDEO"]]
    graph["nodes"] += [
        {"id": 11, "type": "LoadImage", "inputs": [], "widgets_values": ["example.png", "image"]},
        {"id": 12, "type": "LoadVideo", "inputs": [], "widgets_values": ["dance.mp4", "image"]},
    ]
    prompt = server.prompt(graph, SMALL | WITHOUT_WEIGHTS)
    definition = graph["definitions"]["subgraphs"][0]
    for slot, output in enumerate(definition["outputs"]):
        if output["name"] == "poses":
            (link,) = (link for link in definition["links"] if link["target_id"] == -20 and link["target_slot"] == slot)
            images = [f"1:{link['origin_id']}", link["origin_slot"]]
    prompt["4"] = {"class_type": "SaveImage", "inputs": {"images": images, "filename_prefix": "blueprint"}}
    for number, node in prompt.items():
        if node["class_type"] == "CreateVideo":
            prompt |= {"5": {"class_type": "PreviewAny", "inputs": {"source": [number, 0]}}}
            break
    assert pictures(server, server.run(prompt)).shape == (4, 64, 64, 3)


def test_pixels_equal_the_cores(server, pack_folder):
    import torch

    from magicdance_core.checkpoints import load_folder
    from magicdance_core.pipeline import MagicDancePipeline
    from magicdance_core.sampling import SamplingSettings

    prompt = source()
    prompt["5"] = {"class_type": "SaveImage", "inputs": {"images": ["2", 1], "filename_prefix": "pose"}}
    prompt["6"] = {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "reference"}}
    outputs = server.run(prompt)
    poses, reference = (
        torch.from_numpy(pictures(server, {"4": outputs[key]})).movedim(-1, 1).float() / 255 for key in ("5", "6")
    )
    components = load_folder(pack_folder / "magicdance_core" / "assets" / "embedded", torch.float32)
    frames = MagicDancePipeline(components)(
        reference, poses, generator=torch.Generator().manual_seed(7), output_type="np",
        settings=SamplingSettings(num_inference_steps=2, frames_per_batch=4),
    ).frames  # fmt: skip
    difference = np.abs((frames * 255).astype(np.int16) - pictures(server, outputs))
    assert difference.max() <= 1 and difference.mean() < 1e-3  # the float equality is test_in_process.py's


def test_a_photograph_for_the_embedded_model_is_logged(server, base):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(base / "input" / "photograph.png")
    prompt = source(reference=["5", 0]) | {"5": {"class_type": "LoadImage", "inputs": {"image": "photograph.png"}}}
    before = server.log.read_text().count("Photographs need the published weights")
    server.run(prompt)
    assert server.log.read_text().count("Photographs need the published weights") == before + 1


def test_interrupt_and_run_again(server):
    before = pictures(server, server.run(source(seed=11)))
    assert interrupted(server, source(seed=12, steps=900))
    prompt = source(seed=11)
    prompt["3"]["inputs"]["decode_chunk_size"] = 3  # so that nothing comes from the cache
    assert np.abs(pictures(server, server.run(prompt)).astype(int) - before).max() <= 1


def interrupted(server, prompt: dict) -> bool:
    number = server.queue_until_progress(prompt)
    server.ask("/interrupt", {})
    return server.finish(number)["status"]["messages"][-1][0] == "execution_interrupted"


def without_video(prompt: dict) -> dict:
    """Return a prompt without the nodes that make its result a video."""
    return {number: node for number, node in prompt.items() if node["class_type"] not in ("CreateVideo", "SaveVideo")}


def test_ksampler_is_interrupted_and_run_again(server):
    """The patched MODEL stays in ComfyUI's cache; a run after an interrupt equals the run before it."""
    graph = json.loads(next(file for file in WORKFLOWS if file.stem == "08 KSampler").read_text())
    prompt = server.prompt(graph, SMALL | WITHOUT_WEIGHTS)
    (decode,) = (number for number, node in prompt.items() if node["class_type"] == "VAEDecode")
    (sampler,) = (number for number, node in prompt.items() if node["class_type"] == "KSampler")
    prompt = without_video(prompt)
    prompt["save"] = {"class_type": "SaveImage", "inputs": {"images": [decode, 0], "filename_prefix": "ksampler"}}

    def changed(**inputs) -> dict:
        return prompt | {sampler: {**prompt[sampler], "inputs": prompt[sampler]["inputs"] | inputs}}

    def made(seed: int) -> np.ndarray:
        return pictures(server, {"4": server.run(changed(seed=seed))["save"]})

    before = made(1)
    assert interrupted(server, changed(seed=2, steps=900))
    assert np.abs(made(3).astype(int) - before).mean() > 0.5
    assert np.array_equal(made(1), before)


def to_disk(**changes) -> dict:
    """Return a prompt that samples to disk with the embedded model."""
    prompt = source()
    inputs = {name: prompt["3"]["inputs"][name] for name in prompt["3"]["inputs"] if name != "poses"}
    inputs |= {
        "keypoints": ["2", 2], "fps": 10.0, "filename_prefix": "disk/dance", "format": "mp4", "keep_frames": True,
        "width": 0, "height": 0,
    } | changes  # fmt: skip
    return {
        "1": prompt["1"],
        "2": {**prompt["2"], "inputs": prompt["2"]["inputs"] | {"frames": 40}},
        "3": {"class_type": "MagicDanceSampleToDisk", "inputs": inputs},
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 1]}},
        "5": {"class_type": "GetVideoComponents", "inputs": {"video": ["3", 0]}},
        "6": {"class_type": "PreviewAny", "inputs": {"source": ["5", 2]}},
    }


def test_an_interrupted_run_to_disk_continues_in_another_server(server, new_server, base):
    folder = server.output / "magicdance_frames"
    number = server.queue(to_disk())
    frames = server.wait(lambda: list(folder.rglob("*.png")), 600)
    server.ask("/interrupt", {})
    assert server.finish(number)["status"]["messages"][-1][0] == "execution_interrupted"
    before = {file.name: file.stat().st_mtime_ns for file in folder.rglob("*.png")}
    assert len(frames) <= len(before) < 40
    other = new_server(base)
    try:
        outputs = other.run(to_disk())
    finally:
        other.close()
    video = Path(outputs["4"]["text"][0])
    (shown,) = outputs["3"]["video"]
    assert video == server.output / shown["subfolder"] / shown["filename"] and shown["subfolder"] == "disk"
    assert outputs["6"]["text"][0].startswith("10")  # frames per second
    kept = {file.name: file.stat().st_mtime_ns for file in video.with_suffix("").glob("*.png")}
    assert len(kept) == 40 and before.items() <= kept.items()
    whole = Path(server.run(to_disk())["4"]["text"][0])
    assert all(
        (whole.with_suffix("") / name).read_bytes() == (video.with_suffix("") / name).read_bytes() for name in kept
    )


def test_motion_modules_and_context_windows(server):
    graph = json.loads(next(file for file in WORKFLOWS if file.stem == "11 Motion module").read_text())
    small = SMALL | WITHOUT_WEIGHTS | {"MagicDanceExtractPose.fps": 15.0, "MagicDanceContextOptions.context_overlap": 2}

    def frames(strength: float, length: int = 4, loop: bool = False) -> np.ndarray:
        changes = {"context_length": length, "closed_loop": loop}
        changes = {f"MagicDanceContextOptions.{name}": value for name, value in changes.items()}
        prompt = server.prompt(graph, small | changes | {"MagicDanceApplyMotion.strength": strength})
        (sampler,) = (number for number, node in prompt.items() if node["class_type"] == "MagicDanceSample")
        prompt = without_video(prompt)
        prompt["save"] = {"class_type": "SaveImage", "inputs": {"images": [sampler, 0], "filename_prefix": "motion"}}
        return pictures(server, {"4": server.run(prompt)["save"]}).astype(int)

    silent, moving = frames(0.0), frames(1.0)
    assert silent.shape == (6, 64, 64, 3)
    assert np.abs(frames(0.0, length=6) - silent).max() <= 1  # without motion a window is nothing but a batch
    for other in (silent, frames(1.0, length=6), frames(1.0, loop=True)):
        assert (moving != other).any()


@pytest.mark.parametrize("frames", [1, 300])
def test_videos_of_one_and_of_hundreds_of_frames(server, frames):
    prompt = source(steps=1, frames_per_batch=16, decode_chunk_size=16)
    prompt["2"]["inputs"]["frames"] = frames
    assert len(server.run(prompt)["4"]["images"]) == frames


def test_videos_are_sampled_at_the_given_frame_rate(server, base):
    from magicdance_core.media import write_animation

    prompt = source()
    prompt["2"]["inputs"] |= {"frames": 8, "width": 256, "height": 256}
    prompt["4"]["inputs"]["images"] = ["2", 1]
    maps = pictures(server, server.run({number: prompt[number] for number in ("2", "4")}))
    with write_animation(base / "input" / "maps.mp4", 15) as add:
        for picture in maps:
            add(Image.fromarray(picture))
    extract = {
        "detector": "drawn",
        "person": "continuity",
        "person_index": 0,
        "max_gap": 15,
        "fps": 30.0,
        "min_score": 0.3,
        "video": ["1", 0],
    }
    preview = {
        "keypoints": ["2", 0],
        "opacity": 1.0,
        "draw_body": True,
        "draw_hands": True,
        "draw_face": True,
        "fps": 30.0,
    }
    outputs = server.run({
        "1": {"class_type": "LoadVideo", "inputs": {"file": "maps.mp4"}},
        "2": {"class_type": "MagicDanceExtractPose", "inputs": extract},
        "3": {"class_type": "MagicDancePreviewPose", "inputs": preview | {"video": ["1", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "over"}},
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
    })  # fmt: skip
    assert pictures(server, outputs).shape == (16, 256, 256, 3)
    report = json.loads(outputs["5"]["text"][0])
    assert report["frames"] == report["frames_with_person"] == 16 and report["damaged"] == 0


def test_keypoints_work_with_comfyuis_own_nodes(server):
    definition = server.ask("/object_info").get("SDPoseDrawKeypoints")
    if definition is None:
        pytest.skip("this ComfyUI has no pose nodes of its own; newer ones have")
    widgets = definition["input"]["required"].items()
    draw = {name: options["default"] for name, (_, options) in widgets if "default" in options}
    draw |= {"keypoints": ["2", 0]}
    load = {"file": "dance.npz [example]", "width": 0, "height": 0, "min_score": 0.3}
    drawn = pictures(server, server.run({
        "2": {"class_type": "MagicDanceLoadKeypoints", "inputs": load},
        "3": {"class_type": "SDPoseDrawKeypoints", "inputs": draw},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "sdpose"}},
    }))  # fmt: skip
    assert drawn.shape == (32, 512, 512, 3) and drawn[0].any() and not drawn[22].any()  # nobody in frame 22


def test_model_folders_of_the_user_are_kept(new_server, base, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.safetensors").touch()
    paths = tmp_path / "extra_model_paths.yaml"
    paths.write_text(f"mine:\n  base_path: {tmp_path}\n  magicdance: elsewhere\n")
    running = new_server(base, "--extra-model-paths-config", str(paths))
    try:
        names = running.ask("/object_info")["MagicDanceLoadPublished"]["input"]["required"]["ckpt_name"][0]
        assert set(names) == {"mine.safetensors", "model_state-110000.th"}
        (tmp_path / "elsewhere" / "new.safetensors").touch()
        names = running.ask("/object_info")["MagicDanceLoadPublished"]["input"]["required"]["ckpt_name"][0]
        assert "new.safetensors" in names
    finally:
        running.close()


def test_a_changed_widget_reloads_nothing(server):
    server.run(source(seed=21))
    history = server.finish(server.queue(source(seed=22)))
    cached = next(data["nodes"] for kind, data in history["status"]["messages"] if kind == "execution_cached")
    assert {"1", "2"} <= set(cached)


def test_a_missing_file_is_refused(server):
    answer = server.refusal(
        source() | {"1": {"class_type": "MagicDanceLoadBackbone", "inputs": {"ckpt_name": "gone.safetensors"}}}
    )
    assert "models/checkpoints" in json.dumps(answer["node_errors"])


def test_a_missing_control_is_refused_and_the_server_continues(server):
    prompt = source()
    prompt["1"]["inputs"]["ckpt_name"] = "v1-5-pruned-emaonly-fp16.safetensors"
    history = server.finish(server.queue(prompt))
    kind, message = history["status"]["messages"][-1]
    assert (
        kind == "execution_error" and "put Apply Appearance, Apply Pose or both between" in message["exception_message"]
    )
    server.run(source(seed=31))
