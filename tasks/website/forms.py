"""The forms of an HTML page, as a browser would send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(slots=True)
class HtmlForm:
    """A form: where it goes, how, and what each of its fields holds before anybody fills it in.

    + action: as written, relative to the page; empty for the page itself
    + values: field names and values; a box that is not ticked, or a choice not made, is an empty text
    + unsent: fields that a browser leaves out unless somebody fills them in
    """

    action: str = ""
    method: str = "get"
    values: dict[str, str] = field(default_factory=dict)
    unsent: set[str] = field(default_factory=set)
    password_field: str | None = None
    text_field: str | None = None

    def filled(self, fields: dict[str, str]) -> dict[str, str]:
        """What is sent when these fields are filled in."""
        kept = {name: value for name, value in self.values.items() if name not in self.unsent}
        return kept | fields


def forms_of(text: str) -> list[HtmlForm]:
    """All forms of a page, in its order."""
    parser = _Forms()
    parser.feed(text)
    parser.close()
    return parser.forms


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[HtmlForm] = []
        self._form: HtmlForm | None = None
        self._area: str | None = None
        self._select: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = HtmlForm(given.get("action", "").strip(), given.get("method", "get").lower())
            self.forms.append(self._form)
        form, name = self._form, given.get("name", "")
        if form is None:
            return
        if tag == "option" and self._select is not None:
            if "selected" in given or (self._select in form.unsent and "value" in given):
                form.values[self._select] = given.get("value", "")
                form.unsent.discard(self._select)
        elif tag == "input" and name:
            self._input(form, name, given)
        elif tag == "textarea" and name:
            form.values[name] = ""
            self._area = name
        elif tag == "select" and name:
            form.values[name] = ""
            form.unsent.add(name)
            self._select = name

    def _input(self, form: HtmlForm, name: str, given: dict[str, str]) -> None:
        kind = given.get("type", "text").lower()
        if kind in ("checkbox", "radio"):
            if "checked" in given:
                form.values[name] = given.get("value", "on")
                form.unsent.discard(name)
            elif name not in form.values:
                form.values[name] = ""
                form.unsent.add(name)
            return
        form.values[name] = given.get("value", "")
        if kind in ("submit", "button", "image", "reset", "file"):
            form.unsent.add(name)
        if kind == "password" and form.password_field is None:
            form.password_field = name
        if kind in ("text", "email") and form.text_field is None:
            form.text_field = name

    def handle_data(self, data: str) -> None:
        if self._form is not None and self._area is not None:
            self._form.values[self._area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if tag in ("textarea", "form"):
            self._area = None
        if tag in ("select", "form"):
            self._select = None
