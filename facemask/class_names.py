"""What the names of classes mean: `Mask`, `with mask` and `with_mask` are one class.

Data sets and annotation tools spell the three classes in many ways. `same_class` is the one place
that knows which spellings belong together.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from facemask.errors import UsageError

WITH_MASK, WITHOUT_MASK, INCORRECT = "with_mask", "without_mask", "mask_weared_incorrect"

# By meaning, without spaces, hyphens, underscores and capitals: `No-Mask` is here as `nomask`.
# Seen in the public sets andrewmvd/face-mask-detection, PWMFD, FMLD, Moxa3K, MaskedFace-Net (whose
# folders are CMFD and IMFD), in Wobot's and Roboflow's.
SPELLINGS = {
    WITH_MASK: {
        "withmask", "mask", "masked", "maskon", "facemask", "withfacemask", "facewithmask",
        "maskedface", "facemasked", "wearingmask", "maskworn", "correctmask", "maskcorrect",
        "correctlymasked", "correctlymaskedface", "maskwearedcorrect", "maskworncorrectly",
        "propermask", "cmfd",
    },
    WITHOUT_MASK: {
        "withoutmask", "nomask", "unmasked", "notmasked", "nonmasked", "nonmask", "maskoff",
        "nofacemask", "withoutfacemask", "withnomask", "facenomask", "facewithoutmask",
        "facewithnomask", "unmaskedface", "notwearingmask", "bareface",
    },
    INCORRECT: {
        "maskwearedincorrect", "maskwearedincorrectly", "incorrect", "incorrectmask",
        "maskincorrect", "maskedincorrect", "incorrectlymasked", "incorrectlymaskedface",
        "maskwornincorrect", "maskwornincorrectly", "incorrectlywornmask", "withincorrectmask",
        "wearingmaskincorrectly", "facewithmaskincorrect", "improper", "impropermask",
        "maskimproper", "improperlywornmask", "wrongmask", "badmask", "partialmask",
        "incorrectly", "incorrectlyworn", "wornincorrectly", "imfd",
    },
}  # fmt: skip


@lru_cache(64)  # asked for each face of each frame that is drawn
def meaning(name: str) -> str | None:
    """Which of the three classes a name means; None for another class, such as `scarf`."""
    bare = _bare(name)
    return next((label for label, names in SPELLINGS.items() if bare in names), None)


def same_class(name: str, class_names: Iterable[str]) -> str | None:
    """The one of class_names that a name stands for; None where there is none, or several.

    The same name counts first, then one that differs in capitals, spaces, hyphens or underscores
    only, then one of the same meaning.
    """
    known = tuple(class_names)
    for key in (str, _bare, meaning):
        if (wanted := key(name)) is not None:
            matches = [each for each in known if key(each) == wanted]
            if matches:
                return matches[0] if len(matches) == 1 else None
    return None


def same_meaning(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two of several names that stand for one class; None where all differ."""
    known: dict[str, str] = {}
    for name in names:
        earlier = known.setdefault(meaning(name) or _bare(name), name)
        if earlier is not name:
            return earlier, name
    return None


def without_incorrect(class_names: Sequence[str], into: str) -> tuple[str, ...]:
    """The classes that remain when the incorrectly worn masks are merged into another class.

    Raises UsageError where there is not one class of each meaning, or no third class.
    """
    incorrect, other = same_class(INCORRECT, class_names), same_class(into, class_names)
    if not (incorrect and other) or len(class_names) < 3:
        raise UsageError(
            f"--merge-incorrect {into}: expected a model of three or more classes, one of which"
            f" means {INCORRECT} and one {into}; found {', '.join(class_names)}"
        )
    return tuple(name for name in class_names if name != incorrect)


def _bare(name: str) -> str:
    """A name without capitals, and without what is neither a letter nor a digit.

    A name of nothing else stays as it is.
    """
    return "".join(filter(str.isalnum, name.casefold())) or name
