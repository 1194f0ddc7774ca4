"""A FastMCP server for tests, over stdio or, with a port, over streamable HTTP."""

import sys

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.utilities.types import Image

server = FastMCP("shop")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


@server.tool
def price(book: str) -> dict[str, float]:
    """Return the price of a book."""
    if book != "Moby Dick":
        raise ToolError(f"No book titled {book}")
    return {"price": 9.5}


@server.tool
def titles() -> list[str]:
    """Return every title."""
    return ["Moby Dick", "Emma"]


@server.tool
def cover() -> list[str | Image]:
    """Return a text and a picture."""
    return ["The cover:", Image(data=PIXEL, format="png")]


@server.tool
def broken() -> str:
    """Raise an error whose text no caller should receive."""
    raise RuntimeError("password is 1234")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
    else:
        server.run(show_banner=False)
