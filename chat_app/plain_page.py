"""The few pages without Gradio: signing in, one's account, and a sentence for who may not pass. Everything shown is escaped here.

Knows forms, in the reader's words; knows nothing of who may do what.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from chat_app.ui.frame import LANGUAGE, WHEEL_ICON
from chat_app.ui.words import SWITCH, Words
from flywheel.people import SHORTEST_PASSWORD
from flywheel.sessions import Session

CSS = (Path(__file__).parent / "ui" / "plain.css").read_text(encoding="utf-8")


def message(words: Words, title: str, text: str) -> str:
    """A page with one sentence, and ways on."""
    ways = f'<a class="button" href="/">{words("to_chat")}</a><a href="/account">{words("account")}</a>'
    body = f'<section><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p><div class="row">{ways}</div></section>'
    return _page(words, title, body)


def sign_in(
    words: Words, target: str, problem: str = "", *, name: str = "", passwords: bool = True, provider: bool = False
) -> str:
    """The form. target: where to go afterwards. passwords: whether somebody has one; provider: whether the other way is open."""
    parts = []
    if passwords:
        parts.append(
            '<form method="post" action="/sign-in">'
            + _hidden("next", target)
            + f'<label>{words("name")}<input name="name" value="{html.escape(name)}" autocomplete="username" required'
            f' maxlength="64" autocapitalize="none" spellcheck="false"{"" if name else " autofocus"}></label>'
            + _password("password", words("password"), "current-password", focused=bool(name))
            + f'<button class="wide-button">{words("sign_in")}</button></form>'
        )
    if provider:
        way = html.escape(f"/sign-in/oidc?{urlencode({'next': target})}")
        second = " second" if passwords else ""
        parts.append(f'<a class="button wide-button{second}" href="{way}">{words("organisation")}</a>')
    middle = f'<p class="or">{words("or")}</p>'.join(parts)
    return _page(words, words("sign_in"), f"<section><h1>{words('sign_in')}</h1>{_alert(problem)}{middle}</section>")


def account(words: Words, session: Session, sessions: Sequence[Session], problem: str = "", done: str = "") -> str:
    """One's own account: the password, and where one is signed in."""
    name = html.escape(session.display_name)
    roles = ", ".join(sorted(words(role) for role in session.person.roles)) or words("no_role")
    head = f'<section><h1>{name}</h1><p class="faint">{roles}</p>{_alert(problem)}'
    head += f'<p role="status">{html.escape(done)}</p>' if done else ""
    if session.one_time:
        head += f"<p>{words('used_once')}</p>"
    onwards = "" if session.one_time else f'<a class="button" href="/">{words("to_chat")}</a>'
    head += f'<div class="row">{onwards}{_form("/sign-out", words("sign_out"), second=True)}</div>'
    parts = [f"{head}</section>"]
    if not session.provider:
        parts.append(_password_form(words, session))
    if not session.one_time:
        parts.append(_session_list(words, session, sessions))
    return _page(words, words("account"), "".join(parts), wide=True)


def _password_form(words: Words, session: Session) -> str:
    return (
        f'<section><h2>{words("change_password")}</h2><form method="post" action="/account">'
        f'<input type="hidden" name="username" value="{html.escape(session.person.name)}" autocomplete="username">'
        + _password("password", words("present_password"), "current-password")
        + _password("new", words("new_password", count=SHORTEST_PASSWORD), "new-password")
        + _password("again", words("new_again"), "new-password")
        + f'<button>{words("change_it")}</button><p class="faint">{words("others_end")}</p></form></section>'
    )


def _session_list(words: Words, session: Session, sessions: Sequence[Session]) -> str:
    rows = []
    for other in sessions:
        mine = other.id == session.id
        what = _browser(words, other.browser) + (f" · {words('this_one')}" if mine else "")
        when = words("since", begun=words.clock(other.created_at), seen=words.ago(other.last_seen))
        end = "" if mine else _form("/account/session", words("end"), second=True, session=other.id)
        rows.append(f'<li class="row"><span>{what}<br><span class="faint">{when}</span></span>{end}</li>')
    everywhere = _form("/sign-out-everywhere", words("out_everywhere"), second=True)
    return f"<section><h2>{words('signed_in_at')}</h2><ul>{''.join(rows)}</ul>{everywhere}</section>"


def _browser(words: Words, agent: str) -> str:
    """The browser and the system in two words, as well as they can be guessed."""
    browsers = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad",
               "Windows": "Windows", "Mac OS": "macOS", "Linux": "Linux"}  # fmt: skip
    browser, system = (next((word for mark, word in known.items() if mark in agent), "") for known in (browsers, systems))
    return words("browser_on", browser=browser, system=system) if browser and system else browser or system or words("a_program")


def _password(name: str, label: str, purpose: str, focused: bool = False) -> str:
    focus = " autofocus" if focused else ""
    return (
        f'<label>{label}<input type="password" name="{name}" autocomplete="{purpose}" required maxlength="1000"{focus}></label>'
    )


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{html.escape(value)}">'


def _form(action: str, label: str, *, second: bool = False, **fields: str) -> str:
    hidden = "".join(_hidden(name, value) for name, value in fields.items())
    return f'<form method="post" action="{action}">{hidden}<button{" class=second" if second else ""}>{label}</button></form>'


def _alert(problem: str) -> str:
    return f'<p role="alert">{html.escape(problem)}</p>' if problem else ""


def _page(words: Words, title: str, body: str, wide: bool = False) -> str:
    return (
        f'<!doctype html><html lang="{words.language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)} · Flywheel Chat</title><style>{CSS}</style>{LANGUAGE}</head><body>"
        f'<main{" class=wide" if wide else ""}><p class="brand" id="top">{WHEEL_ICON}Flywheel Chat</p>'
        f"{body}{SWITCH}</main></body></html>"
    )
