"""Pictures in prompts: whose turn it is, while they are encoded and when they are."""

from fakes.fake_llama import FakeLlama, Office, question

from mlm.engine.image import Image, stand_ins
from mlm.engine.messages import Failed, Finished

N_BEFORE = 10  # tokens of text before the picture


def picture(name: str = "cat", n_tokens: int = 40, *, is_causal: bool = True) -> Image:
    return Image(stand_ins(name.encode(), n_tokens), n_tokens, is_causal, name)


def show(office: Office, number: int, image: Image, says: str = "ab", **more) -> None:
    """Submit a request: ten tokens, a picture, and a question of its own."""
    prompt = [*range(1000, 1000 + N_BEFORE), *image.tokens, *question(number)]
    office.submit(number, prompt, says, images={N_BEFORE: image}, **more)


def encode(image: Image) -> None:
    image.embeddings = "rows"


def image_parts(office: Office) -> list[int]:
    """Return how many tokens each batch with a picture had."""
    parts = [batch[0] for batch in office.llama.batches]
    return [len(part.tokens) for part in parts if part.image is not None]


def test_who_waits_for_a_picture_keeps_nobody_waiting():
    office, image = Office(), picture()
    show(office, 1, image)
    office.submit(2, question(2), "hello")
    office.run()
    assert (office.text(1), office.text(2)) == ("", "hello")
    assert office.asked == [image]
    assert office.scheduler.is_idle and office.scheduler.n_active == 1
    encode(image)
    assert not office.scheduler.is_idle
    office.run()
    assert office.text(1) == "ab"
    assert image.embeddings is None, "they are not kept: the KV cache has them"


def test_while_nothing_can_be_done_newcomers_still_get_a_place():
    office = Office(FakeLlama(n_slots=1))
    show(office, 1, picture())
    office.run()
    office.submit(2, question(2), "x")
    assert office.scheduler.is_idle, "there is one place, and who has it waits"
    office = Office(FakeLlama(n_slots=2))
    show(office, 1, picture())
    office.run()
    office.submit(2, question(2), "x")
    assert not office.scheduler.is_idle


def test_a_large_picture_enters_bit_by_bit():
    office, image = Office(FakeLlama(n_ubatch=256)), picture(n_tokens=600)
    show(office, 1, image)
    office.run()
    encode(image)
    office.run()
    assert image_parts(office) == [256, 256, 88]
    assert office.text(1) == "ab"


def test_running_answers_flow_on_while_one_enters():
    office, image = Office(), picture(n_tokens=600)
    office.submit(1, 30, "x" * 300)
    for _ in range(10):
        office.scheduler.step()
    show(office, 2, image)
    office.scheduler.step()
    encode(image)
    office.run()
    assert max(image_parts(office)) < 256
    assert max(office.gaps(1)) < 1.5


def test_what_sees_all_of_itself_enters_in_one_go():
    office, image = Office(), picture(n_tokens=300, is_causal=False)
    office.submit(1, 30, "x" * 100)
    show(office, 2, image)
    office.scheduler.step()
    encode(image)
    office.run()
    assert image_parts(office) == [300]


def test_one_that_cannot_be_encoded_fails_alone():
    office, image = Office(), picture()
    show(office, 1, image)
    office.submit(2, question(2), "hello")
    office.run()
    image.failure = "llama.cpp cannot encode this picture"
    assert not office.scheduler.is_idle
    office.run()
    ending = office.ending(1)
    assert isinstance(ending, Failed) and ending.message == image.failure
    assert isinstance(office.ending(2), Finished)
    assert office.scheduler.n_active == 0


def test_one_who_leaves_before_the_picture_is_encoded_leaves_nothing():
    office, image = Office(), picture()
    show(office, 1, image)
    office.run()
    office.scheduler.cancel(1)
    assert office.ending(1).reason == "cancelled"
    assert not image.is_asked_for
    encode(image)
    office.run()
    assert image_parts(office) == []


def test_one_who_leaves_in_the_middle_of_a_picture_leaves_what_was_before_it():
    office, image = Office(), picture(n_tokens=600)
    show(office, 1, image)
    office.run()
    encode(image)
    office.scheduler.step()
    office.scheduler.cancel(1)
    later = picture(n_tokens=600)
    show(office, 2, later)
    office.scheduler.step()
    encode(later)
    office.run()
    assert office.text(2) == "ab"
    assert office.ending(2).cached_tokens == N_BEFORE


def test_a_picture_that_somebody_has_read_is_not_encoded_again():
    office, first, second = Office(), picture(), picture()
    show(office, 1, first)
    show(office, 2, second)
    office.run()
    assert office.asked == [first], "the other waits for what both begin with"
    encode(first)
    office.run()
    assert (office.text(1), office.text(2)) == ("ab", "ab")
    third = picture()
    show(office, 3, third)
    office.run()
    assert office.asked == [first] and office.text(3) == "ab"


def test_even_a_small_picture_is_worth_waiting_for():
    office, pictures = Office(), [picture(n_tokens=4) for _ in range(4)]
    for number, image in enumerate(pictures):
        show(office, number, image)
    office.run()
    assert office.asked == pictures[:1]


def test_another_picture_is_another_prompt():
    assert not set(stand_ins(b"cat", 100)) & set(stand_ins(b"dog", 100))
    assert max(stand_ins(b"cat", 100)) < 0
    assert stand_ins(b"cat", 5) == stand_ins(b"cat", 100)[:5]


def test_after_a_failed_step_it_is_read_again():
    office, image = Office(FakeLlama(codes=[0, 0, -3])), picture(n_tokens=600)
    show(office, 1, image)
    office.run()
    encode(image)
    office.run()
    ending = office.ending(1)
    assert isinstance(ending, Failed) and ending.code == "engine_error"
    again = picture(n_tokens=600)
    show(office, 2, again)
    office.scheduler.step()
    encode(again)
    office.run()
    assert office.text(2) == "ab"


def test_a_deterministic_request_reads_its_picture_in_equal_pieces():
    office, image = Office(), picture(n_tokens=150)
    show(office, 1, image, deterministic=True)
    office.run()
    encode(image)
    office.run()
    assert image_parts(office) == [64, 64, 22]
    assert office.text(1) == "ab"


def test_two_pictures_are_encoded_one_after_the_other():
    office, cat, dog = Office(), picture("cat"), picture("dog")
    prompt = [*question(1), *cat.tokens, *question(2), *dog.tokens, *question(3)]
    images = {12: cat, 12 + 40 + 12: dog}
    office.submit(1, prompt, "ab", images=images)
    office.run()
    assert office.asked == [cat]
    encode(cat)
    office.run()
    assert office.asked == [cat, dog]
    encode(dog)
    office.run()
    assert office.text(1) == "ab"
