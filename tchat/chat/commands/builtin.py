"""The commands: what each is called, and what it does, in terms of `CommandHost`.

Raises, from every handler:
    UsageError: The argument is wrong, or there is nothing to act on.
    TchatError: It cannot be carried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.chat.commands.command import (
    SHELL,
    CommandDialog,
    CommandHost,
    Group,
    SlashCommand,
    Surface,
    message_line,
    parse_candidates,
    said_by,
    split_argument,
)
from tchat.chat.commands.help import command_help, manual_text
from tchat.chat.commands.lookup import (
    PREVIEW,
    active_branch,
    branch_ends,
    find_session,
    last_prompt,
    last_reply,
    no_message,
    parse_number,
    require_session,
)
from tchat.chat.commands.redaction import export_session, redact_session
from tchat.chat.commands.servers import MCP_ARGUMENTS, insert_server_prompt, manage_servers
from tchat.chat.commands.statistics import show_statistics
from tchat.chat.commands.tools import choose_tools
from tchat.errors import UsageError
from tchat.humanize import when
from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tchat.sessions.records import SearchHit, Session

LATEST = 20  # sessions that are listed
HITS = 20  # messages that a search lists

# The chat as a whole


async def _show_help(host: CommandHost, name: str) -> None:
    if name or not host.open_dialog(CommandDialog.HELP):
        host.show(command_help(commands_for(host.surface), name))


async def _quit_chat(host: CommandHost, _: str) -> None:
    await host.quit()


async def _show_version(host: CommandHost, _: str) -> None:
    from tchat import __version__

    host.show(tr("tchat {version}", version=__version__))


async def _reload(host: CommandHost, _: str) -> None:
    session = host.session
    if session is not None and (
        last := await host.read(lambda store: store.branch_ids(session.id)[-1:])
    ):
        await host.go_to(last[0])


async def _toggle_details(host: CommandHost, _: str) -> None:
    await host.toggle_details()


async def _choose_theme(host: CommandHost, name: str) -> None:
    if name:
        await host.set_theme(name)
    else:
        host.open_dialog(CommandDialog.THEMES)


# Replies


async def _regenerate(host: CommandHost, how: str) -> None:
    if how not in ("", "dry"):
        raise UsageError(tr("/regen takes `dry` or nothing"), tr("/prefill begins the reply"))
    await host.reply(lambda chat: chat.regenerate(dry=how == "dry"))


async def _prefill(host: CommandHost, text: str) -> None:
    if not text:
        raise UsageError(
            tr("/prefill needs the beginning of a reply"), tr("for example /prefill Sure,")
        )
    await host.reply(lambda chat: chat.regenerate(reply_prefix=text), text)


async def _continue_reply(host: CommandHost, _: str) -> None:
    await host.reply(lambda chat: chat.continue_reply())


async def _write_several(host: CommandHost, argument: str) -> None:
    await host.write_candidates(*parse_candidates(argument))


async def _write_best(host: CommandHost, argument: str) -> None:
    await host.write_candidates(*parse_candidates(argument, "best"), host.settings.ranker)


async def _compare_models(host: CommandHost, argument: str) -> None:
    from tchat.chat.compare import parse_models

    paths, servers = host.paths, host.settings.servers
    models, prompt = await host.read_all(lambda _: parse_models(argument, paths, servers))
    await host.compare_models(models, prompt)


async def _pick_candidate(host: CommandHost, number: str) -> None:
    ids = host.candidate_ids
    if not ids:
        raise UsageError(tr("there are no candidates to pick from"), tr("/try writes some"))
    await host.pick(ids[parse_number(number, len(ids), "pick")])
    host.acknowledge(tr("Continuing with reply {number}.", number=int(number)))


async def _rate_good(host: CommandHost, _: str) -> None:
    await _rate(host, 1, tr("Rated as a good reply. `tchat judge train` learns from it."))


async def _rate_bad(host: CommandHost, _: str) -> None:
    await _rate(host, -1, tr("Rated as a bad reply. `tchat judge train` learns from it."))


async def _rate(host: CommandHost, rating: int, acknowledgement: str) -> None:
    reply = await last_reply(host)
    if reply.rating == rating:
        await host.rate(reply.id, 0)
        host.acknowledge(tr("Rating removed."))
    else:
        await host.rate(reply.id, rating)
        host.acknowledge(acknowledgement)


async def _replace_reply(host: CommandHost, text: str) -> None:
    if not text:
        raise UsageError(
            tr("/mine needs your own reply"), tr("for example /mine Paris, of course.")
        )
    last = await active_branch(host, last=1)
    if not last or last[0].role != "assistant":
        raise UsageError(tr("there is no reply to replace"), tr("send a prompt first"))
    reply = last[0]
    await host.reply(lambda chat: chat.edit(reply.id, text))
    host.acknowledge(tr("Continuing with your reply."))


async def _copy_reply(host: CommandHost, _: str) -> None:
    await host.copy((await last_reply(host)).text)


async def _show_manual(host: CommandHost, words: str) -> None:
    if not host.open_dialog(CommandDialog.MANUAL, words):
        host.show(manual_text(words))


async def _show_judge(host: CommandHost, _: str) -> None:
    if host.open_dialog(CommandDialog.JUDGE):
        return
    from tchat.chat.judge import judge_status

    model, paths = host.settings.model, host.paths
    status = await host.read_all(lambda store: judge_status(model, paths, store))
    use = status.use
    human = tr("trained") if status.human else tr("not trained")
    preference = tr("trained") if status.preference else tr("not trained")
    lines = (
        tr(
            "Your replies: {picked:,} picked, {liked:,} rated good, {disliked:,} rated bad, "
            "{written:,} written by you.",
            picked=use.picked,
            liked=use.liked,
            disliked=use.disliked,
            written=use.written,
        ),
        tr(
            "Discriminator: {human}; preference model: {preference}.",
            human=human,
            preference=preference,
        ),
        tr("`tchat judge train` trains both; `tchat judge show` tells how good they are."),
    )
    host.show("\n".join(lines))


# Messages


async def _edit_prompt(host: CommandHost, text: str) -> None:
    prompt = await last_prompt(host, tr("there is no message to edit yet"))
    if text:
        await host.reply(lambda chat: chat.edit(prompt.id, text))
    else:
        await host.edit(prompt)


async def _toggle_pin(host: CommandHost, _: str) -> None:
    prompt = await last_prompt(host, tr("there is no message to pin yet"))
    await host.pin(prompt.id, not prompt.pinned)
    host.acknowledge(
        tr("Your last message may leave the context again.")
        if prompt.pinned
        else tr("Your last message stays in the context.")
    )


async def _delete_last(host: CommandHost, _: str) -> None:
    branch = await active_branch(host, last=1)
    if not branch:
        raise no_message()
    await host.delete(branch[-1].id)


async def _undo_delete(host: CommandHost, _: str) -> None:
    await host.undo_delete()


async def _show_branches(host: CommandHost, number: str) -> None:
    if not number and host.open_dialog(CommandDialog.BRANCHES):
        return
    session = require_session(host)
    tree = await host.read(lambda store: list(store.tree(session.id).messages))
    ends = branch_ends(tree)
    if number:
        await host.go_to(ends[parse_number(number, len(ends), "branches")].id)
        host.acknowledge(tr("Switched to branch {number}.", number=int(number)))
        return
    last = {each.id for each in await active_branch(host, last=1)}
    host.show(
        "\n".join(
            f"{'*' if each.id in last else ' '} {number:>2}  {message_line(each, PREVIEW)}"
            for number, each in enumerate(ends, 1)
        )
    )


async def _attach_file(host: CommandHost, path: str) -> None:
    if not path:
        raise UsageError(tr("/file needs a path"), tr("for example /file notes.md"))
    await host.attach(path)


async def _run_shell(host: CommandHost, command: str) -> None:
    if not command:
        raise UsageError(tr("/shell needs a command"), tr("for example !git diff"))
    await host.run_shell(printable(command))  # what is shown is what runs


async def _insert_template(host: CommandHost, argument: str) -> None:
    name, text = split_argument(argument)
    if ":" in name:
        await insert_server_prompt(host, name, text)
    elif name:
        await host.insert_template(name, text)
    elif not host.open_dialog(CommandDialog.TEMPLATES):
        from tchat.chat.templates import list_templates

        templates, broken = list_templates(host.paths)
        lines = [f"  {each.name:<14}{single_line(each.shown_description)}" for each in templates]
        host.show("\n".join([*lines, *broken]))


# Settings


async def _system_prompt(host: CommandHost, text: str) -> None:
    if text:
        await host.change({"system": text})
        host.show(tr("The system prompt is set; the messages below it are processed again."))
        return
    system = host.session.system if host.session else host.settings.system
    host.show(system or tr("There is no system prompt."))


async def _choose_model(host: CommandHost, name: str) -> None:
    if name:
        await host.change({"model": name})
        host.acknowledge(tr("Model: {name}", name=single_line(name)))
    elif not host.open_dialog(CommandDialog.MODELS):
        from tchat.chat.commands.listings import models_to_pull
        from tchat.models.sources.registry import local_models

        paths = host.paths
        models = await host.read_all(lambda _: local_models(paths, own_only=True))
        lines = [
            tr("Model: {model}", model=single_line(host.settings.model)),
            tr("/model NAME changes it. The models:"),
            *(f"  {single_line(each.name)}" for each in models),
            *(await host.read_all(lambda _: models_to_pull(paths))),
        ]
        host.show("\n".join(lines))


async def _change_setting(host: CommandHost, argument: str) -> None:
    from tchat.chat.session import parse_setting
    from tchat.settings import renamed

    name, text = split_argument(argument)
    if not text:
        raise UsageError(tr("/set needs a name and a value"), tr("for example /set temp 0.2"))
    values = parse_setting(name, text)
    if notice := renamed(name):
        host.show(notice)
    await host.change(values)


async def _show_settings(host: CommandHost, name: str) -> None:
    from tchat.chat.commands.listings import settings_page

    host.show(settings_page(host.settings_for_model, name))


async def _set_reasoning(host: CommandHost, text: str) -> None:
    from tchat.settings import find_key
    from tchat.settings.keys import parse

    await host.change({"think": parse(find_key("think"), text or "on", "/think")})


# Sessions


async def _new_session(host: CommandHost, _: str) -> None:
    await host.open_session(None)
    host.acknowledge(tr("New session."))


async def _session_title(host: CommandHost, title: str) -> None:
    session = require_session(host)
    if title:
        await host.rename(single_line(title))
        host.acknowledge(single_line(title))
    else:
        current = await host.read(lambda store: store.get(session.id))
        host.show(single_line(current.title))


async def _list_sessions(host: CommandHost, _: str) -> None:
    if not host.open_dialog(CommandDialog.SESSIONS):
        sessions = await host.read_all(lambda store: store.sessions(LATEST))
        host.listed_sessions[:] = [each.id for each in sessions]
        lines = [f"{number:>2}  {_dated(each)}" for number, each in enumerate(sessions, 1)]
        if lines:
            lines.append(tr("/open N opens one."))
        host.show("\n".join(lines) or tr("There is no session yet."))


async def _open_stored(host: CommandHost, name: str) -> None:
    if not name and host.open_dialog(CommandDialog.SESSIONS):
        return
    if name.isdecimal() and 1 <= int(name[:6]) <= len(host.listed_sessions):
        name = host.listed_sessions[int(name) - 1]
    session = await host.read_all(lambda store: find_session(store, name))
    if session is None:
        raise UsageError(tr("there is no session yet"), tr("send a prompt first"))
    await host.open_session(session)


async def _search_messages(host: CommandHost, words: str) -> None:
    if host.open_dialog(CommandDialog.SEARCH, words):
        return
    if not words:
        raise UsageError(tr("/find and /search need words"), tr("for example /find whale song"))
    from tchat.sessions.search import without_repeats

    hits = await host.read_all(lambda store: without_repeats(store.search(words))[:HITS])
    host.show("\n".join(map(_describe_hit, hits)) or tr("No matches."))


async def _toggle_private(host: CommandHost, _: str) -> None:
    await host.toggle_private()


async def _lock(host: CommandHost, _: str) -> None:
    await host.lock()


# What they share


def _dated(session: Session) -> str:
    """A session on one line: when it was used, and its title."""
    return f"{when(session.updated_at)}  {single_line(session.title)}"


def _describe_hit(hit: SearchHit) -> str:
    if hit.message is None:
        title = single_line(hit.session.title, PREVIEW)
        return f"{hit.session.id}  {tr('title: {title}', title=title)}"
    from tchat.step_text import one_line

    return f"{hit.session.id}  {said_by(hit.message.role, one_line(hit.snippet, 2 * PREVIEW))}"


_LINES, _SCREEN = Surface.LINES, Surface.SCREEN


def _group(group: Group, *commands: SlashCommand) -> Iterator[SlashCommand]:
    return (command._replace(group=group) for command in commands)


COMMANDS = (
    *_group(
        Group.OTHER,
        SlashCommand(
            "help", "[COMMAND]", N_("List the commands, or explain one"), _show_help, ("?",)
        ),
    ),
    *_group(
        Group.REPLIES,
        SlashCommand(
            "regen",
            "[dry]",
            N_("Regenerate the last reply; `dry` penalizes repetition"),
            _regenerate,
            ("retry",),
        ),
        SlashCommand("continue", "", N_("Continue a stopped reply"), _continue_reply),
        SlashCommand("prefill", "TEXT", N_("Regenerate the reply, starting with TEXT"), _prefill),
        SlashCommand(
            "try",
            "[N] [TEXT]",
            N_("Write several replies side by side"),
            _write_several,
            takes_prompt=True,
        ),
        SlashCommand(
            "best",
            "[N] [TEXT]",
            N_("Write several replies, keep the best"),
            _write_best,
            takes_prompt=True,
        ),
        SlashCommand(
            "compare",
            "MODEL MODEL [TEXT]",
            N_("Compare the replies of several models"),
            _compare_models,
        ),
        SlashCommand("pick", "N", N_("Continue with reply N"), _pick_candidate, surface=_LINES),
        SlashCommand(
            "good", "", N_("Rate the last reply as good; the judge learns from it"), _rate_good
        ),
        SlashCommand("bad", "", N_("Rate the last reply as bad"), _rate_bad),
        SlashCommand("mine", "TEXT", N_("Replace the last reply with your own"), _replace_reply),
        SlashCommand("copy", "", N_("Copy the last reply"), _copy_reply),
    ),
    *_group(
        Group.MESSAGES,
        SlashCommand(
            "file", "PATH", N_("Attach a file to the next message"), _attach_file, ("read",)
        ),
        SlashCommand(
            SHELL,
            "COMMAND",
            N_("Put the output of a shell command into the draft; also !COMMAND"),
            _run_shell,
        ),
        SlashCommand("prompt", "[NAME] [TEXT]", N_("Insert a prompt template"), _insert_template),
        SlashCommand("edit", "[TEXT]", N_("Edit your last message"), _edit_prompt),
        SlashCommand(
            "pin", "", N_("Pin your last message in the context, or unpin it"), _toggle_pin
        ),
        SlashCommand("delete", "", N_("Delete the last message"), _delete_last),
        SlashCommand("undo", "", N_("Undo the last deletion"), _undo_delete),
        SlashCommand(
            "branches", "[N]", N_("List the branches, or switch to one"), _show_branches, ("tree",)
        ),
    ),
    *_group(
        Group.SETTINGS,
        SlashCommand("model", "[NAME]", N_("Show or change the model"), _choose_model, ("models",)),
        SlashCommand("system", "[TEXT]", N_("Show or set the system prompt"), _system_prompt),
        SlashCommand("set", "NAME VALUE", N_("Change a setting for this chat"), _change_setting),
        SlashCommand("show", "[NAME|PAGE]", N_("Show the settings"), _show_settings, ("settings",)),
        SlashCommand("think", "[auto|on|off]", N_("Turn reasoning on or off"), _set_reasoning),
        SlashCommand(
            "mcp",
            MCP_ARGUMENTS,
            N_("Show MCP servers and what they offer, or restart one"),
            manage_servers,
        ),
        SlashCommand(
            "tools",
            "[NAME…|off]",
            N_("Show the tools, or turn some on or off for this session"),
            choose_tools,
        ),
        SlashCommand("details", "", N_("Show or hide times and token counts"), _toggle_details),
        SlashCommand("theme", "[NAME]", N_("Choose the theme"), _choose_theme, surface=_SCREEN),
        SlashCommand(
            "judge", "", N_("Show the judge: scores, training, duel, steering"), _show_judge
        ),
    ),
    *_group(
        Group.SESSIONS,
        SlashCommand("new", "", N_("Start a new session"), _new_session, ("clear",)),
        SlashCommand("sessions", "", N_("List the latest sessions"), _list_sessions),
        SlashCommand(
            "open", "[N|ID]", N_("Open another session by its number, id or title"), _open_stored
        ),
        SlashCommand(
            "search", "[WORDS]", N_("Find messages in all sessions"), _search_messages, ("find",)
        ),
        SlashCommand("title", "[TEXT]", N_("Show or set the session's title"), _session_title),
        SlashCommand(
            "export",
            "[FILE] [--redact]",
            N_("Write the session to a file, in the format of its suffix"),
            export_session,
            ("save",),
        ),
        SlashCommand(
            "redact",
            "[TEXT]",
            N_("Replace personal data and secrets, or TEXT, in the stored session"),
            redact_session,
        ),
        SlashCommand(
            "private", "", N_("Turn private mode on or off: nothing is saved"), _toggle_private
        ),
        SlashCommand(
            "lock", "", N_("Hide the chat until the passphrase of the store is typed"), _lock
        ),
        SlashCommand("stats", "", N_("Show token counts and times"), show_statistics),
    ),
    *_group(
        Group.OTHER,
        SlashCommand(
            "manual", "[WORDS]", N_("Search the manual, or show a page of it"), _show_manual
        ),
        SlashCommand("version", "", N_("Show the version"), _show_version),
        SlashCommand(
            "reload",
            "",
            N_("Show what another window wrote in this chat"),
            _reload,
            surface=_SCREEN,
        ),
        SlashCommand("quit", "", N_("Quit"), _quit_chat, ("exit", "bye")),
    ),
)


def commands_for(surface: Surface) -> tuple[SlashCommand, ...]:
    """The commands served by ``surface``, in the order in which they are listed."""
    return tuple(command for command in COMMANDS if command.surface & surface)
