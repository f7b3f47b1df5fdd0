"""The many ways in which people write the same: synonyms, case, punctuation, politeness, typos."""

import random
import re

BEFORE = (
    "please ", "could you please ",
    "hi, ", "hello, ", "hey, ", "hi! ", "hello! ", "hey mlm, ", "please, ", "ok, ", "so, ",
    "well, ", "quick question: ", "a question: ", "excuse me, ", "sorry, ", "and ", "but ",
    "now, ", "also, ", "could you please tell me, ", "can you tell me, ", "i wonder, ",
    "tell me, ", "one more thing: ", "good morning, ", "just curious, ", "i am new here, ",
    "my friend asks, ", "say, ",
)  # fmt: skip
AFTER = (
    " please", ", please", " thanks", ", thanks", " exactly", " actually", " then", " again",
    ", do you know", ", can you tell me", " for me", " today", " in short", " briefly", " here",
    ", i forgot", " now", ", mlm",
)  # fmt: skip
FILLERS = frozenset(
    {
        "the", "a", "an", "do", "does", "is", "are", "i", "my", "to", "what", "how", "can", "you",
        "it", "of", "me", "please", "for", "there", "this", "that", "be",
    }
)  # fmt: skip
# Words that may stand for each other in most questions; each may become any other of its line.
SYNONYMS = tuple(
    tuple(line.split("|"))
    for line in """\
get|fetch|obtain
remove|delete|erase|get rid of
see|view|look at|find
show me|tell me|let me know|give me
find out|learn|know|see
start|launch|begin|start up
stop|end|quit|halt
big|large|huge
bigger|larger
small|little|tiny
fast|quick
faster|quicker
slow|sluggish
computer|machine|laptop|pc|box|system
graphics card|gpu|video card
folder|directory
disk|drive|hard disk|ssd
need|require
i want to|i would like to|i wish to|i need to|i have to|i am trying to
can i|may i|could i|is it possible to|am i able to
how do i|how can i|how could i|how would i|how should i|what do i do to|how does one
which command do i use to|what do i type to|what is the command to
several|multiple|many|two|a few
at once|at the same time|simultaneously|in parallel|together
people|users|colleagues|persons
broken|damaged|corrupt|faulty
wrong|incorrect|bad
again|once more
work|function
works|functions|runs
answer|reply|response
answers|replies|responses
requests|questions|queries
conversation|chat|dialogue|discussion
program|application|app|script
programs|applications|apps|scripts
best|ideal|optimal|most suitable
good|suitable|decent|reasonable
choose|pick|select
suggest|recommend|propose|advise
internet|web|network
offline|without internet|without a network
set|configure|adjust
change|adjust|modify|alter
config|configuration|settings
save|store|keep
stored|saved|kept|located
model|llm|language model
models|llms|language models
website|site|page
cost|price
error|failure|problem
problem|issue|trouble
speed|performance
measure|test|determine
explain|describe|clarify
meaning|definition
mean|stand for|signify
purpose|point|use|benefit
what is|what's|what exactly is|what would be|what might be
type|enter|write
allowed|permitted|possible
necessary|required|needed|mandatory
if|when|in case
other|another|different
my|the|this|our
me|us
longer|larger|bigger
without|with no
useful|helpful|good
how much|what amount of
quickly|fast
happens|will happen|occurs|is going to happen
do you know|can you tell me|could you say|would you tell me
use|employ|utilise
memory|ram
vram|gpu memory|video memory
tokens per second|tokens/s|tok/s
""".splitlines()
)
CONTRACTIONS = (
    ("what is", "what's"), ("what is", "whats"), ("i am", "i'm"), ("it is", "it's"),
    ("do not", "don't"), ("does not", "doesn't"), ("i would", "i'd"), ("where is", "where's"),
    ("how do i", "how do you"), ("how do i", "how does one"), ("is not", "isn't"),
    ("what's", "what is"), ("quantization", "quantisation"),
    ("licence", "license"), ("model", "llm"), ("a model", "an llm"), ("machine", "computer"),
    ("command line", "terminal"), ("shall", "should"), ("type", "write"),
)  # fmt: skip
_OTHERS = {word: tuple(w for line in SYNONYMS if word in line for w in line if w != word)
           for line in SYNONYMS for word in line}  # fmt: skip
_SYNONYM = re.compile(  # never a part of a command, an option or a file name
    r"(?<![\w`/:.-])(?<!mlm )("
    + "|".join(sorted(map(re.escape, _OTHERS), key=len, reverse=True))
    + r")(?![\w`/:.-]| command)"
)
QUESTION_WORDS = re.compile(
    r"(what|which|who|where|when|why|how|is|are|do|does|can|could|will|would|should|may|must|has)\b"
)


def reword(text: str, dice: random.Random) -> str:
    """Return ``text`` as some person might have typed it."""
    if dice.random() < 0.4:
        text = _use_synonyms(text, dice)
    if dice.random() < 0.25:
        old, new = dice.choice(CONTRACTIONS)
        text = re.sub(rf"\b{old}\b", new, text)
    is_question = QUESTION_WORDS.match(text.lower()) is not None
    if dice.random() < 0.07:
        text = dice.choice(BEFORE) + text
    if dice.random() < 0.07:
        text = text + dice.choice(AFTER)
    if dice.random() < 0.06:
        text = _drop_a_word(text, dice, FILLERS)
    if dice.random() < 0.05:
        text = _drop_a_word(text, dice, None)
    if dice.random() < 0.02:
        text = _shuffle(text, dice)
    if dice.random() < 0.10:
        text = _mistype(text, dice)
    return _end(_change_case(text, dice), dice, is_question)


def _change_case(text: str, dice: random.Random) -> str:
    chance = dice.random()
    if chance < 0.02:
        return text.upper()
    if chance < 0.40:
        return text.lower() if chance < 0.2 else text
    text = re.sub(r"\bi\b(?!\.)", "I", text)
    return text[:1].upper() + text[1:]


def _end(text: str, dice: random.Random, is_question: bool) -> str:
    if text[-1:] in "?!.":
        return text
    if is_question:
        return text + dice.choices(("?", "", " ?", "??", ".", "!"), (60, 30, 4, 3, 2, 1))[0]
    return text + dice.choices(("", ".", "?", "!", "..."), (50, 20, 20, 8, 2))[0]


def _use_synonyms(text: str, dice: random.Random) -> str:
    def replace(match: re.Match[str]) -> str:
        return dice.choice(_OTHERS[match[0]]) if dice.random() < 0.4 else match[0]

    return _SYNONYM.sub(replace, text)


def _drop_a_word(text: str, dice: random.Random, droppable: frozenset[str] | None) -> str:
    """Drop one of the ``droppable`` words, or any word of a long sentence."""
    words = text.split(" ")
    spots = [
        i
        for i, word in enumerate(words)
        if (word.isalpha() if droppable is None else word.lower() in droppable)
    ]
    if spots and len(words) > (3 if droppable else 6):
        del words[dice.choice(spots)]
    return " ".join(words)


def _shuffle(text: str, dice: random.Random) -> str:
    """Keywords in any order, as people type them into a search box."""
    words = text.split(" ")
    if len(words) > 3:
        dice.shuffle(words)
    return " ".join(words)


def _mistype(text: str, dice: random.Random) -> str:
    """Swap, drop, double or replace one letter of one longer word."""
    spots = [m.start() for m in re.finditer(r"(?<=[a-z])[a-z](?=[a-z]{2})", text)]
    if not spots:
        return text
    at = dice.choice(spots)
    letter, following = text[at], text[at + 1]
    typed = dice.choice((following + letter, following, letter * 2 + following))
    if dice.random() < 0.25:
        typed = dice.choice("abcdefghijklmnopqrstuvwxyz") + following
    return text[:at] + typed + text[at + 2 :]
