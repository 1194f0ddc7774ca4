"""Tests the listening socket."""

import logging
import socket

import pytest
import uvicorn
from process import LISTENING

import serving


class Client(logging.Handler):
    """Connects to the URL that is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = LISTENING.search(record.getMessage())
        assert found is not None
        host, _, port = found[1].removeprefix("http://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        self.reached.append(host)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_client_can_connect_once_the_url_is_logged(host: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that starts the service waits for this line, and connects at once."""
    client = Client()
    logger = logging.Logger("listening", logging.INFO)
    logger.addHandler(client)
    monkeypatch.setattr(serving, "logger", logger)
    config = uvicorn.Config(lambda: None, host=host, port=0, log_config=None)
    serving.listen(config, send_timeout_s=5).close()
    assert client.reached == [shown]
