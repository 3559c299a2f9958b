"""TeX formulas as readable Unicode, where nothing is lost by it."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 2_000  # characters; a longer formula is left as it is
DEEPEST = 40  # groups and arguments in each other

# Commands and what they are; capital Greek letters that look like Latin ones have no command.
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
_TOKEN = re.compile(r"\\([A-Za-z]+)|\\([\s\S])|([{}^_&~'])|(\s+)|([^\\{}^_&~'\s])")
_CALLIGRAPHIC = dict(zip("BEFHILMR", "ℬℰℱℋℐℒℳℛ", strict=True))


class _Unknown(Exception):
    """Something in a formula has no Unicode that means the same."""


def readable(tex: str) -> str | None:
    """``tex`` in Unicode; None where something would be lost."""
    if len(tex) > LONGEST:
        return None
    try:
        return _Reader(tex).read()
    except _Unknown:
        return None


class _Reader:
    """Reads one formula from left to right."""

    def __init__(self, tex: str) -> None:
        self._tokens = [match.groups() for match in _TOKEN.finditer(tex)]
        self._at = 0
        self._depth = 0

    def read(self) -> str:
        """All of it."""
        shown = self._group(end="")
        if self._at < len(self._tokens):
            raise _Unknown
        return "\n".join(" ".join(row.split()) for row in shown.split("\n")).strip()

    def _group(self, end: str) -> str:
        """Up to the mark ``end``, which is taken too."""
        parts: list[str] = []
        while self._at < len(self._tokens):
            mark = self._tokens[self._at][2]
            if mark == "}":
                break
            parts.append(self._script(parts) if mark in ("^", "_") else self._base())
        if end:
            if self._at >= len(self._tokens):
                raise _Unknown
            self._at += 1
        return "".join(parts)

    def _base(self) -> str:
        """What may have something above or below it: then a group is in brackets."""
        is_group = self._next() == "{"
        shown = self._atom()
        return _operand(shown) if is_group and self._next() in ("^", "_") else shown

    def _atom(self) -> str:
        if self._at >= len(self._tokens):
            raise _Unknown
        command, escaped, mark, space, plain = self._tokens[self._at]
        self._at += 1
        if command:
            return self._command(command)
        if escaped:
            return self._escaped(escaped)
        if mark == "{":
            self._depth += 1
            if self._depth > DEEPEST:
                raise _Unknown
            shown = self._group(end="}")
            self._depth -= 1
            return shown
        if mark == "'":
            return "′"
        if mark == "~" or space:
            return " "
        if mark or plain in (None, "%", "#", "$"):
            raise _Unknown
        return plain

    def _argument(self) -> str:
        """The group or the character behind a command."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Unknown
        while self._at < len(self._tokens) and self._tokens[self._at][3]:
            self._at += 1
        shown = self._atom()
        self._depth -= 1
        return shown

    def _escaped(self, character: str) -> str:
        if character == "\\":
            if self._next() == "[":  # a distance between rows
                raise _Unknown
            return "\n"
        if character == "|":
            return "‖"
        if character in _LITERAL:
            return character
        if character not in _SPACES:
            raise _Unknown
        return _SPACES[character]

    def _command(self, name: str) -> str:
        if (known := _SYMBOLS.get(name, _SPACES.get(name))) is not None:
            return known
        if name in _FUNCTIONS:
            return self._function(name)
        if name in _NOTHING:
            if name in ("left", "right") and self._next() == ".":
                self._at += 1
            return ""
        if name in ("frac", "dfrac", "tfrac"):
            return self._fraction()
        return self._root() if name == "sqrt" else self._styled(name)

    def _styled(self, name: str) -> str:
        if name == "operatorname" and self._next() == "*":
            self._at += 1
        text = self._argument()
        if name in _TEXTS:
            return text
        if name in _ACCENTS and len(text) == 1:
            return text + _ACCENTS[name]
        if name == "mathbb" and text in _DOUBLE:
            return _DOUBLE[text]
        if name in ("mathbf", "boldsymbol", "bm"):
            return "".join(map(_bold, text))
        if name == "mathcal" and len(text) == 1 and "A" <= text <= "Z":
            return _CALLIGRAPHIC.get(text, chr(0x1D49C + ord(text) - ord("A")))
        raise _Unknown

    def _fraction(self) -> str:
        """One operand over another; in brackets beside what would belong to either of them."""
        alone = self._is_free(self._before(1))
        shown = f"{_operand(self._argument())}/{_operand(self._argument())}"
        return shown if alone and self._is_free(self._next()) else f"({shown})"

    def _root(self) -> str:
        if self._next() == "[":
            raise _Unknown
        text = self._argument().strip()
        if len(text) == 1 and self._is_free(self._next()):
            return f"√{text}"
        return f"√{_operand(f'({text})')}" if text else "√()"

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

    @staticmethod
    def _is_free(token: str) -> bool:
        """Whether an operand beside this is one by itself."""
        return token in ("", "+", "-", "=", "<", ">", ",", ".", ";", ":")

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
            raise _Unknown
        text = self._argument().strip()
        small = _SUPER if mark == "^" else _SUB
        if text and all(character in small for character in text):
            return "".join(small[character] for character in text)
        if mark == "^" and text == "∘":
            return "°"
        if not text or "\n" in text:
            raise _Unknown
        apart = self._at >= len(self._tokens) or not _text(self._tokens[self._at]).isalnum()
        return f"{mark}{text}" if len(text) == 1 and apart else f"{mark}({text})"


def _operand(text: str) -> str:
    """``text`` as one operand: in brackets, unless it is one already."""
    text = text.strip()
    if not text or "\n" in text:
        raise _Unknown
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
    for first, bold in (("A", 0x1D400), ("a", 0x1D41A), ("0", 0x1D7CE)):
        count = 10 if first == "0" else 26
        if ord(first) <= ord(character) < ord(first) + count:
            return chr(bold + ord(character) - ord(first))
    raise _Unknown


def _text(token: Sequence[str | None]) -> str:
    return next(part for part in token if part)
