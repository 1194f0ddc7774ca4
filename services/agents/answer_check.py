"""Reads the value of a final answer, and checks it against the request's JSON Schema."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from closed_models import ABSENT
from json_codec.embedded import Found, values_among
from json_codec.scan import JsonLimits, JsonTooLarge, scan
from json_codec.text import dumps
from json_schema.validation import faults
from json_schema.work import TooMuchWork

LIMITS = JsonLimits(values=50_000, depth=64)
MOST_STEPS = 100_000  # of one check, about 0.2 s in a thread
MAX_VALUES = 20  # JSON values in one answer that are checked
MAX_REPEATS = 2  # how often the model is asked again for an answer that matches

WHOLE = "the answer"  # the name of the whole value in faults
EMPTY = "the answer is empty"
TOO_LONG = "the answer is too long to be checked: make it shorter"
SEVERAL = "the answer has several JSON values that match: write only one"

Schema = Mapping[str, Any]


class Answer(NamedTuple):
    """The value of an answer, or its faults in words for the model. `value` is `ABSENT` if there are faults."""

    value: Any = ABSENT
    faults: tuple[str, ...] = ()


async def read_answer(text: str, schema: Schema, cut_reason: str | None) -> Answer:
    """Return the value of an answer, without code fences and words around it. The schema has passed `check_schema`.

    `cut_reason` says why the answer was cut off, if it was. The check runs in a thread, in bounded time.
    """
    answer = await asyncio.to_thread(_read, text, schema)
    if answer.faults and cut_reason is not None:
        return Answer(faults=(f"the answer was cut off ({cut_reason}): make it shorter", *answer.faults))
    return answer


def question_again(answer: Answer, schema: Schema) -> str:
    """Return the message that asks for another answer in place of one with faults."""
    lines = "\n".join(f"- {fault}" for fault in answer.faults)
    return (
        f"Your answer does not match the JSON Schema of this conversation:\n{lines}\n\n"
        "Write the whole answer again, as one JSON value that matches the schema, without any other text and without "
        f"a code fence.\n\n{dumps(schema)}"
    )


def _read(text: str, schema: Schema) -> Answer:
    if not text.strip():
        return Answer(faults=(EMPTY,))
    try:
        found = values_among(text)
        checked = [_checked(each, schema) for each in found[:MAX_VALUES]]
    except (ValueError, RecursionError) as error:
        problem = TOO_LONG if isinstance(error, JsonTooLarge | TooMuchWork | RecursionError) else f"{WHOLE}: {error}"
        return Answer(faults=(problem,))
    matching = {dumps(each.value): each for each in checked if not each.faults}
    if len(matching) > 1 or len(found) > MAX_VALUES:
        return Answer(faults=(SEVERAL,))
    if matching:
        return next(iter(matching.values()))
    lengths = [len(each.written) for each in found]
    return checked[lengths.index(max(lengths))]


def _checked(found: Found, schema: Schema) -> Answer:
    """Check one value. Raise `JsonTooLarge` or `TooMuchWork` for one that is too large to be checked."""
    scan(found.written.encode("utf-8", "replace"), LIMITS)
    problems = faults(schema, found.value, WHOLE, MOST_STEPS)
    return Answer(faults=tuple(problems)) if problems else Answer(found.value)
