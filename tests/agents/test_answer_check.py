"""Tests which answers match a JSON Schema, and what a model learns about those that don't."""

import time
from typing import Any

import pytest

from closed_models import ABSENT
from services.agents.answer_check import EMPTY, SEVERAL, TOO_LONG, Answer, question_again, read_answer
from services.agents.conversation import followed_up

pytestmark = pytest.mark.anyio

Json = dict[str, Any]

CITY: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "celsius": {"type": "number"}},
    "required": ["city", "celsius"],
    "additionalProperties": False,
}
OSLO = '{"city": "Oslo", "celsius": 3}'
BERGEN = '{"city": "Bergen", "celsius": 7}'


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        (OSLO, CITY, {"city": "Oslo", "celsius": 3}),
        (f"As [1] says:\n```json\n{OSLO}\n```", CITY, {"city": "Oslo", "celsius": 3}),
        (f"Not {{}}, but {OSLO}.", CITY, {"city": "Oslo", "celsius": 3}),
        (f"{OSLO}\n{OSLO}", CITY, {"city": "Oslo", "celsius": 3}),
        ("null", {"type": ["object", "null"]}, None),
        ("false", {"type": "boolean"}, False),
        ("[]", {}, []),
        ("9007199254740993", {"type": "integer"}, 9007199254740993),
    ],
)
async def test_a_matching_answer_has_a_value(text: str, schema: Json, value: Any) -> None:
    """Words, fences, citations and repetitions around the value don't matter."""
    assert await read_answer(text, schema, None) == Answer(value)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", [EMPTY]),
        (" \n", [EMPTY]),
        ("It is cold.", ["the answer: it is not valid JSON: Expecting value (line 1, column 1)"]),
        ('{"city": "Oslo"', ["the answer: it is not valid JSON: Expecting ',' delimiter (line 1, column 16)"]),
        ('{"city": "Oslo"}', ["celsius: is required"]),
        ('{"city": 1, "celsius": "3"}', ["city: must be of type string", "celsius: must be of type number"]),
        (f"{OSLO}\n{BERGEN}", [SEVERAL]),
        ("null", ["the answer: must be of type object"]),
        (f"[{OSLO}]", ["the answer: must be of type object"]),
        ("[" + "1," * 60_000 + "1]", [TOO_LONG]),
        ('{"city": ' + "[" * 70 + "]" * 70 + "}", [TOO_LONG]),
    ],
    ids=lambda case: str(case)[:30],
)
async def test_an_answer_that_does_not_match_has_faults(text: str, faults: list[str]) -> None:
    """The faults name the place, and never quote the answer."""
    answer = await read_answer(text, CITY, None)
    assert answer.value is ABSENT
    assert sorted(answer.faults) == sorted(faults)


async def test_the_faults_say_that_an_answer_was_cut_off() -> None:
    """A model that ran out of tokens learns why its JSON has no end. A complete value counts all the same."""
    cut = await read_answer('{"city": "Os', CITY, "length")
    assert cut.faults[0] == "the answer was cut off (length): make it shorter"
    assert (await read_answer(OSLO, CITY, "length")).faults == ()


async def test_a_check_is_bounded_in_time() -> None:
    """An answer whose check would take long is invalid, and the check isn't made."""
    doubling = {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}
    began = time.process_time()
    answer = await read_answer('{"a":' * 40 + "1" + "}" * 40, doubling, None)
    assert answer.faults == (TOO_LONG,)
    assert time.process_time() - began < 2


def test_the_question_has_the_faults_and_the_schema() -> None:
    """A server may ignore the schema of the request, so the question repeats it."""
    question = question_again(Answer(faults=("city: is required",)), {"required": ["city"]})
    assert "\n- city: is required\n" in question
    assert question.endswith('\n\n{"required":["city"]}')


@pytest.mark.parametrize(
    ("last", "answer", "messages"),
    [
        (
            {"role": "user", "content": "A?"},
            "b",
            [
                {"role": "user", "content": "A?"},
                {"role": "assistant", "content": "b", "x": 1},
                {"role": "user", "content": "C?"},
            ],
        ),
        ({"role": "user", "content": "A?"}, " ", [{"role": "user", "content": "A?\n\nC?"}]),
        (
            {"role": "tool", "tool_call_id": "1", "content": "a"},
            "",
            [{"role": "tool", "tool_call_id": "1", "content": "a"}, {"role": "user", "content": "C?"}],
        ),
    ],
)
def test_the_next_question_follows_the_answer(last: Json, answer: str, messages: list[Json]) -> None:
    """The model's own answer stays in the conversation, unless it is blank, which servers refuse."""
    assert followed_up([last], answer, {"x": 1}, "C?") == messages
