"""Events of every kind, with any texts and values, and the frames that they have on the wire."""

from collections.abc import Sequence
from decimal import Decimal

from hypothesis import strategies as st
from odd_texts import clean_texts

from event_data import ApprovalRequest, ApprovalResponse, Complete, EventData, ToolUse
from event_logs.frames import FrameQueue
from events import EVENT_TYPES
from usage_models import NO_USAGE

Frame = tuple[str, str, str]

sources = st.sampled_from(["python", "mcp", "hosted", "client"])
json_objects = st.dictionaries(
    clean_texts,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | clean_texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(clean_texts, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)
st.register_type_strategy(Decimal, st.decimals(min_value=0, max_value=1000, places=6))  # dollars are finite
any_event = st.one_of(
    *(
        st.builds(kind, **{name: clean_texts for name, field in kind.model_fields.items() if field.annotation is str})
        for kind in EVENT_TYPES
        if not issubclass(kind, ToolUse | ApprovalRequest | ApprovalResponse | Complete)
    ),
    st.builds(
        ApprovalRequest, tool_call_id=clean_texts, name=clean_texts, arguments=json_objects, expires_at=clean_texts
    ),
    st.builds(ApprovalResponse, tool_call_id=clean_texts, approved=st.booleans(), arguments=st.none() | json_objects),
    st.builds(ToolUse, tool_call_id=clean_texts, name=clean_texts, arguments=json_objects, source=sources),
)
END = Complete(status="succeeded", usage=NO_USAGE, steps=1, duration_ms=1)


def frames_of(data: Sequence[EventData]) -> list[bytes]:
    queue = FrameQueue("run_1")
    for event in data:
        queue.put(event)
    return queue.take()


def written(frames: Sequence[Frame]) -> bytes:
    """The only bytes that frames with these fields can have on our wire."""
    return "".join(f"id: {number}\nevent: {name}\ndata: {data}\n\n" for number, name, data in frames).encode()
