"""The face pass: faces are sampled again, enlarged to the model's size, and blended into their frames.

At 512 pixels the face of a dancer is 50 pixels wide: a few latents. The second pass starts from the first one's
pictures of it, so that it keeps what is right, and its pose maps are drawn anew, so that each landmark has its place.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import torch
from diffusers import SchedulerMixin
from PIL import Image
from torch import Tensor

from ..checkpoints import Components
from ..choices import FACE_PASS_STRENGTH
from ..errors import InputError
from ..media.square_crops import blend_square, cut_square
from ..pose.draw import draw_pose
from ..pose.face_crops import MIN_FACE, Crop, crop_keypoints, face_crop, face_tracks, same_person
from ..pose.keypoints import PoseFrame
from .denoise import ProgressCallback
from .images import to_images, to_pil
from .run import FrameChunk, Placement, prepare, stream
from .settings import MAX_STEPS, SamplingSettings

STEPS = 1 / 3
"""Part of the settings' steps that a pass with a strength of 1 takes, at least one; others take fewer in proportion.
More steps draw details that are sharper and farther from the truth (docs/benchmarks.md)."""
WEAK_GUIDANCE = 2.0
"""Guidance scale from which on the pass is guided, too; a smaller one changes little and doubles the UNet's work."""


@dataclass(frozen=True)
class Face:
    """What the pass needs of one person's face for some time.

    person: tells people apart. frames: those that show the face, in order. crops: where it is there. keypoints: of
    these frames. reference: the same crop of the reference picture. size: in pixels, of the enlarged crops.
    """

    person: tuple[int | None, int]
    frames: tuple[int, ...]
    crops: tuple[Crop, ...]
    keypoints: tuple[PoseFrame, ...]
    reference: Image.Image
    size: int

    def maps(self) -> Iterator[Tensor]:
        """Yield the pose maps of the crops, `[1, 3, size, size]`."""
        for frame, crop in zip(self.keypoints, self.crops):
            enlarged = crop_keypoints(frame, crop.box, self.size, self.size)
            yield to_images(Image.fromarray(draw_pose(enlarged)), "A pose map", 1)


@dataclass(frozen=True)
class RefinedFrames:
    """Consecutive frames, `[n, 3, H, W]` in [0, 1], and the chunk of the run that changed them, None for none."""

    frames: tuple[int, ...]
    pictures: Tensor
    chunk: FrameChunk | None = None

    def state(self) -> dict[str, Tensor]:
        """Return what resumes the pass after these frames; valid until the next ones are requested."""
        return {"done": torch.zeros(0)} if self.chunk is None else self.chunk.state()


def find_faces(
    keypoints: Sequence[PoseFrame], width: int, height: int, reference: Image.Image, person: PoseFrame, size: int
) -> list[list[Face]]:
    """Return the faces that the pass can improve in frames of `width` x `height` pixels, for each person in order.

    keypoints: of each frame. person: keypoints of the reference picture, both on canvases of any size. size: of the
    model's pictures; faces that already fill it are left as they are, as are those that are turned away or have less
    than MIN_FACE pixels.
    Raises InputError if the reference or no frame at all shows such a face.
    """
    person = person.scaled(*reference.size)
    if not any(face_crop(somebody) for somebody in person.people):
        raise InputError(
            f"The reference shows no face of at least {MIN_FACE} pixels: give a picture from the front, or leave out "
            "the face pass."
        )
    keypoints = [frame.scaled(width, height) for frame in keypoints]
    faces: dict[tuple[int | None, int], list[Face]] = {}
    for track in face_tracks(keypoints):
        kept = [row for row, crop in enumerate(track.crops) if crop.side < size]
        owner = same_person(track, keypoints[track.frames[0]], person)
        if kept and owner is not None:
            crop = face_crop(owner)
            assert crop is not None
            numbers = tuple(track.frames[row] for row in kept)
            crops = tuple(track.crops[row] for row in kept)
            close_up = cut_square(reference.convert("RGB"), crop.left, crop.top, crop.side, size)
            made = Face(track.person, numbers, crops, tuple(keypoints[n] for n in numbers), close_up, size)
            faces.setdefault(track.person, []).append(made)
    if not faces:
        raise InputError(
            f"No frame shows a face of {MIN_FACE} to {size // 2} pixels from the front: leave out the face pass."
        )
    return list(faces.values())


def face_settings(settings: SamplingSettings, strength: float = FACE_PASS_STRENGTH) -> SamplingSettings:
    """Return the settings of the pass for those, resolved, of the first one. strength: in (0, 1].

    Raises InputError for another strength.
    """
    if not 0 < strength <= 1:
        raise InputError(f"The strength of the face pass is {strength:g}: give more than 0 and at most 1.")
    taken = max(1, round(STEPS * strength * settings.steps))
    return replace(
        settings,
        num_inference_steps=min(round(taken / strength), MAX_STEPS),  # so that they start at the strength's noise
        guidance_scale=1.0 if settings.scale < WEAK_GUIDANCE else settings.scale,
        strength=strength,
    )


def refine_faces(
    model: Components,
    settings: SamplingSettings,
    frames: Iterable[Tensor],
    faces: Sequence[Face],
    *,
    generator: torch.Generator | None = None,
    prompt_embeds: Tensor | None = None,
    negative_prompt_embeds: Tensor | None = None,
    done: int = 0,
    state: dict[str, Tensor] | None = None,
    placement: Placement | None = None,
    callback: ProgressCallback | None = None,
) -> Iterator[RefinedFrames]:
    """Sample one person's face in all frames again; frames are yielded as they are ready, those without it unchanged.

    settings: of the pass, see `face_settings`; noise and windows are those of the first one. frames: `[3, H, W]` in
    [0, 1] on the CPU, all of them from 0, read when they are needed. faces: of one person, in order. done, state: how
    many frames an earlier run has yielded, and its state after them. Others: see `run.prepare` and `run.stream`.
    """
    model = replace(model, scheduler=_trailing(model.scheduler))
    given, position = enumerate(frames), 0
    restart = None if generator is None else partial(generator.set_state, generator.get_state())
    for face in faces:
        first, end = face.frames[0], face.frames[-1] + 1
        if end <= done:
            continue
        for number, frame in islice(given, first - position):
            if number >= done:
                yield RefinedFrames((number,), frame[None])
        if restart is not None:
            restart()  # the same noise whenever the face is shown
        settings, inputs = prepare(
            model, settings, face.reference, torch.empty(1, 3, face.size, face.size), len(face.frames),
            generator=generator, prompt_embeds=prompt_embeds, negative_prompt_embeds=negative_prompt_embeds,
        )  # fmt: skip
        shown = _FaceFrames(face, islice(given, end - first))
        chunks = stream(
            model, settings, inputs, face.maps(), pictures=shown, state=state if done > first else None,
            placement=placement, callback=callback,
        )  # fmt: skip
        for chunk in chunks:
            for row, square in zip(chunk.frames, to_pil(chunk.pictures)):
                shown.blend(face.frames[row], square)
            numbers = [number for number in shown.waiting if number <= face.frames[chunk.frames[-1]]]
            pictures = {number: shown.waiting.pop(number) for number in numbers}
            ready = {number: picture for number, picture in pictures.items() if number >= done}
            yield RefinedFrames(tuple(ready), torch.stack(list(ready.values())), chunk)
        position = end
    for number, frame in given:
        if number >= done:
            yield RefinedFrames((number,), frame[None])


def _trailing(scheduler: SchedulerMixin) -> SchedulerMixin:
    """Return a scheduler with "trailing" timesteps, which begin with the schedule's last one (Lin et al., arXiv
    2305.08891, section 3.3).

    Few "leading" ones, as published, start a strength of 0.5 far below the middle of the schedule, and spend the last
    step on hardly any noise.
    """
    if "timestep_spacing" not in scheduler.config:
        return scheduler
    return type(scheduler).from_config(scheduler.config, timestep_spacing="trailing")


class _FaceFrames:
    """The frames of a face while the pass goes through them; iterating yields its enlarged crops `[1, 3, size, size]`.

    waiting: frames by number, read and not yet yielded; a resumed run asks for some before it reads their crops.
    """

    def __init__(self, face: Face, frames: Iterator[tuple[int, Tensor]]):
        self.face, self.waiting = face, dict[int, Tensor]()
        self._frames, self._crops = frames, dict(zip(face.frames, face.crops))
        self._cut: deque[Tensor] = deque()

    def __iter__(self) -> Iterator[Tensor]:
        for _ in self.face.frames:
            while not self._cut:
                self._read()
            yield self._cut.popleft()

    def blend(self, number: int, square: Image.Image) -> None:
        """Put a refined crop into its frame."""
        while number not in self.waiting:
            self._read()
        picture, crop = self.waiting[number].permute(1, 2, 0).numpy(), self._crops[number]
        blended = blend_square(picture, square, crop.left, crop.top, crop.side)
        self.waiting[number] = torch.from_numpy(blended).permute(2, 0, 1)

    def _read(self) -> None:
        number, frame = next(self._frames)
        self.waiting[number] = frame
        if crop := self._crops.get(number):
            square = cut_square(to_pil(frame[None])[0], crop.left, crop.top, crop.side, self.face.size)
            self._cut.append(to_images(square, "A frame", 1))
