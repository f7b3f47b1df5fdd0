"""A conversation grows turn by turn."""

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


def numbered(count: int) -> Conversation:
    return Conversation(turns=tuple(Turn(f"Q{n}", f"A{n}") for n in range(1, count + 1)))


def questions(talk: Conversation) -> list[str]:
    return [said["content"] for said in talk.messages() if said["role"] == "user"]


def test_what_is_left_out_is_not_sent_but_stays_said():
    talk = numbered(4).with_pin(1, True).leaving_out(3)
    assert questions(talk) == ["Q1", "Q4"]
    assert [turn.question for turn in talk.turns] == ["Q1", "Q2", "Q3", "Q4"]


def test_a_summary_stands_for_what_is_left_out():
    talk = numbered(3).leaving_out(2, "They counted.")
    assert questions(talk) == ["Sum up our conversation so far.", "Q3"]
    assert talk.messages()[1]["content"] == "They counted."
    assert talk.cleared() == Conversation()


def test_turns_are_taken_back_one_by_one():
    talk = numbered(4).leaving_out(2, "They counted.")
    assert talk.without_last() == numbered(3).leaving_out(2, "They counted.")
    assert talk.without_last(3) == numbered(1)  # it can be sent again
    assert talk.without_last(9) == Conversation()
