"""200 texts that are regular and no loops: tables, lists, code, songs with refrains, JSON, logs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

VARIANTS = 5
FIRST = (
    "Ada",
    "Ben",
    "Chen",
    "Dina",
    "Emil",
    "Fatma",
    "Gita",
    "Hugo",
    "Ines",
    "Jan",
    "Kofi",
    "Lena",
)
LAST = ("Berg", "Costa", "Diaz", "Evans", "Fischer", "Garcia", "Haddad", "Ito", "Jones", "Kim")
CITIES = ("Rome", "Lagos", "Lima", "Oslo", "Quito", "Seoul", "Tunis", "Vienna", "York", "Zagreb")
THINGS = ("apple", "bolt", "candle", "drum", "engine", "flute", "glove", "hammer", "inkpot", "jar")
VERBS = ("open", "close", "read", "write", "list", "move", "copy", "merge", "split", "count")
NOUNS = (
    "river",
    "meadow",
    "shadow",
    "lantern",
    "harbour",
    "winter",
    "garden",
    "mountain",
    "window",
)
DEEDS = ("sings", "waits", "burns", "sleeps", "turns", "falls", "wakes", "shines", "calls", "fades")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
GIFTS = (
    "a partridge in a pear tree",
    "two turtle doves",
    "three French hens",
    "four calling birds",
    "five gold rings",
    "six geese a-laying",
    "seven swans a-swimming",
    "eight maids a-milking",
    "nine ladies dancing",
    "ten lords a-leaping",
    "eleven pipers piping",
    "twelve drummers drumming",
)
NTH = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth"),
)

Drawn = random.Random


def multiplication(drawn: Drawn) -> str:
    base = drawn.randint(2, 30)
    return "\n".join(f"{base} x {n} = {base * n}" for n in range(1, 31))


def people_table(drawn: Drawn) -> str:
    rows = (
        f"| {drawn.choice(FIRST)} {drawn.choice(LAST)} | {drawn.choice(CITIES)} |"
        f" {drawn.randint(18, 80)} |"
        for _ in range(25)
    )
    return "| Name | City | Age |\n|---|---|---|\n" + "\n".join(rows)


def feature_table(drawn: Drawn) -> str:
    rows = (
        f"| {thing.title()} | "
        + " | ".join(drawn.choice(("Yes", "Yes", "No")) for _ in "12345")
        + " |"
        for thing in THINGS * 2
    )
    return (
        "| Product | Light | Cheap | Strong | New | Safe |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
    )


def all_yes_table(drawn: Drawn) -> str:
    rows = (f"| {verb} {drawn.choice(THINGS)} | Yes | Yes | Yes | Yes |" for verb in VERBS * 2)
    return "| Call | Linux | macOS | Windows | BSD |\n|---|---|---|---|---|\n" + "\n".join(rows)


def csv(drawn: Drawn) -> str:
    rows = (
        f"{n},{drawn.choice(FIRST)},{drawn.choice(LAST)},"
        f"{drawn.choice(CITIES)},{drawn.randint(1, 9)}00"
        for n in range(1, 41)
    )
    return "id,first,last,city,amount\n" + "\n".join(rows)


def json_objects(drawn: Drawn) -> str:
    rows = [
        {"id": n, "name": f"Item {n}", "active": True, "tags": [], "price": drawn.randint(1, 99)}
        for n in range(1, 25)
    ]
    return json.dumps(rows, indent=2)


def json_plain(drawn: Drawn) -> str:
    return json.dumps([{"city": drawn.choice(CITIES), "visited": False} for _ in range(40)])


def zeros(drawn: Drawn) -> str:
    size = drawn.randint(6, 10)
    return "\n".join(("[", *(f"  [{', '.join('0' * size)}]," for _ in range(size)), "]"))


def identity_matrix(drawn: Drawn) -> str:
    size = drawn.randint(8, 14)
    rows = (" ".join("1" if x == y else "0" for x in range(size)) for y in range(size))
    return "The identity matrix:\n\n" + "\n".join(rows)


def sql(drawn: Drawn) -> str:
    return "\n".join(
        f"INSERT INTO stock (id, name, city, amount) VALUES ({n}, '{drawn.choice(THINGS)}',"
        f" '{drawn.choice(CITIES)}', {drawn.randint(0, 50)});"
        for n in range(1, 26)
    )


def access_log(drawn: Drawn) -> str:
    return "\n".join(
        f"10.0.0.{drawn.randint(1, 9)} - - [12/Mar/2024:10:{n:02}:{drawn.randint(10, 59)} +0000]"
        f' "GET /{drawn.choice(THINGS)}.html HTTP/1.1" {drawn.choice((200, 200, 304, 404))}'
        f" {drawn.randint(100, 9999)}"
        for n in range(22)
    )


def worker_log(drawn: Drawn) -> str:
    return "\n".join(
        f"2024-03-12 10:{n:02}:{drawn.randint(10, 59)} INFO worker-{drawn.randint(1, 4)} job"
        f" {drawn.randint(1000, 9999)} finished in {drawn.randint(10, 999)} ms"
        for n in range(24)
    )


def unit_tests(drawn: Drawn) -> str:
    return "import pytest\n\n\n" + "\n\n\n".join(
        f"def test_{verb}_{thing}():\n    {thing} = {thing.title()}()\n"
        f"    result = {thing}.{verb}()\n"
        f"    assert result == {drawn.randint(1, 99)}"
        for verb, thing in zip(VERBS, THINGS, strict=True)
    )


def properties(drawn: Drawn) -> str:
    return f"public class {drawn.choice(THINGS).title()} {{\n" + "\n".join(
        f"    private String {thing};\n\n    public String get{thing.title()}() {{\n"
        f"        return {thing};\n    }}\n\n"
        f"    public void set{thing.title()}(String {thing}) {{\n"
        f"        this.{thing} = {thing};\n    }}\n"
        for thing in drawn.sample(THINGS, 8)
    )


def switch(drawn: Drawn) -> str:
    cases = (f"    case {n}:\n      return '{drawn.choice(THINGS)}';" for n in range(1, 31))
    return "function nameOf(n) {\n  switch (n) {\n" + "\n".join(cases) + "\n  }\n}"


def else_ifs(drawn: Drawn) -> str:
    return "\n".join(
        f'    elif choice == "{n}":\n        {drawn.choice(VERBS)}_{drawn.choice(THINGS)}()'
        for n in range(1, 31)
    )


def html_list(drawn: Drawn) -> str:
    rows = (
        f'  <li class="item"><a href="/{thing}">{thing.title()} {drawn.randint(1, 99)}</a></li>'
        for thing in THINGS * 2
    )
    return '<ul class="menu">\n' + "\n".join(rows) + "\n</ul>"


def html_empty_table(drawn: Drawn) -> str:
    row = "  <tr>\n" + "    <td></td>\n" * drawn.randint(3, 5) + "  </tr>\n"
    return "<table>\n" + row * 4 + "</table>"


def css(drawn: Drawn) -> str:
    return "\n\n".join(
        f".{thing} {{\n  margin: 0;\n  padding: {drawn.randint(1, 9)}px;\n  color: #333;\n}}"
        for thing in THINGS * 2
    )


def bottles(drawn: Drawn) -> str:
    top = drawn.randint(20, 99)
    return "\n\n".join(
        f"{n} bottles of beer on the wall, {n} bottles of beer.\nTake one down and pass it around,"
        f" {n - 1} bottles of beer on the wall."
        for n in range(top, top - 14, -1)
    )


def days_of_christmas(drawn: Drawn) -> str:
    verses = drawn.randint(8, 12)
    return "\n\n".join(
        f"On the {NTH[n]} day of Christmas my true love gave to me\n"
        + ",\n".join(reversed(GIFTS[1 : n + 1]))
        + (f",\nand {GIFTS[0]}." if n else f"{GIFTS[0]}.")
        for n in range(verses)
    )


def refrain(drawn: Drawn) -> str:
    chorus = "\n".join(
        f"Oh, the {drawn.choice(NOUNS)} "
        f"{drawn.choice(DEEDS)} where the {drawn.choice(NOUNS)} {deed},"
        for deed in drawn.sample(DEEDS, 4)
    )
    verses = (
        "\n".join(
            f"The {noun} {drawn.choice(DEEDS)} "
            f"by the {drawn.choice(NOUNS)} of {drawn.choice(CITIES)},"
            for noun in drawn.sample(NOUNS, 4)
        )
        for _ in range(5)
    )
    return "\n\n".join(f"{verse}\n\n{chorus}" for verse in verses) + f"\n\n{chorus}"


def litany(drawn: Drawn) -> str:
    return "\n".join(
        f"For the {noun} that {drawn.choice(DEEDS)}, we give thanks." for noun in NOUNS * 3
    )


def pantoum(drawn: Drawn) -> str:
    lines = [f"The {noun} {drawn.choice(DEEDS)} in {drawn.choice(CITIES)}" for noun in NOUNS * 2]
    stanzas = [[lines[0], lines[1], lines[2], lines[3]]]
    for n in range(4, 16, 2):
        _, second, _, fourth = stanzas[-1]
        stanzas.append([second, lines[n], fourth, lines[n + 1]])
    return "\n\n".join("\n".join(stanza) for stanza in stanzas)


def song(drawn: Drawn) -> str:
    animals = drawn.sample(("cow", "pig", "duck", "horse", "lamb", "cat", "dog", "hen"), 5)
    sounds = drawn.sample(("moo", "oink", "quack", "neigh", "baa", "meow", "woof", "cluck"), 5)
    return "\n\n".join(
        f"Old MacDonald had a farm, E-I-E-I-O.\nAnd on that farm he had a {animal}, E-I-E-I-O.\n"
        f"With a {sound}-{sound} here and a {sound}-{sound} there,\n"
        f"Here a {sound}, there a {sound},"
        f" everywhere a {sound}-{sound}.\nOld MacDonald had a farm, E-I-E-I-O."
        for animal, sound in zip(animals, sounds, strict=True)
    )


def last_chorus_twice(drawn: Drawn) -> str:
    chorus = "\n".join(
        f"Take me {where} the {drawn.choice(NOUNS)}, take me home"
        for where in drawn.sample(("over", "under", "across", "beyond", "beside"), 4)
    )
    verse = "\n".join(f"When the {noun} {drawn.choice(DEEDS)} I think of you" for noun in NOUNS[:4])
    other = "\n".join(f"And the {noun} {drawn.choice(DEEDS)} all night long" for noun in NOUNS[4:8])
    return "\n\n".join((verse, chorus, other, chorus, chorus))


def numbered(drawn: Drawn) -> str:
    return "\n".join(
        f"{n}. {drawn.choice(VERBS).title()} the {drawn.choice(THINGS)} before you"
        f" {drawn.choice(VERBS)} the {drawn.choice(THINGS)}."
        for n in range(1, 31)
    )


def glossary(drawn: Drawn) -> str:
    return "\n".join(
        f"- **{verb.title()} {thing}**: This command is used to {verb} the {thing} of the"
        f" {drawn.choice(NOUNS)}."
        for verb in VERBS[:5]
        for thing in drawn.sample(THINGS, 4)
    )


def schedule(drawn: Drawn) -> str:
    return "\n\n".join(
        f"**{day}**\n- 08:00 Breakfast\n"
        f"- 09:00 {drawn.choice(VERBS).title()} the {drawn.choice(THINGS)}"
        f"\n- 12:00 Lunch\n- 14:00 Walk to the {drawn.choice(NOUNS)}\n- 19:00 Dinner\n- 22:00 Sleep"
        for day in DAYS
    )


def workout(drawn: Drawn) -> str:
    return "\n\n".join(
        f"Day {n}\n- Push-ups: 3 sets of {drawn.randint(8, 15)}\n- Squats: 3 sets of"
        f" {drawn.randint(8, 20)}\n- Plank: 3 sets of {drawn.randint(20, 60)} seconds\n- Rest"
        for n in range(1, 15)
    )


def knitting(drawn: Drawn) -> str:
    stitches = drawn.randint(2, 4)
    return "Cast on 24 stitches.\n" + "\n".join(
        f"Row {n}: " + (f"K{stitches}, P{stitches}, repeat to end." if n % 2 else "Purl to end.")
        for n in range(1, 25)
    )


def board(drawn: Drawn) -> str:
    rows = ["r n b q k b n r", "p p p p p p p p", *[". . . . . . . ."] * drawn.randint(3, 4)]
    return "\n".join((*rows, "P P P P P P P P", "R N B Q K B N R"))


def counting(drawn: Drawn) -> str:
    start = drawn.randint(1, 500)
    return drawn.choice((", ", "\n")).join(map(str, range(start, start + 120)))


def zeros_asked_for(drawn: Drawn) -> str:
    return drawn.choice("0018x") * drawn.randint(40, 120)


def word_asked_for(drawn: Drawn) -> str:
    return " ".join([drawn.choice(THINGS)] * drawn.randint(20, 50))


def yaml(drawn: Drawn) -> str:
    return "services:\n" + "\n".join(
        f"  {thing}:\n    image: {thing}:{drawn.randint(1, 9)}.{drawn.randint(0, 9)}\n"
        f"    restart: always\n"
        f'    ports:\n      - "{drawn.randint(2000, 9000)}:80"\n'
        f"    environment:\n      - DEBUG=false"
        for thing in THINGS
    )


def quiz(drawn: Drawn) -> str:
    return "\n\n".join(
        f"{n}. What is the capital of the {drawn.choice(NOUNS)}?\nA) {drawn.choice(CITIES)}\n"
        f"B) {drawn.choice(CITIES)}\nC) {drawn.choice(CITIES)}\nD) None of the above"
        for n in range(1, 13)
    )


def dialogue(drawn: Drawn) -> str:
    return "\n".join(
        f"Ada: Do you have a {thing}?\nBen: {drawn.choice(('Yes, I do.', 'No, I do not.'))}"
        for thing in drawn.sample(THINGS, 10)
    )


def hex_dump(drawn: Drawn) -> str:
    return "\n".join(
        f"{n * 16:08x}  " + " ".join(drawn.choice(("00", "00", "00", "ff")) for _ in range(16))
        for n in range(16)
    )


def assembly(drawn: Drawn) -> str:
    return "\n".join(
        f"    mov eax, [ebx+{n * 4}]\n    add eax, {drawn.randint(1, 99)}\n"
        f"    mov [ecx+{n * 4}], eax"
        for n in range(16)
    )


def tab(drawn: Drawn) -> str:
    bars = drawn.randint(3, 4)
    return "\n".join(f"{string}|" + "--0---2---3-----|" * bars for string in "eBGDAE")


KINDS: tuple[Callable[[Drawn], str], ...] = (
    *(multiplication, people_table, feature_table, all_yes_table, csv, json_objects, json_plain),
    *(
        zeros,
        identity_matrix,
        sql,
        access_log,
        worker_log,
        unit_tests,
        properties,
        switch,
        else_ifs,
    ),
    *(html_list, html_empty_table, css, bottles, days_of_christmas, refrain, litany, pantoum, song),
    *(last_chorus_twice, numbered, glossary, schedule, workout, knitting, board, counting),
    *(zeros_asked_for, word_asked_for, yaml, quiz, dialogue, hex_dump, assembly),
)


def texts() -> Iterator[tuple[str, str]]:
    """All of them, each with the name of its kind."""
    for kind in KINDS:
        for seed in range(VARIANTS):
            yield kind.__name__, kind(random.Random(seed))
