"""Proxies between a client and the service.

One loses a response, one breaks after each event, and one is cut and restored by the test.
"""

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def losing_an_answer(url: str) -> Iterator[str]:
    """A proxy whose first connection breaks when the first bytes of a response arrive."""
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

    with _proxy(Way) as proxy:
        yield proxy


@contextmanager
def tearing(url: str, more: int) -> Iterator[str]:
    """A proxy that breaks each connection after its first event, and after this number of bytes of the next one."""
    there = urlsplit(url)

    class Way(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((there.hostname, there.port)) as service, suppress(ConnectionError):
                seen = b""
                while not (seen.endswith(b"\n\n") and b"\nid: " in seen):
                    for end in select.select((self.request, service), (), ())[0]:
                        if end is self.request:
                            service.sendall(self.request.recv(65536))
                            continue
                        byte = service.recv(1)
                        if not byte:
                            return
                        seen += byte
                        self.request.sendall(byte)
                self.request.sendall(service.recv(more) if more else b"")

    with _proxy(Way) as proxy:
        yield proxy


@contextmanager
def _proxy(way: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), way) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, args=(0.02,)).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()


class Line:
    """A proxy to the service. `cut` closes its connections and each new one; `silence` holds back every byte.

    `say` also cuts it, and answers each new connection with the same bytes, as a proxy does in place of the service.
    `streams` is the number of event streams that are open.
    """

    def __init__(self, url: str) -> None:
        self.url = ""
        self.connections = 0
        self._streams: set[socket.socket] = set()
        there = urlsplit(url)
        self._service = (there.hostname, there.port)
        self._open = threading.Event()
        self._loud = threading.Event()
        self._instead = b""
        self.restore()

    @property
    def streams(self) -> int:
        return len(self._streams)

    def cut(self) -> None:
        self._open.clear()

    def silence(self) -> None:
        self._loud.clear()

    def say(self, response: bytes) -> None:
        self._instead = response
        self.cut()

    def restore(self) -> None:
        self._instead = b""
        self._open.set()
        self._loud.set()

    def carry(self, client: socket.socket) -> None:
        """Pass bytes on, in both directions, until one end closes or the proxy is cut."""
        if not self._open.is_set():
            client.sendall(self._instead if client.recv(65536) else b"")
            return
        self.connections += 1
        try:
            self._pass_on(client)
        finally:
            self._streams.discard(client)

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(self._service) as service, suppress(ConnectionError):
            across = {client: service, service: client}
            while self._open.is_set():
                for end in select.select(across, (), (), 0.05)[0] if self._loud.wait(0.05) else ():
                    data = end.recv(65536)
                    if not data:
                        return
                    if end is service:
                        self._count(client, data)
                    across[end].sendall(data)

    def _count(self, client: socket.socket, data: bytes) -> None:
        """Follow what a connection carries: a stream begins with its head and ends with its last chunk."""
        if b"content-type: text/event-stream" in data.lower():
            self._streams.add(client)
        if data.endswith(b"0\r\n\r\n"):
            self._streams.discard(client)


@contextmanager
def line_to(url: str) -> Iterator[Line]:
    """A proxy of the service at `url`."""
    line = Line(url)

    class Way(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            line.carry(self.request)

    with _proxy(Way) as line.url:
        yield line
        line.cut()
