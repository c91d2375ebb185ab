"""There is one list of states, and everything that shows states uses it, in this order."""

from deploy.grafana import panels
from detectors.incidents.states import SHOWN, State
from stream.http.page import words
from stream.terminal import live

WANTED = [state.value for state in SHOWN]


def test_a_forgotten_unit_is_not_shown_and_all_others_are() -> None:
    assert {*SHOWN, State.FORGOTTEN} == set(State)


def test_the_page_and_the_terminal_know_every_state_worst_first() -> None:
    assert list(words.STATES) == WANTED
    assert [name for name in words.ORDER if name in words.STATES] == WANTED
    assert list(live.STATE_STYLES) == WANTED


def test_the_dashboards_know_every_state() -> None:
    assert {name for _, name, _ in panels.STATES} == set(WANTED)
