"""The forms with which a person acts on an incident or stops the monitoring of a model. They need the token.

Only the script can send the token, so the script shows the forms. It keeps the token as long as the tab is open.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from stream.http.page import words
from stream.http.page.markup import Child, Markup, element
from stream.http.page.units import Unit
from stream.http.page.words import Json, finite


class Button(NamedTuple):
    """A button of a form. ``confirm`` is the question that the user must confirm first."""

    name: str
    label: str
    meaning: str
    confirm: str | None = None


OF_INCIDENTS = (
    Button("ack", "Acknowledge", "You are working on it."),
    Button("silence", "Silence", "No alerts about it for this many hours."),
    Button(
        "accept",
        "Accept present data",
        "The present data becomes the model's new reference.",
        "Make the present data the model's new reference? From then on it counts as normal.",
    ),
    Button("resolve", "Resolve", "The incident has ended."),
    Button("note", "Add note", "Only adds your note to the record."),
)


def of_incident(item: Json) -> Markup:
    """The form of an incident. A resolved incident accepts only notes."""
    over = finite(item.get("resolved_at_ms")) is not None
    hours = element(
        "label",
        "Hours of silence",
        element("input", name="silence_hours", type="number", min="0", max="720", step="any", value="4"),
    )
    choices = [action for action in OF_INCIDENTS if not over or action.name == "note"]
    title = "Add a note" if over else "Act on this incident"
    return _section(title, f"/api/v1{words.incident_path(str(item['id']))}", "", choices, hours, over=over)


def of_model(u: Unit, segments: Sequence[str | None]) -> Markup:
    """The form that stops the monitoring of this segment, or of the model version with all of its segments."""
    path = f"/api/v1{words.model_path(u.model, u.version)}"
    name = f"{u.model} {u.version}" + (f" · {u.segment}" if u.segment is not None else "")
    others = len([segment for segment in segments if segment is not None])
    every = "1 segment" if others == 1 else f"{others:,} segments"
    what = name if u.segment is not None or not others else f"{name} and its {every}"
    query = "?" + urlencode({"segment": u.segment}) if u.segment is not None else ""
    meaning = (
        "For a retired model. Its incidents are resolved. It is removed from this page, from the metrics and from the "
        "false-alarm budget of the model. If it sends events again, monitoring starts again and its counts continue."
    )
    forget = Button(
        "forget", "Stop monitoring", meaning, f"Stop monitoring {what}? You will get no more alerts for it."
    )
    return _section(f"Stop monitoring {what}", path, query, [forget])


def _section(
    title: str, endpoint: str, query: str, choices: Sequence[Button], more: Child = None, *, over: bool = False
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


def _choice(action: Button) -> Markup:
    meaning = f"meaning-{action.name}"
    button = element(
        "button",
        action.label,
        type="submit",
        name="action",
        value=action.name,
        aria_describedby=meaning,
        data_confirm=action.confirm,
    )
    return element("div", button, element("small", action.meaning, id=meaning), class_="choice")
