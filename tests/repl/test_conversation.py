"""A conversation grows turn by turn and can be written down."""

import json

from mlm.repl.conversation import Conversation, Turn


def test_a_question_brings_everything_said_before():
    talk = Conversation(system="Be brief.").with_turn(Turn("Hi", "Hello"))
    assert talk.messages("Bye") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]


def test_a_new_turn_leaves_the_old_conversation_alone():
    before = Conversation()
    assert before.with_turn(Turn("Hi", "Hello")).turns
    assert before.turns == ()


def test_clearing_keeps_the_system_prompt():
    talk = Conversation(system="Be brief.").with_turn(Turn("Hi", "Hello"))
    assert talk.cleared() == Conversation(system="Be brief.")


def test_a_conversation_reads_well_as_markdown():
    talk = Conversation("Be brief.", (Turn("Hi", "Hello"), Turn("And?", "We", stopped=True)))
    assert talk.to_markdown("tiny") == (
        "# A conversation with tiny\n\n"
        "## System\n\nBe brief.\n\n"
        "## Question\n\nHi\n\n## Answer\n\nHello\n\n"
        "## Question\n\nAnd?\n\n## Answer\n\nWe *(stopped)*\n"
    )


def test_a_conversation_as_json_can_be_sent_again():
    body = json.loads(Conversation(turns=(Turn("Hi", "Grüße"),)).to_json("tiny"))
    assert body["model"] == "tiny"
    assert body["messages"][1] == {"role": "assistant", "content": "Grüße"}
