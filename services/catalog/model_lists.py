"""A server's list of models, in any of the forms that servers give it, as the models on offer."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from events import Closed, Maybe
from json_codec.text import mend_text

Json = Mapping[str, Any]

OTHER_KINDS = re.compile(r"embed|rerank|image|audio|speech|video|moderat|transcri|tts|stt", re.IGNORECASE)
"""What a list says in `type` of a model that doesn't chat (Together, LM Studio)."""
OTHER_NAMES = re.compile(
    r"embed|rerank|moderation|diffusion|transcribe|tts|speech|voice|musicgen|shieldgemma|wav2vec|cogvideo|seamless"
    r"|(^|[-_/:.])(bge|e5|gte|minilm|whisper|stt|asr|dall-e|clip|siglip|colpali|sdxl|sd3|flux|image|imagen|recraft"
    r"|ideogram|sora|veo|lyria|ltx|wan|t2v|i2v|guard|audio|realtime|kokoro|orpheus|chatterbox|bark|piper|csm|dia|zonos"
    r"|parakeet|canary|voyage|aqa|babbage|davinci)([-_/:.0-9]|$)",
    re.IGNORECASE,
)
"""Names by which models that don't chat are known, where a list tells nothing else."""


class Pricing(Closed):
    """US dollars per million tokens."""

    input_per_million: Maybe[float] = None
    output_per_million: Maybe[float] = None
    cached_input_per_million: Maybe[float] = None


class ModelInfo(Closed):
    """A model that a request can name. Sizes are in tokens; what the upstream doesn't tell is left out."""

    id: str
    provider: str
    name: Maybe[str] = None
    description: Maybe[str] = None
    capabilities: Maybe[dict[str, bool]] = None
    context_tokens: Maybe[int] = None
    max_output_tokens: Maybe[int] = None
    pricing: Maybe[Pricing] = None


class Listed(NamedTuple):
    """A model of a list, and whether it chats: a request that names no model gets the first that does."""

    info: ModelInfo
    chats: bool = True


def entries(answer: Any) -> list[Any]:
    """The entries of a list: OpenAI's `data`, Ollama's and Gemini's `models`, Cloudflare's `result`, or the list alone.

    Raise TypeError for an answer without a list.
    """
    match answer:
        case {"data": [*listed]} | ([_, *_] as listed) | {"models": [*listed]} | {"result": [*listed]}:
            return [_named(entry) for entry in listed]
    raise TypeError("no list of models")


def _named(entry: Any) -> Any:
    """An entry whose id is in another place."""
    if isinstance(entry, str):
        return {"id": entry}
    return {"id": entry.get("model") or entry.get("name"), **entry} if isinstance(entry, dict) else entry


def listed(said: Json, prefix: str, provider: str | None) -> Listed:
    """A model as Dedalus describes it, or as far as an OpenAI-compatible server does.

    `prefix` stands before its name here, and `provider` is known beforehand. Raise TypeError or LookupError for what
    is no model.
    """
    if not (isinstance(said["id"], str) and said["id"]):
        raise TypeError("a model's id is a text")
    model = prefix + mend_text(said["id"].removeprefix("models/"))
    named = (said.get("provider"), provider, said.get("owned_by"), model.partition("/")[0])
    by = mend_text(next(name for name in named if name and isinstance(name, str)))
    try:
        info = ModelInfo(id=model, provider=by, **_described(said))
    except ValidationError:
        info = ModelInfo(id=model, provider=by)
    return Listed(info, _chats(said, model))


def _chats(said: Json, model: str) -> bool:
    capabilities, architecture = _part(said, "capabilities"), _part(said, "architecture")
    if capabilities.get("completion_chat") is False:  # Mistral
        return False
    if "text" not in architecture.get("output_modalities", ("text",)):  # OpenRouter
        return False
    kind = said.get("type")
    return not (OTHER_NAMES.search(model) or (isinstance(kind, str) and OTHER_KINDS.search(kind)))


def _described(said: Json) -> dict[str, Any]:
    limits, meta, defaults = (_part(said, key) for key in ("token_limits", "meta", "defaults"))
    pricing = _part(said, "pricing")
    prices = {name: price for name in Pricing.model_fields if (price := pricing.get(name)) is not None}
    can = {mend_text(name): can for name, can in _part(said, "capabilities").items() if isinstance(can, bool)}
    return {
        "name": text(said.get("display_name")),
        "description": text(said.get("description")),
        "capabilities": can or None,
        "context_tokens": limits.get("input") or meta.get("n_ctx") or said.get("context_window"),
        "max_output_tokens": limits.get("output") or defaults.get("max_output_tokens"),
        "pricing": prices or None,
    }


def _part(said: Json, key: str) -> dict[str, Any]:
    part = said.get(key)
    return part if isinstance(part, dict) else {}


def text(said: Any) -> Any:
    """A text that can be sent on, where it is one."""
    return mend_text(said) if isinstance(said, str) else said
