"""200 prompts of many kinds, for what a small model writes when it writes greedily."""

from __future__ import annotations

from collections.abc import Iterator

KINDS = (
    ("Tell me about {}.", ("France", "the Moon", "coffee", "the Roman Empire", "jazz")),
    (
        "Write a short story about {}.",
        ("a lost dog", "a lighthouse", "two rival bakers", "a robot"),
    ),
    ("Write a poem about {}.", ("autumn", "the sea", "my grandmother", "a train at night", "rain")),
    ("Explain {} to a child.", ("gravity", "money", "why the sky is blue", "electricity", "death")),
    ("Explain in detail how {} works.", ("a fridge", "TCP", "a vaccine", "a bicycle", "a lock")),
    ("List twenty {}.", ("animals", "English verbs", "ideas for gifts", "capital cities", "foods")),
    ("List the advantages of {}.", ("cycling", "remote work", "trees in cities", "reading")),
    (
        "Write a Python function that {}.",
        ("sorts a list", "parses CSV", "counts words", "plays Nim"),
    ),
    ("Write {} in JavaScript.", ("a counter", "a debounce function", "a todo list", "a clock")),
    ("Write a table of {}.", ("planets and their moons", "months and days", "fruits and colours")),
    ("Write an e-mail that {}.", ("asks for a day off", "declines an offer", "thanks a teacher")),
    ("Write a dialogue between {}.", ("a cat and a dog", "two astronauts", "a judge and a thief")),
    ("Give me a recipe for {}.", ("pancakes", "lentil soup", "apple pie", "fried rice", "bread")),
    ("Summarize the plot of {}.", ("Hamlet", "Cinderella", "Moby Dick", "the Odyssey")),
    (
        "What is the difference between {}?",
        ("a crow and a raven", "HTTP and HTTPS", "jam and jelly"),
    ),
    ("Plan {}.", ("a week in Rome", "a birthday party", "a vegetable garden", "a study schedule")),
    ("Write a {} advertisement.", ("toothpaste", "used car", "travel agency", "piano teacher")),
    ("Who was {}?", ("Marie Curie", "Genghis Khan", "Ada Lovelace", "Nikola Tesla", "Frida Kahlo")),
    ("Argue for and against {}.", ("school uniforms", "zoos", "nuclear power", "homework")),
    ("Translate into {}: The weather is fine today.", ("French", "German", "Spanish", "Italian")),
    ("Solve: {}", ("12 * 17", "3x + 5 = 20", "what is 15% of 80?", "the sum of 1 to 100")),
    ("Write a speech about {}.", ("freedom", "the end of school", "a wedding", "the climate")),
    ("Write a song with a refrain about {}.", ("home", "summer", "a broken heart", "the road")),
    ("Write the lyrics of a lullaby about {}.", ("stars", "a bear", "the wind")),
    ("Describe {}.", ("a market in the morning", "the colour red", "your best friend", "a storm")),
    ("How do I {}?", ("tie a tie", "learn the guitar", "fix a flat tyre", "sleep better", "vote")),
    ("Give ten tips for {}.", ("saving money", "job interviews", "public speaking", "travelling")),
    ("Write a JSON object that describes {}.", ("a person", "a library", "a shop order")),
    (
        "Write a SQL query that {}.",
        ("counts users by country", "joins two tables", "finds duplicates"),
    ),
    ("Write ten sentences that use the word {}.", ("although", "blue", "never", "green")),
    ("Invent a {}.", ("board game", "language", "holiday", "superhero", "machine")),
    ("Write a diary entry of {}.", ("a sailor", "a spider", "a soldier in 1916", "a nurse")),
    ("Parle-moi de {}.", ("la France", "la cuisine", "Paris", "la mer")),
    ("Schreibe etwas über {}.", ("Berlin", "den Wald", "Brot", "Fußball")),
    ("Escribe sobre {}.", ("el mar", "Madrid", "la familia", "el fútbol")),
    ("请介绍一下{}。", ("中国", "茶", "月亮")),
    ("Repeat the word {} forever.", ("hello", "yes", "banana")),
    ("Count from 1 to {}.", ("20", "50", "100")),
    ("{}", ("Hi", "What can you do?", "Continue.", "la la la la", "Why?", "Tell me everything.")),
    ("Define {} and give examples.", ("irony", "photosynthesis", "inflation", "an algorithm")),
    ("Write a review of {}.", ("a bad restaurant", "a phone", "a hotel by the sea", "a novel")),
    ("Write a bash script that {}.", ("renames files", "makes a backup", "watches a folder")),
    ("What happened in {}?", ("1492", "1789", "1969", "2001")),
    (
        "Write a news report about {}.",
        ("a flood", "a football match", "a new library", "an election"),
    ),
    ("Give me a list of questions about {}.", ("history", "music", "biology", "the sea")),
    ("Compare {}.", ("cats and dogs", "tea and coffee", "Python and Java", "cities and villages")),
    ("Write an essay about {}.", ("friendship", "the printing press", "war", "artificial minds")),
    ("Write a fairy tale with {}.", ("three brothers", "a talking fish", "a tired witch")),
    ("Write a limerick about {}.", ("a cook", "a clock", "a clown")),
    ("Draw up a contract about {}.", ("renting a flat", "mowing a lawn", "a loan")),
    ("Write a log file of {}.", ("a web server", "a backup", "a failing disk")),
)


def prompts() -> Iterator[str]:
    """All prompts, a kind after another."""
    for pattern, subjects in KINDS:
        for subject in subjects:
            yield pattern.format(subject)
