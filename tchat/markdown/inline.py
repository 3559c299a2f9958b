"""The inline Markdown of a block as tokens; all text stays visible and safe to print.

Formulas become Unicode, unless information would be lost.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tchat.markdown.math import formulas, is_prose
from tchat.sanitize import printable

MATH = "math"
_BEGIN, _END = "\ue000", "\ue001"  # around the number of a formula; for private use
_QUOTE_MARK = re.compile(r"\n {0,3}> ?")
_PLACEHOLDER = re.compile(f"{_BEGIN}(\\d+){_END}")


class ProtectedFormula(NamedTuple):
    """A formula: its source with delimiters, and the text to show for it."""

    source: str
    shown: str


@functools.cache
def _parser() -> MarkdownIt:
    """CommonMark with tables; HTML and link reference definitions are text."""
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable(["strikethrough", "table"]).disable("reference")


def parse(text: str) -> list[Token]:
    """The block tokens of ``text``, safe to print and complete; formulas are text tokens."""
    without_formulas, protected = _protect_formulas(text)
    tokens = list(_sanitize_tokens(_parser().parse(without_formulas), protected))
    for token in tokens:
        for child in token.children or ():
            child.type = "text" if child.type == MATH else child.type
    return tokens


def parse_inline(text: str) -> list[Token]:
    """The inline tokens of ``text``, such as that of an item or a cell.

    A formula is a token of the type `MATH`, with its source as markup.
    """
    without_formulas, protected = _protect_formulas(text)
    return list(
        _sanitize_tokens(_parser().parseInline(without_formulas)[0].children or [], protected)
    )


def _protect_formulas(text: str) -> tuple[str, list[ProtectedFormula]]:
    """``text`` with a placeholder for each formula, so that its source is not parsed."""
    if _BEGIN in text or _END in text:
        return text, []
    quoted = text.startswith(">")
    pieces: list[str] = []
    protected: list[ProtectedFormula] = []
    done = 0
    for formula in formulas(text):
        source, tex = text[formula.start : formula.end], formula.tex
        if quoted:
            source = _QUOTE_MARK.sub("\n", source)
            tex = _QUOTE_MARK.sub("\n", tex) if tex is not None else None
        shown = _render_formula(tex) if tex is not None else None
        pieces += [text[done : formula.start], f"{_BEGIN}{len(protected)}{_END}"]
        protected.append(ProtectedFormula(source, shown or source))
        done = formula.end
    return "".join([*pieces, text[done:]]), protected


def _render_formula(tex: str) -> str | None:
    """The text to show for a formula; None to show its source."""
    return None if is_prose(tex) else tex_to_unicode(tex)


def _restore_formulas(text: str, protected: Sequence[ProtectedFormula]) -> str:
    """``text`` with placeholders replaced by the sources of formulas."""
    return (
        _PLACEHOLDER.sub(lambda match: protected[int(match[1])].source, text) if protected else text
    )


def _split_formulas(token: Token, protected: Sequence[ProtectedFormula]) -> Iterator[Token]:
    """A text token split into text and formulas."""
    pieces = _PLACEHOLDER.split(token.content)
    for place, piece in enumerate(pieces):
        if place % 2:
            source, shown = protected[int(piece)]
            yield Token(MATH, "", 0, content=printable(shown), markup=printable(source))
        elif piece:
            yield Token("text", "", 0, content=piece)


def _sanitize_tokens(tokens: list[Token], protected: Sequence[ProtectedFormula]) -> Iterator[Token]:
    spelled_out = ""
    for position, token in enumerate(tokens):
        if protected:
            if token.type == "text" and _BEGIN in token.content:
                token.content = printable(token.content)
                yield from _split_formulas(token, protected)
                continue
            token.content = _restore_formulas(token.content, protected)
        # An entity such as &#x202E; becomes its character while parsing.
        token.content = printable(token.content)
        if token.type == "image":
            yield Token("text", "", 0, content=_image(token))
        elif token.type == "link_open" and _shows_its_address(token, tokens[position + 1]):
            spelled_out = "link_close"
        elif token.type == spelled_out:
            spelled_out = ""
        else:
            if token.type == "softbreak":
                token.type = "hardbreak"  # line breaks are kept
            if token.children:
                token.children = list(_sanitize_tokens(token.children, protected))
            yield token


def _image(token: Token) -> str:
    address = printable(str(token.attrs.get("src", "")))
    return f"{token.content} ({address})" if token.content else address


def _shows_its_address(link: Token, text: Token) -> bool:
    address = str(link.attrs.get("href", ""))
    return link.markup == "autolink" or text.content == address


MAX_LENGTH = 2_000  # characters; a longer formula is not converted
MAX_DEPTH = 40  # of nested groups and arguments

# Commands and their characters; Greek capitals that look like Latin ones have no command.
_PAIRS = r"""
alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι
kappa κ lambda λ mu μ nu ν xi ξ pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ
phi ϕ varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ
Upsilon Υ Phi Φ Psi Ψ Omega Ω
times × div ÷ cdot ⋅ pm ± mp ∓ ast ∗ star ⋆ circ ∘ bullet • oplus ⊕ ominus ⊖ otimes ⊗ odot ⊙
wedge ∧ land ∧ vee ∨ lor ∨ neg ¬ lnot ¬ cap ∩ cup ∪ setminus ∖ dagger † ddagger ‡
leq ≤ le ≤ geq ≥ ge ≥ neq ≠ ne ≠ ll ≪ gg ≫ approx ≈ equiv ≡ sim ∼ simeq ≃ cong ≅ propto ∝
prec ≺ succ ≻ preceq ⪯ succeq ⪰ parallel ∥ perp ⊥ mid ∣ models ⊨ vdash ⊢ asymp ≍ doteq ≐
in ∈ notin ∉ ni ∋ subset ⊂ subseteq ⊆ supset ⊃ supseteq ⊇ emptyset ∅ varnothing ∅
forall ∀ exists ∃ nexists ∄ therefore ∴ because ∵ infty ∞ partial ∂ nabla ∇ hbar ℏ ell ℓ Re ℜ
Im ℑ aleph ℵ angle ∠ triangle △ square □ prime ′ top ⊤ bot ⊥ degree ° checkmark ✓
sum ∑ prod ∏ coprod ∐ int ∫ iint ∬ iiint ∭ oint ∮ bigcup ⋃ bigcap ⋂ bigoplus ⨁ bigotimes ⨂
to → rightarrow → leftarrow ← gets ← leftrightarrow ↔ Rightarrow ⇒ implies ⟹ Leftarrow ⇐
impliedby ⟸ Leftrightarrow ⇔ iff ⟺ mapsto ↦ uparrow ↑ downarrow ↓ longrightarrow ⟶
longleftarrow ⟵ Longrightarrow ⟹ hookrightarrow ↪ rightharpoonup ⇀ nearrow ↗ searrow ↘
ldots … dots … cdots ⋯ vdots ⋮ ddots ⋱ langle ⟨ rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉
lvert | rvert | Vert ‖ lVert ‖ rVert ‖ backslash \ colon : lbrace { rbrace }
"""
_SYMBOLS = dict(zip(_PAIRS.split()[::2], _PAIRS.split()[1::2], strict=True))
_FUNCTION_NAMES = (
    "arccos arcsin arctan arg argmax argmin cos cosh cot coth csc deg det dim exp gcd hom inf ker "
    "lg lim liminf limsup ln log max min mod Pr sec sin sinh sup tan tanh"
)
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_SPACES = {",": " ", ":": " ", ";": " ", "!": "", " ": " ", "quad": "  ", "qquad": "    ", ">": " "}
_LITERAL = frozenset("{}$%&#_")
_SIZES = "left right big Big bigg Bigg bigl bigr Bigl Bigr limits nolimits displaystyle textstyle"
_NOTHING = frozenset(_SIZES.split())
_TEXTS = frozenset(["text", "textrm", "textbf", "textit", "mathrm", "operatorname", "mbox"])
_ACCENTS = {
    "hat": "\u0302", "bar": "\u0304", "vec": "\u20d7", "dot": "\u0307", "ddot": "\u0308",
    "tilde": "\u0303", "overline": "\u0305",
}  # fmt: skip
_BOLD = frozenset(["mathbf", "boldsymbol", "bm"])
_STYLES = _TEXTS | _BOLD | set(_ACCENTS) | {"mathbb", "mathcal"}
_DOUBLE = dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True))
_SUPER = dict(zip(
    "0123456789+-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWαβγδεθφχ′∗ ",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵅᵝᵞᵟᵋᶿᵠᵡ′* ",
    strict=True,
))  # fmt: skip
_SUB = dict(zip(
    "0123456789+-=()aehijklmnoprstuvxβγρφχ ",
    "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ ",
    strict=True,
))  # fmt: skip
_ROOTS = {"2": "√", "3": "∛", "4": "∜"}
# What a fraction beside it cannot be mistaken for a part of.
_RELATION_NAMES = (
    "leq le geq ge neq ne ll gg approx equiv sim simeq cong propto prec succ preceq succeq asymp "
    "doteq in notin ni to rightarrow leftarrow leftrightarrow Rightarrow implies Leftarrow "
    "impliedby Leftrightarrow iff mapsto longrightarrow Longrightarrow longleftarrow pm mp "
    "quad qquad therefore because land lor"
)
_RELATIONS = frozenset(_RELATION_NAMES.split())
_TOKEN = re.compile(r"\\([A-Za-z]+)|\\([\s\S])|([{}^_&~'])|(\s+)|([^\\{}^_&~'\s])")
_CALLIGRAPHIC = dict(zip("BEFHILMR", "ℬℰℱℋℐℒℳℛ", strict=True))


_MARKS = re.escape("".join({*_SUPER.values(), *_SUB.values()} - {" ", "*"})) + "′°!"
# One operand: a letter or a number with what stands above and below it, or a root.
_ATOM = (
    r"(?:[√∛∜]\([^()]*\)|[√∛∜]?(?:\d+(?:\.\d+)?|[^\W\d_]|[∞∂∇ℏ∅⋯…]))"
    rf"[\u0302-\u0308\u20d7{_MARKS}]*(?:[\^_](?:[^\W_]|\([^()]*\)))*"
)
_ONE = re.compile(_ATOM)
_PRODUCT = re.compile(f"(?:{_ATOM})+")
_DIFFERENTIAL = re.compile(f"[d∂]{_ATOM}")


class _Untranslatable(Exception):
    """A part of the formula has no equivalent in Unicode."""


def tex_to_unicode(tex: str) -> str | None:
    """``tex`` in Unicode; commands without one stay as they are, with what belongs to them.

    None where something would be lost, or nothing is gained.
    """
    if len(tex) > MAX_LENGTH:
        return None
    try:
        shown = _TexReader(tex).read()
    except _Untranslatable:
        return None
    return None if "\\" in shown and shown.split() == tex.split() else shown


class _TexReader:
    """A parser of one formula, from left to right."""

    def __init__(self, tex: str) -> None:
        matches = list(_TOKEN.finditer(tex))
        self._tex = tex
        self._tokens = [match.groups() for match in matches]
        self._starts = [*(match.start() for match in matches), len(tex)]
        self._at = 0
        self._depth = 0
        self._is_argument = False  # whether the group around is, which gets brackets where needed

    def read(self) -> str:
        """The whole formula."""
        shown = self._group(end="")
        if self._at < len(self._tokens):
            raise _Untranslatable
        return "\n".join(" ".join(row.split()) for row in shown.split("\n")).strip()

    def _group(self, end: str) -> str:
        """A group up to and including the mark ``end``."""
        parts: list[str] = []
        while self._at < len(self._tokens):
            mark = self._tokens[self._at][2]
            if mark == "}":
                break
            parts.append(self._script(parts) if mark in ("^", "_") else self._base())
        if end:
            if self._at >= len(self._tokens):
                raise _Untranslatable
            self._at += 1
        return "".join(parts)

    def _base(self) -> str:
        """The base of a script; a group is put in brackets when a script follows."""
        is_group = self._next() == "{"
        shown = self._atom()
        return _operand(shown) if is_group and self._next() in ("^", "_") else shown

    def _atom(self, *, is_argument: bool = False) -> str:
        if self._at >= len(self._tokens):
            raise _Untranslatable
        command, escaped, mark, space, plain = self._tokens[self._at]
        self._at += 1
        if command:
            return self._command(command)
        if escaped:
            return self._escaped(escaped)
        if mark == "{":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise _Untranslatable
            outer, self._is_argument = self._is_argument, is_argument
            shown = self._group(end="}")
            self._is_argument = outer
            self._depth -= 1
            return shown
        if mark == "'":
            return "′"
        if mark == "~" or space:
            return " "
        if mark or plain in (None, "%", "#", "$"):
            raise _Untranslatable
        return plain

    def _argument(self) -> str:
        """The argument of a command: a group or a character."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Untranslatable
        while self._at < len(self._tokens) and self._tokens[self._at][3]:
            self._at += 1
        shown = self._atom(is_argument=True)
        self._depth -= 1
        return shown

    def _escaped(self, character: str) -> str:
        if character == "\\":
            if self._next() == "[":  # a distance between rows
                raise _Untranslatable
            return "\n"
        if character == "|":
            return "‖"
        if character in _LITERAL:
            return character
        if character not in _SPACES:
            raise _Untranslatable
        return _SPACES[character]

    def _command(self, name: str) -> str:
        if (known := _SYMBOLS.get(name, _SPACES.get(name))) is not None:
            if name in ("partial", "nabla"):
                self._skip_space()
            return known
        if name in _FUNCTIONS:
            return self._function(name)
        if name in _NOTHING:
            if name in ("left", "right") and self._next() == ".":
                self._at += 1
            return ""
        if name in ("frac", "dfrac", "tfrac"):
            return self._fraction()
        if name == "sqrt":
            return self._root()
        return self._styled(name) if name in _STYLES else self._verbatim(name)

    def _verbatim(self, name: str) -> str:
        """The source of the current command, with its arguments or environment."""
        start = self._at - 1
        if name == "end":
            raise _Untranslatable
        while self._at < len(self._tokens):
            _, _, mark, _, plain = self._tokens[self._at]
            if mark == "{":
                self._skip("{", "}")
            elif plain == "[":
                self._skip("[", "]")
            elif plain == "*" and self._at == start + 1:
                self._at += 1
            else:
                break
        if name == "begin":
            self._skip_environment()
        return self._source(start)

    def _source(self, start: int) -> str:
        """The source from the token ``start`` up to here, separated from a following letter."""
        source = self._tex[self._starts[start] : self._starts[self._at]]
        behind = self._tokens[self._at] if self._at < len(self._tokens) else None
        return f"{source} " if source[-1].isalpha() and behind and not behind[3] else source

    def _skip(self, opening: str, closing: str) -> None:
        """Skip the bracketed part that begins here."""
        depth = 0
        while self._at < len(self._tokens):
            _, _, mark, _, plain = self._tokens[self._at]
            depth += ((mark or plain) == opening) - ((mark or plain) == closing)
            self._at += 1
            if not depth:
                return
        raise _Untranslatable

    def _skip_environment(self) -> None:
        """Skip to behind the ``\\end`` of the current environment."""
        depth = 1
        while self._at < len(self._tokens):
            command = self._tokens[self._at][0]
            depth += (command == "begin") - (command == "end")
            self._at += 1
            if not depth:
                if self._at < len(self._tokens) and self._tokens[self._at][2] == "{":
                    self._skip("{", "}")
                return
        raise _Untranslatable

    def _styled(self, name: str) -> str:
        start = self._at - 1
        if name == "operatorname" and self._next() == "*":
            self._at += 1
        text = self._argument()
        if name in _TEXTS:
            return text
        if name in _ACCENTS and len(text) == 1:
            return text + _ACCENTS[name]
        if name == "mathbb" and text in _DOUBLE:
            return _DOUBLE[text]
        if name in _BOLD and all(map(_bold, text)):
            return "".join(map(_bold, text))
        if name == "mathcal" and len(text) == 1 and "A" <= text <= "Z":
            return _CALLIGRAPHIC.get(text, chr(0x1D49C + ord(text) - ord("A")))
        return self._source(start)

    def _fraction(self) -> str:
        """One operand over another; in brackets beside what would belong to either of them."""
        alone = self._ends_before(self._at - 1)
        above, below = self._argument().strip(), self._argument().strip()
        if not (_DIFFERENTIAL.fullmatch(below) and above[:1] in ("d", "∂")):
            below = below if _ONE.fullmatch(below) else _operand(below)
        shown = f"{above if _PRODUCT.fullmatch(above) else _operand(above)}/{below}"
        return shown if alone and self._begins_behind() else f"({shown})"

    def _root(self) -> str:
        sign = "√"
        if self._next() == "[":
            index = self._at
            self._skip_space()
            self._skip("[", "]")
            inside = self._tex[self._starts[index] : self._starts[self._at]].strip(" []")
            if inside not in _ROOTS:
                self._at = index
                return self._verbatim("sqrt")
            sign = _ROOTS[inside]
        text = self._argument().strip()
        if not text or "\n" in text:
            raise _Untranslatable
        if len(text) == 1 and self._begins_behind():
            return f"{sign}{text}"
        return f"{sign}({text})"

    def _skip_space(self) -> None:
        while self._at < len(self._tokens) and self._tokens[self._at][3]:
            self._at += 1

    def _ends_before(self, at: int) -> bool:
        """Whether nothing that a fraction could belong to stands before the token ``at``."""
        at -= 1
        while at >= 0 and self._tokens[at][3]:
            at -= 1
        if at < 0:
            return True
        command, escaped, mark, _, plain = self._tokens[at]
        if mark == "{":
            return self._is_argument
        return command in _RELATIONS or escaped in ("\\", "{") or (plain or "x") in "+-=<>,.;:(["

    def _begins_behind(self) -> bool:
        """Whether nothing that belongs to a fraction comes next."""
        at = self._at
        while at < len(self._tokens) and self._tokens[at][3]:
            at += 1
        if at == len(self._tokens):
            return True
        command, escaped, mark, _, plain = self._tokens[at]
        if mark == "}":
            return self._is_argument
        ends = command in _RELATIONS or command == "right" or escaped in ("\\", "}")
        return ends or (plain or "x") in "+-=<>,.;:)]"

    def _before(self, count: int) -> str:
        """What stands before the last ``count`` tokens, white space aside; empty at the begin."""
        at = self._at - count - 1
        while at >= 0 and self._tokens[at][3]:
            at -= 1
        return _text(self._tokens[at]) if at >= 0 else ""

    def _next(self) -> str:
        """What comes next, white space aside; empty at the end."""
        at = self._at
        while at < len(self._tokens) and self._tokens[at][3]:
            at += 1
        return _text(self._tokens[at]) if at < len(self._tokens) else ""

    def _function(self, name: str) -> str:
        """The name of a function, apart from letters beside it."""
        before = self._before(1)
        behind = self._at < len(self._tokens) and self._tokens[self._at]
        apart = behind and (behind[0] or (behind[4] or "").isalnum())
        return f"{' ' if before.isalnum() else ''}{name}{' ' if apart else ''}"

    def _script(self, before: list[str]) -> str:
        """What stands above or below; in brackets where there are no characters for it."""
        mark = self._tokens[self._at][2]
        self._at += 1
        if not before or not before[-1].strip():
            raise _Untranslatable
        text = self._argument().strip()
        small = _SUPER if mark == "^" else _SUB
        if text and all(character in small for character in text):
            return "".join(small[character] for character in text)
        if mark == "^" and text == "∘":
            return "°"
        if not text or "\n" in text:
            raise _Untranslatable
        apart = self._at >= len(self._tokens) or not _text(self._tokens[self._at]).isalnum()
        return f"{mark}{text}" if len(text) == 1 and apart else f"{mark}({text})"


def _operand(text: str) -> str:
    """``text`` as one operand: in brackets, unless it is one already."""
    text = text.strip()
    if not text or "\n" in text:
        raise _Untranslatable
    return text if _is_one(text) else f"({text})"


def _is_one(text: str) -> bool:
    if len(text) == 1 or text.isdecimal():
        return True
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth <= 0:
            return depth == 0 < place == len(text) - 1
    return False


def _bold(character: str) -> str:
    """A letter or a digit in bold; empty where there is none."""
    for first, bold in (("A", 0x1D400), ("a", 0x1D41A), ("0", 0x1D7CE)):
        count = 10 if first == "0" else 26
        if ord(first) <= ord(character) < ord(first) + count:
            return chr(bold + ord(character) - ord(first))
    return ""


def _text(token: Sequence[str | None]) -> str:
    return next(part for part in token if part)
