"""The example driver of each language."""


def test_example(crowd):
    """The example driver prints a lucky number and what was decided, also a second time"""

    def drive(client):
        # In a community of its own, and in one where all that it creates is there.
        new, old = client.example(f"example-{client.name}"), client.example("garden")
        decides(new.text())
        decides(old.text())

    crowd.each(drive)


def decides(text):
    number, decided = text.splitlines()
    assert number in {f"lucky number: {lucky}" for lucky in range(1, 7)}
    assert decided == "decided: soup"
