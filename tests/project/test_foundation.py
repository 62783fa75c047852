"""The leaf modules: errors, registry, configuration."""

import pytest
from pydantic import Field

from batchbrew.config import Config, parse_yaml
from batchbrew.errors import UserError
from batchbrew.registry import Registry


class Inner(Config):
    width: int = 1


class Outer(Config):
    name: str
    size: float = 1.0
    inner: Inner = Inner()
    many: list[Inner] = Field(default_factory=list)


def test_a_registry_refuses_a_name_twice() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.register("a")(1)
    with pytest.raises(ValueError, match="shape 'a' is registered twice"):
        shapes.register("a")(2)


def test_an_error_is_one_line() -> None:
    assert str(UserError("one\n  two")) == "one two"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: x\nsise: 2\n",
            "f.yaml:2:1: unknown key 'sise' - did you mean 'size'? (known: inner, many, name, size)",
        ),
        ("size: 2\n", "f.yaml:1:1: key 'name' is missing"),
        (
            "name: x\ninner:\n  widht: 3\n",
            "f.yaml:3:3: unknown key 'inner.widht' - did you mean 'width'? (known: width)",
        ),
        ("name: x\nmany:\n- width: 1\n- width: no\n", "f.yaml:4:3: many.1.width: input should be a valid integer"),
        ("name: x\nsize: '3'\n", "f.yaml:2:1: size: input should be a valid number (found '3')"),
        ("name: x\nname: y\n", "f.yaml:2:1: key 'name' is given twice"),
        ("name: [x\n", "f.yaml:2:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("- a\n", "f.yaml:1:1: expected 'key: value' lines, found list"),
        ("", "f.yaml:1:1: expected 'key: value' lines, found NoneType"),
    ],
)
def test_configuration_errors_name_place_and_remedy(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, Outer, "f.yaml")
    assert str(caught.value).startswith(message)


def test_configuration_is_read_and_frozen() -> None:
    outer = parse_yaml("name: x\nsize: 3\n", Outer, "f.yaml")
    assert outer.size == 3.0
    with pytest.raises(ValueError, match="frozen"):
        outer.size = 4.0
