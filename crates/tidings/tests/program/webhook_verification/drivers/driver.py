"""Applies a function of a module to every case of a file, and prints the answers. Arguments: module, function, cases."""
import base64, importlib, json, pathlib, sys

function = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
for case in json.loads(pathlib.Path(sys.argv[3]).read_bytes()):
    # As aiohttp decodes headers: what is not ASCII becomes a lone surrogate.
    headers = {name: value.encode().decode("ascii", "surrogateescape") for name, value in case["headers"].items()}
    print(json.dumps(function(case["secret"], headers, base64.b64decode(case["body"]))))
