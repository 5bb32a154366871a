"""What the names of classes mean: `Mask`, `with mask` and `with_mask` are one class.

Data sets and annotation tools spell the three classes in many ways. `same_class` is the one place
that knows which spellings belong together.
"""

from collections.abc import Iterable

WITH_MASK, WITHOUT_MASK, INCORRECT = "with_mask", "without_mask", "mask_weared_incorrect"

# By meaning, without spaces, hyphens, underscores and capitals: `No-Mask` is here as `nomask`.
# Seen in the public sets andrewmvd/face-mask-detection, PWMFD, FMLD, Moxa3K, MaskedFace-Net, in
# Wobot's and Roboflow's.
SPELLINGS = {
    WITH_MASK: {
        "withmask", "mask", "masked", "maskon", "facemask", "withfacemask", "facewithmask",
        "maskedface", "facemasked", "wearingmask", "maskworn", "correctmask", "maskcorrect",
        "correctlymasked", "correctlymaskedface", "maskwearedcorrect", "maskworncorrectly",
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
    },
}  # fmt: skip


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


def _bare(name: str) -> str:
    """A name without capitals, and without what is neither a letter nor a digit.

    A name of nothing else stays as it is.
    """
    return "".join(filter(str.isalnum, name.casefold())) or name
