"""Chats as prompts of one model: encoded, counted, refused when they cannot fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tchat.engine.events import Notice
from tchat.engine.model import Model
from tchat.engine.prompt.messages import ChatMessage
from tchat.engine.prompt.reasoning import ReplyPhase
from tchat.engine.prompt.template import ChatTemplate, Think
from tchat.engine.prompt.template_adapter import IsStopped, never
from tchat.engine.prompt.tokenization import EncodedPrompt, encode
from tchat.errors import DoesNotFit, UsageError
from tchat.settings import Sampling

OTHER_QUESTION = "0"
BYTES_PER_TOKEN = 32  # no tokenizer packs more; longer input is refused before tokenizing


@dataclass(frozen=True, slots=True)
class PromptEncoder:
    """Makes prompts of chats. Needs only the vocabulary: may be used beside a decode.

    Every method refuses a text that is so long that it cannot fit, before it is tokenized.

    Args:
        model: Whose vocabulary.
        template: How a chat becomes a prompt.
        size: Tokens that the context holds.
        stopped: Whether to give up while a template renders; asked many times.

    Raises:
        DoesNotFit: A text cannot fit.
        InterruptedError: ``stopped`` said so.
    """

    model: Model
    template: ChatTemplate
    size: int
    stopped: IsStopped = never

    def prompt(
        self,
        messages: Sequence[ChatMessage],
        think: Think = "auto",
        *,
        continue_final: bool = False,
        quiet: bool = False,
    ) -> EncodedPrompt:
        """The prompt of a chat; ``quiet`` leaves out what is to be told about ``think``."""
        prompt = self._encoded(messages, think, continue_final=continue_final, quiet=quiet)
        return self._in_character(prompt, messages[-1]) if continue_final else prompt

    def for_answer(
        self, messages: Sequence[ChatMessage], *, continue_final: bool = False
    ) -> EncodedPrompt:
        """The prompt of a reply that is an answer from its first token on.

        Reasoning that the template opens is closed at once, and the answer is opened where the
        model marks it.
        """
        prompt = self._encoded(messages, "off", continue_final=continue_final, quiet=True)
        prompt = self._in_answer(prompt)
        return self._in_character(prompt, messages[-1]) if continue_final else prompt

    def _encoded(
        self, messages: Sequence[ChatMessage], think: Think, *, continue_final: bool, quiet: bool
    ) -> EncodedPrompt:
        self._refuse_oversize(sum(len(m.content.encode("utf-8", "replace")) for m in messages))
        options, notice = self.template.switch(think)
        prompt = encode(
            self.template,
            self.model,
            messages,
            continue_final=continue_final,
            options=options,
            stopped=self.stopped,
        )
        if think == "off" and prompt.phase is ReplyPhase.REASONING:
            return self._in_answer(prompt)  # no switch is needed
        if notice is None or quiet:
            return prompt
        return replace(prompt, notices=(notice, *prompt.notices))

    def _in_answer(self, prompt: EncodedPrompt) -> EncodedPrompt:
        if prompt.phase is ReplyPhase.ANSWER:
            return prompt
        mark = self.template.marks.answer_after(prompt.text, prompt.phase)
        if not mark:
            return prompt
        tokens = self.model.tokenize(mark, special=True)
        return replace(
            prompt, tokens=prompt.tokens + tokens, text=prompt.text + mark, phase=ReplyPhase.ANSWER
        )

    def _in_character(self, prompt: EncodedPrompt, reply: ChatMessage) -> EncodedPrompt:
        """The prompt with the first bytes of the character in which ``reply`` was cut."""
        data = reply.unfinished
        left = reply.reasoning and not reply.content and prompt.phase is not ReplyPhase.REASONING
        if not data or not prompt.tokens or left:
            return prompt
        # The model may have written them as one token with what is before, like a space.
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
        """The prompt of a reply that is drawn by ``sampling``: a grammar describes an answer."""
        if not sampling.grammar:
            return self.prompt(messages, think, continue_final=continue_final)
        prompt = self.for_answer(messages, continue_final=continue_final)
        if think != "on":
            return prompt
        text = "a grammar or schema describes the answer, so this reply comes without reasoning"
        return replace(prompt, notices=(Notice("think", text), *prompt.notices))

    def before_question(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The prompt of the chat as it would be with another first question.

        What it has in common with the chat's own is the same for every chat that begins alike:
        the template's own text and the system prompt.
        """
        places = (at for at, message in enumerate(messages) if message.role == "user")
        other = ChatMessage("user", OTHER_QUESTION)
        return self.prompt([*messages[: next(places, 0)], other], quiet=True).tokens

    def count(self, text: str) -> int:
        """Tokens of a text without control tokens."""
        self._refuse_oversize(len(text.encode("utf-8", "replace")))
        return len(self.model.tokenize(text, special=False))

    def _refuse_oversize(self, size: int) -> None:
        if size > self.size * BYTES_PER_TOKEN:
            raise too_long(size // 4, self.size, about=True)


def refuse_unfit(tokens: Sequence[int], size: int, more: int = 0) -> None:
    """Refuse an empty prompt, and one that leaves no room for ``more`` tokens and one.

    Raises:
        UsageError, DoesNotFit: It is refused.
    """
    if not tokens:
        raise UsageError("the prompt is empty, so there is nothing to go on from", "write one")
    if len(tokens) + more >= size:
        raise too_long(len(tokens) + more, size)


def too_long(tokens: int, size: int, *, about: bool = False) -> DoesNotFit:
    """The refusal of a prompt of ``tokens`` tokens by a context of ``size``, with both numbers."""
    count = f"about {tokens:,}" if about else f"{tokens:,}"
    return DoesNotFit(
        f"the prompt has {count} tokens and the context holds {size:,}, reply included",
        "shorten it, or ask for a larger context with --ctx-size",
    )
