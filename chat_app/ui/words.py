"""Every word that the Chat page says, in English and in Spanish, and which of the two a person reads.

Labels that stand still are translated in the browser (`STATIC`), the rest here. What lies below the pages speaks English, and so
do the store and the small model: `Words.sentence` knows its sentences and says them in Spanish. What a tool or the model said
stays as it was said. The Review and Wheel pages, for colleagues, are English.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from chat_app.ui import times
from flywheel.store import CATEGORIES
from tools.tool import Tool

Language = Literal["en", "es"]
_KEY = re.compile(r'__i18n__.*"key": "(\w+)"')

COOKIE = "language"
"""Set by the page's switch (language.js); without it the browser's own preference counts."""

EN = {
    "new": "New conversation",
    "search": "Search",
    "search_hint": "Words from a title, question or answer",
    "conversations": "Conversations",
    "rename": "Rename",
    "title": "New title",
    "save": "Save",
    "delete": "Delete",
    "delete_yes": "Yes, delete it",
    "delete_no": "Keep it",
    "placeholder": "**Ask me something I have a tool for.**\n\nRate the answers: corrections become the next model.",
    "message": "Message",
    "message_hint": "Ask a question …",
    "retry": "Ask again",
    "edit": "Edit",
    "undo": "Take back",
    "confirm_yes": "Yes, do it",
    "confirm_no": "No",
    "why": "What was wrong?",
    "comment": "Comment",
    "comment_hint": "What would have been right? (optional)",
    "send": "Send",
    "withdraw": "Withdraw my rating",
    "tools": "What I can do",
    "tools_hint": "Press a line to ask its question.",
    # said by handlers
    "did_not_work": "That did not work",
    "delete_ask": "Delete “{title}”? It disappears for you. Your ratings, and corrections that a reviewer approved, stay with the"
    " flywheel until you are erased altogether.",
    "deleted": "Deleted.",
    "renamed": "Renamed.",
    "choose": "Choose a conversation first.",
    "nothing_last": "There is no question to do that with.",
    "editing": "You are changing your last question. Send it to ask again, or press “Edit” once more to leave it.",
    "taken_back": "Taken back. You can change the question below and ask again.",
    "stays_done": "Taken back. What was already done stays done: {what}.",
    "nothing_waits": "Nothing waits for an answer any more.",
    "not_rated": "This answer cannot be rated; reload the page.",
    "rated": "Thank you, noted.",
    "withdrawn": "Your rating is withdrawn.",
    "choose_answer": "Choose an answer with thumb down first.",
    "explained": "Thank you. A reviewer will see it; you will read here when the correction is live.",
    "answered_by": "Answered by {model} · live {age}",
    "live": "Your correction from {day} is live: “{question}”",
    "live_more": "and {count} more",
    "waiting": "Waiting for the model",
    "waiting_others": "Waiting for the model, {count} asked before you",
    "running": "Running {tool}",
    "stopped": "Stopped.",
    "no_answer": "No answer.",
    "arguments": "Arguments",
    "result": "Result",
    "error": "Error",
    "yes": "yes",
    "no": "no",
    "proposed": "running",
    "awaiting": "waiting for you",
    "refused": "refused",
    "declined": "you said no",
    "done": "done",
    "failed": "failed",
}

ES = {
    "new": "Nueva conversación",
    "search": "Buscar",
    "search_hint": "Palabras del título, la pregunta o la respuesta",
    "conversations": "Conversaciones",
    "rename": "Cambiar el título",
    "title": "Título nuevo",
    "save": "Guardar",
    "delete": "Borrar",
    "delete_yes": "Sí, borrarla",
    "delete_no": "Conservarla",
    "placeholder": "**Pregúntame algo para lo que tenga una herramienta.**\n\nEl modelo pequeño entiende mejor el inglés. Valora"
    " las respuestas: de las correcciones sale el próximo modelo.",
    "message": "Mensaje",
    "message_hint": "Haz una pregunta …",
    "retry": "Preguntar otra vez",
    "edit": "Cambiar",
    "undo": "Retirar",
    "confirm_yes": "Sí, hazlo",
    "confirm_no": "No",
    "why": "¿Qué estaba mal?",
    "comment": "Comentario",
    "comment_hint": "¿Qué habría sido lo correcto? (opcional)",
    "send": "Enviar",
    "withdraw": "Retirar mi valoración",
    "tools": "Lo que sé hacer",
    "tools_hint": "Pulsa una línea para hacer su pregunta.",
    # said by handlers
    "did_not_work": "No funcionó",
    "delete_ask": "¿Borrar «{title}»? Desaparece para ti. Tus valoraciones, y las correcciones que aprobó un revisor, se quedan"
    " en el sistema mientras no se borren todos tus datos.",
    "deleted": "Borrada.",
    "renamed": "Título cambiado.",
    "choose": "Elige primero una conversación.",
    "nothing_last": "No hay ninguna pregunta con la que hacerlo.",
    "editing": "Estás cambiando tu última pregunta. Envíala para preguntar otra vez, o pulsa «Cambiar» de nuevo para dejarla.",
    "taken_back": "Retirada. Puedes cambiar la pregunta abajo y hacerla otra vez.",
    "stays_done": "Retirada. Lo que ya se hizo, hecho queda: {what}.",
    "nothing_waits": "Ya no hay nada que espere una respuesta.",
    "not_rated": "Esta respuesta no se puede valorar; vuelve a cargar la página.",
    "rated": "Gracias, anotado.",
    "withdrawn": "Tu valoración queda retirada.",
    "choose_answer": "Marca primero una respuesta con el pulgar hacia abajo.",
    "explained": "Gracias. Lo verá un revisor; aquí leerás cuándo la corrección está en uso.",
    "answered_by": "Responde {model} · en uso {age}",
    "live": "Tu corrección {day} ya está en uso: «{question}»",
    "live_more": "y {count} más",
    "waiting": "Esperando al modelo",
    "waiting_others": "Esperando al modelo, {count} preguntaron antes",
    "running": "En marcha: {tool}",
    "stopped": "Detenido.",
    "no_answer": "Sin respuesta.",
    "arguments": "Argumentos",
    "result": "Resultado",
    "error": "Error",
    "yes": "sí",
    "no": "no",
    "proposed": "en marcha",
    "awaiting": "te espera",
    "refused": "rechazada",
    "declined": "dijiste que no",
    "done": "hecho",
    "failed": "falló",
}

TITLES = {
    "calculate": "Hacer sumas, porcentajes, potencias y raíces",
    "convert_units": "Convertir longitudes, pesos, temperaturas y otras unidades",
    "convert_currency": "Convertir dinero con los tipos del Banco Central Europeo",
    "local_time": "Decir la hora en cualquier ciudad",
    "get_weather": "Consultar el tiempo (necesita conexión a la red)",
    "sun_times": "Decir cuándo sale y se pone el sol",
    "public_holidays": "Listar los días festivos de un país",
    "find_orders": "Encontrar tus pedidos en la tienda",
    "order_status": "Ver dónde está uno de tus pedidos",
    "request_return": "Devolver a la tienda un pedido entregado",
    "add_reminder": "Guardarte un recordatorio",
    "list_reminders": "Mostrar tus recordatorios",
    "delete_reminder": "Borrar uno de tus recordatorios",
}
REASONS = {
    "wrong_tool": "herramienta equivocada",
    "wrong_arguments": "argumentos equivocados",
    "unneeded_call": "no debía usar una herramienta",
    "missing_call": "debía usar una herramienta",
    "bad_answer": "mala respuesta",
    "other": "otra cosa",
}

SENTENCES: dict[str, str] = json.loads(Path(__file__).with_name("sentences.json").read_text(encoding="utf-8"))
"""What lies below the pages says, English → Spanish. {places} hold names, numbers, or another sentence of the list."""

STATIC = gr.I18n(en=EN, es=ES)
"""To be given to the page's mount; `STATIC("new")` is a label that the browser puts into its own language, see also `Labels`."""


@dataclass(frozen=True)
class Words:
    """The page's words in one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The word or sentence of that key, with values in its places."""
        return (ES if self.language == "es" else EN)[key].format(**values)

    def title(self, tool: Tool) -> str:
        """What a tool does, in one line."""
        return TITLES.get(tool.name, tool.title) if self.language == "es" else tool.title

    def reasons(self) -> list[tuple[str, str]]:
        """The reasons for a thumb down: (words, stored name)."""
        return [(REASONS[name] if self.language == "es" else words, name) for name, words in CATEGORIES.items()]

    def sentence(self, text: str) -> str:
        """One of the app's own sentences in this language, also below an answer that broke off; any other text as it is."""
        if self.language == "en":
            return text
        said, gap, last = text.rpartition("\n\n")
        return said + gap + _in_spanish(last)

    def age(self, moment: str) -> str:
        """How long ago, as `times.age`."""
        return times.age(moment) if self.language == "en" else times.age_es(moment)

    def day(self, moment: str) -> str:
        """When, as `times.day`."""
        return times.day(moment) if self.language == "en" else times.day_es(moment)


ENGLISH = Words("en")


class Labels:
    """All labels of a page that `STATIC` made, for a person who chose another language than their browser's."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self._keys: dict[Any, dict[str, str]] = {}
        for block in blocks.blocks.values():
            found = {name: _KEY.search(str(getattr(block, name, ""))) for name in ("value", "label", "placeholder")}
            if keys := {name: match[1] for name, match in found.items() if match}:
                self._keys[block] = keys

    @property
    def components(self) -> list[Any]:
        """Those that have such labels."""
        return list(self._keys)

    def spoken(self, words: Words) -> list[Any]:
        """Their updates."""
        said: list[dict[str, Any]] = [{name: words(key) for name, key in keys.items()} for keys in self._keys.values()]
        return [gr.update(**each) for each in said]


def spoken_by(request: gr.Request) -> Words:
    """The words for who sent the request: their choice, else what their browser prefers of the two, else English."""
    chosen = (request.cookies or {}).get(COOKIE)
    preferred = [part.split(";")[0].strip()[:2].lower() for part in request.headers.get("accept-language", "").split(",")]
    language = next((each for each in (chosen, *preferred) if each in ("en", "es")), "en")
    return Words("es" if language == "es" else "en")


def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(sentence)), re.DOTALL)


_PATTERNS = [(_pattern(english), spanish) for english, spanish in SENTENCES.items()]


def _in_spanish(text: str) -> str:
    for pattern, spanish in _PATTERNS:
        if match := pattern.fullmatch(text):
            return spanish.format(**{name: _in_spanish(value) for name, value in match.groupdict().items()})
    return text
