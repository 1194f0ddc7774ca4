"""Reads the lists of models that servers publish, in each of the forms that they use."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from catalog_models import ModelInfo
from json_codec.text import mend_text
from services.catalog.list_prices import listed_price
from services.upstreams.prices import Price

Json = Mapping[str, Any]

UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""The exceptions that reading JSON of an unknown shape can raise."""

OTHER_KINDS = re.compile(r"embed|rerank|image|audio|speech|video|moderat|transcri|tts|stt", re.IGNORECASE)
"""Values of `type` in a list (Together, LM Studio) that mark a model that doesn't chat."""
OTHER_NAMES = re.compile(
    r"embed|rerank|moderation|diffusion|transcribe|tts|speech|voice|musicgen|shieldgemma|wav2vec|cogvideo|seamless"
    r"|(^|[-_/:.])(bge|e5|gte|minilm|whisper|stt|asr|dall-e|clip|siglip|colpali|sdxl|sd3|flux|image|imagen|recraft"
    r"|ideogram|sora|veo|lyria|ltx|wan|t2v|i2v|guard|audio|realtime|kokoro|orpheus|chatterbox|bark|piper|csm|dia|zonos"
    r"|parakeet|canary|voyage|aqa|babbage|davinci)([-_/:.0-9]|$)",
    re.IGNORECASE,
)
"""Names of models that don't chat, for lists that report nothing but names."""


class ListedModel(NamedTuple):
    """A model of a list, whether it chats, and its price in that list.

    A request that names no model gets the first that chats.
    """

    info: ModelInfo
    chats: bool = True
    price: Price | None = None


def list_entries(response: Any) -> list[Any]:
    """Return the entries of a list.

    They are in `data` (OpenAI), `models` (Ollama, Gemini) or `result` (Cloudflare), or the response is the list itself.
    Raise TypeError for a response without a list.
    """
    match response:
        case {"data": [*entries]} | ([_, *_] as entries) | {"models": [*entries]} | {"result": [*entries]}:
            return [_with_id(entry) for entry in entries]
    raise TypeError("no list of models")


def _with_id(entry: Any) -> Any:
    """Return the entry with an `id`, which some servers call `model` or `name`, or send as the whole entry."""
    if isinstance(entry, str):
        return {"id": entry}
    return {"id": entry.get("model") or entry.get("name"), **entry} if isinstance(entry, dict) else entry


def read_model(entry: Json, prefix: str, provider: str | None) -> ListedModel:
    """Read an entry in Dedalus' form, or in the shorter one of an OpenAI-compatible server.

    `prefix` is put before the model's name. `provider` is the provider where it is known beforehand. Details of an
    unexpected type are left out. Raise TypeError or LookupError for an entry that is no model.
    """
    if not (isinstance(entry["id"], str) and entry["id"]):
        raise TypeError("a model's id must be a string")
    model = prefix + mend_text(entry["id"].removeprefix("models/"))  # Gemini's list has names with this prefix
    price = listed_price(entry.get("pricing"), provider)
    provider = _provider(entry, provider, model)
    try:
        info = ModelInfo(id=model, provider=provider, **_details(entry))
    except ValidationError:
        info = ModelInfo(id=model, provider=provider)
    return ListedModel(info, _chats(entry, model), price)


def _provider(entry: Json, known: str | None, model: str) -> str:
    candidates = (entry.get("provider"), known, entry.get("owned_by"), model.partition("/")[0])
    return mend_text(next(name for name in candidates if name and isinstance(name, str)))


def _chats(entry: Json, model: str) -> bool:
    capabilities, architecture = _section(entry, "capabilities"), _section(entry, "architecture")
    if capabilities.get("completion_chat") is False:  # Mistral
        return False
    if "text" not in architecture.get("output_modalities", ("text",)):  # OpenRouter
        return False
    kind = entry.get("type")
    return not (OTHER_NAMES.search(model) or (isinstance(kind, str) and OTHER_KINDS.search(kind)))


def _details(entry: Json) -> dict[str, Any]:
    limits, meta, defaults = (_section(entry, key) for key in ("token_limits", "meta", "defaults"))
    capabilities = _section(entry, "capabilities")
    flags = {mend_text(name): value for name, value in capabilities.items() if isinstance(value, bool)}
    return {
        "name": clean_text(entry.get("display_name")),
        "description": clean_text(entry.get("description")),
        "capabilities": flags or None,
        "context_tokens": limits.get("input") or meta.get("n_ctx") or entry.get("context_window"),
        "max_output_tokens": limits.get("output") or defaults.get("max_output_tokens"),
    }


def _section(entry: Json, key: str) -> dict[str, Any]:
    """Return the object below a key, or an empty one."""
    section = entry.get(key)
    return section if isinstance(section, dict) else {}


def clean_text(value: Any) -> Any:
    """Replace lone surrogates in a string, which no JSON response could hold. Return other values unchanged."""
    return mend_text(value) if isinstance(value, str) else value
