"""Node that samples a video of any length to disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .comfy import fingerprints, memory, messages, progress, user_files
from .link_types import MODEL_TYPE
from .pose_map_checks import check_pose_maps, size_remarks
from .sampling_inputs import context_remarks, control_remarks, sampling_sockets, sampling_widgets, to_run
from .scene import SceneInputs, scene_sockets
from .socket_values import stretch, to_pictures, to_sound
from .widgets import choice, integer, number, socket, toggle

if TYPE_CHECKING:
    from torch import Tensor

    from ..magicdance_core.pose.keypoints import PoseFrame

FORMATS = ("mp4", "mov", "mkv")
WORK_FOLDER = "magicdance_frames"  # in ComfyUI's output folder: frames of runs that are not finished
NEUTRAL_SETTINGS = ("batched_guidance", "frames_per_batch", "decode_chunk_size")  # they change no frame
CHECKED = 64  # frames whose pose maps are checked before sampling


class MagicDanceSampleToDisk:
    """Sample a video of any length to disk."""

    SEARCH_ALIASES = [
        "magicdance",
        "magicpose",
        "long video",
        "save frames",
        "resume",
        "sampler",
        "animate",
        "photo to video",
        "dance",
    ]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Generates frames as Sample Video Frames does and writes each one to ComfyUI's output folder as soon as it is "
        "ready, so that the length of a video is not limited by memory. After an interruption or a crash, the same "
        "workflow continues where it stopped. The frames become a video, with sound if `audio` is connected."
    )
    RETURN_TYPES = ("VIDEO", "STRING")
    RETURN_NAMES = ("video", "path")
    OUTPUT_TOOLTIPS = ("The finished video, for Save Video or Get Video Components.", "Where the video is.")
    FUNCTION = "sample"
    OUTPUT_NODE = True

    def __init__(self) -> None:
        self._remarks = messages.Remarks(type(self).__name__)

    @classmethod
    def INPUT_TYPES(cls):
        size = (
            "{} of pose maps of `keypoints`, in pixels. 0: the canvas's aspect ratio, as many pixels as suit the model."
        )
        return {
            "required": {
                "model": socket(MODEL_TYPE, "A model with an Appearance Control Model, a Pose ControlNet, or both."),
                **sampling_widgets(),
                "fps": number(30.0, 1.0, 240.0, "Frames per second of the video. Connect Extract Pose's.", 1.0),
                "filename_prefix": (
                    "STRING",
                    {"default": "video/MagicDance", "tooltip": "Folder and first part of the file name."},
                ),
                "format": choice(FORMATS, "Container of the video, which is H.264; the sound is AAC."),
                "keep_frames": toggle(False, "Keep the frames as numbered PNG files beside the video.", advanced=True),
                "width": integer(0, 0, 8192, size.format("Width"), step=8, advanced=True),
                "height": integer(0, 0, 8192, size.format("Height"), step=8, advanced=True),
            },
            "optional": {
                "reference": socket("IMAGE", "A picture of the person; several pictures in a batch add up."),
                "keypoints": socket(
                    "POSE_KEYPOINT", "The motion; its pose maps are drawn when they are needed, which saves memory."
                ),
                "poses": socket("IMAGE", "Pose maps, in place of `keypoints`.", display_name="pose maps"),
                "audio": socket("AUDIO", "The sound of the video, from Extract Pose; cut to its length."),
                **sampling_sockets(),
                **scene_sockets(),
            },
        }

    def sample(
        self,
        model,
        seed,
        fps,
        filename_prefix,
        format,
        keep_frames,
        width,
        height,
        reference=None,
        keypoints=None,
        poses=None,
        audio=None,
        reference_mask=None,
        regions=(),
        background=None,
        background_mask=None,
        **shared,
    ):
        from comfy_api.input_impl import VideoFromFile

        from ..magicdance_core.models import vae_scale_factor
        from ..magicdance_core.puppets.domain_check import domain_warnings

        path = user_files.output_path(filename_prefix, f".{format}")  # refused before anything is computed
        sound = None if audio is None else to_sound(audio, "audio")
        sentences = control_remarks(model, reference is not None or bool(regions))
        components, settings, prompts = to_run(model, seed=seed, **shared)
        side, factor = model.defaults["sample_size"], vae_scale_factor(components.vae)
        maps = _PoseMaps(keypoints, poses, (width, height), side, factor)
        scene = SceneInputs(
            reference, reference_mask, regions, background, background_mask, (maps.height, maps.width), factor
        )  # fmt: skip
        if model.pose is not None:
            some = maps.some()
            check_pose_maps(some, maps.name)
            sentences += size_remarks(some, side)
            if model.puppets_only and scene.reference is not None:
                sentences += domain_warnings(scene.reference, some)
        self._remarks.show(sentences + context_remarks(model, settings))
        run = _Run(model, components, settings, prompts, scene, maps, seed)
        try:
            run.fill(self._remarks)
        except BaseException:
            if made := run.total - len(run.folder.missing(run.total)):
                self._remarks.add(
                    f"Queue the same workflow again to continue: {made} of {run.total} frames are in {run.folder.path}."
                )
            raise
        run.write_video(path, fps, sound, keep_frames)
        shown = {"filename": path.name, "subfolder": user_files.output_subfolder(path), "type": "output"}
        # Not as "images": the frontend would take the previews of the run, which stay on the node, for parts of them.
        return {"ui": {"video": [shown]}, "result": (VideoFromFile(str(path)), str(path))}


class _PoseMaps:
    """The pose maps of a run in their final size, made when they are read.

    size: of maps drawn of keypoints; 0 for what follows from the canvas and a model of `side` x `side` pixels.
    Raises InputError unless just one of keypoints and pictures is given, and for nobody.
    """

    def __init__(self, keypoints, pictures: Tensor | None, size: tuple[int, int], side: int, factor: int):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import frames_from_pose_keypoint

        if (keypoints is None) == (pictures is None):
            raise InputError("Connect one of `keypoints` and `poses` to Sample to Disk.")
        self.name = "poses" if keypoints is None else "keypoints"
        self._pictures = pictures
        self._frames: list[PoseFrame] = [] if keypoints is None else frames_from_pose_keypoint(keypoints)
        if pictures is not None:
            height, width = to_pictures(pictures[:1], "poses").shape[2:]
            self.count = len(pictures)
        else:
            width, height = _size_of(self._frames, size, side, factor)
            self.count = len(self._frames)
        self.width, self.height = (max(factor, round(length / factor) * factor) for length in (width, height))

    def __iter__(self) -> Iterator[Tensor]:
        """Yield `[1, 3, H, W]` in [0, 1] for each frame."""
        return map(self.at, range(self.count))

    def at(self, number: int) -> Tensor:
        """Return the map of a frame, `[1, 3, H, W]` in [0, 1]."""
        import torch

        from ..magicdance_core.pose import draw_pose

        if self._pictures is not None:
            return stretch(to_pictures(self._pictures[number : number + 1], "poses"), self.width, self.height)
        drawn = draw_pose(self._frames[number], self.width, self.height)
        return torch.from_numpy(drawn).movedim(-1, 0)[None].float() / 255

    def some(self) -> Tensor:
        """Return at most `CHECKED` maps `[n, 3, H, W]`, spread over the frames; of keypoints, with somebody in them."""
        import torch

        numbers = [index for index, frame in enumerate(self._frames) if frame.people] or range(self.count)
        return torch.cat([self.at(number) for number in numbers[:: -(-len(numbers) // CHECKED)]])

    def digest(self) -> str:
        return fingerprints.of_tensors(self)


def _size_of(frames: list[PoseFrame], size: tuple[int, int], side: int, factor: int) -> tuple[int, int]:
    """Return width and height of the maps of keypoints."""
    from ..magicdance_core.errors import InputError
    from ..magicdance_core.media import size_of_area

    canvases = {(frame.width, frame.height) for frame in frames}
    if len(canvases) != 1:
        raise InputError(f"`keypoints` has {len(canvases)} sizes of canvases: connect frames of one size.")
    canvas = canvases.pop()
    width, height = size
    if width and height:
        return width, height
    if width or height:
        scale = width / canvas[0] or height / canvas[1]
        return round(canvas[0] * scale), round(canvas[1] * scale)
    return size_of_area(*canvas, side, factor)


class _Run:
    """One run to disk. Its frames are in `folder`, whose name follows from all that decides them."""

    def __init__(self, model, components, settings, prompts, scene: SceneInputs, maps: _PoseMaps, seed: int):
        from ..magicdance_core.sampling.frame_folder import FrameFolder

        self._model, self._components, self._settings = model, components, settings
        self._prompts, self._scene, self._maps, self._seed = prompts, scene, maps, seed
        self.total = maps.count
        described = self._describe()
        name = fingerprints.of_settings(described)
        self.folder = FrameFolder(user_files.output_folder(WORK_FOLDER) / name, described, "wait until it ends")

    def fill(self, remarks: messages.Remarks) -> None:
        """Sample the frames that the folder lacks, with progress and previews."""
        forecast, made = progress.Forecast(self.total, (self._maps.width, self._maps.height)), 0

        def written(number: int) -> None:
            nonlocal made
            made += number

        def stream(bar: progress.RunProgress, end: int, **position):
            import torch

            from ..magicdance_core.sampling import prepare, stream

            def denoised(step) -> None:
                fraction = step.fraction * end / self.total
                bar.denoised(fraction, step.numbers, step.denoised)
                if sentence := forecast.after(fraction):
                    remarks.add(sentence)

            settings, inputs = prepare(
                self._components,
                self._settings,
                self._scene.people(self._maps.at),
                self._maps.at(0),
                self.total,
                generator=torch.Generator().manual_seed(self._seed),
                background=self._scene.background(),
                **self._prompts,
            )
            chunks = stream(
                self._components,
                settings,
                inputs,
                self._maps,
                end=end,
                placement=memory.placement(self._model),
                callback=denoised,
                **position,
            )
            for chunk in chunks:
                yield chunk
                bar.decoded(chunk.frames[0], chunk.pictures)

        resolved = self._settings.resolve(
            self._components.defaults, self._components.scheduler.config.num_train_timesteps - 1
        )
        with (
            progress.interruptible(*self._components.networks().values()),
            progress.RunProgress(self._model, self.total, resolved.steps, streamed=True) as bar,
            self.folder as folder,
        ):
            folder.fill(self._components, resolved, self.total, partial(stream, bar), written)

    def write_video(self, path: Path, fps: float, sound, keep_frames: bool) -> None:
        """Write the frames as a video, and remove them or put them beside it."""
        from ..magicdance_core.media import read_frames, write_animation
        from ..magicdance_core.media.audio import add_samples
        from ..magicdance_core.sampling.frame_folder import STATE

        silent = path if sound is None else self.folder.path / "silent.mp4"
        with write_animation(silent, fps) as add:
            for picture in progress.counted(read_frames(self.folder.path), self.total):
                add(picture)
        if sound is not None:
            add_samples(path, silent, *sound)
            silent.unlink()
        (self.folder.path / STATE).unlink(missing_ok=True)
        if keep_frames:
            self.folder.path.rename(path.with_suffix(""))
        else:
            shutil.rmtree(self.folder.path)

    def _describe(self) -> dict:
        """Return what decides the frames, as JSON can hold it."""
        from ..magicdance_core.schema import plain

        settings = self._settings
        return {
            "model": fingerprints.of_model(self._model),
            "prompts": fingerprints.of_tensors([self._components.context, *self._prompts.values()]),
            **self._scene.describe(),
            "poses": self._maps.digest(),
            "frames": self.total,
            "width": self._maps.width,
            "height": self._maps.height,
            "seed": self._seed,
            "scheduler": type(self._components.scheduler).__name__,
            "scheduler_config": {name: str(value) for name, value in self._components.scheduler.config.items()},
            **{f.name: plain(getattr(settings, f.name)) for f in fields(settings) if f.name not in NEUTRAL_SETTINGS},
        }
