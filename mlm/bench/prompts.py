"""The three standard prompts. Changing a word makes older results incomparable."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question, about as long as its name says; tokenizers differ by some ten percent."""

    name: str
    text: str

    def tagged(self, tag: str) -> str:
        """Return the question behind a tag, which keeps every cache from knowing its beginning."""
        return f"[{tag}] {self.text}"


_SHORT = (
    "Explain in a few plain sentences why the sky is blue at noon and red in the evening, "
    "as you would to a curious child of ten."
)

_MEDIUM = """\
You are helping a small bakery to plan its week. Here is what the owner told you. The oven holds \
twelve trays and needs forty minutes for a batch of bread, twenty-five for rolls and an hour for \
the dark rye. Two people work from three in the morning until eleven; on Fridays and Saturdays a \
third one joins them at five. Monday is quiet: about eighty loaves and two hundred rolls. Every \
day until Thursday brings a tenth more. Friday doubles the rolls, and on Saturday everything \
doubles, but by eleven the shelves must be empty, because the shop is closed on Sunday and \
nothing may be thrown away. The rye has to rest for a night before it is baked, in baskets of \
which there are sixty. Flour comes on Tuesdays and Fridays, never more than nine hundred \
kilograms, and the store room is full at one and a half tonnes. The owner wants to start selling \
cake on Wednesdays, two hours of work for one person, if that can be done without anybody coming \
earlier.

Write a plan for the week, one day after the other. Say for each day what is baked when, by \
whom, and how much flour is left in the evening. If something cannot be done, say which rule \
stands in the way and what you would ask the owner to change."""

_LONG = """\
Read the following report and answer the questions after it.

The harbour of Lower Vessby was built for herring. When the herring left, in the years after the \
second railway, the town kept the harbour and lost the reason for it. For half a century the \
basin silted up at the rate of a hand's breadth a year, and every spring the council voted a sum \
for dredging that was a little smaller than the sum the year before. By the time the present \
author was asked to look at the place, a boat of more than a metre's draught could enter only in \
the two hours around high water, and the inner quay, where the auction hall stands, could be \
reached by nothing larger than a rowing boat.

Three things speak for doing something, and they do not speak with one voice. The first is the \
ferry. The company that serves the outer islands has ordered two new ships, electric, quiet, and \
forty centimetres deeper than the old ones. It has said in writing that it will land wherever it \
finds two metres and twenty of water at all times and a transformer of one and a half megawatts \
within a hundred metres of the ramp. Upper Vessby, eleven kilometres along the coast, has the \
water but not the transformer; Lower Vessby has the transformer, left over from the ice works, \
but not the water. The ferry carries a hundred and ninety thousand passengers a year, of whom \
about a third buy something before or after the crossing.

The second is the storm wall. The wall on the north side was raised in sections, and no two \
sections are of the same height or age. The oldest is held together mostly by the memory of \
mortar. In the storm of four winters ago the water stood at its edge for six hours, and what \
came over flooded ninety cellars. The insurers have since let it be known that the next flood of \
that kind will be the last one they pay for. To raise the whole wall by seventy centimetres \
would cost about as much as the town collects in taxes in two years. The state would bear half, \
but only for works that are begun before the end of next year, and only if the dredged material \
is not dumped at sea.

The third is the mud itself. It was supposed to be worthless. A laboratory in the capital has \
found that the upper metre is clean enough to be spread on land, and that a farm cooperative on \
the other side of the hills would take forty thousand cubic metres of it over three years, and \
pay for the transport, though not for the digging. Below the first metre lies what the tannery \
left: chromium, in amounts that nobody wants to own. It is harmless as long as it stays where it \
is. Whoever digs deeper than one metre has to take out all of it, under covers, and bring it to \
a kiln whose nearest free date is in three years.

The figures, then. The basin measures a hundred and eighty metres by two hundred and twenty. To \
give the ferry its two metres and twenty, one metre and thirty would have to go over a strip \
that is fifty metres wide and as long as the basin, and nothing elsewhere. To give the fishermen \
back their inner quay, eighty centimetres would do, over about a quarter of the basin, none of \
it within the strip. The dredger costs nine thousand a day whether it works or waits, moves \
seven hundred cubic metres on a good day, and loses one day in four to the weather between \
October and April. There are five boats left that fish for a living. Their owners are, on \
average, sixty-one years old; two of them have children who say they would carry on if the quay \
could be reached.

People in the town do not agree, and it would be wrong to say that one side has the reasons and \
the other the feelings. The owner of the hotel counts passengers. The harbour master counts \
hours of high water. The woman who keeps the archive says that the town has been promised a new \
beginning four times, and that each time the beginning was finished before the town was. The \
young doctor whose cellar stood under water asked the shortest question of the evening: in which \
order would all of this be done, and what happens if the money ends in the middle?

Questions. First: how many cubic metres are moved for the ferry and how many for the inner quay, \
and does the cooperative's offer cover them? Second: which of the works touch the chromium, and \
what follows for the dates? Third: name the two conditions of the state that pull in different \
directions, and show a way to meet both. Fourth: propose an order of works in which the town is \
better off after each step than before it, even if no further step is ever paid for. Give the \
reasons for each answer in full sentences, and say where the report does not tell you enough."""

SHORT, MEDIUM, LONG = Prompt("short", _SHORT), Prompt("medium", _MEDIUM), Prompt("long", _LONG)
STANDARD_PROMPTS = (SHORT, MEDIUM, LONG)
# Three times the report: with what it costs, predictions for long contexts rest on a measurement.
DEEP = Prompt("deep", "\n\n".join([_LONG] * 3))
