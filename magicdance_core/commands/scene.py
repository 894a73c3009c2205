"""Several people, and other backgrounds than the reference's, for `animate --video`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile, tee
from pathlib import Path
from typing import TYPE_CHECKING

from ..choices import MASK_SOURCES
from ..errors import InputError
from ..files import existing
from .common import file_path

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..media.clean_plate import CleanPlate
    from ..media.fit import Box
    from ..pipeline import MagicDancePipeline
    from ..pose.keypoints import PoseFrame
    from ..pose.segmentation import PersonSegmenter
    from ..sampling import Background, Region

REFERENCE, VIDEO = "reference", "video"
PLATE_MARGINS = {"keypoints": 0.6, "segmentation": 0.25}  # around the people of the video, in half shoulders
"""Their shadows' beginning, too; an outline needs less than a guess of clothes."""
MOST_GUESSED = 0.05  # share of the plate from which a guess is worth a sentence


@dataclass(frozen=True)
class Cast:
    """Who dances: the motions of people in one video, each with a reference of their own.

    frames: everybody's keypoints on the video's canvas. people: keypoints of each reference, in the order of people in
    `frames`. everyone: who is in the video, as detected.
    """

    frames: list[PoseFrame]
    people: list[PoseFrame]
    everyone: list[PoseFrame]


def add_scene_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of a scene."""
    group.add_argument(
        "--background", default=REFERENCE, metavar="reference|video|FILE",
        help="where the people dance: in the first reference's place (default), in the video's, whose people are "
        "replaced, or in a picture or another video",
    )  # fmt: skip
    group.add_argument(
        "--person-masks", choices=MASK_SOURCES, default=MASK_SOURCES[0],
        help="what tells people from their background in the video and the references: keypoints with limbs of usual "
        "thickness (default), or MediaPipe's segmentation network too, which sees clothes and hair (its wheel in "
        "--models)",
    )  # fmt: skip


def is_scene(options: argparse.Namespace) -> bool:
    """Return whether people keep their places in the video."""
    return options.video is not None and (options.person == "all" or options.background != REFERENCE)


def check_scene_options(options: argparse.Namespace) -> None:
    """Raise InputError for options that cannot be used together, before anything is read."""
    if options.video is None:
        if options.background != REFERENCE:
            raise InputError("--background needs a driving video: give --video, or leave it out.")
    if options.person_masks != MASK_SOURCES[0]:
        from ..pose.detectors.mediapipe_files import SEGMENTATION, read_network

        if not is_scene(options):
            raise InputError(
                "--person-masks cuts people out of a video and of references: give --person all or --background, too."
            )
        read_network(options.models, SEGMENTATION)  # refused before anything is computed
    if options.video is None:
        return
    if options.background not in (REFERENCE, VIDEO):
        existing(file_path(options.background))
    if options.background == VIDEO and options.match_beat is not None:
        raise InputError("--match-beat moves the motion in time, away from the video: choose another --background.")


def assign(everyone: Sequence[PoseFrame], references: int) -> tuple[list[int], list[str]]:
    """Return the numbers of the people who get the references, in their order, and sentences on who is left out.

    everyone: tracked frames. Raises InputError for more references than people.
    """
    from ..pose.keypoints import people_apart
    from ..pose.tracking import person_size

    sizes = {
        number: sum(person_size(person) for frame in frames for person in frame.people)
        for number, frames in people_apart(everyone).items()
    }
    if not sizes:
        raise InputError("The video shows nobody: choose another part of it with --start and --end.")
    if references > len(sizes):
        raise InputError(
            f"There are {references} references and {len(sizes)} people in the video: give one reference for each "
            "person at most."
        )
    largest = sorted(sorted(sizes, key=lambda number: -sizes[number])[:references])
    left_out = [str(number) for number in sorted(sizes) if number not in largest]
    if not left_out:
        return largest, []
    verb = "is" if len(left_out) == 1 else "are"
    return largest, [
        f"Of {len(sizes)} people, {references} have a reference; number {' and '.join(left_out)}, counted from 0 from "
        f"the left, {verb} left out: give --reference once for each person."
    ]


def cast_people(everyone: Sequence[PoseFrame], chosen: Sequence[int], people: Sequence[PoseFrame]) -> list[PoseFrame]:
    """Return the chosen people, each with the proportions of their reference, in their places in the video.

    people: keypoints of each reference. In the result they are numbered as these are.
    """
    from dataclasses import replace

    from ..pose.keypoints import people_apart
    from ..pose.retarget import retarget

    apart = people_apart(everyone)
    rows = [retarget(apart[number], person, position="in place") for number, person in zip(chosen, people)]
    return [
        replace(
            together[0],
            people=tuple(
                replace(person, identity=number) for number, frame in enumerate(together) for person in frame.people
            ),
        )
        for together in zip(*rows)
    ]


class Scene:
    """The regions and the background of a run.

    references: fitted pictures of each person. width, height, around: of the frames, and what the maps are fitted
    around. pictures: makes an iterator of the video's frames. total: number of frames.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        pipe: MagicDancePipeline,
        cast: Cast,
        references: Sequence[Image.Image],
        size: tuple[int, int],
        around: Box | None,
        pictures: Callable[[], Iterator[np.ndarray]],
        fps: float,
        total: int,
    ):
        self._options, self._pictures, self._fps, self._total = options, pictures, fps, total
        self._size, self._around = size, around
        self._segmenter: PersonSegmenter | None = None
        if options.person_masks != MASK_SOURCES[0]:
            from ..pose.segmentation import PersonSegmenter

            self._segmenter = PersonSegmenter.from_folder(options.models)
        self.frames = self._cropped(cast.frames)
        self._everyone = self._cropped(cast.everyone)
        self._plate: CleanPlate | None = None
        self.findings: list[str] = []
        self._load_background()
        self.regions = self._regions(pipe, cast, references)

    def background(self) -> Background | None:
        """Return the background of a run from frame 0; one for each run."""
        import torch

        from ..pose.person_masks import person_masks
        from ..sampling import Background

        if self._options.background == REFERENCE:
            return None

        def mask(number: int) -> torch.Tensor:
            masks = person_masks(self.frames[number], hide=False)
            return torch.from_numpy(masks.max(axis=0, initial=0.0))

        return Background(self._places(), mask)

    def _cropped(self, frames: Sequence[PoseFrame]) -> list[PoseFrame]:
        from ..media.fit import crop_box
        from ..pose.face_crops import crop_keypoints

        box = crop_box((frames[0].width, frames[0].height), self._size, self._around)
        return [crop_keypoints(frame, box, *self._size) for frame in frames[: self._total]]

    def _regions(self, pipe: MagicDancePipeline, cast: Cast, references: Sequence[Image.Image]) -> list[Region]:
        import numpy as np
        import torch
        from PIL import Image

        from ..pose.person_masks import REFERENCE_MARGIN, region_masks
        from ..sampling import Region

        small = [side // pipe.factor for side in self._size[::-1]]
        masks = []
        for frame in self.frames:
            made = np.zeros((len(references), frame.height, frame.width), np.float32)
            made[[person.identity or 0 for person in frame.people]] = region_masks(frame)
            masks.append(torch.nn.functional.interpolate(torch.from_numpy(made)[None], small, mode="area"))
        where = torch.cat(masks)
        regions = [] if self._plate is None else [Region(Image.fromarray(self._plate.picture))]
        for number, (reference, person) in enumerate(zip(references, cast.people)):
            if number == 0 and not regions:
                # With its background, for the rest.
                regions.append(Region(pipe.encode_reference(reference), poses=self._alone(number)))
                continue
            if not where[:, number].any():
                continue
            shown = self._masks(reference, person.scaled(*reference.size), REFERENCE_MARGIN)
            shown = None if not shown.any() else torch.from_numpy(shown)
            alone = self._alone(number) if self._plate is None else None
            regions.append(Region(pipe.encode_reference(reference), where[:, number], shown, alone))
        return regions

    def _alone(self, number: int) -> Callable[[int], Image.Image]:
        """Return what draws the pose map of one person in a frame."""
        from dataclasses import replace

        from PIL import Image

        from ..pose.draw import draw_pose

        def draw(frame: int) -> Image.Image:
            everybody = self.frames[frame]
            people = tuple(person for person in everybody.people if (person.identity or 0) == number)
            return Image.fromarray(draw_pose(replace(everybody, people=people)))

        return draw

    def _load_background(self) -> None:
        """Look through the background once: what is behind the people, or a single picture of another place."""
        import numpy as np

        from ..media.clean_plate import CleanPlate, clean_plate

        if self._options.background != REFERENCE:
            damaged = sum(1 for _ in takewhile(lambda picture: picture is None, self._background_pictures()))
            if damaged:
                named = "picture of the background is" if damaged == 1 else f"{damaged} pictures of the background are"
                self.findings.append(f"The first {named} damaged: the first that can be read is shown in place.")
        if self._options.background == VIDEO:
            pictures, again = tee(map(np.asarray, self._fitted()))
            hidden = (self._hidden(number, picture) for number, picture in enumerate(again))
            self._plate = clean_plate(pictures, hidden, self._total)
            if self._plate.unknown > MOST_GUESSED:
                self.findings.append(
                    f"{self._plate.unknown:.0%} of what the people of the video cover is never seen, so it is guessed: "
                    "look at it where the new person is smaller."
                )
            if self._plate.moves:
                self.findings.append(
                    "The camera moves, so what is behind the people is taken from other places: use a video from a "
                    "tripod, or another --background."
                )
        elif self._options.background != REFERENCE:
            first = next(self._places(), None)
            if first is None:
                raise InputError(f"{self._options.background} has no picture that can be read: give another one.")
            self._plate = CleanPlate(np.asarray(first), 0.0, False)

    def _places(self) -> Iterator[Image.Image]:
        """Yield the background's pictures in the frames' size."""
        import numpy as np
        from PIL import Image

        if self._options.background != VIDEO:
            yield from self._fitted()
            return
        assert self._plate is not None
        for number, picture in enumerate(self._fitted()):
            frame = np.asarray(picture)
            yield Image.fromarray(self._plate.fill(frame, self._hidden(number, frame)))

    def _background_pictures(self) -> Iterator[np.ndarray | None]:
        """Yield the pictures of the background's video or file; None where one is damaged."""
        from ..media.resampling import ResampledFrames

        if self._options.background == VIDEO:
            return islice(self._pictures(), self._total)
        return islice(ResampledFrames(Path(self._options.background), self._fps), self._total)

    def _hidden(self, number: int, picture: np.ndarray) -> np.ndarray:
        """Return where people of the video are in a frame, with a margin."""
        return self._masks(picture, self._everyone[number], PLATE_MARGINS[self._options.person_masks])

    def _masks(self, picture: np.ndarray | Image.Image, frame: PoseFrame, margin: float) -> np.ndarray:
        """Return where anybody is in a picture, float32 [H, W] in [0, 1]."""
        import numpy as np

        from ..pose.person_masks import person_masks

        if self._segmenter is not None:
            masks = self._segmenter.masks(np.asarray(picture), frame, margin, hide=False)
        else:
            masks = person_masks(frame, margin, hide=False)
        return masks.max(axis=0, initial=0.0)

    def _fitted(self) -> Iterator[Image.Image]:
        """Yield the pictures of the background in the frames' size; where one is damaged, another: `hold_damaged`."""
        from PIL import Image

        from ..media import fit
        from ..media.resampling import hold_damaged

        around = self._around if self._options.background == VIDEO else None
        for picture in hold_damaged(self._background_pictures()):
            yield fit(Image.fromarray(picture), *self._size, around)
