"""Calls callbacks of tidings_airflow as Airflow does, with plain objects for its context. Argument: a file of calls."""
import json, pathlib, sys, types
from datetime import datetime

import tidings_airflow


def built(value):
    """Objects with attributes; a text that begins with `@` is an instant, one with `!` an exception."""
    if isinstance(value, dict):
        return types.SimpleNamespace(**{name: built(part) for name, part in value.items()})
    if isinstance(value, str) and value[:1] == "@":
        return datetime.fromisoformat(value[1:])
    if isinstance(value, str) and value[:1] == "!":
        return ValueError(value[1:])
    return value


for callback, context in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    getattr(tidings_airflow, callback)({name: built(part) for name, part in context.items()})
