"""Reads the Accept header."""

from starlette.datastructures import Headers

QUALITY = "q="


def accepts_events(headers: Headers) -> bool:
    """Whether the client names text/event-stream, and not with a quality of 0."""
    return _qualities(headers).get("text/event-stream", 0) > 0


def prefers_json(headers: Headers) -> bool:
    """Whether a refusal should be JSON: the client names application/json and not text/event-stream, or refuses that.

    A quality of 0 means "not acceptable" (RFC 9110, section 12.4.2). Otherwise a stream wins over JSON, whatever their
    qualities: the client asked a route that streams.
    """
    qualities = _qualities(headers)
    events = qualities.get("text/event-stream")
    return qualities.get("application/json", 0) > 0 if events is None else events == 0


def prefers_html(headers: Headers) -> bool:
    """Whether the client names text/html, with a higher quality than application/json. Browsers name only the first."""
    qualities = _qualities(headers)
    return qualities.get("text/html", 0) > qualities.get("application/json", 0)


def _qualities(headers: Headers) -> dict[str, float]:
    """Return the quality of each media type that the client names, without its other parameters."""
    qualities: dict[str, float] = {}
    for item in ",".join(headers.getlist("accept")).lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        quality = next((_number(part) for part in parameters if part.startswith(QUALITY)), 1.0)
        qualities[media_type] = max(quality, qualities.get(media_type, 0))
    return qualities


def _number(parameter: str) -> float:
    """Return the quality, or 1 if it is not a number."""
    try:
        return float(parameter.removeprefix(QUALITY))
    except ValueError:
        return 1.0
