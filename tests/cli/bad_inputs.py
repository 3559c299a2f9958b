"""Bad inputs as data, by what is bad."""

from __future__ import annotations

from tests.cli.bad_input import (
    Bad,
    cut,
    dangling,
    doubled_tokens,
    fifo,
    folder,
    header,
    listening,
    model,
    newer_schema,
    other_direction,
    other_width,
    tiny,
    unreadable,
)
from tests.models.gguf_builder import STRING, U32, array, gguf, key

MODELS = {
    "fifo": model(fifo, "x.gguf", "FIFO"),
    "socket": model(listening, "x.gguf", "socket"),
    "folder": model(folder, "x.gguf", "folder"),
    "dangling link": model(dangling, "x.gguf", "link to a file that is gone"),
    "unreadable": model(unreadable, "x.gguf", "may not be read"),
    "empty": model(b"", "x.gguf", "empty"),
    "zeros": model(bytes(4096), "x.gguf", "filled with zeros"),
    "truncated": model(cut, "x.gguf", "download it again"),
    "web page": model(b"<!DOCTYPE html><html>Sign in", "x.gguf", "web page"),
    "LFS pointer": model(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "safetensors": model(b"\x40\x1f\0\0\0\0\0\0" + b'{"__metadata__":{}}', "safetensors"),
    "GGML": model(b"lmgg" + bytes(60), "old GGML"),
    "version 99": model(gguf(version=99), "version 99"),
    "2^63 tensors": model(gguf(tensor_count=2**63), "tensors"),
    "no layers": model(header(key("llama.block_count", U32, 0)), "llama.block_count"),
    "100000 layers": model(header(key("llama.block_count", U32, 100_000)), "100,000 layers"),
    "100000 experts": model(header(key("llama.expert_count", U32, 100_000)), "100,000 experts"),
    "rope scaling": model(header(key("llama.rope.scaling.type", STRING, "wat")), "rope scaling"),
    "no tokens": model(header(array("tokenizer.ggml.tokens", STRING, [])), "no tokens"),
    "LoRA as model": model(header(key("general.type", STRING, "adapter")), "--lora PATH"),
    "projector": model(header(key("general.architecture", STRING, "clip")), "mmproj"),
    "embedding model": model(header(key("general.architecture", STRING, "bert")), "embedding"),
    "double tokens": model(doubled_tokens, "x.gguf", "makes llama.cpp crash (SIGABRT)"),
    "missing tensor": model(tiny(metadata={"llama.block_count": 3}), "x.gguf", "blk.2"),
    "vocabulary without merges": model(
        tiny(metadata={"tokenizer.ggml.merges": None}), "x.gguf", "cannot be used"
    ),
    "device": Bad(args=("-m", "/dev/null", "hi"), code=3, told=("null", "character device")),
    "endless device": Bad(args=("-m", "/dev/zero", "hi"), code=3, told=("character device",)),
    "unknown name": Bad(args=("-m", "startr", "hi"), code=3, told=("startr", "did you mean")),
    "missing path": Bad(
        args=("-m", "./modle.gguf", "hi"),
        code=3,
        told=("modle.gguf", "did you mean ./model.gguf?"),
        files={"model.gguf": b"GGUF"},
    ),
    "no name": Bad(args=("-m", "", "hi"), code=3, told=("''", "tchat models ls")),
    "long name": Bad(args=("-m", "a" * 5000, "hi"), code=3, told=("no model is called 'aaa",)),
    "control characters": Bad(
        args=("-m", "\x1b]52;c;aGk=\x07\u202e", "hi"), code=3, told=("no model is called",)
    ),
}

ADAPTERS = {
    "missing LoRA": Bad(args=("--lora", "l.gguf", "hi"), code=3, told=("no file l.gguf",)),
    "model as LoRA": Bad(
        args=("--lora", "l.gguf", "hi"),
        code=3,
        told=("l.gguf is a language model", "LoRA adapter"),
        files={"l.gguf": gguf()},
    ),
    "text as LoRA": Bad(
        args=("--lora", "l.gguf", "hi"), code=3, told=("l.gguf", "text"), files={"l.gguf": b"hello"}
    ),
    "LoRA of another model": Bad(
        args=("--lora", "l.gguf", "hi"),
        code=3,
        told=("l.gguf does not fit this model",),
        files={"l.gguf": other_width},
    ),
    "LoRA from a FIFO": Bad(
        args=("--lora", "l.gguf", "hi"), code=3, told=("l.gguf", "FIFO"), files={"l.gguf": fifo}
    ),
    "infinite scale": Bad(args=("--lora", "l.gguf:inf", "hi"), code=2, told=("l.gguf:inf", ":0.5")),
    "scale no number": Bad(
        args=("--lora", "l.gguf:half", "hi"),
        code=2,
        told=("l.gguf:half", "PATH:SCALE"),
        files={"l.gguf": b""},
    ),
    "no LoRA": Bad(args=("--lora", "", "hi"), code=2, told=("PATH or PATH:SCALE",)),
    "missing vector": Bad(
        args=("--control-vector", "v.gguf:2", "hi"), code=3, told=("no file v.gguf",)
    ),
    "model as vector": Bad(
        args=("--control-vector", "v.gguf", "hi"),
        code=3,
        told=("v.gguf is a language model", "control vector"),
        files={"v.gguf": gguf()},
    ),
    "vector of another model": Bad(
        args=("--control-vector", "v.gguf", "hi"),
        code=3,
        told=("v.gguf", "wide"),
        files={"v.gguf": other_direction},
    ),
}

INPUT = {
    "no prompt": Bad(args=("--temp", "1"), code=2, told=("there is no prompt", "pipe one in")),
    "blanks": Bad(args=(" ",), code=2, told=("there is no prompt",), stdin=b"\n \t\n"),
    "closed stdin": Bad(args=(), code=2, told=("there is no prompt",), stdin=None),
    "binary": Bad(
        args=("hi",),
        code=2,
        told=("standard input", "--encoding"),
        stdin=bytes(range(128, 256)) * 9,
    ),
    "NULs": Bad(args=("hi",), code=2, told=("standard input is binary",), stdin=b"ab\0cd"),
    "half UTF-16": Bad(
        args=("hi",), code=2, told=("standard input is binary",), stdin=b"\xff\xfe\0\xd8" * 9
    ),
    "program": Bad(args=("hi",), code=2, told=("is binary",), stdin=b"\x7fELF\x02\x01\x01\0"),
    "prompt not UTF-8": Bad(args=("\udcff\udcfe\udcfd",), code=2, told=("the prompt is binary",)),
    "1 MB of one letter": Bad(
        args=("hi",), code=4, told=("4,096", "longer context"), stdin=b"a" * 1_000_000
    ),
    "too long by far": Bad(
        args=("--ctx-size", "256", "hi"), code=4, told=("256", "about"), stdin=b"blue " * 4000
    ),
    "too long": Bad(
        args=("--ctx-size", "256", "hi"), code=4, told=("256", "tokens"), stdin=b"blue " * 900
    ),
    "missing file": Bad(args=("-f", "x.md", "hi"), code=2, told=("`x.md`", "check its name")),
    "empty pattern": Bad(args=("-f", "*.x", "hi"), code=2, told=("`*.x`",)),
    "folder as file": Bad(
        args=("-f", "d", "hi"), code=2, told=("no text file in d",), files={"d": folder}
    ),
    "FIFO as file": Bad(
        args=("-f", "p", "hi"), code=2, told=("p is not a file",), files={"p": fifo}
    ),
    "device as file": Bad(
        args=("-f", "/dev/zero", "hi"), code=2, told=("/dev/zero is not a file",)
    ),
    "binary file": Bad(
        args=("-f", "x", "hi"), code=2, told=("x is binary",), files={"x": b"PK\3\4\0\0"}
    ),
    "unreadable file": Bad(
        args=("-f", "x", "hi"), code=6, told=("x: Permission denied",), files={"x": unreadable}
    ),
    "long file name": Bad(args=("-f", "y" * 3000, "hi"), code=2, told=("there is no file",)),
}

FLAGS = {
    "unknown flag": Bad(args=("--tempp", "1", "hi"), code=2, told=("--tempp", "--temp?")),
    "flag without value": Bad(args=("hi", "--temp"), code=2, told=("--temp", "--help")),
    "no number": Bad(args=("--temp", "hot", "hi"), code=2, told=("--temp", "0 to 10", "`hot`")),
    "not finite": Bad(args=("--top-p", "nan", "hi"), code=2, told=("--top-p", "`nan`")),
    "seed too large": Bad(args=("--seed", "4294967295", "hi"), code=2, told=("--seed", "to 4294")),
    "seed with a point": Bad(args=("--seed", "1.5", "hi"), code=2, told=("--seed", "whole number")),
    "no such threads": Bad(args=("--threads", "-3", "hi"), code=2, told=("--threads", "from 0")),
    "context of less": Bad(args=("--ctx-size", "-1", "hi"), code=2, told=("--ctx-size", "from 0")),
    "context of words": Bad(args=("--ctx-size", "8k", "hi"), code=2, told=("--ctx-size", "`8k`")),
    "GPU layers": Bad(args=("--gpu-layers", "-2", "hi"), code=2, told=("--gpu-layers", "from -1")),
    "max tokens": Bad(args=("--max-tokens", "-9", "hi"), code=2, told=("--max-tokens", "`-9`")),
    "unknown choice": Bad(args=("--think", "maybe", "hi"), code=2, told=("auto, on, off",)),
    "unknown option": Bad(args=("-o", "tmep", "1", "hi"), code=2, told=("`tmep`", "`temp`?")),
    "option's value": Bad(args=("-o", "top_k", "many", "hi"), code=2, told=("top_k", "`many`")),
    "half an option": Bad(args=("-o", "temp"), code=2, told=("'-o'", "NAME VALUE")),
    "bias without value": Bad(
        args=("--logit-bias", "blue", "hi"), code=2, told=("'blue'", "TOKEN=BIAS", "42=-1.5")
    ),
    "bias not finite": Bad(args=("--logit-bias", "1=nan", "hi"), code=2, told=("'1=nan'",)),
    "bias of no token": Bad(
        args=("--logit-bias", "99999=1", "hi"), code=2, told=("token 99999", "ends at 730")
    ),
    "both ways on": Bad(args=("-c", "--cid", "x", "hi"), code=2, told=("--cid", "leave one out")),
    "unlogged resumption": Bad(args=("-n", "-c", "hi"), code=2, told=("--no-log", "leave one")),
    "empty id": Bad(args=("--cid", "", "hi"), code=2, told=("--cid is empty", "leave it out")),
    "mistyped command": Bad(
        args=("sesions", "ls"), code=2, told=("`sesions`", "`sessions`", "tchat -- sesions")
    ),
    "mistyped subcommand": Bad(args=("sessions", "lss"), code=2, told=("`lss`", "`ls`?")),
    "missing argument": Bad(args=("sessions", "show"), code=2, told=("SESSION", "show --help")),
}

FORMS = {
    "encoding unknown": Bad(
        args=("--encoding", "cp125", "hi"), code=2, told=("`cp125`", "--encoding", "did you mean")
    ),
    "encoding no text": Bad(args=("-o", "encoding", "base64", "hi"), code=2, told=("`base64`",)),
    "encoding of a setting": Bad(
        args=("hi",), code=2, told=("`wat`", "TCHAT_ENCODING"), env={"TCHAT_ENCODING": "wat"}
    ),
    "encoding of a file": Bad(
        args=("-f", "a.txt", "--encoding", "utf-8", "hi"),
        code=2,
        told=("a.txt is not in UTF-8: byte 0xe9 at 3",),
        files={"a.txt": b"caf\xe9"},
    ),
    "encoding of the input": Bad(
        args=("--encoding", "shift-jis", "hi"),
        code=2,
        told=("standard input is not in Shift-JIS",),
        stdin=b"caf\xff",
    ),
    "encoding of rows": Bad(
        args=("map", "--encoding", "ascii", "hi", "a.txt"),
        code=2,
        told=("a.txt is not in ASCII",),
        files={"a.txt": b"caf\xe9\n"},
    ),
    "judge from a pipe": Bad(
        args=("judge", "train", "p"),
        code=2,
        told=("p cannot be read: it is a pipe",),
        files={"p": fifo},
    ),
    "game from a pipe": Bad(
        args=("judge", "duel", "--data", "p"),
        code=2,
        told=("p cannot be read: it is a pipe",),
        files={"p": fifo},
    ),
    "score of a pipe": Bad(
        args=("judge", "score", "p"),
        code=2,
        told=("p cannot be read: it is a pipe",),
        files={"p": fifo},
    ),
    "map of a pipe": Bad(
        args=("map", "x", "p"), code=2, told=("p is not a file",), files={"p": fifo}
    ),
    "import of a pipe": Bad(
        args=("sessions", "import", "p"),
        code=2,
        told=("p is a pipe without a writer",),
        files={"p": fifo},
    ),
    "template from a pipe": Bad(
        args=("-t", "p.toml", "hi"), code=2, told=("p.toml",), files={"p.toml": fifo}
    ),
    "schema no JSON": Bad(args=("--schema", "{", "hi"), code=2, told=("line 1, column 2",)),
    "schema no schema": Bad(
        args=("--schema", '{"type": "wat"}', "hi"), code=2, told=("'wat'", "at type")
    ),
    "schema without a file": Bad(args=("--schema", "s.json", "hi"), code=2, told=("s.json",)),
    "schema from a FIFO": Bad(
        args=("--schema", "s", "hi"), code=2, told=("s: it is not a file",), files={"s": fifo}
    ),
    "schema from elsewhere": Bad(
        args=("--schema", '{"$ref": "http://x/y"}', "hi"), code=2, told=("http://x/y", "$defs")
    ),
    "threshold that is no number": Bad(
        args=("--yes-no", "--threshold", "nan", "hi"), code=2, told=("--threshold must be", "nan")
    ),
    "threshold of a map that is no number": Bad(
        args=("map", "--yes-no", "--threshold", "nan", "hi"), code=2, told=("--threshold", "nan")
    ),
    "schema of a draft that is no text": Bad(
        args=("--schema", '{"$schema": 3}', "hi"), code=2, told=("3 is not", "$schema")
    ),
    "schema of nothing": Bad(
        args=("--schema", '{"enum": []}', "hi"), code=2, told=("allows nothing",)
    ),
    "schema of no length": Bad(
        args=("--schema", '{"type": "string", "minLength": 5, "maxLength": 2}', "hi"),
        code=2,
        told=("allows nothing",),
    ),
    "schema of no items": Bad(
        args=("--schema", '{"allOf": [{"minItems": 5}, {"maxItems": 2}]}', "hi"),
        code=2,
        told=("allows nothing",),
    ),
    "schema with NaN": Bad(
        args=("--schema", '{"const": NaN}', "hi"), code=2, told=("NaN is not a JSON number",)
    ),
    "schema with half a character": Bad(
        args=("--schema", '{"const": "\\ud800"}', "hi"), code=2, told=("surrogate",)
    ),
    "schema that asks another": Bad(
        args=("--schema", '{"enum": [1, 2], "not": {"$ref": "http://127.0.0.1:1/"}}', "hi"),
        code=2,
        told=("http://127.0.0.1:1/", "$defs"),
    ),
    "empty schema": Bad(args=("--schema", "", "hi"), code=2, told=("--schema is empty",)),
    "grammar missing": Bad(args=("--grammar", "g", "hi"), code=2, told=("`g`",)),
    "grammar empty": Bad(
        args=("--grammar", "g", "hi"), code=2, told=("g is empty", "root"), files={"g": b"\n"}
    ),
    "grammar broken": Bad(
        args=("--grammar", "g", "hi"),
        code=2,
        told=("g cannot be used", "line 2, column 3", "::="),
        files={"g": b'root ::= a\na = "x"\n'},
    ),
    "grammar undefined": Bad(
        args=("--grammar", "g", "hi"),
        code=2,
        told=("the rule `a` is not defined",),
        files={"g": b"root ::= a\n"},
    ),
    "grammar without root": Bad(
        args=("--grammar", "g", "hi"), code=2, told=("`root`",), files={"g": b'a ::= "x"\n'}
    ),
    "grammar left-recursive": Bad(
        args=("--grammar", "g", "hi"),
        code=2,
        told=("left recursion",),
        files={"g": b'root ::= root "a" | "a"\n'},
    ),
    "grammar with backward bounds": Bad(
        args=("--grammar", "g", "hi"),
        code=2,
        told=("line 1, column 13", "from 5 to 2"),
        files={"g": b'root ::= "a"{5,2}\n'},
    ),
    "grammar that explodes": Bad(
        args=("--grammar", "g", "hi"),
        code=2,
        told=("repeats too much",),
        files={"g": b'root ::= ((("a"?){0,1000}){0,1000}){0,1000}\n'},
    ),
    "grammar with a strange token": Bad(
        args=("--grammar", "g", "hi"),
        code=2,
        told=("<|nonesuch|>", "not a token of this model"),
        files={"g": b"root ::= <|nonesuch|>\n"},
    ),
    "grammar too long": Bad(
        args=("--grammar", "g", "hi"),
        code=2,
        told=("1,048,576",),
        files={"g": b"root ::= " + b"(" * 2_000_000},
    ),
    "one label": Bad(args=("--choose", "red", "hi"), code=2, told=("two or more", "red,green")),
    "empty label": Bad(args=("--choose", "red,,blue", "hi"), code=2, told=("empty label",)),
    "label twice": Bad(args=("--choose", "red, red", "hi"), code=2, told=("twice", "each once")),
    "no labels": Bad(args=("--choose", "", "hi"), code=2, told=("--choose is empty",)),
    "label too long": Bad(
        args=("--ctx-size", "256", "--choose", "a,b" + "lue" * 400, "hi"), code=4, told=("256",)
    ),
    "two forms": Bad(
        args=("--yes-no", "--choose", "a,b", "hi"), code=2, told=("cannot be combined",)
    ),
    "threshold": Bad(args=("--yes-no", "--threshold", "2", "hi"), code=2, told=("--threshold",)),
    "unknown template": Bad(args=("-t", "translat", "hi"), code=2, told=("`translate`?",)),
    "template's variable": Bad(
        args=("-t", "translate", "-p", "langage", "x", "hi"), code=2, told=("`language`?",)
    ),
    "variable without a value": Bad(
        args=("-t", "mine", "hi"),
        code=2,
        told=("`mine` needs a value for `colour`", "-p colour VALUE"),
        home={"prompts": folder, "prompts/mine.toml": b'prompt = "{input} in {colour}"'},
    ),
    "variable of no template": Bad(args=("-p", "a", "b", "hi"), code=2, told=("-t",)),
    "template without input": Bad(
        args=("-t", "summarise"), code=2, told=("pipe it in or type it",)
    ),
    "broken template": Bad(
        args=("-t", "mine", "hi"),
        code=2,
        told=("mine.toml, line 1, column 11",),
        home={"prompts": folder, "prompts/mine.toml": b'prompt = "'},
    ),
    "unknown template field": Bad(
        args=("-t", "mine", "hi"),
        code=2,
        told=("`promt`", "`prompt`?"),
        home={"prompts": folder, "prompts/mine.toml": b'promt = "x"'},
    ),
    "template's sampling": Bad(
        args=("-t", "mine", "hi"),
        code=2,
        told=("`temp`", "mine.toml", "0 to 10"),
        home={"prompts": folder, "prompts/mine.toml": b'prompt = "x"\n[sampling]\ntemp = 99'},
    ),
}

SETTINGS = {
    "broken file": Bad(
        args=("hi",),
        code=2,
        told=("config.toml, line 2, column 9", "nothing was changed"),
        home={"config.toml": b"# mine\nmodel = \n"},
    ),
    "broken file, written": Bad(
        args=("config", "set", "temp", "1"),
        code=2,
        told=("config.toml, line 1", "nothing was changed"),
        home={"config.toml": b"[sampling\n"},
    ),
    "file not UTF-8": Bad(
        args=("hi",),
        code=2,
        told=("config.toml: line 2 is not UTF-8",),
        home={"config.toml": b"# a\n# \xff\n"},
    ),
    "wrong type": Bad(
        args=("hi",),
        code=2,
        told=("`temp`", "config.toml", "`hot`"),
        home={"config.toml": b'[sampling]\ntemp = "hot"\n'},
    ),
    "out of bounds": Bad(
        args=("config", "show"),
        code=2,
        told=("`seed`", "from -1"),
        home={"config.toml": b"[sampling]\nseed = -7\n"},
    ),
    "no table": Bad(
        args=("hi",), code=2, told=("[sampling]",), home={"config.toml": b"sampling = 3\n"}
    ),
    "nested too deeply": Bad(
        args=("hi",),
        code=2,
        told=("config.toml", "nested too deeply"),
        home={"config.toml": b"a = " + b"[" * 100_000},
    ),
    "config with an integer too long": Bad(
        args=("hi",),
        code=2,
        told=("config.toml", "too many digits"),
        home={"config.toml": b"[sampling]\nseed = " + b"9" * 5000},
    ),
    "config with a hexadecimal integer too long": Bad(
        args=("hi",),
        code=2,
        told=("config.toml", "too many digits"),
        home={"config.toml": b"[sampling]\nseed = 0x" + b"9" * 5000},
    ),
    "models.toml with an integer too long": Bad(
        args=("models", "ls"),
        code=2,
        told=("models.toml", "too many digits"),
        home={"models.toml": b"[settings.x]\nseed = " + b"9" * 5000},
    ),
    "prompt with an integer too long": Bad(
        args=("-t", "mine", "hi"),
        code=2,
        told=("mine.toml", "too many digits"),
        home={
            "prompts": folder,
            "prompts/mine.toml": b'prompt = "x"\n[sampling]\nseed = ' + b"9" * 5000,
        },
    ),
    "import of an integer too long": Bad(
        args=("sessions", "import", "x.json"),
        code=2,
        told=("no chats that tchat knows",),
        files={"x.json": b'{"version": ' + b"9" * 5000 + b"}"},
    ),
    "folder as file": Bad(
        args=("hi",), code=2, told=("config.toml is not a file",), home={"config.toml": folder}
    ),
    "FIFO as file": Bad(
        args=("hi",), code=2, told=("config.toml is not a file",), home={"config.toml": fifo}
    ),
    "unreadable": Bad(
        args=("hi",), code=6, told=("config.toml", "permissions"), home={"config.toml": unreadable}
    ),
    "unknown key": Bad(args=("config", "set", "tmep", "1"), code=2, told=("`tmep`", "`temp`?")),
    "wrong value": Bad(args=("config", "set", "temp", "hot"), code=2, told=("`temp`", "`hot`")),
    "unknown key, read": Bad(args=("config", "get", "colour"), code=2, told=("`colour`", "show")),
    "variable's value": Bad(
        args=("hi",), code=2, told=("TCHAT_TEMP", "0 to 10"), env={"TCHAT_TEMP": "hot"}
    ),
    "variable's choice": Bad(
        args=("hi",), code=2, told=("TCHAT_THINK", "auto, on, off"), env={"TCHAT_THINK": "x"}
    ),
    "variable's switch": Bad(
        args=("hi",), code=2, told=("TCHAT_LOG_CHATS", "true or false"), env={"TCHAT_LOG_CHATS": ""}
    ),
    "variable's model": Bad(args=("hi",), code=3, told=("'gone'",), env={"TCHAT_MODEL": "gone"}),
    "editor missing": Bad(
        args=("config", "edit"),
        code=2,
        told=("`no-editor`", "set EDITOR"),
        env={"VISUAL": "", "EDITOR": "no-editor"},
    ),
    "editor unquoted": Bad(
        args=("config", "edit"), code=2, told=("EDITOR",), env={"VISUAL": "", "EDITOR": "'"}
    ),
}

SESSIONS = {
    "unknown id": Bad(args=("--cid", "nonesuch", "hi"), code=2, told=("'nonesuch'", "Hello")),
    "unknown id, shown": Bad(args=("sessions", "show", "nonesuch"), code=2, told=("'nonesuch'",)),
    "unknown id, deleted": Bad(
        args=("sessions", "rm", "-y", "last", "nonesuch"), code=2, told=("'nonesuch'",)
    ),
    "unasked deletion": Bad(args=("sessions", "rm", "last"), code=2, told=("--yes",)),
    "empty title": Bad(args=("sessions", "rename", "last", " "), code=2, told=("title is empty",)),
    "empty search": Bad(args=("sessions", "search", ""), code=2, told=("type a word",)),
    "unknown format": Bad(
        args=("sessions", "export", "--format", "pdf"),
        code=2,
        told=("md, json, html or openai", "`pdf`"),
    ),
    "export over a file": Bad(
        args=("sessions", "export", "-o", "x.md"),
        code=2,
        told=("x.md is already there",),
        files={"x.md": b"precious"},
    ),
    "export into no folder": Bad(
        args=("sessions", "export", "-o", "no/x.md"), code=2, told=("no folder no",)
    ),
    "import of nothing": Bad(
        args=("sessions", "import"), code=2, told=("no chats that tchat knows",)
    ),
    "import of no JSON": Bad(
        args=("sessions", "import"), code=2, told=("no chats that tchat knows",), stdin=b"{"
    ),
    "import of other JSON": Bad(
        args=("sessions", "import", "x.json"),
        code=2,
        told=("no chats that tchat knows", "ChatGPT"),
        files={"x.json": b'[{"id": 1}]'},
    ),
    "import of deep JSON": Bad(
        args=("sessions", "import"),
        code=2,
        told=("no chats that tchat knows",),
        stdin=b"[" * 100_000,
    ),
    "import of binary": Bad(
        args=("sessions", "import", "x"),
        code=2,
        told=("no chats that tchat knows",),
        files={"x": b"\0\1\2"},
    ),
    "newer schema": Bad(
        args=("hi",), code=6, told=("newer tchat", "upgrade"), home={"sessions.db": newer_schema}
    ),
    "newer schema, listed": Bad(
        args=("sessions", "ls"), code=6, told=("newer tchat",), home={"sessions.db": newer_schema}
    ),
    "prompt's name": Bad(
        args=("prompts", "new", "../x"),
        code=2,
        told=("`../x`", "lower-case"),
        stdin=b'prompt = "x"',
    ),
    "prompt there already": Bad(
        args=("prompts", "new", "mine"),
        code=2,
        told=("already a prompt `mine`", "prompts edit mine"),
        stdin=b'prompt = "x"',
        home={"prompts": folder, "prompts/mine.toml": b'prompt = "y"'},
    ),
    "packaged prompt": Bad(
        args=("prompts", "rm", "commit"), code=2, told=("`commit` is built in",)
    ),
}

TABLES = {
    "model": MODELS,
    "adapter": ADAPTERS,
    "input": INPUT,
    "flag": FLAGS,
    "form": FORMS,
    "settings": SETTINGS,
    "sessions": SESSIONS,
}
ALL = {f"{area}: {name}": bad for area, table in TABLES.items() for name, bad in table.items()}
