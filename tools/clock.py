"""Reports the current time, which no model knows."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tools import ToolError, tool


@tool(idempotent=True)
def current_time(timezone: str = "UTC") -> str:
    """The current date and time in a time zone, with the day of the week.

    Args:
        timezone: An IANA name such as Europe/Oslo.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolError(f"There is no time zone {timezone[:100]!r}. Use a name such as Europe/Oslo or UTC.") from None
    now = datetime.now(zone)
    return f"{now:%A}, {now.isoformat(timespec='seconds')} ({now:%Z})"
