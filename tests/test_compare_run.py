"""Comparisons put together: what one section says of another's answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import story_helpers as helpers
from tests.story_helpers import fake, put
from xai.compare.run import NOT_THE_SAME, summarised
from xai.compare.sections import Found, Measured, all_sections
from xai.compare.study import Facts


def _validity(comparable: bool | None) -> object:
    def summarise(facts: Facts, rows: Measured) -> Found:
        return replace(helpers.found(None)(facts, rows), numbers={"comparable": comparable})

    return fake("validity", None, summarise=summarise)


@pytest.mark.parametrize("comparable", [True, None, False])
def test_no_difference_of_maps_is_told_where_they_are_not_the_same_thing(
    monkeypatch: pytest.MonkeyPatch, comparable: bool | None
) -> None:
    put(monkeypatch, _validity(comparable), fake("drift", True, of_maps=True), fake("errors", True))  # type: ignore[arg-type]
    rows = {name: helpers.table([0.0, 1.0, 2.0]) for name in ("validity", "drift", "errors")}  # type: ignore[arg-type]
    found = summarised(helpers.facts(), rows, {}).found
    assert found["errors"].differs is True
    assert found["drift"].differs is (None if comparable is False else True)
    assert (NOT_THE_SAME in found["drift"].verdict) is (comparable is False)


def test_the_real_sections_that_compare_maps_say_so() -> None:
    assert {each.name for each in all_sections() if each.of_maps} == {"drift", "agreement"}
