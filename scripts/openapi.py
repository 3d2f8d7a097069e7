"""The API's description as a file, `clients/openapi.json`: what typed clients are generated from.

python -m scripts.openapi            write it anew; refuses a change that breaks clients
python -m scripts.openapi --breaking the same, whatever it breaks
python -m scripts.openapi --check    say what differs; ends with 1 if anything does
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.app import create_app
from backend.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "clients" / "openapi.json"
METHODS = ("get", "put", "post", "patch", "delete")
RENEW = "renew it with `.venv/app/bin/python -m scripts.openapi`"

Json = dict[str, Any]


def described() -> Json:
    """What a running server answers at /openapi.json."""
    settings = Settings(
        env="test",
        database_url="postgresql+psycopg://nobody@/none",  # type: ignore[arg-type]
        redis_url="redis://127.0.0.1:1",
        rpc_url="http://127.0.0.1:1",
        chain_id=31337,
        deployment=ROOT / "none.json",
        data_dir=ROOT / ".troupe" / "none",
        public_url="http://127.0.0.1:8000",
    )
    found: Json = create_app(settings).openapi()
    return found


def text_of(spec: Json) -> str:
    """The file's text: sorted, so that a change shows as itself."""
    return json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def breaking(old: Json, new: Json) -> list[str]:
    """What a client of `old` can't do any more, or does not find any more, with `new`."""
    return list(_operations(old, new))


def _operations(old: Json, new: Json) -> Iterator[str]:
    for path, methods in old["paths"].items():
        for method in METHODS:
            if method not in methods:
                continue
            name = f"{method.upper()} {path}"
            before, after = methods[method], new["paths"].get(path, {}).get(method)
            if after is None:
                yield f"{name} is gone"
                continue
            if before["operationId"] != after["operationId"]:
                yield f"{name}: the operation is now called {after['operationId']}, not {before['operationId']}"
            yield from _parameters(name, before, after)
            for kind, body in before.get("requestBody", {}).get("content", {}).items():
                then = after.get("requestBody", {}).get("content", {}).get(kind)
                if then is None:
                    yield f"{name}: no body of {kind} is taken any more"
                else:
                    yield from _narrower(f"{name} body", (old, body["schema"]), (new, then["schema"]), frozenset())
            if not before.get("requestBody") and after.get("requestBody", {}).get("required"):
                yield f"{name}: a body is required now"
            yield from _answers(name, (old, before), (new, after))


def _parameters(name: str, before: Json, after: Json) -> Iterator[str]:
    was = {(p["in"], p["name"]): p for p in before.get("parameters", [])}
    now = {(p["in"], p["name"]): p for p in after.get("parameters", [])}
    for key in was.keys() - now.keys():
        yield f"{name}: the {key[0]} parameter {key[1]} is gone"
    for key, parameter in now.items():
        if parameter.get("required") and not was.get(key, {}).get("required"):
            yield f"{name}: the {key[0]} parameter {key[1]} is required now"


def _answers(name: str, before: tuple[Json, Json], after: tuple[Json, Json]) -> Iterator[str]:
    for status, answer in before[1]["responses"].items():
        if not status.startswith("2"):
            continue
        then = after[1]["responses"].get(status)
        if then is None:
            yield f"{name}: the answer {status} is gone"
            continue
        for kind, content in answer.get("content", {}).items():
            if kind not in then.get("content", {}):
                yield f"{name}: the answer {status} is no {kind} any more"
            elif "schema" in content:
                now = then["content"][kind].get("schema", {})
                yield from _poorer(f"{name} {status}", (before[0], content["schema"]), (after[0], now), frozenset())


def _resolved(spec: Json, schema: Json) -> Json:
    while "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


Place = tuple[Json, Json]


def _pair(old: Place, new: Place, seen: frozenset[str]) -> tuple[Json, Json, frozenset[str]] | None:
    """Both schemas with their references followed; None where this pair is being compared already."""
    key = f"{old[1].get('$ref')} {new[1].get('$ref')}"
    if key != "None None" and key in seen:
        return None
    return _resolved(*old), _resolved(*new), seen | {key}


def _narrower(where: str, old: Place, new: Place, seen: frozenset[str]) -> Iterator[str]:
    """What a request could say and can't any more."""
    pair = _pair(old, new, seen)
    if pair is None:
        return
    was, now, seen = pair
    for name in set(was.get("properties", {})) - set(now.get("properties", {})):
        yield f"{where}: the field {name} is not taken any more"
    for name in set(now.get("required", [])) - set(was.get("required", [])):
        yield f"{where}: the field {name} is required now"
    yield from _types(where, was, now)
    for value in set(map(str, was.get("enum", []))) - set(map(str, now.get("enum", was.get("enum", [])))):
        yield f"{where}: the value {value} is not taken any more"
    for name, schema in was.get("properties", {}).items():
        if name in now.get("properties", {}):
            then = now["properties"][name]
            yield from _narrower(f"{where}.{name}", (old[0], schema), (new[0], then), seen)
    if "items" in was and "items" in now:
        yield from _narrower(f"{where}[]", (old[0], was["items"]), (new[0], now["items"]), seen)


def _poorer(where: str, old: Place, new: Place, seen: frozenset[str]) -> Iterator[str]:
    """What an answer said and does not say any more."""
    pair = _pair(old, new, seen)
    if pair is None:
        return
    was, now, seen = pair
    for name in set(was.get("properties", {})) - set(now.get("properties", {})):
        yield f"{where}: the field {name} is gone"
    for name in set(was.get("required", [])) & set(now.get("properties", {})) - set(now.get("required", [])):
        yield f"{where}: the field {name} may be missing now"
    yield from _types(where, was, now)
    for name, schema in was.get("properties", {}).items():
        if name in now.get("properties", {}):
            then = now["properties"][name]
            yield from _poorer(f"{where}.{name}", (old[0], schema), (new[0], then), seen)
    if "items" in was and "items" in now:
        yield from _poorer(f"{where}[]", (old[0], was["items"]), (new[0], now["items"]), seen)


def _types(where: str, was: Json, now: Json) -> Iterator[str]:
    if "type" in was and was["type"] != now.get("type"):
        yield f"{where}: is {now.get('type', 'of several types')} now, and was {was['type']}"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="write nothing")
    arguments.add_argument("--breaking", action="store_true", help="write even what breaks clients")
    options = arguments.parse_args()
    new = described()
    old = json.loads(FILE.read_text()) if FILE.exists() else {"paths": {}}
    found = breaking(old, new)
    for line in found:
        print(f"breaks clients: {line}", file=sys.stderr)
    if options.check:
        if text_of(old) != text_of(new):
            print(f"{FILE.relative_to(ROOT)} is not what the API says: {RENEW}", file=sys.stderr)
            return 1
        return 0
    if found and not options.breaking:
        print("nothing was written; if that is meant, add --breaking and say it in CHANGELOG.md", file=sys.stderr)
        return 1
    FILE.write_text(text_of(new))
    print(f"wrote {FILE.relative_to(ROOT)}: {len(new['paths'])} paths")
    return 0


if __name__ == "__main__":
    sys.exit(main())
