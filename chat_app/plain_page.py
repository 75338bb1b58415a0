"""The few pages without Gradio: signing in, one's account, and a sentence for who may not pass. Everything shown is escaped here.

Knows forms and their words; knows nothing of who may do what.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from chat_app.ui import times
from chat_app.ui.frame import WHEEL_ICON
from flywheel.people import SHORTEST_PASSWORD
from flywheel.sessions import Session

CSS = (Path(__file__).parent / "ui" / "plain.css").read_text(encoding="utf-8")


def message(title: str, text: str) -> str:
    """A page with one sentence, and ways on."""
    ways = '<div class="row"><a class="button" href="/">To the chat</a><a href="/account">Your account</a></div>'
    return _page(title, f"<section><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>{ways}</section>")


def sign_in(target: str, problem: str = "", *, name: str = "", passwords: bool = True, provider: bool = False) -> str:
    """The form. target: where to go afterwards. passwords: whether somebody has one; provider: whether the other way is open."""
    parts = []
    if passwords:
        parts.append(
            '<form method="post" action="/sign-in">'
            + _hidden("next", target)
            + f'<label>Name<input name="name" value="{html.escape(name)}" autocomplete="username" required maxlength="64"'
            ' autocapitalize="none" spellcheck="false" autofocus></label>'
            + _password("password", "Password", "current-password")
            + '<button class="wide-button">Sign in</button></form>'
        )
    if provider:
        way = html.escape(f"/sign-in/oidc?{urlencode({'next': target})}")
        second = " second" if passwords else ""
        parts.append(f'<a class="button wide-button{second}" href="{way}">Sign in with your organisation</a>')
    middle = '<p class="or">or</p>'.join(parts)
    return _page("Sign in", f"<section><h1>Sign in</h1>{_alert(problem)}{middle}</section>")


def account(session: Session, sessions: Sequence[Session], problem: str = "", done: str = "") -> str:
    """One's own account: the password, and where one is signed in."""
    name = html.escape(session.display_name)
    roles = html.escape(", ".join(sorted(role.replace("_", " ") for role in session.person.roles)) or "no role yet")
    head = f'<section><h1>{name}</h1><p class="faint">{roles}</p>{_alert(problem)}'
    head += f'<p role="status">{html.escape(done)}</p>' if done else ""
    if session.one_time:
        head += "<p>Your password was made for one use. Choose one of your own to go on.</p>"
    onwards = "" if session.one_time else '<a class="button" href="/">To the chat</a>'
    head += f'<div class="row">{onwards}{_form("/sign-out", "Sign out", second=True)}</div>'
    parts = [f"{head}</section>"]
    if not session.provider:
        parts.append(_password_form(session))
    if not session.one_time:
        parts.append(_session_list(session, sessions))
    return _page("Your account", "".join(parts), wide=True)


def _password_form(session: Session) -> str:
    return (
        '<section><h2>Change your password</h2><form method="post" action="/account">'
        f'<input type="hidden" name="username" value="{html.escape(session.person.name)}" autocomplete="username">'
        + _password("password", "Present password", "current-password")
        + _password("new", f"New password (at least {SHORTEST_PASSWORD} characters)", "new-password")
        + _password("again", "The new password again", "new-password")
        + '<button>Change it</button><p class="faint">All other sign-ins of yours end with it.</p></form></section>'
    )


def _session_list(session: Session, sessions: Sequence[Session]) -> str:
    rows = []
    for other in sessions:
        mine = other.id == session.id
        what = f"{html.escape(_browser(other.browser))}{' · this one' if mine else ''}"
        when = f"since {times.clock(other.created_at)}, last used {_ago(other.last_seen)}"
        end = "" if mine else _form("/account/session", "End", second=True, session=other.id)
        rows.append(f'<li class="row"><span>{what}<br><span class="faint">{when}</span></span>{end}</li>')
    everywhere = _form("/sign-out-everywhere", "Sign out everywhere", second=True)
    return f"<section><h2>Where you are signed in</h2><ul>{''.join(rows)}</ul>{everywhere}</section>"


def _ago(moment: str) -> str:
    age = times.age(moment)
    return age if age == "just now" else f"{age} ago"


def _browser(agent: str) -> str:
    """The browser and the system in two words, as well as they can be guessed."""
    browsers = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad",
               "Windows": "Windows", "Mac OS": "macOS", "Linux": "Linux"}  # fmt: skip
    browser, system = (next((word for mark, word in known.items() if mark in agent), "") for known in (browsers, systems))
    return " on ".join(filter(None, (browser, system))) or "A program"


def _password(name: str, label: str, purpose: str) -> str:
    return f'<label>{label}<input type="password" name="{name}" autocomplete="{purpose}" required maxlength="1000"></label>'


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{html.escape(value)}">'


def _form(action: str, label: str, *, second: bool = False, **fields: str) -> str:
    hidden = "".join(_hidden(name, value) for name, value in fields.items())
    return f'<form method="post" action="{action}">{hidden}<button{" class=second" if second else ""}>{label}</button></form>'


def _alert(problem: str) -> str:
    return f'<p role="alert">{html.escape(problem)}</p>' if problem else ""


def _page(title: str, body: str, wide: bool = False) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)} · Flywheel Chat</title><style>{CSS}</style></head><body>"
        f'<main{" class=wide" if wide else ""}><p class="brand" id="top">{WHEEL_ICON}Flywheel Chat</p>{body}</main></body></html>'
    )
