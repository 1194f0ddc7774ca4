"""A proxy that loses an answer, between a client and the service."""

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def losing_an_answer(url: str) -> Iterator[str]:
    """A way to the service on which the first connection breaks when the first bytes of an answer come."""
    there = urlsplit(url)
    lost = threading.Event()

    class Way(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((there.hostname, there.port)) as service, suppress(ConnectionError):
                across = {self.request: service, service: self.request}
                while True:
                    for end in select.select(across, (), ())[0]:
                        data = end.recv(65536)
                        if not data or (end is service and not lost.is_set()):
                            lost.set()
                            return
                        across[end].sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Way) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, args=(0.02,)).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
