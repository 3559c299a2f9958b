"""Chat templates: render a chat as the text that the model continues.

A template is the model file's own Jinja program, or a built-in one where the file has none that
works. Notices say what was used instead, and why. `diagnose` checks a template. `encoder` turns
the text into tokens.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from tchat.engine.events import Notice
from tchat.engine.prompt import (
    ChatMessage,
    IsStopped,
    TemplateFailure,
    TemplateOverrun,
    merge_same_roles,
    never,
    system_in_user,
)
from tchat.engine.prompt.reasoning import ReplyMarks, ReplyPhase, marks_for
from tchat.engine.prompt.template_adapter import TemplateAdapter, adapt_template
from tchat.errors import DoesNotFit
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.engine.model import Model
    from tchat.engine.prompt.tools import PromptTools, ToolDefinition, ToolForm

__all__ = ["ChatMessage", "ChatTemplate", "Rendering", "Think"]

Think = Literal["auto", "on", "off"]
Messages = Sequence[ChatMessage]

# Names of the switch for reasoning, with its values for on and off.
_SWITCHES: tuple[tuple[str, object, object], ...] = (
    ("enable_thinking", True, False),
    ("thinking", True, False),
    ("thinking_option", "on", "off"),
    ("thinking_mode", "enabled", "disabled"),
    ("thinking_budget", -1, 0),
)
_EFFORTS = ("reasoning_effort", "thinking_effort", "reasoning_strength")
_NO_EFFORT = ("none", "no_think")

_SYSTEM_MOVED = Notice(
    "system", tr("this model's template takes no system message: its text joins the user's turn")
)
_TURNS_JOINED = Notice(
    "template", tr("this model's template wants turns to alternate: neighbouring turns are joined")
)


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered chat that ends in ``phase``; ``stops`` and ``notices`` as of `EncodedPrompt`."""

    text: str
    phase: ReplyPhase
    stops: tuple[str, ...]
    notices: tuple[Notice, ...]


class ChatTemplate:
    """A compiled chat template; make one with `ChatTemplate.compile`.

    Attributes:
        source: The Jinja source in use.
        notices: What the user should know about the template itself.
        marks: The marks that the model's reasoning comes in.
    """

    def __init__(
        self,
        adapter: TemplateAdapter,
        *,
        source: str,
        specials: frozenset[str],
        stops: tuple[str, ...] = (),
        notices: tuple[Notice, ...] = (),
    ) -> None:
        self.source = source
        self.notices = notices
        self.marks: ReplyMarks = marks_for(source, specials)
        self._adapter = adapter
        self._specials = specials
        self._stops = stops
        self._replacement: ChatTemplate | None = None  # what is used since a rendering overran

    @classmethod
    def compile(
        cls,
        source: str | None,
        *,
        bos: str,
        eos: str,
        specials: frozenset[str] = frozenset(),
        stopped: IsStopped = never,
    ) -> ChatTemplate:
        """Compile a model's template, or choose a built-in one where that does not work.

        Args:
            source: The template in the model file; None when it has none.
            bos: Text of the BOS token, or empty.
            eos: Text of the EOS token, or empty.
            specials: The vocabulary's special strings, by which a built-in template is chosen.
            stopped: Whether to give up; called often.

        Raises:
            InterruptedError: ``stopped`` was True.
        """
        if source is None or not source.strip():
            reason = tr("the model file has no chat template")
        else:
            try:
                adapter = adapt_template(source, bos=bos, eos=eos, stopped=stopped)
            except TemplateFailure as failure:
                reason = tr("the model's chat template does not work ({failure})", failure=failure)
            else:
                return cls(adapter, source=source, specials=specials)
        return cls._fallback(builtin_template_for(specials), reason, bos, eos, specials)

    @classmethod
    def _fallback(
        cls, fallback: BuiltinTemplate, reason: str, bos: str, eos: str, specials: frozenset[str]
    ) -> ChatTemplate:
        notice = Notice(
            "template",
            tr("{reason}: {name} is used instead", reason=reason, name=tr(fallback.name)),
        )
        return cls(
            adapt_template(fallback.source, bos=bos, eos=eos),
            source=fallback.source,
            specials=specials,
            stops=fallback.stops,
            notices=(notice,),
        )

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the source in use, hex, for a reply's provenance."""
        return hashlib.sha256(self.source.encode("utf-8", "replace")).hexdigest()

    @cached_property
    def tool_form(self) -> ToolForm | None:
        """How it expects calls of tools; None where it knows none."""
        from tchat.engine.prompt.tools import tool_form_of

        try:
            return tool_form_of(self.source, self._adapter.render)
        except TemplateFailure:
            return None

    def render_values(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None,
        *,
        add_generation_prompt: bool,
    ) -> str:
        """Render messages as they are: to find out how the template writes calls.

        Raises:
            ValueError: The template refuses them.
        """
        try:
            return self._adapter.render_values(messages, tools, prompt=add_generation_prompt)
        except TemplateFailure as error:
            raise ValueError(str(error)) from error

    @cached_property
    def structure(self) -> frozenset[str]:
        """The marks like ``<|start|>`` in the template.

        Not all are control tokens to llama.cpp: some of gpt-oss match in any text.
        """
        return frozenset(re.findall(r"<\|[^\s<>|]{1,40}\|>", self.source))

    def switch(self, think: Think) -> tuple[dict[str, object], Notice | None]:
        """Options for `render` that switch reasoning, and a notice where there is no switch."""
        if think == "auto":
            return {}, None
        expected = self._adapter.program.variables()
        for name, on, off in _SWITCHES:
            if name in expected:
                return {name: on if think == "on" else off}, None
        effort = next((name for name in _EFFORTS if name in expected), None)
        if effort is None:
            text = tr("this model's template has no switch for reasoning")
            return {}, Notice(
                "think", tr("{text}: --think {think} does nothing", text=text, think=think)
            )
        return self._effort(effort, think)

    def _effort(self, name: str, think: Think) -> tuple[dict[str, object], Notice | None]:
        if think == "on":
            return {name: "high"}, None
        words = self._adapter.program.words()
        none = next((word for word in _NO_EFFORT if word in words), None)
        if none is not None:
            return {name: none}, None
        text = tr("this model's reasoning cannot be switched off: its effort is set to low")
        return {name: "low"}, Notice("think", text)

    def render(
        self,
        messages: Messages,
        *,
        continue_final: bool = False,
        options: Mapping[str, object] | None = None,
        stopped: IsStopped = never,
        tools: PromptTools | None = None,
    ) -> Rendering:
        """Render a chat.

        Where the template refuses the chat, the system text is moved to the first user message,
        then neighbours of one role are merged, then a built-in template is used; notices say so.

        Args:
            messages: The chat, oldest first.
            continue_final: End inside the last message, a reply, instead of at the head of a new
                reply: in its content, or in its reasoning when it has no content.
            options: What `switch` returned.
            stopped: Whether to give up; called often.
            tools: What the model may call.

        Raises:
            DoesNotFit: The text would be larger than any context.
            InterruptedError: ``stopped`` was True.
        """
        render = partial(self._adapter.render, options=options or {}, stopped=stopped)
        other, reason, overran = self._replacement, "", False
        asked = messages
        if tools is not None or any(each.tool_calls or each.role == "tool" for each in messages):
            messages, definitions, form = self._with_tools(messages, tools, continue_final)
            render = partial(render, definitions=definitions, form=form)
        for variant, notices in self._variants(messages) if other is None else ():
            try:
                if continue_final:
                    text, phase = self._render_continued(variant, render)
                else:
                    text = render(variant)
                    phase = self.marks.phase_after(text)
            except TemplateOverrun as overrun:
                other, overran = self._builtin(str(overrun), N_("is given up")), True
                break
            except TemplateFailure as failure:
                reason = reason or str(failure)
            else:
                return Rendering(text, phase, self._stops, notices)
        other = other or self._builtin(reason)
        rendering = other.render(asked, continue_final=continue_final, stopped=stopped, tools=tools)
        if overran:  # and it was not the chat, so it would do so again at every turn
            self._replacement = other
        return replace(rendering, notices=(*other.notices, *rendering.notices))

    def _with_tools(
        self, messages: Messages, tools: PromptTools | None, continue_final: bool
    ) -> tuple[Messages, tuple[ToolDefinition, ...], ToolForm | None]:
        """The chat with calls as this template takes them, and the tools that it is told of."""
        wraps = tools is not None and tools.in_envelope
        definitions = tools.definitions if tools is not None and not wraps else ()
        form = None if wraps else self.tool_form
        if form is None or (form.needs_definitions and not definitions):
            from tchat.engine.prompt.tools import in_envelope

            form = None
            messages = in_envelope(messages, with_answers=wraps, keep_last=continue_final)
        elif not form.writes_calls:
            from tchat.engine.prompt.tools import calls_in_content

            messages = calls_in_content(messages)
        return messages, definitions, form

    def _variants(self, messages: Messages) -> Iterator[tuple[Messages, tuple[Notice, ...]]]:
        """Variants of the chat for the template, the plainest first."""
        has_system = any(message.role == "system" for message in messages)
        moved = (_SYSTEM_MOVED,) if has_system else ()
        if self._adapter.system or not has_system:
            yield messages, ()
        if has_system:
            yield system_in_user(messages), moved
        yield merge_same_roles(system_in_user(messages)), (*moved, _TURNS_JOINED)

    def _builtin(self, reason: str, fate: str = N_("refuses this chat")) -> ChatTemplate:
        """The built-in template for a chat that this one refuses in every way."""
        if self.source == PLAIN.source:
            raise DoesNotFit(
                tr("the chat cannot be laid out: {reason}", reason=reason),
                tr("start a new session"),
            )
        best = builtin_template_for(self._specials)
        return self._fallback(
            PLAIN if self.source == best.source else best,
            tr("the model's chat template {fate} ({reason})", fate=tr(fate), reason=reason),
            str(self._adapter.tokens["bos_token"]),
            str(self._adapter.tokens["eos_token"]),
            self._specials,
        )

    def _render_continued(
        self, messages: Messages, render: Callable[..., str]
    ) -> tuple[str, ReplyPhase]:
        """The text up to the end of the last message, without what the template puts behind it."""
        *before, last = messages
        end = unused_character([self.source, *(m.content + m.reasoning for m in messages)])
        if last.reasoning and not last.content:
            phase, ended = ReplyPhase.REASONING, replace(last, reasoning=last.reasoning + end)
        else:
            phase, ended = ReplyPhase.ANSWER, replace(last, content=last.content + end)
        try:
            text = render([*before, ended], prompt=False)
        except TemplateOverrun:
            raise
        except TemplateFailure:
            text = ""
        if end in text:
            text = text[: text.rindex(end)]
            head = text.removesuffix(last.content)
            if (
                phase is ReplyPhase.REASONING
                or self.marks.phase_after(head) is not ReplyPhase.REASONING
            ):
                return text, phase
        # The template drops the reply or its reasoning: continue from the head of a new reply.
        head = render(before)
        return head + self.marks.written(last.reasoning, last.content, prompt=head), phase


@dataclass(frozen=True, slots=True)
class BuiltinTemplate:
    """A well-known chat template, for models with the special tokens ``needs``.

    Its source lacks the BOS token. ``stops`` are strings that end a reply where the model has no
    token for it.
    """

    name: str
    needs: tuple[str, ...]
    source: str
    stops: tuple[str, ...] = ()


_REFUSE_SYSTEM = (
    "{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
)

CHATML = BuiltinTemplate(
    "ChatML",
    ("<|im_start|>", "<|im_end|>"),
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
)

LLAMA_3 = BuiltinTemplate(
    N_("the Llama 3 form"),
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
    "{{ message.content.strip() + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}",
)

GEMMA = BuiltinTemplate(
    N_("the Gemma form"),
    ("<start_of_turn>", "<end_of_turn>"),
    "{% for message in messages %}" + _REFUSE_SYSTEM + "{{ '<start_of_turn>' }}"
    "{{ ('model' if message.role == 'assistant' else message.role) + '\n' }}"
    "{{ message.content.strip() + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
)

GEMMA_4 = BuiltinTemplate(
    N_("the Gemma 4 form"),
    ("<|turn>", "<turn|>"),
    "{% for message in messages %}"
    "{{ '<|turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}"
    "{{ message.content.strip() + '<turn|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn>model\n' }}{% endif %}",
)

HARMONY = BuiltinTemplate(
    N_("the harmony form"),
    ("<|start|>", "<|channel|>", "<|message|>", "<|end|>"),
    "{% for message in messages %}"
    "{{ '<|start|>' + ('developer' if message.role == 'system' else message.role) }}"
    "{{ ('<|channel|>final' if message.role == 'assistant' else '') + '<|message|>' }}"
    "{{ message.content + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}",
)

PHI = BuiltinTemplate(
    N_("the Phi form"),
    ("<|user|>", "<|assistant|>", "<|end|>"),
    "{% for message in messages %}"
    "{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
)

ZEPHYR = BuiltinTemplate(
    N_("the Zephyr form"),
    ("<|user|>", "<|assistant|>"),
    "{% for message in messages %}"
    "{{ '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
)

COMMAND = BuiltinTemplate(
    N_("the Command form"),
    ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"),
    "{% set marks = {'system': '<|SYSTEM_TOKEN|>', 'user': '<|USER_TOKEN|>',"
    " 'assistant': '<|CHATBOT_TOKEN|>'} %}"
    "{% for message in messages %}"
    "{{ '<|START_OF_TURN_TOKEN|>' + marks[message.role] + message.content }}"
    "{{ '<|END_OF_TURN_TOKEN|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}",
)

MISTRAL = BuiltinTemplate(
    N_("the Mistral form"),
    ("[INST]", "[/INST]"),
    "{% for message in messages %}" + _REFUSE_SYSTEM + "{% if message.role == 'user' %}"
    "{{ '[INST] ' + message.content + ' [/INST]' }}"
    "{% else %}"
    "{{ ' ' + message.content + eos_token }}"
    "{% endif %}"
    "{% endfor %}",
)

PLAIN = BuiltinTemplate(
    N_("a plain User/Assistant form"),
    (),
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content + '\n\n' }}"
    "{% elif message.role == 'user' %}{{ 'User: ' + message.content + '\n' }}"
    "{% else %}{{ 'Assistant: ' + message.content + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    stops=("\nUser:",),
)

_BY_PREFERENCE = (CHATML, LLAMA_3, GEMMA_4, GEMMA, HARMONY, PHI, ZEPHYR, COMMAND, MISTRAL, PLAIN)


def builtin_template_for(specials: frozenset[str]) -> BuiltinTemplate:
    """The template whose tokens the vocabulary has; `PLAIN` when it has none of them."""
    return next(form for form in _BY_PREFERENCE if specials.issuperset(form.needs))


OK, NOTE, PROBLEM = "ok", "note", "problem"
TOPICS = (N_("template"), N_("system"), N_("begin"), N_("end"), N_("tools"))  # of diagnoses

# Digits alone, so that no filter of a template changes them.
_QUESTION, _REPLY, _NEXT = "3907146825", "6182530749", "9450718263"


class Diagnosis(NamedTuple):
    """The result of one check; ``state`` is ``ok``, ``note`` or ``problem``."""

    topic: str
    state: str
    text: str


def diagnose(source: str | None, model: Model) -> Iterator[Diagnosis]:
    """Check a template as it would be used. It is untrusted: it may run for ever."""
    instead = tr(
        "{name} is used instead", name=tr(builtin_template_for(model.special_strings()).name)
    )
    if not (source or "").strip():
        yield Diagnosis("template", PROBLEM, tr("the file has none: {instead}", instead=instead))
        return
    try:
        adapter = adapt_template(source or "", bos=model.bos_text, eos=model.eos_text)
        yield Diagnosis("template", OK, tr("renders a chat"))
        yield _system(adapter)
        yield _begin(adapter, model)
        yield _end(adapter, model)
        yield _tools(adapter)
    except TemplateFailure as failure:
        yield Diagnosis(
            "template",
            PROBLEM,
            tr("does not work ({failure}): {instead}", failure=failure, instead=instead),
        )


def _system(adapter: TemplateAdapter) -> Diagnosis:
    if adapter.system:
        return Diagnosis("system", OK, tr("takes a system message"))
    return Diagnosis("system", NOTE, tr("takes no system message: its text joins the user's turn"))


def _begin(adapter: TemplateAdapter, model: Model) -> Diagnosis:
    mark = model.bos_text
    written = bool(mark) and adapter.render([ChatMessage("user", _QUESTION)]).startswith(mark)
    if written and model.adds_bos:
        return Diagnosis(
            "begin",
            NOTE,
            tr("template and vocabulary both write {mark}: tchat writes it once", mark=mark),
        )
    if written or (mark and model.adds_bos):
        return Diagnosis("begin", OK, tr("a prompt begins with {mark}", mark=mark))
    return Diagnosis("begin", OK, tr("a prompt has no BOS token"))


def _end(adapter: TemplateAdapter, model: Model) -> Diagnosis:
    # Some templates end a reply only when another turn follows.
    turns = (("user", _QUESTION), ("assistant", _REPLY), ("user", _NEXT))
    text = adapter.render([ChatMessage(role, content) for role, content in turns])
    tail = text.partition(_REPLY)[2].partition(_NEXT)[0]
    for token in model.tokenize(tail, special=True):
        if model.ends_reply(token):
            return Diagnosis("end", OK, tr("a reply ends with {model}", model=_text(model, token)))
        if model.is_control(token):
            text = tr(
                "a reply ends with {model}, which is no end token to llama.cpp",
                model=_text(model, token),
            )
            return Diagnosis("end", PROBLEM, tr("{text}: replies may run on", text=text))
    return Diagnosis("end", PROBLEM, tr("no end token follows a reply: replies may run on"))


def _tools(adapter: TemplateAdapter) -> Diagnosis:
    if "tools" in adapter.program.variables():
        return Diagnosis("tools", OK, tr("knows tools"))
    return Diagnosis("tools", NOTE, tr("knows no tools"))


def _text(model: Model, token: int) -> str:
    return model.piece(token).decode("utf-8", "replace").strip() or tr("token {token}", token=token)


def unused_character(texts: Iterable[str]) -> str:
    """A private-use character that none of ``texts`` contains.

    No filter of a template changes it: it has no case, is no white space, and JSON and HTML keep
    it.
    """
    texts = list(texts)
    for code in range(0xF0000, 0xFFFFE):
        if not any(chr(code) in text for text in texts):
            return chr(code)
    raise ValueError("every private-use character is in use")
