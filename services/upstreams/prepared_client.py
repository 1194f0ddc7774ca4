"""The SDK's client, which builds the common part of an upstream's chat completion requests only once.

The SDK still handles authentication, retries under one idempotency key, and errors by status. Building a request's
options, URL and headers costs it 0.25 ms of CPU, a tenth of a run, although only the body and three headers differ.
"""

from collections.abc import Mapping
from typing import Any, cast

import httpx
from dedalus_labs import AsyncDedalus, AsyncStream, Omit
from dedalus_labs._models import FinalRequestOptions

VARYING = ("Content-Length", "Idempotency-Key", "x-stainless-retry-count")

ChatHeaders = Mapping[str, str | Omit]


class PreparedHeaders(dict[str, str | Omit]):
    """Headers of chat completion requests, with the first request that the SDK built from them, without its body."""

    first: httpx.Request | None = None


class PreparedDedalus(AsyncDedalus):
    """`AsyncDedalus` with one more method, `chat_completion`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # One entry for each key and address that the settings name, so there are only some dozens.
        self._chat_options: dict[tuple[object, ...], FinalRequestOptions] = {}

    async def chat_completion(self, headers: ChatHeaders, body: bytes) -> httpx.Response:
        """Send a chat completion request, and return the response with its body unread.

        Raise `APIStatusError` for a refusal and `APIConnectionError` if there is no response.
        """
        options = self._options(headers).model_copy(update={"content": body})
        response = await self.request(httpx.Response, options, stream=True, stream_cls=AsyncStream[Any])
        return cast("httpx.Response", response)  # which is what the SDK returns for this `cast_to`

    async def list_models(self, headers: ChatHeaders) -> bytes:
        """Ask for the models, and return the body whatever its content type is: some servers send none.

        Raise as `chat_completion` does.
        """
        response = await self.get("/models", cast_to=httpx.Response, options={"headers": headers})
        return response.content

    def _options(self, headers: ChatHeaders) -> FinalRequestOptions:
        address = str(self.base_url)
        sent = (value if isinstance(value, str) else None for value in headers.values())
        key = (address, *headers, *sent)
        options = self._chat_options.get(key)
        if options is None:
            # A whole URL: from a path, the SDK parses two more.
            options = FinalRequestOptions.construct(method="post", url=f"{address.rstrip('/')}/chat/completions")
            options.headers = PreparedHeaders(headers)
            self._chat_options[key] = options
        return options

    def _build_request(self, options: FinalRequestOptions, *, retries_taken: int = 0) -> httpx.Request:
        """Build a request, the SDK's way or from the first one with the same headers."""
        shared, body = options.headers, options.content
        if not isinstance(shared, PreparedHeaders) or not isinstance(body, bytes):
            return super()._build_request(options, retries_taken=retries_taken)
        if shared.first is None:
            built = super()._build_request(options, retries_taken=retries_taken)
            shared.first = httpx.Request(built.method, built.url, headers=built.headers, extensions=built.extensions)
            return built
        first = shared.first
        headers = first.headers.copy()
        varying = (str(len(body)), options.idempotency_key or "", str(retries_taken))
        headers.update(dict(zip(VARYING, varying, strict=True)))
        request = httpx.Request(
            first.method, first.url, headers=headers, stream=httpx.ByteStream(body), extensions=first.extensions
        )
        request.read()
        return request
