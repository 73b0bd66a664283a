"""Numbers in links: in full, so that the same page opens again."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def _page() -> None:
    import streamlit as st

    from xai.ui import state, widgets

    state.start("numbers")
    whole = widgets.number("Whole", "whole", (0, 2**31 - 1), 0, 1, st.number_input)
    share = widgets.number("Share", "share", (0.0, 9.0), 1.0, 0.5, st.number_input)
    st.text(f"{whole!r} {share!r} {st.session_state[state.CHOICES]}")


@pytest.mark.parametrize(
    ("whole", "share", "link"),
    [
        (1234567, 2.5, {"whole": ["1234567"], "share": ["2.5"]}),
        (2**31 - 1, 0.1234567, {"whole": ["2147483647"], "share": ["0.1234567"]}),
        (0, 1.0, {}),
        (7, 3.0, {"whole": ["7"], "share": ["3"]}),
    ],
)
def test_a_number_is_written_in_full(whole: int, share: float, link: dict[str, list[str]]) -> None:
    app = AppTest.from_function(_page, default_timeout=60).run()
    app.number_input(key="whole").set_value(whole)
    app.number_input(key="share").set_value(share)
    assert app.run().text[0].value == f"{whole!r} {share!r} {link}"
    again = AppTest.from_function(_page, default_timeout=60)
    again.query_params.update(link)
    assert again.run().text[0].value == f"{whole!r} {share!r} {link}"
