"""Run a chat template, an untrusted Jinja program, as Transformers would.

`template_adapter` imports it inside a function: jinja2 takes 80 ms to import.

The sandbox keeps a template from Python's internals. `sandbox_limits` limits time and memory: the
compiled program counts each iteration of a loop and each call, and checks every operator, filter
and method that can grow a value before it runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from datetime import datetime
from functools import wraps
from types import BuiltinMethodType
from typing import Any, NoReturn

from jinja2 import Environment, TemplateError, meta, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from tchat.engine.prompt import TemplateFailure
from tchat.engine.prompt.sandbox_limits import (
    COMPARING,
    WALKING,
    RenderLimits,
    check_filter,
    check_format,
    check_method,
    check_operator,
    check_test,
    comparable,
    require_text,
    weigh,
)
from tchat.translation import tr

# Compiling cannot be interrupted: at these limits it takes up to a second and a half.
MAX_SOURCE = 64 << 10  # characters; the longest known template has 18,000
MAX_CODE = 1 << 20  # characters of the Python that it compiles to

# What a program in the sandbox can raise. `Exception` would hide our own bugs.
_FAILURES = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
)


class TemplateProgram:
    """A compiled template.

    Attributes:
        source: Its Jinja source.

    Raises:
        TemplateFailure: The source is too long or does not compile.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateFailure(
                tr("it is longer than {max_source:,} characters", max_source=MAX_SOURCE)
            )
        self.source = source
        self._environment = _environment()
        try:
            self._template = self._environment.from_string(source)
        except _FAILURES as error:
            raise _failure(error) from error

    def render(
        self,
        variables: Mapping[str, object],
        *,
        stopped: Callable[[], bool] = lambda: False,
        size: int = 0,
    ) -> str:
        """Render the template.

        Args:
            variables: The template's variables.
            stopped: Whether to end it; called often.
            size: Characters in the chat.

        Raises:
            TemplateFailure: It raised; `TemplateOverrun` where it took too long or made too much.
            InterruptedError: ``stopped`` was True.
        """
        pieces: list[str] = []
        length = 0
        context = self._template.new_context(dict(variables))
        context.limits = RenderLimits(stopped, size)  # type: ignore[attr-defined]
        try:
            for piece in self._template.root_render_func(context):
                pieces.append(piece)
                length += len(piece)
                require_text(length)
        except _FAILURES as error:
            raise _failure(error) from error
        return "".join(pieces)

    def variables(self) -> frozenset[str]:
        """Names of the variables that the template uses."""
        tree = self._environment.parse(self.source)
        return frozenset(meta.find_undeclared_variables(tree))

    def words(self) -> frozenset[str]:
        """String constants of the template."""
        tree = self._environment.parse(self.source)
        constants = (node.value for node in tree.find_all(nodes.Const))
        return frozenset(value for value in constants if isinstance(value, str))


class _Context(Context):
    """The variables of a rendering, with its limits."""

    limits: RenderLimits

    def derived(self, locals: dict[str, Any] | None = None) -> Context:  # noqa: A002
        context = super().derived(locals)
        context.limits = self.limits  # type: ignore[attr-defined]
        return context


def _limits(context: Context) -> RenderLimits:
    return context.limits  # type: ignore[attr-defined,no-any-return]


# Filters that the compiled program calls; no template can name them.
_TICK, _CONCAT, _SLICED = ".tick", ".concat", ".sliced"
_COMPARABLE, _SEARCHABLE = ".comparable", ".searchable"


class _LimitInserter(NodeTransformer):
    """Adds counting to a template's syntax tree."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def visit_Concat(self, node: nodes.Concat) -> Any:  # noqa: N802 - the visitor's name
        self.generic_visit(node)
        return self._filter(nodes.List(node.nodes), _CONCAT, node)

    def visit_Getitem(self, node: nodes.Getitem) -> Any:  # noqa: N802 - the visitor's name
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            if not isinstance(node.arg, nodes.Const):
                node.arg = self._filter(node.arg, _COMPARABLE, node)
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        return self._filter(node.node, _SLICED, node, *(end or nodes.Const(None) for end in ends))

    def visit_Compare(self, node: nodes.Compare) -> Any:  # noqa: N802 - the visitor's name
        self.generic_visit(node)
        sides = [node.expr, *(operand.expr for operand in node.ops)]
        if not any(isinstance(side, nodes.Const) for side in sides):
            node.expr = self._filter(node.expr, _COMPARABLE, node)
            for operand in node.ops:
                operand.expr = self._filter(operand.expr, _COMPARABLE, node)
        for operand in node.ops:
            if operand.op in ("in", "notin") and not isinstance(operand.expr, nodes.Const):
                operand.expr = self._filter(operand.expr, _SEARCHABLE, node)
        return node

    def visit_Pair(self, node: nodes.Pair) -> Any:  # noqa: N802 - the visitor's name
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = self._filter(node.key, _COMPARABLE, node)
        return node

    def _add_tick(self, node: Any) -> Any:
        """Count each iteration of a body, and its literal text."""
        self.generic_visit(node)
        made = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        tick = self._filter(nodes.Const(made), _TICK, node)
        node.body.insert(0, nodes.ExprStmt(tick, lineno=node.lineno))
        return node

    visit_For = visit_Macro = visit_CallBlock = _add_tick  # noqa: N815 - the visitor's names

    def _filter(self, value: nodes.Expr, name: str, at: nodes.Node, *args: nodes.Expr) -> Any:
        made = nodes.Filter(value, name, list(args), [], None, None)
        return made.set_lineno(at.lineno).set_environment(self._environment)


class _Compiler(CodeGenerator):
    """Jinja's compiler, of a tree with counting."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        super().visit_Template(_LimitInserter(self.environment).visit(node), frame)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with limits."""

    code_generator_class = _Compiler
    context_class = _Context
    intercepted_binops = frozenset({"**", "*", "+", "%"})

    def _generate(self, *args: Any, **kwargs: Any) -> str:
        code: str = super()._generate(*args, **kwargs)
        if len(code) > MAX_CODE:
            raise TemplateFailure(
                tr("it compiles to more than {max_code:,} characters of code", max_code=MAX_CODE)
            )
        return code

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        check_operator(operator, left, right)
        return _limits(context).count_value(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        limits = _limits(context)
        limits.tick()
        if isinstance(obj, BuiltinMethodType):
            if obj.__name__ == "join" and args:
                args = (list(args[0]), *args[1:])
            limits.tick(seen=check_method(obj.__name__, obj.__self__, args, kwargs))
        elif not isinstance(obj, Macro):
            limits.tick(seen=sum(map(weigh, args)))
        return limits.count_value(super().call(context, obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Jinja's rule; lists may be appended to, in bounds."""
        if attr == "append" and type(obj) is list:
            return True
        return super().is_safe_attribute(obj, attr, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return super().getitem(obj, comparable(argument))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        text = str(value.__self__)

        @wraps(wrapped)
        def bounded(*args: Any, **kwargs: Any) -> str:
            check_format(text, (*args, *kwargs.values()))
            return wrapped(*args, **kwargs)

        return bounded


class _Generation(Extension):
    """``{% generation %}``, which marks a reply's tokens in Transformers; renders its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as a plain set

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


def _environment() -> _Sandbox:
    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols, _Generation],
        finalize=_count_output,
    )
    del environment.globals["lipsum"]
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.filters |= {"tojson": _tojson, "sum": _sum, "join": _join}
    environment.filters = {
        **{name: _limit_filter(name, each) for name, each in environment.filters.items()},
        _TICK: _tick,
        _CONCAT: _concat,
        _SLICED: _slice,
        _COMPARABLE: _comparable,
        _SEARCHABLE: _searchable,
    }
    for name in _DEEP_TESTS:
        environment.tests[name] = _limit_test(name, environment.tests[name])
    return environment


@pass_context
def _count_output(context: Context, value: Any) -> Any:
    return _limits(context).count_output(value)


@pass_context
def _tick(context: Context, made: int) -> None:
    _limits(context).tick(made)


@pass_context
def _concat(context: Context, parts: list[Any]) -> str:
    require_text(sum(map(weigh, parts)))
    join = markup_join if context.eval_ctx.autoescape else str_join
    return _limits(context).count_value(join(parts))  # type: ignore[no-any-return]


@pass_context
def _slice(context: Context, value: Any, start: Any, stop: Any, step: Any) -> Any:
    return _limits(context).count_value(value[start:stop:step])


@pass_context
def _comparable(context: Context, value: Any) -> Any:
    _limits(context).tick(seen=weigh(value))
    return value


@pass_context
def _searchable(context: Context, value: Any) -> Any:
    """``value``, whose items are counted while it is searched."""
    limits = _limits(context)
    if isinstance(value, Iterator):
        return (_comparable(context, item) for item in limits.count_items(value))
    if isinstance(value, Sized) and not isinstance(value, Mapping):
        limits.tick(seen=len(value))
    return value


def _limit_filter(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    """The filter ``name`` with limits. With the context, it is never run at compile time."""
    pass_arg = getattr(getattr(run, "jinja_pass_arg", None), "name", "")

    def bounded(context: Context, *args: Any, **kwargs: Any) -> Any:
        limits = _limits(context)
        if args and name in (*COMPARING, "tojson") and isinstance(args[0], Iterator):
            args = (limits.limited_list(args[0]), *args[1:])
        limits.tick(seen=check_filter(name, args, kwargs))
        if args and name in WALKING and isinstance(args[0], Iterable) and args[0]:
            args = (limits.count_items(args[0]), *args[1:])
        passed = {
            "context": (context,),
            "eval_context": (context.eval_ctx,),
            "environment": (context.environment,),
        }
        made = run(*passed.get(pass_arg, ()), *args, **kwargs)
        if name == "unique":  # lazy, and its items may have grown by then
            made = iter(list(made))
        return limits.count_value(made)

    return pass_context(bounded)


# The tests that compare, hash or write out their arguments.
_DEEP_TESTS = (
    "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", ">=", "ge", "<", "lt",
    "lessthan", "<=", "le", "in", "lower", "upper", "filter", "test", "odd", "even", "divisibleby",
)  # fmt: skip


def _limit_test(name: str, run: Any) -> Callable[..., Any]:
    """The test ``name`` with limits, with the context like a filter."""
    passed = getattr(getattr(run, "jinja_pass_arg", None), "name", "") == "environment"

    def bounded(context: Context, *args: Any, **kwargs: Any) -> Any:
        args = (*args, *kwargs.values())  # a value and at most one more
        _limits(context).tick(seen=check_test(name, args))
        if name == "in" and args[1:]:
            args = (args[0], _searchable(context, args[1]))
        return run(*((context.environment,) if passed else ()), *args)

    return pass_context(bounded)


@pass_context
def _join(context: Context, value: Any, d: str = "", attribute: Any = None) -> str:
    """Jinja's filter, with a limit on the items."""
    items = list(value)
    require_text(sum(map(weigh, items)) + len(items) * len(str(d)))
    return FILTERS["join"](context.eval_ctx, items, d, attribute)  # type: ignore[no-any-return]


@pass_context
def _sum(context: Context, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
    """Jinja's filter, adding with the limits of ``+``."""
    items = (
        iterable if attribute is None else FILTERS["map"](context, iterable, attribute=attribute)
    )
    for item in items:
        start = context.environment.call_binop(context, "+", start, item)  # type: ignore[attr-defined]
    return start


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Transformers writes it; Jinja's own filter escapes for HTML and sorts the keys."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _failure(error: BaseException) -> TemplateFailure:
    reason = " ".join(str(error).split()) or type(error).__name__
    return TemplateFailure(reason[:200])
