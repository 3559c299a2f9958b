"""Encode chats as prompts, in which no text that anyone wrote becomes a control token.

A rendered prompt is text with control tokens written out: a user who types ``<|im_end|>`` could end
a turn. So the chat is rendered a second time with a private character inside every content, between
the characters that special strings are made of. A special string without that character is the
template's own. When there are no others, which is nearly always, the plain rendering is tokenized
whole. Otherwise it is cut at the template's own special strings, and the rest is tokenized as text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import category

from tchat.engine.context import can_grow
from tchat.engine.events import Notice
from tchat.engine.model import Model
from tchat.engine.prompt import ChatMessage, IsStopped, never
from tchat.engine.prompt.reasoning import ReplyPhase, all_marks
from tchat.engine.prompt.template import ChatTemplate, Rendering, Think, unused_character
from tchat.errors import PromptTooLong, UsageError
from tchat.settings import Sampling
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.prompt.tools import PromptTools

Span = tuple[int, int]  # start and end in a text
MAX_MARKED_MESSAGES = 4096  # messages that are remembered with markers in them


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A chat, ready for prefill.

    Args:
        tokens: What to decode.
        text: Their text, control tokens written out.
        phase: Where in a reply the text ends.
        stops: Strings that end the reply, where the template has no token for it.
        notices: How the chat was changed to fit the template.
        unfinished: The first bytes of a character that the tokens end in; ``text`` lacks them.
    """

    tokens: list[int]
    text: str
    phase: ReplyPhase
    stops: tuple[str, ...]
    notices: tuple[Notice, ...]
    unfinished: bytes = b""


def _prompt(rendering: Rendering, text: str, tokens: list[int]) -> EncodedPrompt:
    return EncodedPrompt(tokens, text, rendering.phase, rendering.stops, rendering.notices)


def _with_bos(vocabulary: Model, tokens: list[int], *, has_bos: bool) -> list[int]:
    if has_bos or not vocabulary.adds_bos:
        return tokens
    return vocabulary.tokenize(vocabulary.bos_text, special=True) + tokens


class SpecialStrings:
    """The texts that become control tokens, and where another text contains them."""

    def __init__(self, strings: frozenset[str]) -> None:
        self._strings = frozenset(filter(None, strings))
        self._pieces = frozenset(string.encode("utf-8", "replace") for string in self._strings)
        self._lengths: dict[str, list[int]] = {}  # by the first character
        for first, length in sorted({(string[0], len(string)) for string in self._strings}):
            self._lengths.setdefault(first, []).append(length)
        self._first = re.compile(_any_pattern(self._lengths))
        # A marker on either side of each of these characters breaks every special string.
        signs = {sign for string in self._strings for sign in string if _is_sign(sign)}
        words = {string for string in self._strings if not any(map(_is_sign, string))}
        self._breakable = re.compile(
            f"(?:{_any_pattern(signs)})+|(?={_any_pattern(words)}).", re.DOTALL
        )
        add_markers = lru_cache(MAX_MARKED_MESSAGES)(self._add_markers)
        self.add_markers: Callable[[ChatMessage, str], ChatMessage] = add_markers

    def contains(self, piece: bytes) -> bool:
        """Whether a token's text is a special string."""
        return piece in self._pieces

    def spans(self, text: str) -> list[Span]:
        """Every occurrence of every special string, overlapping ones too, by their start."""
        found: list[Span] = []
        for match in self._first.finditer(text):
            start = match.start()
            ends = (start + length for length in self._lengths[match[0]])
            found += [(start, end) for end in ends if text[start:end] in self._strings]
        # A slice that runs over the end repeats a shorter one.
        return [(start, end) for start, end in found if end <= len(text)]

    def _add_markers(self, message: ChatMessage, marker: str) -> ChatMessage:
        """The message with ``marker`` inside everything that could be part of a special string."""
        content, reasoning = (
            self.insert_marker(text, marker) for text in (message.content, message.reasoning)
        )
        marked = replace(message, content=content, reasoning=reasoning)
        if message.tool_calls or message.tool_name:
            from tchat.engine.prompt.tools import changed_calls

            return changed_calls(marked, partial(self.insert_marker, marker=marker), self.is_word)
        return marked

    def is_word(self, text: str) -> bool:
        """Whether a text is a name that is no part of a special string."""
        from tchat.engine.prompt.tools import is_plain

        return is_plain(text) and not self.spans(text)

    def insert_marker(self, text: str, marker: str) -> str:
        """The text with ``marker`` at its ends and around what special strings are made of."""
        core = text.strip()
        if not core:
            return text
        # Beyond the outer whitespace, so that a template's trim does what it always does.
        start = text.index(core)
        broken = self._breakable.sub(lambda m: marker + marker.join(m[0]) + marker, core)
        return f"{text[:start]}{marker}{broken}{marker}{text[start + len(core) :]}"

    def split_by_author(self, marked: str, marker: str) -> tuple[str, list[Span], list[Span]]:
        """The text without its markers, the template's own special strings, and the others."""
        pieces = marked.split(marker)
        text = "".join(pieces)
        seams = list(accumulate(map(len, pieces[:-1])))
        own: list[Span] = []
        foreign: list[Span] = []
        for span in self.spans(text):
            (foreign if _is_broken(span, seams) else own).append(span)
        return text, own, foreign


@lru_cache(maxsize=2)
def _special_strings(
    control: frozenset[str], user_defined: frozenset[str], source: str
) -> SpecialStrings:
    """The strings that become a token where the template writes them, and nowhere else.

    Of the tokens that a vocabulary matches in any text, those that are only text (runs of blanks,
    HTML) are left alone.
    """
    marks = {text for text in user_defined if _is_mark(text) or _template_writes(text, source)}
    return SpecialStrings(control | marks | (user_defined and user_defined & all_marks()))


_HTML = re.compile(
    r"</?(?:a|b|blockquote|body|br|caption|code|div|em|h[1-6]|head|hr|html|i|img|li|ol|p|pre|span"
    r"|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|u|ul)/?>"
)


def _is_mark(text: str) -> bool:
    """Whether a token's text looks like a mark: between brackets or bars, and no HTML."""
    enclosed = len(text) > 2 and {category(text[0]), category(text[-1])} <= {"Ps", "Pe", "Sm"}
    named = any(letter.isalpha() or letter in "|｜" for letter in text)
    return enclosed and named and not _HTML.fullmatch(text)


def _template_writes(text: str, source: str) -> bool:
    """Whether a token is one that the template writes, and no word or blank."""
    return len(text) > 2 and any(map(_is_sign, text)) and text in source


def _is_sign(character: str) -> bool:
    return not (character.isalnum() or character.isspace())


def _any_pattern(strings: Iterable[str]) -> str:
    """A pattern for one of ``strings``; one that never matches when there are none."""
    return "|".join(map(re.escape, strings)) or r"(?!)"


def _is_broken(span: Span, seams: list[int]) -> bool:
    """Whether a marker stood inside the span, or on both sides of a single character."""
    start, end = span
    first, last = bisect_left(seams, start), bisect_right(seams, end)
    inside = bisect_right(seams, start) < bisect_left(seams, end)
    return inside or (end - start == 1 and set(seams[first:last]) == {start, end})


def tokenize_by_parts(
    vocabulary: Model, specials: SpecialStrings, text: str, own: list[Span]
) -> list[int]:
    """Tokens of ``text`` in which only the spans ``own`` are control tokens.

    llama.cpp cuts a text at its special strings itself before it tokenizes what lies between, so
    cutting there changes nothing for the other pieces.
    """
    tokens: list[int] = []
    done, strips = 0, False
    for start, end in [*_partition(own), (len(text), len(text))]:
        between = text[done:start]
        tokens += _tokenize_text(vocabulary, specials, between.lstrip() if strips else between)
        tokens += vocabulary.tokenize(text[start:end], special=True)
        strips = _strips_after(vocabulary, text[start:end])
        done = end
    return tokens


def _partition(spans: list[Span]) -> list[Span]:
    """Spans without overlaps, by their start: the longest win, as in llama.cpp."""
    chosen: list[Span] = []
    for start, end in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        index = bisect_left(chosen, (start, end))
        clear_before = index == 0 or chosen[index - 1][1] <= start
        clear_after = index == len(chosen) or end <= chosen[index][0]
        if clear_before and clear_after:
            chosen.insert(index, (start, end))
    return chosen


def _strips_after(vocabulary: Model, special: str) -> bool:
    """Whether the vocabulary drops whitespace after this special string, as Phi-3 does."""
    alone = vocabulary.tokenize(special, special=True)
    return alone == vocabulary.tokenize(special + " ", special=True)


def _tokenize_text(vocabulary: Model, specials: SpecialStrings, text: str) -> list[int]:
    """Tokens of ``text``, none of them the token of a special string."""

    def is_special(token: int) -> bool:
        return specials.contains(vocabulary.piece(token))

    tokens = vocabulary.tokenize(text, special=False)
    if not any(map(is_special, tokens)):
        return tokens
    # A user-defined token, or SentencePiece merged "<s" and ">": tokenize in two parts.
    cuts = sorted({start + 1 for start, end in specials.spans(text) if end - start > 1})
    parts = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    tokens = vocabulary.tokenize(parts[0], special=False)
    for part in parts[1:]:
        tokens += _tokenize_inner(vocabulary, part)
    # Special strings of a single character remain, which no cut can break.
    return [token for token in tokens if not is_special(token)]


def _tokenize_inner(vocabulary: Model, text: str) -> list[int]:
    """Tokens of ``text`` inside a longer one, without the space that some vocabularies prepend."""
    guard = vocabulary.tokenize("\n", special=False)
    tokens = vocabulary.tokenize("\n" + text, special=False)
    if tokens[: len(guard)] == guard:
        return tokens[len(guard) :]
    return vocabulary.tokenize(text, special=False)


OTHER_QUESTION = "0"
BYTES_PER_TOKEN = 32  # no tokenizer packs more; longer input is refused before tokenizing


@dataclass(frozen=True, slots=True)
class PromptEncoder:
    """Encodes chats as prompts. Needs only the vocabulary: works during a decode.

    Every method refuses a text that is so long that it cannot fit, before tokenizing it.

    Args:
        model: The vocabulary.
        template: The chat template.
        size: Context size in tokens.
        prefixes: The last prompts, so that only what is new of one is tokenized.
        stopped: Whether to give up while a template renders; called often.
        tools: What the model may call.

    Raises:
        PromptTooLong: A text cannot fit.
        InterruptedError: ``stopped`` was True.
    """

    model: Model
    template: ChatTemplate
    size: int
    prefixes: PrefixCache
    stopped: IsStopped = never
    tools: PromptTools | None = None

    def prompt(
        self,
        messages: Sequence[ChatMessage],
        think: Think = "auto",
        *,
        continue_final: bool = False,
        quiet: bool = False,
    ) -> EncodedPrompt:
        """The prompt of a chat; ``quiet`` leaves out the notice about ``think``."""
        prompt = self._encode(messages, think, continue_final=continue_final, quiet=quiet)
        return self._append_unfinished(prompt, messages[-1]) if continue_final else prompt

    def for_answer(
        self, messages: Sequence[ChatMessage], *, continue_final: bool = False
    ) -> EncodedPrompt:
        """The prompt of a reply that is an answer from its first token on.

        Closes reasoning that the template opens, and opens the answer where the model marks it.
        """
        prompt = self._encode(messages, "off", continue_final=continue_final, quiet=True)
        prompt = self.open_answer(prompt)
        return self._append_unfinished(prompt, messages[-1]) if continue_final else prompt

    def _encode(
        self, messages: Sequence[ChatMessage], think: Think, *, continue_final: bool, quiet: bool
    ) -> EncodedPrompt:
        self._refuse_oversize(sum(map(_bytes, messages)))
        options, notice = self.template.switch(think)
        prompt = self._render_and_tokenize(messages, options, continue_final=continue_final)
        if think == "off" and prompt.phase is ReplyPhase.REASONING:
            return self.open_answer(prompt)  # works without a switch
        if notice is None or quiet:
            return prompt
        return replace(prompt, notices=(notice, *prompt.notices))

    def _render_and_tokenize(
        self,
        messages: Sequence[ChatMessage],
        options: Mapping[str, object],
        *,
        continue_final: bool,
    ) -> EncodedPrompt:
        """Only the template writes control tokens, whatever was typed.

        A chat without special strings is tokenized exactly as its plain rendering. The BOS token is
        added where the vocabulary wants it and the template does not write it.
        """

        def render(turns: Sequence[ChatMessage], tools: PromptTools | None) -> Rendering:
            return template.render(
                turns,
                continue_final=continue_final,
                options=options,
                stopped=self.stopped,
                tools=tools,
            )

        template, model, specials = self.template, self.model, self.specials
        marker = unused_character(self.texts(messages))
        marked = render(
            [specials.add_markers(message, marker) for message in messages],
            self.marked_tools(marker),
        )
        text, own, foreign = specials.split_by_author(marked.text, marker)
        if not foreign:
            plain = render(messages, self.tools)
            # If they differ, the template used a content: what it made of it may be a special
            # string.
            spans = specials.spans(plain.text)
            if plain.notices == marked.notices and len(spans) == len(own):
                tokens = self.prefixes.tokenize(
                    plain.text, lambda start: _partition([s for s in spans if s[0] >= start])
                )
                has_bos = plain.text.startswith(model.bos_text)
                return _prompt(plain, plain.text, _with_bos(model, tokens, has_bos=has_bos))
        tokens = tokenize_by_parts(model, specials, text, own)
        has_bos = any(text[start:end] == model.bos_text for start, end in own if start == 0)
        return _prompt(marked, text, _with_bos(model, tokens, has_bos=has_bos))

    @property
    def specials(self) -> SpecialStrings:
        """The texts that only the template writes."""
        return _special_strings(
            self.model.special_strings() | self.template.structure,
            self.model.user_defined_strings(),
            self.template.source,
        )

    def marked_tools(self, marker: str) -> PromptTools | None:
        """The tools with ``marker`` in their texts, as `SpecialStrings.add_markers`."""
        if self.tools is None:
            return None
        specials = self.specials
        insert = partial(specials.insert_marker, marker=marker)
        return self.tools.changed(insert, specials.is_word)

    def texts(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        """All texts of a prompt."""
        yield self.template.source
        yield from self.tools.texts if self.tools is not None else ()
        for message in messages:
            yield message.content
            yield message.reasoning
            for call in message.tool_calls:
                yield call.name
                yield call.arguments

    def open_answer(self, prompt: EncodedPrompt) -> EncodedPrompt:
        """The prompt with its reasoning closed, and the answer opened."""
        if prompt.phase is ReplyPhase.ANSWER:
            return prompt
        mark = self.template.marks.answer_after(prompt.text, prompt.phase)
        if not mark:
            return prompt
        tokens = self.model.tokenize(mark, special=True)
        return replace(
            prompt, tokens=prompt.tokens + tokens, text=prompt.text + mark, phase=ReplyPhase.ANSWER
        )

    def _append_unfinished(self, prompt: EncodedPrompt, reply: ChatMessage) -> EncodedPrompt:
        """The prompt with the first bytes of the character in which ``reply`` was cut."""
        data = reply.unfinished
        left = reply.reasoning and not reply.content and prompt.phase is not ReplyPhase.REASONING
        if not data or not prompt.tokens or left:
            return prompt
        # The model may have written them as one token with the text before, like a space.
        *before, last = prompt.tokens
        joined = self.model.tokens_of(self.model.piece(last) + data)
        tokens = self.model.tokens_of(data)
        if len(joined) == 1:
            return replace(prompt, tokens=before + joined, unfinished=data)
        if tokens:
            return replace(prompt, tokens=prompt.tokens + tokens, unfinished=data)
        return prompt

    def for_reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        think: Think = "auto",
        *,
        continue_final: bool = False,
    ) -> EncodedPrompt:
        """The prompt of a reply by ``sampling``; a grammar describes only the answer."""
        if not sampling.grammar:
            return self.prompt(messages, think, continue_final=continue_final)
        prompt = self.for_answer(messages, continue_final=continue_final)
        if think != "on":
            return prompt
        text = tr("a grammar or schema describes the answer, so this reply comes without reasoning")
        return replace(prompt, notices=(Notice("think", text), *prompt.notices))

    def before_question(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The prompt of the chat with another first question.

        Its common prefix with the chat's own prompt is shared by every chat with this template and
        system prompt.
        """
        questions = (at for at, message in enumerate(messages) if message.role == "user")
        other = ChatMessage("user", OTHER_QUESTION)
        return self.prompt([*messages[: next(questions, 0)], other], quiet=True).tokens

    def count(self, text: str) -> int:
        """Tokens of a text without control tokens."""
        self._refuse_oversize(len(text.encode("utf-8", "replace")))
        return len(self.model.tokenize(text, special=False))

    def _refuse_oversize(self, size: int) -> None:
        if size > self.size * BYTES_PER_TOKEN:
            raise too_long(size // 4, self.size, self.model.shape.n_ctx_train, about=True)


def _bytes(message: ChatMessage) -> int:
    """About how long a message is."""
    size = len(message.content.encode("utf-8", "replace"))
    return size + sum(len(call.arguments.encode("utf-8", "replace")) for call in message.tool_calls)


def require_fit(tokens: Sequence[int], size: int, trained: int, more: int = 0) -> None:
    """Refuse an empty prompt, and one that does not fit with ``more`` tokens and one more.

    ``trained`` is the context that the model was trained for; 0 if unknown.
    """
    if not tokens:
        raise UsageError(
            tr("the prompt is empty, so there is nothing to continue"), tr("type a prompt")
        )
    if len(tokens) + more >= size:
        raise too_long(len(tokens) + more, size, trained)


def too_long(tokens: int, size: int, trained: int, *, about: bool = False) -> PromptTooLong:
    """The error for a prompt of ``tokens`` tokens in a context of ``size``.

    Suggests a larger context only where the model, ``trained`` for so many tokens, can have one.
    """
    count = tr("about {tokens:,}", tokens=tokens) if about else f"{tokens:,}"
    return PromptTooLong(
        tr(
            "the prompt has {count} tokens and the context holds {size:,}, reply included",
            count=count,
            size=size,
        ),
        tr("shorten it, or ask for a larger context with --ctx-size")
        if can_grow(size, trained)
        else tr("shorten it, or use a model with a longer context"),
    )


MAX_PROMPTS = 4  # that are remembered


class _Mark(NamedTuple):
    """A special token: where it starts and ends in the text, and its index among the tokens."""

    start: int
    end: int
    token_index: int


@dataclass(frozen=True, slots=True)
class _KnownPrompt:
    text: str
    tokens: Sequence[int]
    marks: tuple[_Mark, ...] = ()


_NOTHING = _KnownPrompt("", ())


class PrefixCache:
    """A cache of the last prompts of one model. Threads may share it.

    llama.cpp cuts a text at its special tokens before it tokenizes what lies between. So two texts
    that are equal up to the end of a special token have equal tokens up to it.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokenize = partial(model.tokenize, special=True)
        self._known: tuple[_KnownPrompt, ...] = ()
        self._ids: dict[str, int | None] = {}  # of special tokens, by their texts
        self._divides: bool | None = None  # whether cutting a prompt left its tokens as they were

    def tokenize(self, text: str, spans_from: Callable[[int], Sequence[Span]]) -> list[int]:
        """The tokens of a prompt, special tokens written out in it.

        ``spans_from`` gives the spans of its special strings from a position on, ascending,
        without overlaps.
        """
        known, marks = self._longest(text)
        start, token_index = (marks[-1].start, marks[-1].token_index) if marks else (0, 0)
        tokens = [*known.tokens[:token_index], *self._tokenize(text[start:])]
        found = self._marks(text, spans_from(start), tokens, token_index)
        if marks and not found:  # its special tokens are not where they were
            return self._tokenize(text)
        if self._divides is None and len(found) > 1:
            last = found[-1]  # mostly the head of the reply: next to nothing is tokenized twice
            self._divides = self._tokenize(text[last.start :]) == tokens[last.token_index :]
        if found and self._divides:
            self._remember(_KnownPrompt(text, tuple(tokens), (*marks[:-1], *found)))
        return tokens

    def _longest(self, text: str) -> tuple[_KnownPrompt, tuple[_Mark, ...]]:
        """The prompt that shares the longest beginning with ``text``, and its marks in that."""
        best, shared = _NOTHING, _NOTHING.marks
        for known in self._known:
            common = _common_prefix(known.text, text)
            marks = known.marks[: bisect_right(known.marks, common, key=lambda mark: mark.end)]
            if marks and (not shared or marks[-1] > shared[-1]):
                best, shared = known, marks
        return best, shared

    def _remember(self, prompt: _KnownPrompt) -> None:
        others = (each for each in self._known if each.text != prompt.text)
        self._known = (prompt, *others)[:MAX_PROMPTS]

    def _marks(
        self, text: str, spans: Sequence[Span], tokens: Sequence[int], token_index: int
    ) -> tuple[_Mark, ...]:
        """The special tokens at ``spans``; none where they cannot be told from other tokens."""
        ids = [self._id(text[start:end]) for start, end in spans]
        cuts = [(span, each) for span, each in zip(spans, ids, strict=True) if each is not None]
        special_ids = frozenset(ids)
        indexes = [at for at in range(token_index, len(tokens)) if tokens[at] in special_ids]
        if [tokens[at] for at in indexes] != [each for _, each in cuts]:
            return ()
        pairs = zip(cuts, indexes, strict=True)
        return tuple(_Mark(start, end, at) for ((start, end), _), at in pairs)

    def _id(self, mark: str) -> int | None:
        """The token of a special string; None where a text cannot be cut at it."""
        if mark not in self._ids:
            self._ids[mark] = self._token(mark)
        return self._ids[mark]

    def _token(self, mark: str) -> int | None:
        strings = self._model.special_strings() | self._model.user_defined_strings()
        # A longer one that holds it would take its place where the text goes on so.
        if mark not in strings or any(mark in string[1:] for string in strings):
            return None
        tokens = self._tokenize(mark)
        return tokens[0] if len(tokens) == 1 else None


def _common_prefix(left: str, right: str) -> int:
    """How many characters two texts begin with in common."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # that many are common; no more than that many are
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
