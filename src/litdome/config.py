"""Settings from TOML files and ``--set``: defaults < litdome.toml beside the session < ``-c`` < ``--set``."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from litdome.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Table = dict[str, Any]
LARGEST_BYTES = 1_000_000


def read_toml(path: Path) -> Table:
    """Parse a TOML file.

    Raises:
        ConfigError: Missing, unreadable, over 1 MB, or not TOML; names the line.
    """
    try:
        size = path.stat().st_size
        parsed = tomllib.loads(path.read_text(encoding="utf-8-sig")) if size <= LARGEST_BYTES else None
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file", hint="check the path") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="check its permissions") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: its values are nested too deeply", hint="tables look like [align]") from error
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise ConfigError(
            f"{path}: not valid TOML: {error}", hint="strings need quotes; tables look like [align]"
        ) from error
    if parsed is None:
        raise ConfigError(f"{path}: {size:,} bytes, at most {LARGEST_BYTES:,}", hint="is this the right file?")
    return parsed


def parse_assignment(text: str) -> Table:
    """``align.max_shift_px=4`` as a nested table; the value is TOML, or a plain string where it is not."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected KEY=VALUE", hint="--set align.max_shift_px=4")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Table:
    """``over`` laid upon ``base``, table by table; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def load_tables(files: Iterable[Path], assignments: Sequence[str] = ()) -> Table:
    """All settings as nested tables: ``files`` in rising precedence, then ``--set`` assignments."""
    tables: Table = {}
    for path in files:
        tables = merge(tables, read_toml(path))
    for text in assignments:
        tables = merge(tables, parse_assignment(text))
    return tables


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean X?' for a mistyped name, or the list of what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"


def check_tables(tables: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a table that belongs to nothing.

    Raises:
        ConfigError: Unknown name; the hint gives the nearest.
    """
    names = set(known)
    for name in tables:
        if name not in names:
            raise ConfigError(f"[{name}]: no such table", hint=nearest(name, names))


def build_config(model: type[Model], name: str, tables: Mapping[str, Any]) -> Model:
    """The settings of one stage or plugin from its table.

    Raises:
        ConfigError: Unknown key (with the nearest name) or a value out of bounds (with what is allowed).
    """
    try:
        return model.model_validate(tables.get(name, {}))
    except ValidationError as error:
        raise _config_error(model, name, error) from error


def _config_error(model: type[BaseModel], name: str, error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    where = ".".join([name, *map(str, first["loc"])])
    if first["type"] == "extra_forbidden":
        owner: Any = model
        for part in first["loc"][:-1]:
            owner = owner.model_fields[part].annotation
        return ConfigError(f"{where}: unknown key", hint=nearest(str(first["loc"][-1]), owner.model_fields))
    return ConfigError(f"{where} = {first['input']!r}: {first['msg'].lower()}", hint=f"litdome config show {name}")


def describe_config(name: str, model: type[BaseModel]) -> str:
    """The table ``name`` with its defaults, each key under a comment that says what it means."""
    import tomli_w

    lines = [f"[{name}]"]
    for key, field in model.model_fields.items():
        lines.append(f"# {field.description}")
        default = model.model_construct().model_dump(mode="json")[key] if not field.is_required() else None
        if default == {}:  # in one line: a table of its own would swallow the keys after it
            lines.append(f"{key} = {{}}")
            continue
        lines.append(f"# {key} = (no default)" if default is None else tomli_w.dumps({key: default}).strip())
    return "\n".join(lines) + "\n"
