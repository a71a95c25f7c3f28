"""Random values of the shapes of a model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from botocore.model import Shape
from hypothesis import strategies as st

LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff", include_characters="\t\n\r")
"""All that XML 1.0 can carry."""


def values(shape: Shape, fewest: int = 0) -> st.SearchStrategy[Any]:
    """Values that the model allows; `fewest`: entries of a list.

    Structures and maps have at least one member: an empty one is nothing on the wire.
    """
    match shape.type_name:
        case "structure":
            return structures(shape, fewest=fewest)
        case "list":
            least = max(fewest, shape.metadata.get("min", 0))
            return st.lists(values(shape.member, fewest), min_size=least, max_size=3)
        case "map":
            return st.dictionaries(values(shape.key), values(shape.value), min_size=1, max_size=3)
        case "boolean":
            return st.booleans()
        case "integer" | "long":
            bound = 2 ** (31 if shape.type_name == "integer" else 63)
            return st.integers(shape.metadata.get("min", -bound), shape.metadata.get("max", bound - 1))
        case "float" | "double":
            return st.floats(allow_nan=False)
        case "blob":
            return st.binary(max_size=40)
        case "timestamp":
            days = st.datetimes(datetime(1970, 1, 2), datetime(2150, 1, 1), timezones=st.just(UTC))
            return days.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))
        case _:
            return texts(shape)


def texts(shape: Shape) -> st.SearchStrategy[str]:
    if allowed := shape.metadata.get("enum"):
        return st.sampled_from(allowed)
    least, most = shape.metadata.get("min", 0), min(shape.metadata.get("max", 2**30), shape.metadata.get("min", 0) + 20)
    pattern = shape.metadata.get("pattern")
    if pattern and "\\p{" not in pattern:  # the classes of another engine, which we do not enforce
        return st.from_regex(pattern, fullmatch=True, alphabet=LETTERS).filter(lambda text: least <= len(text) <= most)
    return st.text(LETTERS, min_size=least, max_size=most)


def structures(shape: Shape, *, empty: bool = False, fewest: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    members = shape.members
    needed = {name: values(members[name], fewest) for name in shape.required_members}
    optional = {name: values(member, fewest) for name, member in members.items() if name not in needed}
    found = st.fixed_dictionaries(needed, optional=optional)
    return found if empty or needed or not members else found.filter(bool)
