"""Draw a puppet's body and clothes, limb by limb."""

from cmath import rect
from dataclasses import dataclass
from itertools import pairwise
from math import pi, sin

from .canvas import Canvas, smooth
from .identity import Identity
from .palettes import Colour, mix, shade
from .skeleton import GROUND, SIGNS, Skeleton

_EDGE = 0.0055  # width of the dark edge that separates limbs from what is behind
_SLEEVES = {
    "t-shirt": 0.55,
    "dress": 0.45,
    "tank": 0.0,
    "long sleeve": 1.9,
    "jacket": 1.9,
    "hoodie": 1.9,
    "dungarees": 0.6,
}
# Widths at hip, knee and hem in leg radii, and the covered fraction of the shin.
_CUTS = {"trousers": (1.08, 0.98, 0.86, 0.86), "flares": (1.05, 0.86, 1.30, 0.84), "leggings": (1.0, 0.82, 0.68, 0.80)}


def draw_legs(canvas: Canvas, identity: Identity, skeleton: Skeleton) -> None:
    """Draw both legs with shoes, the right one in front, and the pelvis."""
    for i in (1, 0):
        _draw_leg(canvas, identity, skeleton, i)
    wide = identity.hip_width
    left, right = (skeleton.pelvis + skeleton.hip_across * (sign * (wide - 0.026)) for sign in SIGNS)
    canvas.capsule(left + 0.008j, right + 0.008j, 0.034, 0.034, identity.bottom_colour)


def _draw_leg(canvas: Canvas, identity: Identity, skeleton: Skeleton, i: int) -> None:
    hip, knee, ankle = skeleton.hips[i], skeleton.knees[i], skeleton.ankles[i]
    thick = identity.leg_radius
    radii = (thick, 0.80 * thick, 0.56 * thick)
    bottom, colour = identity.bottom, identity.bottom_colour
    _bent(canvas, (hip, knee, ankle), radii, identity.skin)
    sock = ankle + (knee - ankle) * 0.24
    canvas.capsule(sock, ankle, 0.72 * thick, 0.64 * thick, identity.sock_colour)
    _draw_shoe(canvas, identity, i, knee, ankle)
    if bottom == "shorts":
        reach = 0.55 + 0.3 * identity.bottom_length
        _bent(canvas, (hip, hip + (knee - hip) * reach), (1.10 * thick, 1.10 * thick), colour)
    elif bottom != "skirt":
        upper, middle, lower, reach = _CUTS[bottom]
        hem = knee + (ankle - knee) * reach
        _bent(canvas, (hip, knee, hem), (upper * thick, middle * thick, lower * thick), colour)


def _draw_shoe(canvas: Canvas, identity: Identity, i: int, knee: complex, ankle: complex) -> None:
    """Draw a shoe: flat near the ground, along the shin in the air, so that the ankle determines it."""
    size = 0.036 * identity.shoe_size
    shin = (ankle - knee) / abs(ankle - knee)
    flat = max(0.0, 1 - (GROUND - 0.030 - ankle.imag) / 0.06) if ankle.imag < GROUND - 0.030 else 1.0
    down = 1j * flat + shin * (1 - flat)
    down /= abs(down)
    toe = ankle + down * (0.28 * size) + down * (-1j * SIGNS[i]) * (1.0 * size)
    heel = ankle + down * (0.16 * size)
    sole = down * (0.36 * size)
    canvas.capsule(heel + sole, toe + sole, 0.60 * size, 0.50 * size, shade(identity.shoe_colour, 0.62))
    canvas.capsule(heel, toe + sole * 0.5, 0.72 * size, 0.58 * size, identity.shoe_colour)


def _bent(canvas: Canvas, joints, radii, colour: Colour) -> None:
    """Draw a limb over several joints with a dark edge."""
    for extra, tone in ((_EDGE, shade(colour, 0.76)), (0.0, colour)):
        for (start, end), (first, second) in zip(pairwise(joints), pairwise(radii)):
            canvas.capsule(start, end, first + extra, second + extra, tone)


@dataclass(frozen=True)
class _Torso:
    """The surface of the torso, with coordinates across (-1 to 1) and down (0 at the shoulders, 1 at the hips)."""

    lefts: list[complex]
    rights: list[complex]

    def at(self, across: float, down: float) -> complex:
        place = max(0.0, min(1.0, down)) * (len(self.lefts) - 1)
        k = min(int(place), len(self.lefts) - 2)
        rest = place - k
        left = self.lefts[k] + (self.lefts[k + 1] - self.lefts[k]) * rest
        right = self.rights[k] + (self.rights[k + 1] - self.rights[k]) * rest
        return (left + right) / 2 + (right - left) / 2 * across

    def band(self, top: float, bottom: float, left: float = -1.0, right: float = 1.0) -> list[complex]:
        """Return the outline of a part of the surface."""
        rows = [top + (bottom - top) * k / 4 for k in range(5)]
        return [self.at(left, row) for row in rows] + [self.at(right, row) for row in reversed(rows)]


def torso_surface(identity: Identity, skeleton: Skeleton) -> _Torso:
    """Return the surface of the torso between shoulders and hips."""
    arm = identity.arm_radius
    top = [
        skeleton.shoulders[i] + skeleton.across * (SIGNS[i] * 0.5 * arm) - skeleton.down * 0.55 * arm for i in range(2)
    ]
    hips = [skeleton.pelvis + skeleton.hip_across * (sign * identity.hip_width) + 0.012j for sign in SIGNS]
    edges = []
    for i, sign in enumerate(SIGNS):
        chest = top[i] + (hips[i] - top[i]) * 0.28 - skeleton.across * (sign * 0.4 * arm)
        waist_middle = (top[0] + top[1]) / 2 * 0.36 + (hips[0] + hips[1]) / 2 * 0.64
        waist = waist_middle + (skeleton.across + skeleton.hip_across) / 2 * (sign * identity.waist_width)
        edges.append(smooth([top[i], chest, waist, hips[i]], closed=False, steps=3))
    return _Torso(*edges)


def draw_torso(canvas: Canvas, identity: Identity, skeleton: Skeleton) -> None:
    """Draw the top with its pattern, neck and neckline, dungarees, and the flare of a dress or skirt."""
    torso = torso_surface(identity, skeleton)
    neck_half = skeleton.across * (identity.neck_radius * 1.25)
    rise = skeleton.neck_base - skeleton.down * 0.010
    outline = [rise - neck_half, *torso.lefts, *reversed(torso.rights), rise + neck_half]
    edge = shade(identity.top_colour, 0.78)
    if identity.bottom == "skirt":
        _draw_skirt(canvas, identity, skeleton, identity.bottom_colour, 0.62 + 0.25 * identity.bottom_length)
    if identity.top == "dress":
        _draw_skirt(canvas, identity, skeleton, identity.top_colour, 0.75 + 0.2 * identity.bottom_length)
    if identity.top == "hoodie":
        hood = skeleton.neck_base - skeleton.down * 0.008
        canvas.oval(hood, skeleton.across * 0.066, skeleton.down * 0.034, shade(identity.top_colour, 0.70))
    canvas.polygon([p + (p - torso.at(0, 0.5)) * 0.05 for p in outline], edge)
    canvas.polygon(outline, identity.top_colour)
    if identity.top == "jacket":
        _draw_jacket(canvas, identity, torso)
    else:
        _draw_pattern(canvas, identity, torso)
    _draw_extras(canvas, identity, skeleton, torso)
    _draw_neck(canvas, identity, skeleton)


def _draw_neck(canvas: Canvas, identity: Identity, skeleton: Skeleton) -> None:
    radius = identity.neck_radius
    base = skeleton.neck_base + skeleton.down * 0.004
    if identity.top in ("t-shirt", "long sleeve", "tank", "dress", "dungarees", "jacket"):
        deep = 0.9 * radius if identity.top in ("tank", "dress") else 0.45 * radius
        collar = mix(identity.accent, identity.top_colour, 0.3)
        canvas.oval(base, skeleton.across * (1.5 * radius), skeleton.down * (deep + 0.010), collar)
        canvas.oval(base, skeleton.across * (1.2 * radius), skeleton.down * deep, identity.skin)
    chin = skeleton.head.centre + skeleton.head.down * 0.85
    canvas.capsule(base - skeleton.down * 0.004, chin, radius, radius, shade(identity.skin, 0.86))


def _draw_pattern(canvas: Canvas, identity: Identity, torso: _Torso) -> None:
    pattern, accent, scale = identity.pattern, identity.accent, identity.pattern_scale
    if pattern == "stripes across":
        step = 0.19 * scale
        for k in range(5):
            if 0.10 + (2 * k) * step < 1:
                canvas.polygon(torso.band(0.10 + 2 * k * step, min(1.0, 0.10 + (2 * k + 1) * step)), accent)
    elif pattern == "stripes down":
        for x in (-0.66, 0.0, 0.66):
            canvas.polygon(torso.band(0, 1, x - 0.17 * scale, x + 0.17 * scale), accent)
    elif pattern == "dots":
        for row, down in enumerate((0.17, 0.40, 0.63, 0.84)):
            for x in (-0.62, 0.0, 0.62) if row % 2 else (-0.34, 0.34):
                canvas.circle(torso.at(x, down), 0.0135 * scale, accent)
    elif pattern == "checks":
        for row in range(4):
            for column in range(4):
                if (row + column) % 2:
                    canvas.polygon(torso.band(row / 4, (row + 1) / 4, column / 2 - 1, column / 2 - 0.5), accent)
    elif pattern == "two-tone":
        canvas.polygon(torso.band(0.42, 1.0), accent)
    elif pattern == "sash":
        corners = ((-0.9, 0.0), (-0.2, 0.0), (1.0, 0.75), (1.0, 1.0), (0.55, 1.0))
        canvas.polygon([torso.at(x, y) for x, y in corners], accent)
    elif pattern in _EMBLEMS:
        canvas.polygon([torso.at(x * 0.56 * scale, 0.38 + 0.135 * scale * y) for x, y in _EMBLEMS[pattern]], accent)


_EMBLEMS = {
    "heart": ((0, 1.0), (-0.75, 0.15), (-1.0, -0.35), (-0.8, -0.75), (-0.4, -0.85), (0, -0.45), (0.4, -0.85),
              (0.8, -0.75),
              (1.0, -0.35), (0.75, 0.15)),
    "star": tuple((p.real, p.imag) for p in (rect(1.1 if k % 2 == 0 else 0.48, pi * (k / 5 - 0.5)) for k in range(10))),
    "disc": tuple((p.real, p.imag) for p in (rect(1, pi * k / 10) for k in range(20))),
}  # fmt: skip


def _draw_jacket(canvas: Canvas, identity: Identity, torso: _Torso) -> None:
    canvas.polygon(torso.band(0, 1, -0.36, 0.36), identity.shirt_colour)
    lapel = shade(identity.top_colour, 0.78)
    for sign in SIGNS:
        canvas.polygon([torso.at(sign * x, y) for x, y in ((0.30, 0.0), (0.62, 0.0), (0.58, 0.28), (0.34, 0.5))], lapel)


def _draw_extras(canvas: Canvas, identity: Identity, skeleton: Skeleton, torso: _Torso) -> None:
    dark = shade(identity.top_colour, 0.76)
    if identity.top == "hoodie":
        canvas.polygon([torso.at(x, y) for x, y in ((-0.42, 0.62), (0.42, 0.62), (0.62, 0.92), (-0.62, 0.92))], dark)
        for sign in SIGNS:
            canvas.line(
                [torso.at(0.2 * sign, 0.05), torso.at(0.2 * sign, 0.32)], 0.009, mix(identity.accent, (255,) * 3, 0.5)
            )
    elif identity.top == "dungarees":
        colour = identity.bottom_colour
        canvas.polygon(torso.band(0.36, 1.0, -0.62, 0.62), colour)
        canvas.polygon(torso.band(0.72, 1.0), colour)
        for sign in SIGNS:
            canvas.polygon(torso.band(0.0, 0.42, sign * 0.36, sign * 0.60), colour)
            canvas.circle(torso.at(sign * 0.46, 0.42), 0.009, identity.accent)
    elif identity.top == "dress":
        canvas.polygon(torso.band(0.66, 0.80), dark)
    elif identity.top in ("t-shirt", "long sleeve", "tank"):
        canvas.polygon(torso.band(0.94, 1.0), dark)


def _draw_skirt(canvas: Canvas, identity: Identity, skeleton: Skeleton, colour: Colour, reach: float) -> None:
    """Draw a flare from the hips over both thighs, whose hem follows the knees."""
    waist = [skeleton.pelvis + skeleton.hip_across * (sign * identity.hip_width) - 0.012j for sign in SIGNS]
    hems = []
    for i, sign in enumerate(SIGNS):
        thigh = skeleton.knees[i] - skeleton.hips[i]
        hems.append(skeleton.hips[i] + thigh * reach + skeleton.hip_across * (sign * (identity.leg_radius + 0.024)))
    middle = (hems[0] + hems[1]) / 2 + skeleton.down * (0.012 + 0.02 * sin(reach))
    outline = [waist[0], (waist[0] + hems[0]) / 2 - skeleton.hip_across * 0.006, hems[0], middle, hems[1],
               (waist[1] + hems[1]) / 2 + skeleton.hip_across * 0.006, waist[1]]  # fmt: skip
    curve = smooth(outline, closed=False, steps=3)
    inner = [p + (middle - p) * 0.06 - skeleton.down * 0.010 for p in curve]
    canvas.polygon(curve, shade(colour, 0.74))
    canvas.polygon(inner, colour)


def draw_arms(canvas: Canvas, identity: Identity, skeleton: Skeleton) -> None:
    """Draw both arms with hands, the right one in front; they are in front of torso and head."""
    for i in (1, 0):
        _draw_arm(canvas, identity, skeleton, i)


def _draw_arm(canvas: Canvas, identity: Identity, skeleton: Skeleton, i: int) -> None:
    shoulder, elbow, wrist = skeleton.shoulders[i], skeleton.elbows[i], skeleton.wrists[i]
    thick = identity.arm_radius
    radii = (thick, 0.86 * thick, 0.66 * thick)
    _draw_hand(canvas, identity, skeleton.hands[i], skeleton.hand_rolls[i])
    reach = _SLEEVES[identity.top]
    if reach <= 1:
        _bent(canvas, (shoulder, elbow, wrist), radii, identity.skin)
        if reach:
            end = shoulder + (elbow - shoulder) * reach
            _bent(canvas, (shoulder, end), (1.22 * thick, 1.24 * thick), identity.top_colour)
            if identity.pattern in ("stripes across", "two-tone"):
                _cuff(canvas, shoulder, end, 1.24 * thick, identity.accent)
        return
    end = elbow + (wrist - elbow) * (reach - 1)
    _bent(canvas, (shoulder, elbow, end), (1.18 * thick, 1.08 * thick, 0.92 * thick), identity.top_colour)
    if identity.pattern == "stripes across":
        for start, stop in ((shoulder, elbow), (elbow, end)):
            _cuff(canvas, start, start + (stop - start) * 0.72, 1.06 * thick, identity.accent)
    else:
        _cuff(canvas, elbow, end, 0.95 * thick, shade(identity.top_colour, 0.76))


def _cuff(canvas: Canvas, start: complex, end: complex, radius: float, colour: Colour) -> None:
    along = (end - start) / (abs(end - start) or 1)
    canvas.polygon([end + along * a + along * 1j * b for a, b in
                    ((0, radius), (0, -radius), (-0.015, -radius), (-0.015, radius))], colour)  # fmt: skip


def _draw_hand(canvas: Canvas, identity: Identity, hand: list[complex], roll: float) -> None:
    size, skin = identity.hand, identity.skin
    wide = 0.19 * size * max(0.62, abs(roll))
    knuckles = (hand[5] + hand[9] + hand[13] + hand[17]) / 4
    for extra, tone in ((_EDGE, shade(skin, 0.74)), (0.0, skin)):
        canvas.capsule(hand[0], knuckles, 0.16 * size + extra, wide + extra, tone)
        for finger in range(5):
            points = hand[4 * finger + 1 : 4 * finger + 5]
            thick = (0.080 if finger else 0.090) * size + 0.6 * extra
            canvas.line(points, 2 * thick, tone)
            canvas.circle(points[0], thick, tone)
            canvas.circle(points[3], thick, tone)
