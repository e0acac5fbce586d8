"""What must hold before any row: each language's programs are there."""

import pytest

import languages


@pytest.mark.parametrize("language", languages.chosen(), ids=lambda language: language.name)
def test_builds(language):
    language.build()
