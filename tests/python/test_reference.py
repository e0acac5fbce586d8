"""The pages of `clients/docs` that are generated say what the contract and the plugins
say now, and the links of all pages lead somewhere."""

import re

import jsonschema_rs
import pytest

import reference
from reference import catalogue, contract
from reference.links import anchor

# What is in backticks, in a block or between two, is no link.
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("name", reference.pages())
def test_a_generated_page_is_what_would_be_generated_now(name):
    committed = (reference.FOLDER / name).read_text()
    assert committed == reference.pages()[name], f"{name} is stale: run clients/docs/generate"


def test_the_reference_has_all_that_the_contract_has():
    page = (reference.FOLDER / "api.md").read_text()
    for file in contract.descriptors(reference.ROOT):
        for service in file.service:
            for method in service.method:
                assert f"`metagov.v1.{service.name}/{method.name}`" in page
        for message in file.message_type:
            assert f"`{message.name}`" in page or f"### {message.name}\n" in page
            for field in message.field:
                assert f"`{field.name}` |" in page, f"{message.name}.{field.name}"
        for enum in file.enum_type:
            for value in enum.value[1:]:
                assert f"`{value.name}` |" in page


def test_exploring_shows_every_service_with_both_clients():
    page = (reference.FOLDER / "exploring.md").read_text()
    for file in contract.descriptors(reference.ROOT):
        for service in file.service:
            for client in ("call", "buf_call"):
                assert re.search(rf"(?<!\w){client} {service.name}/", page), (client, service.name)


@pytest.mark.parametrize("path", sorted(reference.FOLDER.glob("*.md")), ids=lambda path: path.name)
def test_every_link_of_a_page_leads_somewhere(path):
    text = path.read_text()
    for file, place in LINK.findall(CODE.sub("", text)):
        if file.startswith("https://"):
            continue
        target = path.parent / file if file else path
        assert target.exists(), f"{path.name}: {file} is not there"
        if place:
            assert place in places(target.read_text()), f"{path.name}: {file}#{place} is not there"


def test_every_heading_of_a_page_has_a_place_of_its_own():
    for name in reference.pages():
        found = places((reference.FOLDER / name).read_text())
        assert len(found) == len(set(found)), name


def places(text: str) -> list[str]:
    """What a link into a page may name."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return [*map(anchor, headings), *re.findall(r'<a id="([^"]+)">', text)]


def parts() -> list:
    """Every schema of the catalogue with the example of it."""
    examples = catalogue.read_examples()
    return [
        pytest.param(schema, examples.get(name, {}).get(part), id=f"{name} {part}")
        for plugin in catalogue.read_golden(reference.ROOT)
        for name, part, schema in catalogue.inputs_and_outputs(plugin)
    ]


@pytest.mark.parametrize("schema, example", parts())
def test_an_example_fits_its_schema(schema, example):
    assert example is not None, "clients/docs/reference/examples.yaml has none"
    jsonschema_rs.validate(schema, example, validate_formats=True)


def test_no_example_is_of_something_that_is_gone():
    known = {
        (name, part)
        for plugin in catalogue.read_golden(reference.ROOT)
        for name, part, _ in catalogue.inputs_and_outputs(plugin)
    }
    for name, example in catalogue.read_examples().items():
        assert known.issuperset((name, part) for part in example), name
