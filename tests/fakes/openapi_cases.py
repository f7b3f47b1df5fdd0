"""Requests drawn from an OpenAPI document: good ones, slightly bent ones, and hostile ones.

The same seed gives the same requests. What a good body would cost is kept small: answers of a few
tokens, few of them.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fakes.json_schema import faults

JSON_HEADERS = {"Content-Type": "application/json"}
_WORDS = ("mlm", "What is mlm?", "a", "", "hello world", "zwölf 🦙", "\u202e\x07\x1b[2J", "\0")
_LONG = "ab " * 3000
_STRANGERS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 1.5, -0.0, 1e308, "", "x", "null",
    "1", _LONG, [], [[]], [None], [1, "a", {}], {}, {"": None}, {"type": "x"}, {"a": {"b": [1]}},
)  # fmt: skip
_NAMES: tuple[str, ...] = (
    "no-such-model", "", ".", "..", "../../etc/passwd", "/etc/passwd", "./mlm-demo.gguf", "a" * 300,
    "%2e%2e%2f", "mlm-demo\0", "mlm\r\nX-Evil: 1", "\u202egguf", "org/repo:Q4_K_M", "MLM-DEMO", "~",
    "qwen3-8b", "C:\\x.gguf", "mlm-demo:Q9_9", "{model_id}", "*", "' OR 1=1 --", "模型",
)  # fmt: skip
_PATHS: tuple[str, ...] = (
    "/", "//", "/v1", "/v1/", "/v1/models/", "/v1//models", "/v1/models/..%2f..", "/v1/models/%00",
    "/%2e%2e/%2e%2e/etc/passwd", "/v1/models/%ff%fe", "/v1/models/a%0d%0aX-Evil:%201", "/openapi",
    "/admin", "/admin/", "/admin/stats/", "/health/", "/HEALTH", "/health?x=" + "y" * 4000,
    "/v1/models?%00", "/v1/chat/completions/", "/v1/models/" + "m" * 9000, "/tokenize/../health",
    "/v1/models/%e2%80%ae", "/v1/completions;x=1", "/\\..\\..", "/v1/models/mlm-demo/..", "/%",
    "/v1/models/%", "/v1/models/%zz", "/favicon.ico", "/.git/config", "/v1/files",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
_ODD_HEADERS: tuple[dict[str, str], ...] = (
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Encoding": "gzip"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Host": "evil.example"},
    {"Host": "localhost:80:80"},
    {"Host": ""},
    {"Authorization": "Bearer " + "k" * 9000},
    {"Cache-Control": "no-store"},
    {"Range": "bytes=0-0,0-1,0-2"},
    {"Expect": "200-maybe"},
    {"X-Mlm-Progress": "1"},
    {"Connection": "close"},
    {"Accept": "text/html"},
    {"Cookie": "a=" + "b" * 2000},
    {f"X-{i}": "y" for i in range(120)},
    {"X-Long": "z" * 40_000},
)


@dataclass(frozen=True)
class Case:
    """One request, and what the document says of it."""

    kind: str  # good, bent, hostile
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    operation: dict[str, Any] | None = None  # None: no such route or method
    is_valid: bool | None = None  # by the schema of the body; None: not known to be read at all


class Cases:
    """Draws requests from one document."""

    def __init__(self, document: dict[str, Any], models: dict[str, str], seed: int) -> None:
        """``models`` names the model to ask for, by route; ``""`` is for all others."""
        self._document, self._models = document, models
        self._random = random.Random(seed)
        self._operations = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        self._with_body = [each for each in self._operations if "requestBody" in each[2]]

    def draw(self, count: int) -> Iterator[Case]:
        """Yield ``count`` requests: of ten, four are good, four are bent, two hostile."""
        for _ in range(count):
            kind = self._random.choices((self._good, self._bent, self._hostile), (4, 4, 2))[0]
            yield kind()

    def _good(self) -> Case:
        method, path, operation = self._random.choice(self._operations + 2 * self._with_body)
        body = None
        if "requestBody" in operation:
            body = self._body(path, operation)
        return self._case("good", method, path, operation, body)

    def _bent(self) -> Case:
        method, path, operation = self._random.choice(self._with_body)
        body = self._body(path, operation)
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            body = self._bend(body)
        return self._case("bent", method, path, operation, _tame(body))

    def _hostile(self) -> Case:
        how = self._random.randrange(4)
        method, path, operation = self._random.choice(self._operations)
        if how == 0:
            return Case("hostile", self._random.choice(_METHODS), self._random.choice(_PATHS))
        if how == 1:
            others = [m for m in _METHODS if m.lower() not in self._document["paths"][path]]
            odd = self._random.choice([m for m in others if m != "HEAD"])
            return Case("hostile", odd, self._fill(path), JSON_HEADERS, b"{}")
        if how == 2:
            method, path, operation = self._random.choice(self._with_body)
            good = json.dumps(self._body(path, operation), ensure_ascii=False).encode()
            broken = self._break(good)
            return Case("hostile", method, path, JSON_HEADERS, broken, operation)
        case = self._good()
        headers = {**case.headers, **self._random.choice(_ODD_HEADERS)}
        return Case("hostile", case.method, case.path, headers, case.body, case.operation)

    def _case(
        self, kind: str, method: str, path: str, operation: dict[str, Any], body: Any
    ) -> Case:
        if "requestBody" not in operation:
            return Case(kind, method, self._fill(path), {}, None, operation, True)
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        valid = not faults(body, schema, self._document)
        content = json.dumps(body).encode()
        return Case(kind, method, self._fill(path), JSON_HEADERS, content, operation, valid)

    def _fill(self, path: str) -> str:
        name = self._random.choice(("mlm-demo", "mlm-demo", "no-such-model", "a/b:c"))
        return path.replace("{model_id}", name)

    def _body(self, path: str, operation: dict[str, Any]) -> Any:
        content = operation["requestBody"]["content"]["application/json"]
        if self._random.random() < 0.1:
            body = self._random.choice(list(content["examples"].values()))["value"]
        else:
            body = self._value(content["schema"], 0)
        if "model" in body or self._random.random() < 0.5:
            wanted = self._models.get(path, self._models[""])
            odd = self._random.random() < 0.1
            body = {**body, "model": self._random.choice(_NAMES) if odd else wanted}
        return _tame(body)

    def _value(self, schema: Any, depth: int) -> Any:
        """Return something that is valid by ``schema``."""
        draw = self._random
        while "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        if "anyOf" in schema:
            return self._value(draw.choice(schema["anyOf"]), depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return draw.choice(schema["enum"])
        if "examples" in schema:
            return draw.choice(schema["examples"])
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            kind = draw.choices(kind, [9 if each != "null" else 1 for each in kind])[0]
        return getattr(self, f"_{kind}")(schema, depth + 1)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        needed = set(schema.get("required", ()))
        share = self._random.choice((0.0, 0.05, 0.2)) if depth < 4 else 0.3
        chosen = {
            name: self._value(member, depth)
            for name, member in schema.get("properties", {}).items()
            if name in needed or self._random.random() < share
        }
        if "propertyNames" in schema:
            name = self._value(schema["propertyNames"], depth)
            chosen[name] = self._value(schema["additionalProperties"], depth)
        return chosen

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self._value(item, depth) for item in schema["prefixItems"]]
        fewest, most = schema.get("minItems", 0), schema.get("maxItems", 3)
        count = min(most, max(fewest, self._random.choice((0, 1, 1, 2, 3))))
        return [self._value(schema["items"], depth) for _ in range(count)]

    def _string(self, schema: dict[str, Any], depth: int) -> str:
        words = [w for w in _WORDS if len(w) >= schema.get("minLength", 0)]
        return self._random.choice(words)

    def _integer(self, schema: dict[str, Any], depth: int) -> int:
        low, high = schema.get("minimum", 0), schema.get("maximum", 400)
        near = min(high, max(low, self._random.randrange(400)))
        return self._random.choice((low, high, near, near, near))

    def _number(self, schema: dict[str, Any], depth: int) -> float:
        low, high = schema["minimum"], schema["maximum"]
        drawn = round(self._random.uniform(low, high), 3)
        return self._random.choice((low, high, drawn, drawn, drawn))

    def _boolean(self, schema: dict[str, Any], depth: int) -> bool:
        return self._random.random() < 0.5

    def _null(self, schema: dict[str, Any], depth: int) -> None:
        return None

    def _bend(self, value: Any) -> Any:
        """Return ``value`` with something in it that is not as it was."""
        draw = self._random
        if isinstance(value, dict) and value and draw.random() < 0.85:
            name = draw.choice(list(value))
            how = draw.random()
            if how < 0.15:
                return {key: member for key, member in value.items() if key != name}
            if how < 0.25:
                return {**value, draw.choice(("wibble", "", "__proto__", "n", "stop")): "new"}
            if how < 0.4:
                return {**value, **self._some_property()}
            return {**value, name: self._bend(value[name])}
        if isinstance(value, list) and value and draw.random() < 0.7:
            at = draw.randrange(len(value))
            return [*value[:at], self._bend(value[at]), *value[at + 1 :]]
        return draw.choice(_STRANGERS)

    def _some_property(self) -> dict[str, Any]:
        """Return a field that some request has, with a value that it may not have."""
        schemas = self._document["components"]["schemas"]
        names = list(schemas["ChatRequest"]["properties"])
        return {self._random.choice(names): self._random.choice(_STRANGERS)}

    def _break(self, body: bytes) -> bytes:
        """Return bytes that are no JSON, or none that a sane client sends."""
        at = self._random.randrange(len(body))
        return self._random.choice(
            (
                body[:at],
                body[:at] + bytes([self._random.randrange(256)]) + body[at:],
                body + b"}",
                b"\xef\xbb\xbf" + body,
                body.decode().encode("utf-16"),
                b"[" * 50_000,
                b'{"a":' * 70 + b"1" + b"}" * 70,
                b'{"model": NaN}',
                b'{"model": "mlm-demo", "model": "mlm-demo"}',
                b'{"model": "\\ud800"}',
                b'{"n": ' + b"9" * 5000 + b"}",
                b'{"temperature": 1e999}',
                b"null",
                b"[]",
                b'"x"',
                b"",
                b"\0",
                b"[" + b"{}," * 150_000 + b"{}]",
                b'{"a": "' + b"x" * 300_000 + b'"}',
            )
        )


def _tame(body: Any) -> Any:
    """Return ``body`` so that a good answer to it is a short one."""
    if not isinstance(body, dict) or not {"prompt", "messages"} & body.keys():
        return body
    for name, most in (("max_tokens", 3), ("max_completion_tokens", 3), ("n", 2), ("best_of", 2)):
        given = body.get(name)
        if type(given) is int and given > most and given <= 2**31 - 1:
            body = {**body, name: most}
    if body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
        body = {**body, "max_tokens": 2}
    return body
