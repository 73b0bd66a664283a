"""Who a visitor is: a browser with all its tabs and reloads, known by what Streamlit's cookie against forgery holds."""

from __future__ import annotations

import hashlib
import secrets

import streamlit as st

VISITOR = "visitor"
_COOKIE = "_streamlit_xsrf"


def name() -> str:
    """A name for this visitor, the same in every tab of a browser, from which the cookie can't be told; where there is
    no cookie, of this session alone."""
    found: str = st.session_state.get(VISITOR) or _of_cookie(st.context.cookies.get(_COOKIE, ""))
    st.session_state[VISITOR] = found or secrets.token_hex(8)
    return str(st.session_state[VISITOR])


def _of_cookie(cookie: str) -> str:
    """The cookie is `2|mask|masked token|time`, with another mask each time that it is sent."""
    try:
        _version, mask, masked, _time = cookie.split("|")
        key, text = bytes.fromhex(mask), bytes.fromhex(masked)
    except ValueError:
        return ""
    if not key or not text:
        return ""
    token = bytes(letter ^ key[at % len(key)] for at, letter in enumerate(text))
    return hashlib.sha256(token).hexdigest()[:16]
