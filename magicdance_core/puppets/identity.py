"""The identity of a puppet: proportions, face, hair, clothes and background, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

from .palettes import EYES, HAIRS, LIPS, OUTFITS, SCENES, SKINS, Colour, distance, mix, shade
from .random_stream import RandomStream

HAIR_STYLES = (
    "bald", "buzz", "short", "side part", "spiky", "quiff", "mohawk", "curly", "afro", "bob", "long", "wavy",
    "ponytail", "bun", "space buns", "pigtails", "braids",
)  # fmt: skip
FRINGES = ("straight", "side", "curtain", "high", "swoop")
# Styles with nothing on the top of the head leave room for a hat.
HAT_HAIR_STYLES = ("bald", "buzz", "short", "side part", "bob", "long", "wavy", "pigtails", "braids", "ponytail")
HATS = ("cap", "beanie", "straw", "headband", "top hat", "headphones")
OVER_ANY_HAIR = ("headband", "headphones")
GLASSES = ("none", "round", "square", "sunglasses")
BEARDS = ("none", "stubble", "full", "moustache", "goatee")
NOSES = ("button", "line", "round", "wide")
JAWS = ("round", "square", "pointed", "long")
TOPS = ("t-shirt", "long sleeve", "tank", "jacket", "dress", "hoodie", "dungarees")
PATTERNS = ("plain", "stripes across", "stripes down", "dots", "checks", "heart", "star", "disc", "two-tone", "sash")
BOTTOMS = ("trousers", "flares", "shorts", "skirt", "leggings")
BACKGROUNDS = (
    "room", "gradient", "hills", "window", "picture", "wallpaper", "city", "circles", "stage", "sunset", "beach",
)  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """Everything about a puppet and its scene except the pose.

    Lengths are in units of the square scene's side, colours RGB in 0..255, styles are names of this module's tuples.
    """

    seed: int
    split: str

    height: float
    head_height: float
    head_width: float
    neck_length: float
    neck_radius: float
    leg_length: float
    shoulder_width: float
    waist_width: float
    hip_width: float
    upper_arm: float
    lower_arm: float
    hand: float
    arm_radius: float
    leg_radius: float

    skin: Colour
    jaw: str
    eye_colour: Colour
    eye_width: float
    eye_height: float
    eye_spacing: float
    lashes: float
    brow_thickness: float
    brow_height: float
    nose: str
    nose_size: float
    mouth_width: float
    lip_colour: Colour
    lip_fullness: float
    blush: float
    freckles: bool
    beard: str
    glasses: str
    glasses_colour: Colour
    earrings: bool

    hair_style: str
    fringe: str
    hair_flip: bool
    hair_colour: Colour
    hair_volume: float
    hat: str
    hat_colour: Colour
    hat_band: Colour

    top: str
    pattern: str
    pattern_scale: float
    top_colour: Colour
    accent: Colour
    shirt_colour: Colour
    bottom: str
    bottom_length: float
    bottom_colour: Colour
    sock_colour: Colour
    shoe_colour: Colour
    shoe_size: float

    background: str
    wall: Colour
    wall_second: Colour
    floor: Colour
    scene_accent: Colour
    horizon: float
    scene_shift: float

    @classmethod
    def from_seed(cls, seed: int, split: str = "train") -> Identity:
        """Return the identity of a seed; the splits "train" and "test" use different random streams.

        Raises InputError if the seed is not an integer or the split is unknown.
        """
        rng = RandomStream("identity", split, seed)
        skin = _vary(rng, rng.choice(SKINS), 0.03)
        top_colour, accent, bottom_colour, shoe_colour = (_vary(rng, c, 0.05) for c in rng.choice(OUTFITS))
        scene = _scene_apart_from(rng, (skin, top_colour, bottom_colour))
        feminine = rng.uniform(0, 1)
        return cls(
            seed=seed,
            split=split,
            **_proportions(rng, feminine),
            skin=skin,
            **_face(rng, skin, feminine),
            **_hair(rng, skin, feminine, accent),
            **_clothes(rng, feminine, top_colour, accent, bottom_colour),
            shoe_colour=shoe_colour,
            shoe_size=rng.uniform(0.9, 1.15),
            background=rng.choice(BACKGROUNDS),
            wall=scene[0],
            wall_second=scene[1],
            floor=scene[2],
            scene_accent=scene[3],
            horizon=rng.uniform(0.74, 0.82),
            scene_shift=rng.uniform(-1, 1),
        )


def _vary(rng: RandomStream, colour: Colour, amount: float) -> Colour:
    red, green, blue = (max(0, min(255, round(c + 255 * rng.uniform(-amount, amount)))) for c in colour)
    return red, green, blue


def _scene_apart_from(rng: RandomStream, colours) -> list[Colour]:
    """Return a scene whose wall contrasts with the given colours, if one is found in a few tries."""
    scene: list[Colour] = []
    for _ in range(6):
        scene = [_vary(rng, c, 0.03) for c in rng.choice(SCENES)]
        if all(distance(scene[0], c) > 36 and distance(scene[1], c) > 30 for c in colours):
            break
    return scene


def _proportions(rng: RandomStream, feminine: float) -> dict:
    height = rng.uniform(0.82, 0.87)
    build = rng.uniform(-1, 1)
    shoulder_width = rng.uniform(0.070, 0.080) + 0.007 * build - 0.008 * feminine
    hip_width = rng.uniform(0.058, 0.064) + 0.008 * build + 0.004 * feminine
    return {
        "height": height,
        "head_height": height * rng.uniform(0.265, 0.300),
        "head_width": height * rng.uniform(0.232, 0.265),
        "neck_length": height * rng.uniform(0.022, 0.034),
        "neck_radius": 0.019 + 0.003 * build - 0.002 * feminine,
        "leg_length": height * rng.uniform(0.385, 0.425),
        "shoulder_width": shoulder_width,
        "waist_width": rng.uniform(0.84, 0.95) * min(shoulder_width, hip_width) + 0.006 * build - 0.006 * feminine,
        "hip_width": hip_width,
        "upper_arm": height * rng.uniform(0.126, 0.142),
        "lower_arm": height * rng.uniform(0.116, 0.130),
        "hand": height * rng.uniform(0.098, 0.108),
        "arm_radius": rng.uniform(0.0215, 0.0245) + 0.003 * build - 0.002 * feminine,
        "leg_radius": rng.uniform(0.030, 0.034) + 0.004 * build,
    }


def _face(rng: RandomStream, skin: Colour, feminine: float) -> dict:
    lip = mix(rng.choice(LIPS), skin, rng.uniform(0, 0.5) * (1 - feminine))
    return {
        "jaw": rng.choice(JAWS),
        "eye_colour": rng.choice(EYES),
        "eye_width": rng.uniform(0.21, 0.26),
        "eye_height": rng.uniform(0.21, 0.29),
        "eye_spacing": rng.uniform(0.38, 0.45),
        "lashes": 0.6 + 0.7 * feminine,
        "brow_thickness": rng.uniform(0.075, 0.13) - 0.02 * feminine,
        "brow_height": rng.uniform(0.36, 0.44),
        "nose": rng.choice(NOSES),
        "nose_size": rng.uniform(0.8, 1.2),
        "mouth_width": rng.uniform(0.24, 0.34),
        "lip_colour": lip,
        "lip_fullness": rng.uniform(0.03, 0.05) + 0.025 * feminine,
        "blush": rng.weighted_choice({0.0: 5, 0.35: 3, 0.6: 2}),
        "freckles": rng.chance(0.12),
        "beard": rng.choice(BEARDS[1:]) if feminine < 0.45 and rng.chance(0.5) else "none",
        "glasses": rng.weighted_choice(dict(zip(GLASSES, (7, 1, 1, 0.7)))),
        "glasses_colour": rng.choice(((46, 44, 52), (120, 62, 44), (196, 64, 70), (48, 92, 140), (230, 180, 70))),
        "earrings": rng.chance(0.6 * feminine * feminine),
    }


def _hair(rng: RandomStream, skin: Colour, feminine: float, accent: Colour) -> dict:
    # The order of HAIR_STYLES goes roughly from short to long.
    masculine = (1, 1, 3, 2.5, 2.5, 2.5, 1, 2, 1.5, 0.3, 0.8, 0.5, 0.5, 0.4, 0.1, 0, 0.2)
    other = (0.1, 0.3, 0.6, 0.5, 0.3, 0.3, 0.3, 1.5, 1.5, 2.5, 2.5, 2, 2, 2, 1.5, 2, 1.5)
    style = rng.weighted_choice({n: m + (o - m) * feminine for n, m, o in zip(HAIR_STYLES, masculine, other)})
    hat = "none"
    if rng.chance(0.3):
        hat = rng.choice(HATS if style in HAT_HAIR_STYLES else OVER_ANY_HAIR)
    hair = rng.choice(HAIRS)
    while distance(hair, skin) < 45:
        hair = rng.choice(HAIRS)
    hat_colour = rng.choice((accent, rng.choice(OUTFITS)[0]))
    if distance(hat_colour, hair) < 40:
        hat_colour = mix(hat_colour, (255, 250, 240), 0.6)
    return {
        "hair_style": style,
        "fringe": rng.choice(FRINGES),
        "hair_flip": rng.chance(0.5),
        "hair_colour": _vary(rng, hair, 0.03),
        "hair_volume": rng.uniform(0.9, 1.15),
        "hat": hat,
        "hat_colour": hat_colour,
        "hat_band": rng.choice((shade(hat_colour, 0.65), mix(hat_colour, (255, 250, 235), 0.7))),
    }


def _clothes(rng: RandomStream, feminine: float, top_colour: Colour, accent: Colour, bottom_colour: Colour) -> dict:
    top = rng.weighted_choice(dict(zip(TOPS, (3, 3, 2, 2, 2.5 * feminine, 2, 1.5))))
    bottom = rng.weighted_choice(dict(zip(BOTTOMS, (4, 1.5, 2.5, 3 * feminine, 1.5))))
    if distance(bottom_colour, top_colour) < 30:
        bottom_colour = shade(bottom_colour, 0.7)
    return {
        "top": top,
        "pattern": rng.weighted_choice({n: 3 if n == "plain" else 1 for n in PATTERNS}),
        "pattern_scale": rng.uniform(0.9, 1.25),
        "top_colour": top_colour,
        "accent": accent,
        "shirt_colour": mix(accent, (255, 252, 245), 0.5),
        "bottom": "trousers" if top == "dungarees" else "leggings" if top == "dress" else bottom,
        "bottom_length": rng.uniform(0.0, 1.0),
        "bottom_colour": bottom_colour,
        "sock_colour": rng.choice(((250, 248, 242), accent, shade(bottom_colour, 0.8))),
    }
