"""What a person may change from a page, given the token: an incident's course, and that a model is watched at all.

The form is shown by the script, which alone can send the token; it is kept for the tab and no longer.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from stream.http.page import words
from stream.http.page.markup import Child, Markup, element
from stream.http.page.units import Unit
from stream.http.page.words import Json, finite


class Action(NamedTuple):
    """``confirm``: what is asked once more before it is done."""

    name: str
    label: str
    meaning: str
    confirm: str | None = None


OF_INCIDENTS = (
    Action("ack", "Acknowledge", "Somebody is looking."),
    Action("silence", "Silence", "Do not page about it for so many hours."),
    Action(
        "accept",
        "Accept the present",
        "What is seen now becomes the model's new reference.",
        "Accept the present as the model's new reference? What it sees now is normal from then on.",
    ),
    Action("resolve", "Resolve", "It is over."),
    Action("note", "Add the note", "Nothing changes but the record."),
)


def of_incident(item: Json) -> Markup:
    """What can be done about an incident; one that is over takes notes only."""
    over = finite(item.get("resolved_at_ms")) is not None
    hours = element(
        "label",
        "Hours of silence",
        element("input", name="silence_hours", type="number", min="0", max="720", step="any", value="4"),
    )
    choices = [action for action in OF_INCIDENTS if not over or action.name == "note"]
    return _section("Do something", f"/api/v1{words.incident_path(str(item['id']))}", "", choices, hours, over=over)


def of_model(u: Unit, segments: Sequence[str | None]) -> Markup:
    """Forgetting: this segment, or the model version with all of its segments."""
    path = f"/api/v1{words.model_path(u.model, u.version)}"
    name = f"{u.model} {u.version}" + (f" · {u.segment}" if u.segment is not None else "")
    others = len([segment for segment in segments if segment is not None])
    every = "1 segment" if others == 1 else f"{others:,} segments"
    what = name if u.segment is not None or not others else f"{name} and its {every}"
    query = "?" + urlencode({"segment": u.segment}) if u.segment is not None else ""
    meaning = (
        "For what is retired. Its incidents end, it leaves this page, the metrics and its model's budget. "
        "If it sends events again, it is watched again, with its counts."
    )
    forget = Action("forget", "Forget", meaning, f"Watch {what} no more? Whatever happens to it then, nobody is told.")
    return _section(f"Watch {what} no more", path, query, [forget])


def _section(
    title: str, endpoint: str, query: str, choices: Sequence[Action], more: Child = None, *, over: bool = False
) -> Markup:
    fields = [
        element("label", "Token", element("input", type="password", name="token", autocomplete="off", required=True)),
        element("label", "Your name", element("input", name="by", maxlength=100, required=True, autocomplete="name")),
        element("label", "Note", element("input", name="note", maxlength=2000)),
        None if over else more,
    ]
    form = element(
        "form",
        fields,
        element("div", [_choice(action) for action in choices], class_="buttons"),
        element("p", "", role="status", id="action-answer", data_keep=True),
        id="actions",
        data_endpoint=endpoint,
        data_query=query,
        data_keep=True,
    )
    return element(
        "section",
        element("h2", title),
        form,
        class_="actions",
        id="actions-section",
        hidden=True,
        data_script_only=True,
    )


def _choice(action: Action) -> Markup:
    told = f"meaning-{action.name}"
    button = element(
        "button",
        action.label,
        type="submit",
        name="action",
        value=action.name,
        aria_describedby=told,
        data_confirm=action.confirm,
    )
    return element("div", button, element("small", action.meaning, id=told), class_="choice")
