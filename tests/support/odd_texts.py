"""Texts that readers get wrong: halves of pairs, separators of lines, quotes; and JSON values of such texts."""

from hypothesis import strategies as st


def units(text: str) -> list[int]:
    """The UTF-16 code units of a text, one by one."""
    found: list[int] = []
    for character in map(ord, text):
        above = character - 0x10000
        found += [character] if above < 0 else [0xD800 + (above >> 10), 0xDC00 + (above & 0x3FF)]
    return found


def whole(text: str) -> str:
    """The text with pairs joined and halves replaced, computed one code unit at a time."""
    characters: list[int] = []
    for unit in units(text):
        if 0xDC00 <= unit < 0xE000 and characters and 0xD800 <= characters[-1] < 0xDC00:
            characters[-1] = 0x10000 + ((characters[-1] - 0xD800) << 10) + (unit - 0xDC00)
        else:
            characters.append(unit)
    return "".join("\ufffd" if 0xD800 <= character < 0xE000 else chr(character) for character in characters)


def halves(text: str) -> str:
    """The text with each character beyond the basic plane as two surrogates, so that a split can fall between them."""
    return "".join(map(chr, units(text)))


ODD = "\u2028\u2029\x85\x0b\x0c\x1c\x00\x7f\ufeff\r\n\\\"'😀\ud83d\ude00\udc00\ud800"
CLEAN = "".join(filter(str.isprintable, ODD)) + "\u2028\x85\r\n\0"


def texts_of(characters: st.SearchStrategy[str], often: str) -> st.SearchStrategy[str]:
    """Texts in which these characters are frequent, as they would not be in an alphabet of `st.text`."""
    return st.lists(characters | st.sampled_from(often), max_size=12).map("".join)


texts = texts_of(st.characters(), ODD)
clean_texts = texts_of(st.characters(exclude_categories=["Cs"]), CLEAN)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
