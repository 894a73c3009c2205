"""Draw a posed puppet, and return the exact keypoints of that picture."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from ..errors import InputError
from ..pose.keypoints import Person, PoseFrame
from .background import background, shadow_colour
from .body_pose import BodyPose
from .canvas import Canvas
from .choreography import Choreography
from .clothes import draw_arms, draw_legs, draw_torso
from .face import build_face, draw_glasses, draw_head_and_face, ear_centres
from .hair import draw_back_hair, draw_front_hair, draw_hat
from .identity import Identity
from .skeleton import GROUND, Skeleton, build_skeleton

CLIP_SIDE = 512  # pixels, the published size


def draw_puppet(identity: Identity, pose: BodyPose, width: int, height: int | None = None) -> Image.Image:
    """Draw an identity in a pose: RGB, width x height pixels (square by default).

    The scene is a square in the middle of the picture; the background continues beyond it. The result is deterministic,
    and the background depends on identity and size only.
    Raises InputError if a side is less than 16 pixels.
    """
    return draw_puppets([(identity, pose)], width, height)


def draw_puppets(
    puppets: Sequence[tuple[Identity, BodyPose]], width: int, height: int | None = None, scene: Identity | None = None
) -> Image.Image:
    """Draw several puppets into one picture, the first behind the others; see `draw_puppet`.

    scene: the identity whose background is drawn; by default the first puppet's.
    """
    width, height, side, origin = _layout(width, height)
    scene = scene or puppets[0][0]
    supersampling = _supersampling(side)
    wide, high = width * supersampling, height * supersampling
    image = background(scene, wide, high, side * supersampling, origin * supersampling).copy()
    canvas = Canvas(image, side * supersampling, origin * supersampling)
    for identity, pose in puppets:
        skeleton = build_skeleton(identity, pose)
        feet = (skeleton.ankles[0].real + skeleton.ankles[1].real) / 2
        reach = 0.06 + abs(skeleton.ankles[0].real - skeleton.ankles[1].real) / 2
        canvas.ellipse(complex(feet, GROUND + 0.005), reach, 0.020, shadow_colour(scene))
        _draw_person(canvas, identity, pose, skeleton)
    return image.reduce(supersampling)


def puppet_mask(identity: Identity, pose: BodyPose, width: int, height: int | None = None) -> np.ndarray:
    """Return how much of each pixel of `draw_puppet`'s picture the puppet covers: float32 `[H, W]` in [0, 1].

    Its shadow is part of the background.
    """
    width, height, side, origin = _layout(width, height)
    supersampling = _supersampling(side)
    skeleton, pictures = build_skeleton(identity, pose), []
    for colour in ("black", "white"):
        image = Image.new("RGB", (width * supersampling, height * supersampling), colour)
        _draw_person(Canvas(image, side * supersampling, origin * supersampling), identity, pose, skeleton)
        pictures.append(np.asarray(image.reduce(supersampling), np.float32))
    return 1 - np.abs(pictures[1] - pictures[0]).mean(axis=-1) / 255


def _draw_person(canvas: Canvas, identity: Identity, pose: BodyPose, skeleton: Skeleton) -> None:
    face = build_face(identity, pose, skeleton.head)
    draw_back_hair(canvas, identity, skeleton.head)
    draw_legs(canvas, identity, skeleton)
    draw_torso(canvas, identity, skeleton)
    draw_head_and_face(canvas, identity, pose, skeleton.head, face)
    draw_glasses(canvas, identity, skeleton.head, face)
    draw_front_hair(canvas, identity, skeleton.head)
    draw_hat(canvas, identity, skeleton.head)
    draw_arms(canvas, identity, skeleton)


def puppet_keypoints(identity: Identity, pose: BodyPose, width: int, height: int | None = None) -> PoseFrame:
    """Return the keypoints of `draw_puppet`'s picture: one person, every confidence 1, occluded points included.

    Raises InputError if a side is less than 16 pixels.
    """
    width, height, side, origin = _layout(width, height)
    s = build_skeleton(identity, pose)
    face = build_face(identity, pose, s.head)
    (right_ear, left_ear), (right_eye, left_eye) = ear_centres(s.head), face.eye_centres
    body = [
        face.nose_bridge[3], s.neck,
        s.shoulders[0], s.elbows[0], s.wrists[0], s.shoulders[1], s.elbows[1], s.wrists[1],
        s.hips[0], s.knees[0], s.ankles[0], s.hips[1], s.knees[1], s.ankles[1],
        right_eye, left_eye, right_ear, left_ear,
    ]  # fmt: skip

    def pixels(points) -> np.ndarray:
        z = np.array(points) * side + origin
        return np.stack([z.real, z.imag, np.ones(len(z))], axis=1).astype(np.float32)

    person = Person(pixels(body), pixels(s.hands[1]), pixels(s.hands[0]), pixels(face.landmarks()))
    return PoseFrame((person,), width, height)


def puppet_clip(
    identity: Identity, dance: Choreography, moments: Iterable[float], side: int = CLIP_SIDE
) -> list[PoseFrame]:
    """Return the keypoints of a puppet at moments (frames at 30 per second) of a dance, on side x side pixels."""
    return [puppet_keypoints(identity, dance.pose(moment), side) for moment in moments]


def _supersampling(side: int) -> int:
    return 4 if side <= 96 else 3


def _layout(width: int, height: int | None) -> tuple[int, int, int, complex]:
    """Return width, height, the square scene's side and its top left corner, in pixels."""
    height = width if height is None else height
    if min(width, height) < 16:
        raise InputError(f"The puppet's picture is {width} x {height} pixels: give at least 16 x 16.")
    side = min(width, height)
    return width, height, side, complex((width - side) / 2, (height - side) / 2)
