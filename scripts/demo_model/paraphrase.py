"""From a few patterns to many ways of asking: the small grammar of ``facts.yaml``.

``[a|b]`` means either, ``[a|]`` means perhaps, ``{list}`` any item of a named list.
"""

import random
import re
from collections.abc import Mapping, Sequence

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_LIST = re.compile(r"\{(\w+)\}")
_SYLLABLES = (
    "ba", "be", "bi", "bo", "bu", "da", "de", "di", "do", "du", "fa", "fi", "fo", "ga", "go",
    "gu", "ha", "hi", "ja", "jo", "ka", "ke", "ki", "ko", "la", "le", "li", "lo", "ma", "me",
    "mi", "mo", "na", "ne", "no", "pa", "pe", "pi", "po", "qua", "ra", "re", "ri", "ro", "sa",
    "se", "si", "so", "ta", "te", "ti", "to", "tra", "va", "ve", "vi", "wa", "wo", "xi", "za",
    "zo", "bla", "gron", "sni", "fle", "blor", "kri", "stu", "spo", "dre", "th", "ck", "ng", "st",
    "rn", "x", "z", "q", "y", "sh",
)  # fmt: skip

TERM = (
    "[what is|what's|whats|what exactly is|so what is|tell me what is|do you know what is] {x}",
    "[explain|define|describe|please explain|can you explain|could you explain] {x}"
    " [to me|please|]",
    "what does {x} [mean|do|stand for|mean here|mean exactly]",
    "what [do you mean|is meant] by {x}",
    "[tell me|say something|teach me something] about {x}",
    "[the|] [meaning|definition|purpose|point|use] of {x}",
    "[what is|what's] the [meaning|purpose|point|use|idea|definition] of {x}",
    "i [do not|don't] [understand|know] [what|] {x} [means|is|]",
    "what is {x} [for|good for|used for|about|exactly|in simple words]",
    "i [read|heard] about {x}, [what is it|what is that|what does it do]",
    "[why|when] do i need {x}",
    "[why|how] does {x} [matter|work|help]",
    "{x}",
    "{x} [meaning|explained|definition|explanation]",
    "[can|could|would] you [tell me|explain|explain to me|say] what {x} [is|means|does]",
    "what [happens|goes on] [during|in|with] {x}",
    "[how|why] [does|do|is|are] {x} [work|useful|important|needed]",
    "[what|why] would [i|one] use {x} [for|]",
    "what is {x} all about",
    "what does {x} mean [for a model|for me|in practice|]",
    "[give me|i need|i want] [an explanation|a definition|a short explanation] of {x}",
    "what does [the abbreviation|the term|the word|the expression] {x} [mean|stand for]",
    "please [explain|define|describe|tell me about] {x} [to me|]",
    "what [can|should] i [know|understand] about {x}",
    "[what are|are there] {x}",
)
COMMAND = (
    "what does [`mlm {x}`|mlm {x}|the {x} command|the command {x}|the command mlm {x}] [do|mean]",
    "what is [`mlm {x}`|mlm {x}|the {x} command|the command {x}] [for|good for|used for|]",
    "[explain|describe|tell me about|what about] [`mlm {x}`|mlm {x}|the {x} command|mlm's {x}]",
    "[when|why|how|what for] [do|would|should|can] i use [mlm {x}|`mlm {x}`|the {x} command]",
    "how does [mlm {x}|the {x} command|`mlm {x}`] work",
    "what [happens when i type|do i get from|will] mlm {x} [do|]",
    "what does mlm {x} [show|print|tell me|give me|say]",
    "[mlm {x}|`mlm {x}`|mlm {x} command|the {x} command]",
    "[what is|what's] the purpose of [mlm {x}|the {x} command|`mlm {x}`]",
    "help [with|on|for] mlm {x}",
    "mlm {x}[: what is it|, what does it do|, what is that]",
    "what [will|can|would] mlm {x} [tell me|show me|do for me|give me|print]",
    "what [do|would|can|will] i [see|learn|find|get] [in|from|with] mlm {x}",
    "[which|what] [information|output|result] does [mlm {x}|the {x} command]"
    " [give|print|show|have]",
    "[is|would] mlm {x} [useful|good] [for me|for anything|]",
)
HOW = (
    "[how do i|how can i|how to|how would i|how should i|how could i|how do you|how does one] {x}",
    "[how do i|how can i|how to] {x}",
    "[what is|what's] the [command|way|best way|right way|right command] to {x}",
    "[what|which command] do i [type|use|need|run|write] to {x}",
    "i [want|need|would like|have|wish|am trying] to {x}",
    "i'd like to {x}[, how|, what do i type|]",
    "[can i|can you|can mlm|is it possible to|is there a way to|am i able to] {x}",
    "[can|could|would|will] you [tell|show] me how to {x}",
    "[tell me|show me|explain|explain to me|help me understand] how to {x}",
    "[help me|please help me|can you help me] [to|] {x}",
    "what [do i have to|must i|should i|do i|can i] do to {x}",
    "[command|way|steps|instructions|how] to {x}",
    "{x}",
    "[where|when] [do|can|would] i {x}",
    "which command [do i use|is there|is used] to {x}",
    "what command [lets me|allows me to|is for] {x}",
    "[does|can] mlm {x}",
    "please [show me|tell me|explain|explain to me] how to {x}",
    "[which|what] command [should|must|can|would] i [use|run|type] to {x}",
    "i [do not|don't] know how to {x}",
    "[what|which] [is|are] the [steps|commands|options] to {x}",
    "[could|would] you [help me|show me how to|explain how to|please tell me how to] {x}",
    "[is it|would it be] [possible|easy|hard|difficult] to {x}",
    "[my goal is|the idea is|the plan is|i was told] to {x}",
)
EXIT_CODE = (
    "what does exit [code|status] {x} [mean|stand for|tell me|say]",
    "[what is|what's|explain|meaning of|tell me about]"
    " [exit code|exit status|return code|code] {x}",
    "mlm [exited|ended|stopped|finished|failed|quit] with [exit code|exit status|code|status|] {x}",
    "[i got|i get|i see|my script got|it returned|mlm returned|we get]"
    " [exit code|exit status|code] {x}",
    "[exit code|exit status|return code|status|exit] {x} [meaning|]",
    "why [does|did|do i get|is] [mlm|the command|download|serve|it|]"
    " [exit|return|end] [with|] [code|] {x}",
    "[the|a|my] [command|download|script] [failed|ended|stopped] with [exit code|code|status] {x}",
    "what is the meaning of [exit code|return code|code] {x}",
    "[what if|what to do when|when does] mlm [returns|exits with|gives] [code|] {x}",
    "$? is {x}",
)


def expand(pattern: str, dice: random.Random, lists: Mapping[str, Sequence[str]]) -> str:
    """Return one random text that ``pattern`` stands for."""
    while True:
        if match := _CHOICE.search(pattern):
            chosen = dice.choice(match[1].split("|"))
        elif match := _LIST.search(pattern):
            chosen = _item(match[1], dice, lists)
        else:
            break
        pattern = pattern[: match.start()] + chosen + pattern[match.end() :]
    return re.sub(r"\s+", " ", pattern).replace(" ,", ",").strip()


def _item(name: str, dice: random.Random, lists: Mapping[str, Sequence[str]]) -> str:
    if name == "n":
        return str(dice.randint(0, 10 ** dice.randint(1, 3)))
    if name == "gibberish":
        return "".join(dice.choices(_SYLLABLES, k=dice.randint(1, 4)))
    return dice.choice(lists[name])
