"""Nodes for several people in one picture, and for other backgrounds than the reference's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..magicdance_core.choices import MASK_SOURCES
from .comfy import fingerprints, folders, memory, progress
from .link_types import REGIONS_TYPE, RegionInput
from .socket_values import stretch, to_arrays, to_image, to_mask, to_pictures
from .widgets import Input, choice, integer, number, socket

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..magicdance_core.pose.keypoints import PoseFrame
    from ..magicdance_core.sampling import Background, Region

KEYPOINTS_TOOLTIP = "The people of each frame, from Extract Pose with person = all."


class MagicDanceSelectPerson:
    """Take one person out of keypoints."""

    SEARCH_ALIASES = ["magicdance", "select person", "choose person", "track", "several people"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = "Takes one person out of the keypoints of several, for Retarget Pose, Draw Poses or Person Mask."
    RETURN_TYPES = ("POSE_KEYPOINT",)
    RETURN_NAMES = ("keypoints",)
    OUTPUT_TOOLTIPS = ("This person alone; frames without the person are empty.",)
    FUNCTION = "select"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", KEYPOINTS_TOOLTIP),
                "person": integer(0, 0, 999, "Number of the person: from 0, from left to right at first sight."),
            }
        }

    def select(self, keypoints, person):
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint

        return (frames_to_pose_keypoint(_only(frames_from_pose_keypoint(keypoints), person)),)


class MagicDanceCombinePeople:
    """Put people into one picture."""

    SEARCH_ALIASES = ["magicdance", "combine people", "merge keypoints", "two people", "group"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = "Joins the keypoints of several people frame by frame, so that Draw Poses draws them into one map."
    RETURN_TYPES = ("POSE_KEYPOINT",)
    RETURN_NAMES = ("keypoints",)
    OUTPUT_TOOLTIPS = ("Everybody, numbered as they are connected. A shorter motion ends earlier.",)
    FUNCTION = "combine"

    @classmethod
    def INPUT_TYPES(cls):
        required = {f"keypoints_{k}": socket("POSE_KEYPOINT", "Keypoints of one person.") for k in (1, 2)}
        optional = {f"keypoints_{k}": socket("POSE_KEYPOINT", "Keypoints of one more person.") for k in (3, 4)}
        return {"required": required, "optional": optional}

    def combine(self, keypoints_1, keypoints_2, keypoints_3=None, keypoints_4=None):
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.keypoints import combine_people

        given = [value for value in (keypoints_1, keypoints_2, keypoints_3, keypoints_4) if value is not None]
        return (frames_to_pose_keypoint(combine_people([frames_from_pose_keypoint(value) for value in given])),)


class MagicDancePersonMask:
    """Make masks of people from their keypoints."""

    SEARCH_ALIASES = ["magicdance", "person mask", "segment person", "mask from pose", "character replacement"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Makes a mask of the people in each frame from their keypoints: limbs of usual thickness, head with hair, "
        "hands, feet. With source = segmentation, MediaPipe's network sees clothes and hair in `images`, and keypoints "
        "tell people apart. The masks of any other node serve as well."
    )
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("mask",)
    OUTPUT_TOOLTIPS = ("One mask for each frame, for Add Region, Clean Plate and Sample Video Frames.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        unit = "In units of half the shoulders' width."
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", KEYPOINTS_TOOLTIP),
                "person": integer(-1, -1, 999, "Number of the person. -1: everybody."),
                "margin": number(
                    0.35, 0.0, 4.0, f"Grows the mask. 0.8 for Add Region, 0.1 for its reference, 0.6 to remove. {unit}"
                ),
                "softness": number(0.15, 0.0, 2.0, f"Blurs its border. {unit}"),
                "source": choice(
                    MASK_SOURCES,
                    "keypoints: limbs of usual thickness, without a network. segmentation: needs `images` and the "
                    "wheel of mediapipe 0.10.21, as the detector mediapipe; a margin of 0.1 is enough.",
                ),
            },
            "optional": {
                "images": socket("IMAGE", "With source = segmentation: the frames that the keypoints were found in.")
            },
        }

    def make(self, keypoints, person, margin, softness, source, images=None):
        import numpy as np
        import torch

        from ..magicdance_core.pose import frames_from_pose_keypoint
        from ..magicdance_core.pose.person_masks import person_masks

        frames = frames_from_pose_keypoint(keypoints)
        if person >= 0:
            _only(frames, person)  # refused before anything is computed
        rows: Iterator[np.ndarray]
        if source == MASK_SOURCES[0]:
            rows = (person_masks(frame, margin, softness, hide=False) for frame in frames)
        else:
            rows = _segmented(frames, images, margin, softness)
        masks = []
        for row, frame in zip(rows, frames):
            numbers = [k if one.identity is None else one.identity for k, one in enumerate(frame.people)]
            chosen = [number for number, name in enumerate(numbers) if person in (-1, name)]
            masks.append(row[chosen].max(axis=0, initial=0.0))
        return (memory.output(torch.from_numpy(np.stack(masks))),)


class MagicDanceAddRegion:
    """Let a reference act in a part of the frames."""

    SEARCH_ALIASES = ["magicdance", "region", "two people", "several references", "regional"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Gives a part of the frames a reference of its own, for Sample Video Frames. The reference that is connected "
        "there acts in the rest. Chain this node for more people."
    )
    RETURN_TYPES = (REGIONS_TYPE,)
    RETURN_NAMES = ("regions",)
    OUTPUT_TOOLTIPS = ("For Sample Video Frames, or another Add Region.",)
    FUNCTION = "add"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "reference": socket("IMAGE", "A picture of the person of this region."),
                "mask": socket("MASK", "Where the reference acts: one mask, or one for each frame."),
            },
            "optional": {
                "reference_mask": socket(
                    "MASK", "The person in the reference. With it, the reference's background has no effect."
                ),
                "regions": socket(REGIONS_TYPE, "Other regions, from Add Region."),
            },
        }

    def add(self, reference, mask, reference_mask=None, regions=None):
        region = RegionInput(reference, to_mask(mask, "mask"), to_mask(reference_mask, "reference_mask"))
        return ((*(regions or ()), region),)


class MagicDanceCleanPlate:
    """Remove people from a video."""

    SEARCH_ALIASES = ["magicdance", "clean plate", "remove person", "background", "character replacement", "inpaint"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Replaces people by what is behind them: taken from frames in which it is seen where the camera stands, else "
        "guessed from around. Outside of the mask the frames stay as they are."
    )
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("images", "report")
    OUTPUT_TOOLTIPS = ("The video without the people.", "What is only guessed. For Preview Any.")
    FUNCTION = "clean"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": socket("IMAGE", "The frames of a video."),
                "mask": socket("MASK", "The people in each frame, with a margin, from Person Mask."),
            }
        }

    def clean(self, images, mask):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.media.clean_plate import clean_plate

        masks = fitted_masks(to_mask(mask, "mask"), to_pictures(images[:1], "images").shape[2:])
        if len(masks) not in (1, len(images)):
            raise InputError(f"`mask` has {len(masks)} masks for {len(images)} frames: connect one for each.")
        hidden = masks.expand(len(images), -1, -1).numpy()
        plate = clean_plate(to_arrays(images, "images"), hidden, len(images))
        report = f"{plate.unknown:.0%} of what people cover is never seen and guessed."
        if plate.moves:
            report += " The camera moves, so what is behind the people may not fit."
        cleaned = [plate.fill(picture, one) for picture, one in zip(to_arrays(images, "images"), hidden)]
        return to_image(cleaned), report


def _segmented(frames: list[PoseFrame], images, margin: float, softness: float) -> Iterator[np.ndarray]:
    """Yield the masks of all people of each frame by MediaPipe's network, float32 `[P, H, W]`."""
    from ..magicdance_core.errors import InputError
    from ..magicdance_core.pose.detectors import detector_file
    from ..magicdance_core.pose.segmentation import PersonSegmenter

    if images is None:
        raise InputError("`images` is not connected: connect the frames, or choose source = keypoints.")
    if len(images) != len(frames):
        raise InputError(
            f"`images` has {len(images)} pictures, `keypoints` has {len(frames)} frames: connect those of one video."
        )
    segmenter = PersonSegmenter.from_folder(folders.detector_folder(detector_file("mediapipe")))
    for picture, frame in zip(to_arrays(progress.counted(images), "images"), frames):
        yield segmenter.masks(picture, frame, margin, softness, hide=False)


def _only(frames: list[PoseFrame], person: int) -> list[PoseFrame]:
    """Return the frames of one person alone. Raises InputError if nobody has that number."""
    from ..magicdance_core.errors import InputError
    from ..magicdance_core.pose.keypoints import people_apart

    apart = people_apart(frames)
    if person not in apart:
        known = ", ".join(map(str, sorted(apart))) or "nobody"
        raise InputError(f"`person` is {person} and the keypoints have {known}: choose another number.")
    return apart[person]


def fitted_masks(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Return a checked MASK resized to height and width, `[1 or F, H, W]`."""
    import torch.nn.functional as F

    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    return F.interpolate(mask[:, None], tuple(size), mode="bilinear", antialias=True)[:, 0].clamp(0, 1)


def scene_sockets() -> dict[str, Input]:
    """Return the optional sockets that `SceneInputs` takes besides the reference."""
    return {
        "regions": socket(REGIONS_TYPE, "References of more people, from Add Region."),
        "background": socket("IMAGE", "What the frames show outside of background_mask: one picture, or a video."),
        "background_mask": socket("MASK", "Where frames are sampled, from Person Mask."),
    }


class SceneInputs:
    """Who is in the frames of a run, and where: the values of its sockets in the frames' size.

    size: height and width of the frames; others: see the sockets. Raises InputError for values that cannot be used.
    reference: `[R, 3, H', W']` in [0, 1] or None. shown: the reference, or regions of it and of others.
    """

    def __init__(
        self,
        reference: Tensor | None,
        reference_mask: Tensor | None,
        regions: tuple[RegionInput, ...],
        background: Tensor | None,
        background_mask: Tensor | None,
        size: tuple[int, int],
        factor: int,
    ):
        from .sampling_inputs import to_reference

        pixels = size[0] * size[1]
        self.reference = None if reference is None else to_reference(reference, reference_mask, pixels, factor)
        self.shown: Tensor | list[Region] | None = self.reference
        if regions:
            self.shown = _regions(self.reference, regions, size, factor)
        self._background, self._size = (background, to_mask(background_mask, "background_mask")), size
        self.background()  # refused before anything is computed

    def people(self, maps: Callable[[int], Tensor]) -> Tensor | list[Region] | None:
        """Return the reference, or regions, which have pose maps of their own unless a background is one of them.

        maps: returns a pose map of everybody, `[1, 3, H, W]`, by the number of the frame.
        """
        from ..magicdance_core.sampling import with_poses

        if not isinstance(self.shown, list) or self._background[0] is not None:
            return self.shown
        return with_poses(self.shown, maps)

    def background(self) -> Background | None:
        """Return the background; one for each run. Raises InputError if only one of pictures and mask is given."""
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.sampling import Background

        images, mask = self._background
        if (images is None) != (mask is None):
            missing = "background_mask" if mask is None else "background"
            raise InputError(f"`{missing}` is not connected: connect both of background and background_mask, or none.")
        if images is None or mask is None:
            return None
        height, width = self._size
        pictures = (stretch(to_pictures(one[None], "background"), width, height) for one in images)
        return Background(pictures, fitted_masks(mask, self._size))

    def describe(self) -> dict[str, str]:
        """Return digests of all that decides frames."""
        described = {"reference": fingerprints.of_tensors([self.reference])}
        if isinstance(self.shown, list):
            parts = [part for region in self.shown for part in (region.reference, region.mask, region.reference_mask)]
            described["regions"] = fingerprints.of_tensors(parts)
        images, mask = self._background
        if images is not None:
            described["background"] = fingerprints.of_tensors([*images, mask])
        return described


def _regions(
    reference: Tensor | None, regions: tuple[RegionInput, ...], size: tuple[int, int], factor: int
) -> list[Region]:
    from ..magicdance_core.sampling import Region
    from .sampling_inputs import to_reference

    made = [] if reference is None else [Region(reference)]
    for region in regions:
        picture = to_reference(region.reference, None, size[0] * size[1], factor)
        shown = None
        if region.reference_mask is not None and region.reference_mask.any():
            shown = fitted_masks(region.reference_mask, picture.shape[2:])
        made.append(Region(picture, fitted_masks(region.mask, size), shown))
    return made
