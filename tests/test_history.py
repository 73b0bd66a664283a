"""The browser's Back and Forward, links that are followed within a visit, and the column of pages, on a small page."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

Choices = dict[str, str]


def _script() -> None:
    import streamlit as st

    from xai.ui import state, widgets

    state.start(st.session_state.get("page_asked", "one"))
    widgets.number("Number", "number", (0, 9), 3, 1, st.number_input)
    widgets.one_of("Letter", "letter", ["a", "b", "c"], "a")
    state.write_link(("number", "letter"))
    st.caption(" ".join(state.ignored()))


def opened(**link: str) -> AppTest:
    """A new visitor on the small page."""
    app = AppTest.from_function(_script)
    return go(app, link)


def go(app: AppTest, link: Choices, page: str = "one") -> AppTest:
    """The browser asks for an address of a page."""
    app.query_params.clear()
    for key, value in link.items():
        app.query_params[key] = value
    app.session_state["page_asked"] = page
    return app.run()


def shown(app: AppTest) -> tuple[int, str]:
    """What the widgets show, which the address says too."""
    found = int(str(app.number_input(key="number").value)), str(app.selectbox(key="letter").value)
    said = {key: app.query_params.get(key, [usual])[0] for key, usual in (("number", "3"), ("letter", "a"))}
    assert (int(said["number"]), said["letter"]) == found
    return found


def test_back_undoes_the_last_choice_and_forward_makes_it_again() -> None:
    app = opened()
    app.number_input(key="number").set_value(5).run()
    app.selectbox(key="letter").set_value("b").run()
    assert shown(go(app, {"number": "5"})) == (5, "a")
    assert shown(go(app, {})) == (3, "a")
    assert shown(go(app, {"number": "5", "letter": "b"})) == (5, "b")


def test_a_choice_made_before_the_browser_knows_the_last_address_is_no_way_back() -> None:
    app = opened()
    app.number_input(key="number").set_value(5).run()
    app.query_params.clear()
    assert shown(app.number_input(key="number").set_value(6).run()) == (6, "a")


def test_an_address_that_this_page_never_had_is_no_way_back() -> None:
    app = opened()
    app.number_input(key="number").set_value(5).run()
    assert shown(go(app, {"number": "8"})) == (5, "a")


def test_a_link_within_a_visit_chooses_what_it_says_and_leaves_the_rest() -> None:
    app = opened()
    app.number_input(key="number").set_value(5).run()
    assert shown(go(app, {"letter": "c"}, "two")) == (5, "c")
    assert shown(go(app, {"number": "5"}, "one")) == (5, "a")  # and Back to the page before, as it was
    assert "Letter" in go(app, {"letter": "z"}, "three").caption[0].value


def test_the_column_of_pages_keeps_what_was_chosen() -> None:
    app = opened(number="7")
    assert shown(go(app, {}, "two")) == (7, "a")
    assert shown(go(app, {}, "one")) == (7, "a")


def two_sets() -> None:
    """A page whose second box has a default of its own for each choice in the first."""
    from xai.ui import state, widgets

    state.start("sets")
    name = widgets.one_of("Set", "set", ["small", "large"], "small")
    usual = {"small": "all", "large": "1000"}[name]
    widgets.one_of("How many", "many", ["all", "500", "1000"], usual)


def test_what_nobody_chose_goes_with_its_default_and_what_was_chosen_stays() -> None:
    app = AppTest.from_function(two_sets, default_timeout=30).run()
    assert app.selectbox(key="many").value == "all"
    app.selectbox(key="set").select("large").run()
    assert app.selectbox(key="many").value == "1000"
    app.selectbox(key="many").select("500").run()
    app.selectbox(key="set").select("small").run()
    assert app.selectbox(key="many").value == "500"


def interrupted() -> None:
    """A page whose first two runs are ended by another choice, before the browser has drawn the box."""
    import streamlit as st

    from xai.ui import state, widgets

    state.start("boxes")
    widgets.one_of("Box", "box", ["first", "usual", "last"], "usual")
    runs = st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    if runs <= 2:
        st.stop()
    state.finish()


def test_a_default_that_the_browser_may_not_have_drawn_is_sent_again() -> None:
    app = AppTest.from_function(interrupted, default_timeout=30).run()
    for sent in (True, True, True, False):
        box = app.selectbox(key="box")
        assert (box.proto.set_value, box.proto.raw_value if sent else "") == (sent, "usual" if sent else "")
        assert box.value == "usual"
        app.run()


def test_what_was_chosen_meanwhile_is_not_sent_back() -> None:
    app = AppTest.from_function(interrupted, default_timeout=30).run()
    for _ in range(2):
        app.selectbox(key="box").select("last").run()
        assert app.selectbox(key="box").value == "last"
        assert not app.selectbox(key="box").proto.set_value
