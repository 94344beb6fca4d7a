"""What looks like a setting but has no effect, and why `python app.py` is the demo."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv.parser import Binding

from config import DOTENV, read_dotenv, read_environ

CLIENT_ID = "SPOTIFY_CLIENT_ID"
# Names that people write by mistake, or know from another library.
MISNOMER = re.compile(
    r"(?:SPOTI[FP]Y_?(?:CLIENT|REDIRECT)?|CLIENT|REDIRECT)_?(ID|SECRET|UR[IL])"
)
RIGHT_NAMES = {"ID": "CLIENT_ID", "SECRET": "CLIENT_SECRET"}  # else REDIRECT_URI
COMMENTED_ID = re.compile(r"#\s*(export\s+)?SPOTIFY_CLIENT_ID\s*=\s*\S")


def hints(environ: Mapping[str, str], path: Path = DOTENV) -> Iterator[str]:
    """Say what looks like a setting, but has no effect; and why this is the demo."""
    parts = read_dotenv(path)
    names = [part.key for part in parts if part.key]
    for name in sorted({*environ, *names}):
        if match := MISNOMER.fullmatch(name.upper()):
            right = f"SPOTIFY_{RIGHT_NAMES.get(match[1], 'REDIRECT_URI')}"
            if name != right:
                yield f"{name} is not a setting of this app: use {right}"
        if names.count(name) > 1:
            yield f"{name} is in {path} more than once: the last one counts"
    demo = CLIENT_ID not in read_environ(environ, path)
    for part in parts:
        text = part.original.string
        line = part.original.line + text.removesuffix(text.lstrip()).count("\n")
        if part.error:
            yield f"{path}, line {line} is not a setting: write NAME=value"
        elif demo and COMMENTED_ID.match(text.lstrip()):
            yield f"{path}, line {line} has no effect: remove the # at its beginning"
    if demo:
        for other in (path.with_name(".env.txt"), path.with_name(".env.example")):
            if _has_client_id(read_dotenv(other)):
                yield f"{other} is not read: rename it to .env"
        if CLIENT_ID in environ and _has_client_id(parts):
            yield f"An empty environment variable {CLIENT_ID} wins over {path}"
        yield f"No {CLIENT_ID} in {path}: this is the demo"


def _has_client_id(parts: list[Binding]) -> bool:
    return any(part.key == CLIENT_ID and part.value for part in parts)
