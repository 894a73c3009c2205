"""The face of a puppet: its 70 landmarks and, from the same curves, its drawing."""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, radians, sin

from .body_pose import BodyPose
from .canvas import Canvas, smooth
from .identity import Identity
from .palettes import mix, shade
from .skeleton import SIGNS, Head

_EYE_LEVEL = 0.12
_NOSE_LEVEL = 0.36
_MOUTH_LEVEL = 0.64
# Superellipse exponents of the jaw across and down, and its length.
_JAWS = {
    "round": (0.95, 0.95, 1.0),
    "square": (0.72, 0.86, 0.99),
    "pointed": (1.18, 0.95, 1.03),
    "long": (0.9, 1.0, 1.07),
}
_DARK = (52, 36, 40)


@dataclass(frozen=True)
class Face:
    """The curves of a face in scene points. Pairs are (right, left) of the person."""

    jaw: list[complex]  # 17, ear to ear
    eye_centres: list[complex]
    upper_lids: list[list[complex]]  # 7 points from the picture's left to its right
    lower_lids: list[list[complex]]
    upper_rims: list[list[complex]]  # the wide-open eye that the lids cover
    lower_rims: list[list[complex]]
    pupils: list[complex]
    brows: list[list[complex]]  # 5 points from the picture's left
    nose_bridge: list[complex]  # 4
    nostrils: list[complex]  # 5
    outer_lips: list[complex]  # 12
    inner_lips: list[complex]  # 8

    def landmarks(self) -> list[complex]:
        """Return OpenPose's 70 points: the 68 iBUG landmarks and both pupils."""
        points = self.jaw + self.brows[0] + self.brows[1] + self.nose_bridge + self.nostrils
        for upper, lower in zip(self.upper_lids, self.lower_lids):
            points = points + [upper[0], upper[2], upper[4], upper[6], lower[4], lower[2]]
        return points + self.outer_lips + self.inner_lips + self.pupils


def ear_centres(head: Head) -> tuple[complex, complex]:
    """Return both ears; the one that a turn of the head hides moves behind the face."""
    right, left = (
        head.flat(sign * (1.03 - 0.28 * max(0.0, sign * head.yaw)), 0.16 - 0.25 * head.nod) for sign in SIGNS
    )
    return right, left


def build_face(identity: Identity, pose: BodyPose, head: Head) -> Face:
    """Return the face of an identity with the expression of a pose."""
    across, downwards, length = _JAWS[identity.jaw]
    drop = length * (1 + 0.05 * pose.mouth_open)
    jaw = []
    for i in range(17):
        x, y = -cos(pi * i / 16), sin(pi * i / 16)
        x, y = (abs(x) ** across) * (1 if x > 0 else -1), max(0.0, y) ** downwards * drop
        jaw.append(head.flat(x + 0.16 * head.yaw * y, y + 0.06))

    eyes = [_eye(identity, pose, head, i) for i in range(2)]
    centres, uppers, lowers, upper_rims, lower_rims, pupils = (list(part) for part in zip(*eyes))
    tip = 0.035 * identity.nose_size
    nose_bridge = [head.at(0, _EYE_LEVEL + (_NOSE_LEVEL - _EYE_LEVEL) * i / 3, 1.0 + 0.08 * i) for i in range(4)]
    nostrils = [head.at(0.07 * identity.nose_size * (i - 2), _NOSE_LEVEL + 0.07 + tip * (2 - abs(i - 2)) / 2, 1.08)
                for i in range(5)]  # fmt: skip
    outer, inner = _mouth(identity, pose, head)
    return Face(
        jaw, centres, uppers, lowers, upper_rims, lower_rims, pupils,
        [_brow(identity, pose, head, sign) for sign in SIGNS], nose_bridge, nostrils, outer, inner,
    )  # fmt: skip


def _eye(identity: Identity, pose: BodyPose, head: Head, i: int):
    centre_x, half, tall = SIGNS[i] * identity.eye_spacing, identity.eye_width, identity.eye_height
    openness = (pose.right_eye, pose.left_eye)[i]
    upper = tall * (1.30 * openness - 0.30)
    # A smile lifts the cheeks, hence the lower lids.
    lower = tall * (0.30 + 0.58 * openness) * (1 - 0.30 * openness * max(0.0, pose.smile - 0.4))
    curves = [
        [head.at(centre_x - half * cos(pi * k / 6), _EYE_LEVEL - height * sin(pi * k / 6)) for k in range(7)]
        for height in (upper, -lower, 1.14 * tall, -0.92 * tall)
    ]
    pupil = head.at(centre_x + 0.36 * half * pose.gaze_x, _EYE_LEVEL + 0.02 + 0.25 * tall * pose.gaze_y)
    return head.at(centre_x, _EYE_LEVEL), *curves, pupil


def _brow(identity: Identity, pose: BodyPose, head: Head, sign: int) -> list[complex]:
    level = _EYE_LEVEL - identity.brow_height - 0.15 * pose.brow_raise
    points = []
    for k in range(5):
        out = k / 4  # 0 at the nose, 1 at the temple
        x = identity.eye_spacing + (out - 0.47 - 0.10 * pose.brow_frown * (1 - out)) * 0.58
        arch = -0.09 * sin(pi * (0.15 + 0.7 * out))
        points.append(head.at(sign * x, level + arch + 0.05 + 0.20 * pose.brow_frown * (0.7 - out)))
    return points if sign > 0 else points[::-1]


def _mouth(identity: Identity, pose: BodyPose, head: Head) -> tuple[list[complex], list[complex]]:
    rounded = pose.mouth_open * (1 - max(0.0, pose.smile))
    half = identity.mouth_width * (1 + 0.22 * pose.mouth_width + 0.18 * pose.smile - 0.28 * rounded)
    opening = 0.30 * pose.mouth_open
    lips = identity.lip_fullness
    level = _MOUTH_LEVEL - 0.03 - 0.12 * opening

    def lip(at: float, lowered: float) -> complex:
        """Return a point: `at` is -1 to 1 between the corners, `lowered` the distance below the closed mouth."""
        bow = 1 - at * at
        y = level + 0.15 * pose.smile * (bow - 0.55) + 0.35 * opening * (1 - bow) + lowered * bow
        return head.at(half * at, y)

    def row(places, lowered):
        return [lip(at, lowered) for at in places]

    upper, lower = (-0.66, -0.33, 0, 0.33, 0.66), (0.66, 0.33, 0, -0.33, -0.66)
    below = opening + 1.3 * lips
    outer = [lip(-1.06, 0), *row(upper, -lips), lip(1.06, 0), *row(lower, below)]
    inner = [lip(-0.88, 0), *row((-0.45, 0, 0.45), 0), lip(0.88, 0), *row((0.45, 0, -0.45), opening)]
    return outer, inner


def draw_head_and_face(canvas: Canvas, identity: Identity, pose: BodyPose, head: Head, face: Face) -> None:
    """Draw ears, head and features, without hair."""
    skin = identity.skin
    dim = shade(skin, 0.80)
    unit = abs(head.down)
    for ear in ear_centres(head):
        canvas.oval(ear, head.right * 0.17, head.down * 0.21, dim)
        canvas.oval(ear, head.right * 0.12, head.down * 0.16, skin)
        if identity.earrings:
            canvas.circle(ear + head.down * 0.25, 0.075 * unit, (250, 206, 92))
    skull = [head.flat(x, y) for x, y in _SKULL]
    outline = smooth(face.jaw[::2], closed=False, steps=2) + skull
    grown = [p + (p - head.centre) * 0.035 for p in outline]
    canvas.polygon(grown, dim)
    canvas.polygon(outline, skin)
    _draw_skin_details(canvas, identity, head, unit)
    for i in range(2):
        _draw_eye(canvas, identity, pose, face, i, unit)
    brow = shade(identity.hair_colour, 0.72) if identity.hair_style != "bald" else mix(skin, _DARK, 0.7)
    for points in face.brows:
        canvas.line(points, identity.brow_thickness * unit, brow)
        for end in (points[0], points[-1]):
            canvas.circle(end, 0.4 * identity.brow_thickness * unit, brow)
    _draw_beard(canvas, identity, head, face, unit)
    _draw_nose(canvas, identity, face, unit)
    _draw_mouth(canvas, identity, pose, face, unit)


_SKULL = [(cos(a), 0.06 - 1.06 * sin(a) ** 0.92) for a in (pi * i / 14 for i in range(1, 14))]


def _draw_skin_details(canvas: Canvas, identity: Identity, head: Head, unit: float) -> None:
    if identity.blush:
        rosy = mix(identity.skin, (240, 96, 96), 0.55 * identity.blush)
        for sign in SIGNS:
            canvas.circle(head.at(0.58 * sign, 0.46), 0.17 * unit, rosy)
    if identity.freckles:
        for x, y in ((0.40, 0.40), (0.56, 0.44), (0.48, 0.54)):
            for sign in SIGNS:
                canvas.circle(head.at(sign * x, y), 0.035 * unit, shade(identity.skin, 0.72))


def _draw_eye(canvas: Canvas, identity: Identity, pose: BodyPose, face: Face, i: int, unit: float) -> None:
    upper, lower, pupil = face.upper_lids[i], face.lower_lids[i], face.pupils[i]
    upper_rim, lower_rim = face.upper_rims[i], face.lower_rims[i]
    openness = (pose.right_eye, pose.left_eye)[i]
    lid = shade(identity.skin, 0.93)
    if openness > 0.12:
        canvas.polygon(upper_rim + lower_rim[::-1], (255, 255, 252))
        size = 0.80 * identity.eye_height * unit
        canvas.circle(pupil, size, identity.eye_colour)
        canvas.circle(pupil, 0.58 * size, (24, 20, 26))
        canvas.circle(pupil + complex(-0.32, -0.38) * size, 0.30 * size, (255, 255, 255))
        # The lids cover the rest of iris and white.
        canvas.polygon(_outside(upper_rim, 1.14) + upper[::-1], lid)
        canvas.polygon(_outside(lower_rim, 1.14) + lower[::-1], identity.skin)
    else:
        canvas.polygon(upper_rim + lower_rim[::-1], lid)
    canvas.line(upper, (0.055 + 0.035 * identity.lashes) * unit, _DARK)
    if identity.lashes > 0.9:  # a wing at the outer corner
        outer, inner = (upper[0], upper[-1]) if i == 0 else (upper[-1], upper[0])
        wing = (outer - inner) * 0.22 - 1j * 0.05 * unit
        canvas.line([outer, outer + wing], 0.06 * unit, _DARK)


def _outside(rim: list[complex], factor: float) -> list[complex]:
    middle = (rim[0] + rim[-1]) / 2
    return [middle + (p - middle) * factor for p in rim]


def _draw_nose(canvas: Canvas, identity: Identity, face: Face, unit: float) -> None:
    tip, size = face.nose_bridge[3], identity.nose_size * unit
    dim = shade(identity.skin, 0.76)
    if identity.nose == "button":
        canvas.ellipse(tip + 0.03j * size, 0.10 * size, 0.08 * size, dim)
    elif identity.nose == "line":
        canvas.line([face.nose_bridge[1], face.nostrils[4], face.nostrils[1]], 0.065 * size, dim)
    elif identity.nose == "round":
        canvas.circle(tip, 0.15 * size, dim)
        canvas.circle(tip - 0.03j * size, 0.13 * size, mix(identity.skin, (236, 110, 96), 0.25))
    else:
        canvas.line(smooth(face.nostrils, closed=False, steps=2), 0.085 * size, dim)


def _draw_beard(canvas: Canvas, identity: Identity, head: Head, face: Face, unit: float) -> None:
    style = identity.beard
    colour = shade(identity.hair_colour, 0.9)
    if style in ("stubble", "full"):
        if style == "stubble":
            colour = mix(identity.skin, colour, 0.32)
        lower = face.jaw[2:15]
        if style == "full":
            lower = [p + (p - head.centre) * 0.07 for p in lower]
        cheeks = [head.at(x, y) for x, y in ((0.72, 0.50), (0.42, 0.50), (0.0, 0.475), (-0.42, 0.50), (-0.72, 0.50))]
        canvas.polygon(smooth(lower, closed=False, steps=2) + cheeks, colour)
    elif style == "moustache":
        lips = face.outer_lips
        middle = (lips[3] + face.nostrils[2]) / 2
        ends = [lips[0] + (lips[0] - lips[6]) * 0.12, lips[6] + (lips[6] - lips[0]) * 0.12]
        canvas.line([ends[0], (ends[0] + middle) / 2 - 0.07j * unit, middle, (ends[1] + middle) / 2 - 0.07j * unit,
                     ends[1]], 0.13 * unit, colour)  # fmt: skip
    elif style == "goatee":
        canvas.oval((face.outer_lips[9] + face.jaw[8]) / 2, head.right * 0.24, head.down * 0.17, colour)


def _draw_mouth(canvas: Canvas, identity: Identity, pose: BodyPose, face: Face, unit: float) -> None:
    canvas.polygon(smooth(face.outer_lips, steps=2), identity.lip_colour)
    inner = face.inner_lips
    if pose.mouth_open > 0.06:
        canvas.polygon(inner, (96, 32, 44))
        bite = min(1.0, 0.075 / (0.30 * pose.mouth_open))
        canvas.polygon(inner[:5] + [inner[k] + (inner[low] - inner[k]) * bite for k, low in ((3, 5), (2, 6), (1, 7))],
                       (255, 252, 246))  # fmt: skip
        if pose.mouth_open > 0.4:
            canvas.ellipse(inner[6] - 0.05j * unit, 0.14 * unit, 0.055 * unit, (222, 104, 110))
    else:
        canvas.line(inner[:5], 0.065 * unit, shade(identity.lip_colour, 0.45))


def draw_glasses(canvas: Canvas, identity: Identity, head: Head, face: Face) -> None:
    """Draw glasses over the eyes, under fringe and hat."""
    style = identity.glasses
    if style == "none":
        return
    unit = abs(head.down)
    colour = identity.glasses_colour
    lenses = _lens("square" if style == "square" else "round")
    rims = []
    for centre, sign in zip(face.eye_centres, SIGNS):
        turn = 1 - 0.35 * max(0.0, sign * head.yaw)  # the far lens looks narrower
        half = 1.55 * identity.eye_width * turn
        rims.append([centre + head.right * (half * x) + head.down * (0.36 * y + 0.02) for x, y in lenses])
    for rim in rims:
        if style == "sunglasses":
            canvas.polygon(rim, shade(colour, 0.6))
            canvas.line([rim[12], rim[15]], 0.07 * unit, mix(colour, (255, 255, 255), 0.55))
        canvas.line(rim + rim[:2], 0.075 * unit, colour)
    bridge = [face.eye_centres[0] + (face.eye_centres[1] - face.eye_centres[0]) * t for t in (0.38, 0.62)]
    canvas.line(bridge, 0.075 * unit, colour)


@lru_cache(maxsize=2)
def _lens(shape: str) -> tuple[tuple[float, float], ...]:
    power = 1.0 if shape == "round" else 0.45
    angles = [radians(18 * k) for k in range(20)]
    return tuple((_power(cos(a), power), _power(sin(a), power)) for a in angles)


def _power(value: float, power: float) -> float:
    return abs(value) ** power * (1 if value > 0 else -1)
