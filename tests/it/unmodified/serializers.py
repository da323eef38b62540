"""How schemathesis writes and reads what it has no word for: a JSON value to a line."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def write(ctx, value):
    lines = value if isinstance(value, list) else [value]
    return b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)


@schemathesis.deserializer("application/x-ndjson")
def read(ctx, response):
    # The document describes a line; the first stands for all.
    return json.loads(response.content.splitlines()[0])
