"""A model file for llama.cpp that answers by script: 100 KB, loaded at once, with the same answer each time.

Each token's embedding points at the one token that may follow it; attention and the feed-forward network are zero. The
chat template ends the prompt with `<|call|>` or `<|say|>`, after which the whole call, or the whole answer, follows as
one token. So a test runs llama.cpp's own handling of templates, grammars and calls.
"""

import struct
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

CALL = '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'
ANSWER = "It is noon."
SIZE = 32  # of an embedding
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # the types of GGUF's metadata
UNKNOWN, CONTROL, USER, BYTE = 2, 3, 4, 6  # the types of tokens

MESSAGES = """
{%- for message in messages %}
{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.role == "assistant" and message.tool_calls %}<|im_start|>assistant
{%- for tool_call in message.tool_calls %}
<tool_call>
{"name": "{{ tool_call.function.name }}", "arguments": {{ tool_call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{%- endfor %}
"""
TOOLS = """
{%- if tools %}<|im_start|>system
These are your tools:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools><|im_end|>
{% endif %}
"""
SAY = "{%- if add_generation_prompt %}<|im_start|>assistant\n<|say|>{% endif %}"
CALL_FIRST = """
{%- if add_generation_prompt %}<|im_start|>assistant
{% if tools and messages[-1].role != "tool" %}<|call|>{% else %}<|say|>{% endif %}{% endif %}
"""
PLAIN = "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
PLAIN_TEMPLATE = PLAIN + SAY
TOOL_TEMPLATE = TOOLS + MESSAGES + CALL_FIRST.rstrip("\n")

TOKENS = (
    ("<unk>", UNKNOWN),
    *((name, CONTROL) for name in ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|call|>", "<|say|>")),
    (CALL, USER),
    (ANSWER, USER),
    *((f"<0x{byte:02X}>", BYTE) for byte in range(256)),
)
NUMBERS = {name: number for number, (name, _) in enumerate(TOKENS)}
FOLLOWS = {"<|call|>": CALL, "<|say|>": ANSWER, CALL: "<|im_end|>", ANSWER: "<|im_end|>"}

Tensor = tuple[str, Sequence[int], Sequence[float]]


def write_model(path: Path, template: str) -> Path:
    """Write the model with this chat template."""
    infos, data, tensors = b"", b"", _tensors()
    for name, shape, values in tensors:
        sizes = b"".join(struct.pack("<Q", size) for size in shape)
        infos += _text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", 0, len(data))
        data += _padded(struct.pack(f"<{len(values)}f", *values))
    metadata = _metadata(template)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(metadata) + infos
    path.write_bytes(_padded(head) + data)
    return path


def _tensors() -> list[Tensor]:
    directions = {name: index for index, name in enumerate(FOLLOWS)}
    embeddings = [[0.0] * SIZE for _ in TOKENS]
    output = [[0.0] * SIZE for _ in TOKENS]
    for embedding in embeddings:
        embedding[-1] = 1.0  # the token that nothing follows
    for name, follower in FOLLOWS.items():
        embeddings[NUMBERS[name]] = [float(index == directions[name]) for index in range(SIZE)]
        output[NUMBERS[follower]][directions[name]] = 10.0
    ones, zeros = [1.0] * SIZE, [0.0] * SIZE * SIZE
    vectors = ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")
    squares = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return [
        ("token_embd.weight", (SIZE, len(TOKENS)), [*chain.from_iterable(embeddings)]),
        ("output.weight", (SIZE, len(TOKENS)), [*chain.from_iterable(output)]),
        *((f"{name}.weight", (SIZE,), ones) for name in vectors),
        *((f"blk.0.{name}.weight", (SIZE, SIZE), zeros) for name in squares),
    ]


def _metadata(template: str) -> list[bytes]:
    numbers = {
        "llama.context_length": 8192,
        "llama.embedding_length": SIZE,
        "llama.block_count": 1,
        "llama.feed_forward_length": SIZE,
        "llama.attention.head_count": 1,
        "llama.rope.dimension_count": SIZE,
        "llama.vocab_size": len(TOKENS),
        "tokenizer.ggml.bos_token_id": NUMBERS["<s>"],
        "tokenizer.ggml.eos_token_id": NUMBERS["<|im_end|>"],
        "tokenizer.ggml.unknown_token_id": NUMBERS["<unk>"],
    }
    texts = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "llama",
        "tokenizer.chat_template": template,
    }
    return [
        *(_entry(key, STRING, _text(value)) for key, value in texts.items()),
        *(_entry(key, UINT32, struct.pack("<I", value)) for key, value in numbers.items()),
        _entry("llama.attention.layer_norm_rms_epsilon", FLOAT32, struct.pack("<f", 1e-5)),
        _entry("tokenizer.ggml.add_bos_token", BOOL, b"\0"),
        _entry("tokenizer.ggml.add_space_prefix", BOOL, b"\0"),
        _list("tokenizer.ggml.tokens", STRING, [_text(name) for name, _ in TOKENS]),
        _list("tokenizer.ggml.scores", FLOAT32, [struct.pack("<f", 0)] * len(TOKENS)),
        _list("tokenizer.ggml.token_type", INT32, [struct.pack("<i", kind) for _, kind in TOKENS]),
    ]


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _list(key: str, kind: int, items: Sequence[bytes]) -> bytes:
    return _entry(key, ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 32)
