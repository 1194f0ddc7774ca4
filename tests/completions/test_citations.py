"""The table "Sources" of docs/upstreams.md: each provider's citations are read, and only safe links are kept."""

import json
from typing import Any

import pytest

from services.completions.chunks import ChatChunks, SourceDelta
from services.completions.citations import MAX_SNIPPET, MAX_SOURCES, MAX_TITLE, MAX_URL

Json = dict[str, Any]
A, B = "https://a.example/1", "http://b.example/2?q=x#y"
WEB = {"type": "web_search_result_location", "url": A, "title": "A", "cited_text": "about A", "encrypted_index": "Eo8B"}


def choice(delta: Json | None = None, **more: Any) -> Json:
    return {"choices": [{"index": 0, "delta": delta or {}, **more}]}


def sources(*chunks: Json) -> list[tuple[str, str | None, str | None]]:
    """Return the sources of an answer with these chunks, and check that no chunk counts as a fault."""
    reader = ChatChunks()
    deltas = [delta for chunk in chunks for delta in reader.feed(f"data: {json.dumps(chunk)}\n\n".encode())]
    assert not reader.over
    return [delta[:] for delta in deltas if isinstance(delta, SourceDelta)]


FORMS = {
    "openai": choice(
        {"annotations": [{"type": "url_citation", "url_citation": {"url": A, "title": "A", "end_index": 9}}]}
    ),
    "openai message": {
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": "Yes.",
                    "annotations": [{"type": "url_citation", "url_citation": {"url": A, "title": "A"}}],
                },
            }
        ]
    },
    "openrouter": choice(
        {
            "content": "",
            "annotations": [{"type": "url_citation", "url_citation": {"url": A, "title": "A", "content": "about A"}}],
        }
    ),
    "perplexity": {
        **choice({"content": "x"}),
        "citations": [A],
        "search_results": [{"title": "A", "url": A, "date": "2026"}],
    },
    "xai": {"choices": [], "citations": [A], "usage": {"total_tokens": 3}},
    "gemini": choice(
        None, finish_reason="stop", groundingMetadata={"groundingChunks": [{"web": {"uri": A, "title": "A"}}]}
    ),
    "gemini retrieval": choice(
        None,
        finish_reason="stop",
        grounding_metadata={"grounding_chunks": [{"retrieved_context": {"uri": A, "title": "A", "text": "t"}}]},
    ),
    "litellm gemini": {
        **choice(),
        "vertex_ai_grounding_metadata": [{"groundingChunks": [{"web": {"uri": A, "title": "A"}}]}],
    },
    "anthropic": choice({"content": [{"type": "text", "text": "x", "citations": [WEB]}]}),
    "litellm anthropic": choice({"content": "", "provider_specific_fields": {"citation": WEB}}),
    "litellm anthropic message": choice({"provider_specific_fields": {"citations": [[WEB]]}}),
    "mistral": choice({"content": [{"type": "tool_reference", "tool": "web_search", "title": "A", "url": A}]}),
    "cohere": choice(
        {"citations": [{"start": 0, "end": 2, "sources": [{"id": "1", "document": {"url": A, "title": "A"}}]}]}
    ),
    "azure": choice({"context": {"citations": [{"url": A, "title": "A", "content": "about A"}], "intent": "[]"}}),
    "groq": choice({"executed_tools": [{"type": "search", "search_results": {"results": [{"url": A, "title": "A"}]}}]}),
    "zhipu": {**choice(), "web_search": [{"link": A, "title": "A", "media": "M"}]},
    "alibaba": {**choice(), "search_info": {"search_results": [{"url": A, "title": "A", "index": 1}]}},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read(form: str) -> None:
    """Each provider's form gives the page, with its title and the cited text if the form has them."""
    [(url, title, snippet)] = sources(FORMS[form])
    assert (url, title) == (A, None if form == "xai" else "A")
    assert snippet in (None, "about A")
    assert (snippet is None) == ("about A" not in json.dumps(FORMS[form]))


def test_each_page_comes_once_and_in_order() -> None:
    """Servers repeat their citations in each chunk; a page is reported with the first, before later text."""
    reader = ChatChunks()
    first = {**choice({"content": "one"}), "citations": [A]}
    second = {**choice({"content": "two"}), "citations": [A, B]}
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in (first, first, second, second))
    kept = [delta[0] for delta in reader.feed(body.encode())]
    assert kept == ["one", A, "one", "two", B, "two"]


def test_a_citation_is_no_piece_of_the_answer() -> None:
    """Citations beside or after a finish reason don't make it an early one: the answer's end is still proved."""
    for last in (choice({"annotations": [{"url": A}]}, finish_reason="stop"), {**choice(None), "citations": [A]}):
        reader = ChatChunks()
        for chunk in (choice({"content": "Yes."}), choice(None, finish_reason="stop"), last):
            reader.feed(f"data: {json.dumps(chunk)}\n\n".encode())
        assert reader.ended
        assert reader.finish_reason == "stop"


REFUSED = [
    *(
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://a.example",
        "//a.example",
        "/local",
        "a.example",
        "https://",
        "",
    ),
    *(
        "https://user@a.example",
        "https://user:secret@a.example",
        "https:\\\\a.example",
        "https://a.example\\@b.example",
    ),
    *("https://a.example/ b", "https://a.example/\n", "https://a.example/\u202e", 'https://a.example/"><script>'),
    *("https://a.example:port", "https://[half", f"https://a.example/{'x' * MAX_URL}", " https://a.example"),
]


@pytest.mark.parametrize("url", REFUSED)
def test_only_links_to_web_pages_are_kept(url: str) -> None:
    """A URL of another scheme, with a user, with characters that URLs can't have, or too long is left out."""
    assert sources({**choice(), "citations": [url, A]}) == [(A, None, None)]


ODD: list[Any] = [
    None,
    7,
    True,
    {},
    [None, 7, [], {}],
    {"url": 7},
    {"url": None, "citations": "x"},
    [[[[[[[[[A]]]]]]]]],
]


@pytest.mark.parametrize("value", ODD)
def test_values_of_other_shapes_are_left_out(value: Any) -> None:
    """No shape of a citation makes the answer fail."""
    chunk = choice({"content": "Yes.", "annotations": value, "provider_specific_fields": value, "context": value})
    assert sources({**chunk, "citations": value, "search_info": value, "groundingMetadata": value}) == []


def test_texts_are_one_line_and_bounded() -> None:
    """Control characters and lone surrogates are taken out of a title, emoji and Persian stay; long texts are cut."""
    joined = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d🚀"
    hard = f" A\x00\x1b[31m\u202e\n\t{joined}\u2028\ud800 <b>"
    page = {"url": A, "title": hard, "snippet": "word " * MAX_SNIPPET}
    [(_, title, snippet)] = sources({**choice(), "search_results": [page]})
    assert title == f"A[31m {joined} \ufffd <b>"
    assert snippet is not None
    assert (len(snippet), snippet[-1]) == (MAX_SNIPPET, "…")
    assert sources({**choice(), "search_results": [{"url": A, "title": "\u202e\u200b \n"}]}) == [(A, None, None)]
    [(_, long, _)] = sources({**choice(), "search_results": [{"url": A, "title": "x" * (MAX_TITLE + 1)}]})
    assert long is not None
    assert len(long) == MAX_TITLE


def test_the_number_of_sources_is_bounded() -> None:
    """An answer has no more than MAX_SOURCES, also if they come in several chunks."""
    pages = [f"https://a.example/{number}" for number in range(2 * MAX_SOURCES)]
    found = sources({**choice(), "citations": pages[:90]}, {**choice(), "citations": pages})
    assert [url for url, *_ in found] == pages[:MAX_SOURCES]
