"""A program whose MCP servers are commands, one of them deaf. It writes their process ids, and waits to be killed."""

import asyncio
import sys

from mcp_hands import CLOCK
from mcp_peers import children, down, offered, pool_of

DEAF = {"command": sys.executable, "args": ["-c", "import signal; signal.pause()"]}


async def host() -> None:
    """Start the commands."""
    async with pool_of(connect_timeout_s=60, clock=CLOCK, deaf=DEAF) as pool:
        asking = asyncio.create_task(down(pool, "deaf"))
        await offered(pool, "clock")
        sys.stdout.write(f"{' '.join(map(str, children()))}\n")
        sys.stdout.flush()
        await asking


def main() -> int:
    """Run until the test kills this process."""
    asyncio.run(host())
    return 0
