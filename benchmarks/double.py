"""Spotify's double: everybody plays a song with their name, which is their code.

`/reset?ms=100` lets calls take 100 ms from now on, and answers with their number.
"""

import asyncio
import json
import re
from typing import Any

from granian.rsgi import Scope

from stand_in import StandIn

answer = StandIn(url="https://i.scdn.co").programme["track"].answer or {}
answer |= {"timestamp": 1_790_000_000_000, "progress_ms": 4_749}
answer["item"] |= {"name": "Song of PERSON", "id": "8ccd3ee9b1011271PERSON"}
# tekore's models require more than Spotify sends today.
answer["item"] |= {"popularity": 41, "external_ids": {"isrc": "USQX92401234"}}
TOKEN = {"access_token": "PERSON" + "x" * 200, "refresh_token": "x" * 131}
TOKEN |= {"token_type": "Bearer", "scope": "user-read-currently-playing"}
ANSWERS = {
    "/api/token": json.dumps(TOKEN | {"expires_in": 3600}),
    "/v1/me": '{"id": "PERSON", "account_id": "PERSON", "display_name": "PERSON"}',
    "/v1/me/player/currently-playing": json.dumps(answer),
}
state = {"calls": 0, "ms": 0}


async def app(scope: Scope, protocol: Any) -> None:
    """Answer a request, as an RSGI app."""
    if scope.path not in ANSWERS:
        protocol.response_str(200, [], str(state["calls"]))
        return state.update(calls=0, ms=int(scope.query_string[3:] or 0))
    state["calls"] += 1
    who = f"{scope.headers.get('authorization')} {(await protocol()).decode()}"
    name = re.findall(r"(?:Bearer |\bcode=)(\w{6})", who)[0]
    await asyncio.sleep(state["ms"] / 1000)
    body = ANSWERS[scope.path].replace("PERSON", name)
    protocol.response_str(200, [("content-type", "application/json")], body)
