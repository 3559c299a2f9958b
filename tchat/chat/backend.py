"""What a chat asks of whatever writes its replies: the engine in this process, or a server."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tchat.engine.binding import Cancel
    from tchat.engine.capabilities import Capabilities
    from tchat.engine.engine import Engine
    from tchat.engine.events import Event
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.prompt.encoder import EncodedPrompt
    from tchat.engine.prompt.template import Think
    from tchat.engine.prompt.tools import PromptTools
    from tchat.engine.tool_reply import ToolReplies
    from tchat.settings import Sampling


class Encoder(Protocol):
    """Counts and encodes prompts for one backend."""

    @property
    def model(self) -> object:
        """What prompts are encoded for; with ``template``, a key of what is remembered."""
        ...

    @property
    def template(self) -> object:
        """The chat template."""
        ...

    @property
    def size(self) -> int:
        """Tokens of context."""
        ...

    @property
    def stopped(self) -> Callable[[], bool]:
        """Whether to give up."""
        ...

    @property
    def tools(self) -> object:
        """What prompts offer of tools; a part of the key, too."""
        ...

    def count(self, text: str) -> int:
        """Tokens of a text."""
        ...

    def for_reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        think: Think = "auto",
        *,
        continue_final: bool = False,
    ) -> EncodedPrompt:
        """The prompt of a reply."""
        ...

    def for_answer(
        self, messages: Sequence[ChatMessage], *, continue_final: bool = False
    ) -> EncodedPrompt:
        """The prompt of a reply without reasoning."""
        ...


class Backend(Protocol):
    """Messages in, the frozen events of `tchat.engine.events` out.

    All calls but `counting` and `unbind_session` belong on one thread. Setting ``cancel`` ends the
    call in progress early.
    """

    cancel: Cancel

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; of a server, once it is loaded."""
        ...

    @property
    def is_loaded(self) -> bool:
        """Whether the model is ready."""
        ...

    @property
    def local_engine(self) -> Engine | None:
        """The engine, for what only it can do; None for a server."""
        ...

    @property
    def template_hash(self) -> str:
        """SHA-256 of the chat template; empty where it is not known."""
        ...

    @property
    def context_size(self) -> int:
        """Tokens of context, once it is loaded."""
        ...

    @property
    def trained_context_size(self) -> int:
        """Tokens of context that the model was trained for; 0 if unknown."""
        ...

    @property
    def encoder(self) -> Encoder:
        """Encodes prompts until it is cancelled, once it is loaded."""
        ...

    def load(self) -> Iterator[Event]:
        """Make the model ready, unless it is."""
        ...

    def counting(self) -> AbstractContextManager[Encoder | None]:
        """Count prompts on any thread; None when the model is not loaded."""
        ...

    def prompt_tokens(self, messages: Sequence[ChatMessage], think: Think = "auto") -> list[int]:
        """The tokens of a prompt, perhaps only their number."""
        ...

    def offer_tools(self, tools: PromptTools | None) -> None:
        """Offer ``tools`` in every prompt from now on."""
        ...

    def prompt_behind_call(
        self, messages: Sequence[ChatMessage], think: Think = "auto"
    ) -> EncodedPrompt | None:
        """The prompt of results behind the call written last; None to encode it as a whole."""
        ...

    def prepare(self, messages: Sequence[ChatMessage], think: Think = "auto") -> Iterator[Event]:
        """Load the model and restore the chat, before its next prompt comes."""
        ...

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        think: Think = "auto",
        continue_final: bool = False,
        prompt: EncodedPrompt | None = None,
        tools: ToolReplies | None = None,
    ) -> Iterator[Event]:
        """Write the next reply, or continue the last message when ``continue_final``."""
        ...

    def candidates(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        count: int,
        *,
        think: Think = "auto",
        continue_final: bool = False,
        stopped: Container[int] = (),
        states: bool = False,
        prompt: EncodedPrompt | None = None,
    ) -> Iterator[Event]:
        """Write ``count`` replies, except those that are ``stopped``."""
        ...

    def score_labels(
        self,
        messages: Sequence[ChatMessage],
        labels: Sequence[str],
        prompt: EncodedPrompt | None = None,
    ) -> Iterator[Event]:
        """Choose one of ``labels`` as the reply, by their probabilities."""
        ...

    def bind_session(self, session: str) -> None:
        """Save what is prefilled from now on for ``session``; for an empty one, save nothing."""
        ...

    def unbind_session(self, session: str) -> None:
        """Save nothing more for ``session``; from any thread."""
        ...

    def save(
        self, should_continue: Callable[[], bool] = lambda: True, *, at_exit: bool = False
    ) -> int:
        """Save what was prefilled; returns the saved tokens."""
        ...

    def close(self) -> None:
        """Free everything; not while a generator of it is running."""
        ...
