"""Draw pose maps, pixel for pixel as the published Pose ControlNet was trained on."""

import colorsys
import math

import cv2
import numpy as np

from ..errors import InputError
from ..limits import MAX_RATIO, check_size
from .keypoints import PoseFrame

# The published maps were drawn on frames 604 pixels wide, then resized; this sets the relative stroke width.
PUBLISHED_SHORT_SIDE = 604

LIMB_HALF_WIDTH = 4
JOINT_RADIUS = 4
HAND_LINE_WIDTH = 2
HAND_POINT_RADIUS = 4
FACE_POINT_RADIUS = 3

PALETTE = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
# The published code darkens the whole canvas between limbs and joints, which for opaque strokes is a darker colour.
LIMB_COLOURS = tuple(tuple(value * 3 // 5 for value in colour) for colour in PALETTE[: len(LIMBS)])
HAND_EDGES = tuple((0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1)
                   for finger in range(5) for joint in range(4))  # fmt: skip
HAND_COLOURS = tuple(tuple(255 * value for value in colorsys.hsv_to_rgb(i / 20, 1, 1)) for i in range(20))
HAND_POINT_COLOUR = (0, 0, 255)
FACE_POINT_COLOUR = (255, 255, 255)


def draw_pose(
    frame: PoseFrame, width: int | None = None, height: int | None = None, *, body=True, hands=True, face=True
) -> np.ndarray:
    """Draw the pose map of a frame: uint8 [height, width, 3], RGB on black.

    width, height: size of the map in pixels, the frame's by default; coordinates are scaled to it.
    body, hands, face: which parts to draw.

    Strokes have the published sizes on a canvas whose short side is 604 pixels, which is then shrunk by area
    averaging. A map with a longer short side is drawn at full size with proportionally wider strokes.
    Raises InputError if a size is not positive, exceeds limits.py, or the map is too narrow.
    """
    width = frame.width if width is None else width
    height = frame.height if height is None else height
    width, height = check_size(width, height, "A pose map")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InputError(
            f"A pose map of {width} x {height} pixels is too narrow: give sides of a ratio of at most {MAX_RATIO}."
        )
    scale = PUBLISHED_SHORT_SIDE / min(width, height)
    if scale <= 1:
        return draw_pose_strokes(frame.scaled(width, height), 1 / scale, body=body, hands=hands, face=face)
    canvas = frame.scaled(round(width * scale), round(height * scale))
    strokes = draw_pose_strokes(canvas, body=body, hands=hands, face=face)
    return cv2.resize(strokes, (width, height), interpolation=cv2.INTER_AREA)


def draw_pose_strokes(frame: PoseFrame, stroke: float = 1.0, *, body=True, hands=True, face=True) -> np.ndarray:
    """Draw a frame at its own size, without resampling: uint8 [height, width, 3], RGB on black.

    stroke: multiplies the published stroke sizes, which are in pixels; the products are rounded to whole pixels.
    """
    canvas = np.zeros((frame.height, frame.width, 3), np.uint8)
    if body:
        people = [person.body.tolist() for person in frame.people]
        for points in people:
            _draw_limbs(canvas, points, round(LIMB_HALF_WIDTH * stroke))
        radius = round(JOINT_RADIUS * stroke)
        for points in people:
            for (x, y, confidence), colour in zip(points, PALETTE):
                if confidence > 0:
                    cv2.circle(canvas, (int(x), int(y)), radius, colour, -1)
    if hands:
        for person in frame.people:
            for hand in (person.left_hand, person.right_hand):
                _draw_hand(canvas, _whole_points(hand), stroke)
    if face:
        radius = round(FACE_POINT_RADIUS * stroke)
        for person in frame.people:
            for point in filter(None, _whole_points(person.face)):
                cv2.circle(canvas, point, radius, FACE_POINT_COLOUR, -1)
    return canvas


def _draw_limbs(canvas: np.ndarray, points: list, half_width: int) -> None:
    for (start, end), colour in zip(LIMBS, LIMB_COLOURS):
        (x0, y0, c0), (x1, y1, c1) = points[start], points[end]
        if c0 <= 0 or c1 <= 0:
            continue
        centre = int((x0 + x1) / 2), int((y0 + y1) / 2)
        half_length = int(math.hypot(x0 - x1, y0 - y1) / 2)
        angle = int(math.degrees(math.atan2(y0 - y1, x0 - x1)))
        outline = cv2.ellipse2Poly(centre, (half_length, half_width), angle, 0, 360, 1)
        cv2.fillConvexPoly(canvas, outline, colour)


def _draw_hand(canvas: np.ndarray, points: list, stroke: float) -> None:
    width, radius = round(HAND_LINE_WIDTH * stroke), round(HAND_POINT_RADIUS * stroke)
    for (start, end), colour in zip(HAND_EDGES, HAND_COLOURS):
        if points[start] and points[end]:
            cv2.line(canvas, points[start], points[end], colour, width)
    for point in filter(None, points):
        cv2.circle(canvas, point, radius, HAND_POINT_COLOUR, -1)


def _whole_points(part: np.ndarray) -> list[tuple[int, int] | None]:
    """Return integer positions; None for a missing point and, as published, for one in the first row or column."""
    points = ((int(x), int(y), confidence) for x, y, confidence in part.tolist())
    return [(x, y) if confidence > 0 and x > 0 and y > 0 else None for x, y, confidence in points]


def overlay(picture: np.ndarray, frame: PoseFrame, opacity: float = 0.8, **parts: bool) -> np.ndarray:
    """Draw a frame's pose map over a picture of any size: uint8 [H, W, 3], RGB, like the picture.

    opacity: of the strokes, 0 to 1. parts: body, hands, face as in `draw_pose`.
    """
    height, width = picture.shape[:2]
    strokes = draw_pose(frame, width, height, **parts).astype(np.float32)
    cover = opacity * (strokes.max(axis=-1, keepdims=True) > 0)
    return (picture * (1 - cover) + strokes * cover + 0.5).astype(np.uint8)
