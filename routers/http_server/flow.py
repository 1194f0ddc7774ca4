"""Flow control that can hold a connection's reading while its received bytes are parsed."""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl


class HoldableFlow(FlowControl):
    """uvicorn's flow control, which in addition reads nothing while it is held."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.held = False

    def resume_reading(self) -> None:
        """Read on. While held, only remember that the app wants to."""
        if self.held:
            self.read_paused = False
        else:
            super().resume_reading()

    def hold(self) -> None:
        """Read nothing until `release`."""
        if not self.held:
            self.held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read on, unless the app has paused reading."""
        if self.held:
            self.held = False
            if not self.read_paused and not self._transport.is_closing():
                self._transport.resume_reading()
