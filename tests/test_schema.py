from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from pydantic import Field

from magicdance_core.errors import InputError
from magicdance_core.schema import Configuration, Float, ListOf, PairOf, build, differences, plain, setting


@dataclass(frozen=True)
class Inner(Configuration):
    steps: int = setting(ge=1)
    kind: Literal["one", "two"] = "one"
    rate: Float = setting(1e-3, ge=0, le=1)


@dataclass(frozen=True)
class Outer(Configuration):
    inner: Inner
    several: ListOf[Inner] = setting([])
    widths: ListOf[Annotated[int, Field(ge=1, le=8)]] = setting([1])
    shape: PairOf[int] = (1, 2)
    free: dict = setting({})
    maybe: str | None = None
    quick: bool = setting(False, free=True)

    def __post_init__(self):
        if self.maybe == "forbidden":
            raise InputError("maybe must not be forbidden.")


GOOD = {"inner": {"steps": 3}, "several": [{"steps": 1, "rate": "1e-2"}], "widths": [2, 3], "maybe": "x"}


def test_values_have_the_annotated_types_and_survive_plain():
    made = build(Outer, GOOD, "file")
    assert made.inner == Inner(3) and made.several == [Inner(1, rate=0.01)] and made.shape == (1, 2)
    assert isinstance(build(Inner, {"steps": 1, "rate": 1}, "f").rate, float)
    assert build(Outer, plain(made), "file") == made
    assert build(Outer, {"inner": {"steps": 1}}, "f").several is not build(Outer, {"inner": {"steps": 1}}, "f").several


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inner": {"steps": "six"}}, "file: inner: steps is 'six': give a whole number"),
        ({"inner": {"steps": 0}}, "steps is 0: give at least 1"),
        ({"inner": {"steps": True}}, "steps is True: give a whole number"),
        ({"inner": {"steps": 1.5}}, "steps is 1.5: give a whole number"),
        ({"inner": {}}, "file: inner: the key steps is missing"),
        ({"inner": 3}, "inner: 3 stands where keys"),
        ({"inner": {"steps": 1, "kind": "three"}}, "kind is 'three': give one of one, two"),
        ({"inner": {"steps": 1, "rate": float("nan")}}, "rate is nan: give a finite number"),
        ({"inner": {"steps": 1, "rate": 2}}, "rate is 2.0: give 0 to 1"),
        ({"inner": {"steps": 1, "rate": 10**400}}, "rate is inf: give a finite"),
        ({"several": "a"}, r"several is 'a': give a list"),
        ({"several": [{"steps": 1}, {"stepz": 1}]}, r"several\[1\]: the key 'stepz' .* did you mean steps\?$"),
        ({"widths": [1, 9]}, r"widths\[1\] is 9: give 1 to 8"),
        ({"shape": [1]}, "shape has 1 entries: give 2"),
        ({"free": 1}, "free is 1: give keys and values"),
        ({"maybe": 3}, "maybe is 3: give a text"),
        ({"quick": "yes"}, "quick is 'yes': give true or false"),
        ({"zzz": 1}, "the key 'zzz' is unknown: known keys are free, inner"),
        ({"maybe": "forbidden"}, "file: maybe must not be forbidden"),
    ],
)
def test_mistakes_are_named_with_key_value_and_remedy(change, words):
    with pytest.raises(InputError, match=words):
        build(Outer, GOOD | change, "file")


def test_differences_name_the_key_and_ignore_free_ones():
    old = build(Outer, GOOD, "file")
    new = build(Outer, GOOD | {"several": [{"steps": 2, "rate": 0.01}], "quick": True, "free": {"a": 1}}, "file")
    assert list(differences(old, new)) == [("several[0].steps", 1, 2), ("free.a", None, 1)]
    assert list(differences(old, build(Outer, GOOD | {"quick": True}, "file"))) == []
