"""Pages: where the next one begins, in a token that means nothing to whoever gets it."""

import base64
import json
from typing import Any

from nas.errors import SpecError

PAGE_SIZE, PAGE_MOST = 100, 1000


def page_token(*place: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place_of(token: str, kinds: tuple[type | tuple[type, ...], ...]) -> list[Any]:
    """What `page_token` was made of; raises `SpecError` for one that this server has not made."""
    try:
        padded = token + "=" * (-len(token) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if isinstance(place, list) and len(place) == len(kinds) and all(map(_is, place, kinds)):
            return place
    except (ValueError, UnicodeDecodeError, RecursionError):
        pass
    raise SpecError("page_token", "must be the next_page_token of a page", token)


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
