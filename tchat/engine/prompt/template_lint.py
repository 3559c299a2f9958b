"""Check a model's chat template and vocabulary for what is wrong or worth knowing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tchat.engine.model import Model
from tchat.engine.prompt import TemplateFailure
from tchat.engine.prompt.builtin_templates import builtin_template_for
from tchat.engine.prompt.messages import ChatMessage
from tchat.engine.prompt.template_adapter import TemplateAdapter, adapt_template

OK, NOTE, PROBLEM = "ok", "note", "problem"

# Digits alone, so that no filter of a template changes them.
_QUESTION, _REPLY, _NEXT = "3907146825", "6182530749", "9450718263"


class Diagnosis(NamedTuple):
    """The result of one check; ``state`` is ``ok``, ``note`` or ``problem``."""

    topic: str
    state: str
    text: str


def diagnose(source: str | None, model: Model) -> Iterator[Diagnosis]:
    """Check a template as it would be used. It is untrusted: it may run for ever.

    Args:
        source: Jinja; None or empty when the file has none.
        model: The model with the vocabulary of the same file.
    """
    instead = f"{builtin_template_for(model.special_strings()).name} is used instead"
    if not (source or "").strip():
        yield Diagnosis("template", PROBLEM, f"the file has none: {instead}")
        return
    try:
        adapter = adapt_template(source or "", bos=model.bos_text, eos=model.eos_text)
        yield Diagnosis("template", OK, "renders a chat")
        yield _system(adapter)
        yield _begin(adapter, model)
        yield _end(adapter, model)
        yield _tools(adapter)
    except TemplateFailure as failure:
        yield Diagnosis("template", PROBLEM, f"does not work ({failure}): {instead}")


def _system(adapter: TemplateAdapter) -> Diagnosis:
    if adapter.system:
        return Diagnosis("system", OK, "takes a system message")
    return Diagnosis("system", NOTE, "takes no system message: its text joins the user's turn")


def _begin(adapter: TemplateAdapter, model: Model) -> Diagnosis:
    mark = model.bos_text
    written = bool(mark) and adapter.render([ChatMessage("user", _QUESTION)]).startswith(mark)
    if written and model.adds_bos:
        return Diagnosis(
            "begin", NOTE, f"template and vocabulary both write {mark}: tchat writes it once"
        )
    if written or (mark and model.adds_bos):
        return Diagnosis("begin", OK, f"a prompt begins with {mark}")
    return Diagnosis("begin", OK, "a prompt has no BOS token")


def _end(adapter: TemplateAdapter, model: Model) -> Diagnosis:
    # Some templates end a reply only when another turn follows.
    turns = (("user", _QUESTION), ("assistant", _REPLY), ("user", _NEXT))
    text = adapter.render([ChatMessage(role, content) for role, content in turns])
    tail = text.partition(_REPLY)[2].partition(_NEXT)[0]
    for token in model.tokenize(tail, special=True):
        if model.ends_reply(token):
            return Diagnosis("end", OK, f"a reply ends with {_text(model, token)}")
        if model.is_control(token):
            text = f"a reply ends with {_text(model, token)}, which is no end token to llama.cpp"
            return Diagnosis("end", PROBLEM, f"{text}: replies may run on")
    return Diagnosis("end", PROBLEM, "no end token follows a reply: replies may run on")


def _tools(adapter: TemplateAdapter) -> Diagnosis:
    if "tools" in adapter.program.variables():
        return Diagnosis("tools", OK, "knows tools")
    return Diagnosis("tools", NOTE, "knows no tools")


def _text(model: Model, token: int) -> str:
    return model.piece(token).decode("utf-8", "replace").strip() or f"token {token}"
