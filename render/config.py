"""Hydra at the door: a config name and `key=value` arguments become a plain dictionary.

Commands import this module; `import render` does not, and nothing below a command sees a config object.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from physics.errors import InputError, require

MISSING = "???"


def config_directory() -> Path:
    """Where the config files lie: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def compose(
    config_name: str, argv: Sequence[str], path_keys: Collection[str] = (), directory: Path | None = None
) -> dict[str, Any]:
    """The config `config_name` with the overrides `argv` (`key=value`, `group=choice`) as a plain dictionary.

    The value of a key in `path_keys` (dotted: "scene.file") is taken as it stands, before Hydra's grammar sees
    it, so that any legal path works; a leading `~` is the home folder. A mapping given as a value replaces the
    one in the config instead of being merged into it. Of two arguments about one key, or about a mapping and a key
    in it, the later one decides; choices of groups come before all else.

    Raises InputError, in one line, for an argument that cannot be read, an unknown key or choice, and a key
    that must be given and was not.
    """
    directory = directory or config_directory()
    raw, overrides = _split(argv, path_keys)
    parsed = [_parse(_in_our_case(text, directory)) for text in overrides]
    for override in parsed:
        choice, group = override.value(), directory / override.key_or_group
        named = all(isinstance(c, str) for c in choice) if isinstance(choice, list) else isinstance(choice, str | dict)
        require(not group.is_dir() or named, override.key_or_group,
                f"be one of {', '.join(_choices(directory, override.key_or_group))}",
                "null" if choice is None else choice)  # fmt: skip
    kept, afterwards = _in_two_turns(parsed, directory)
    try:
        with initialize_config_dir(str(directory), version_base="1.3"):
            config = hydra_compose(config_name, [p.input_line for p in kept])
        for override, mapping in afterwards:
            key = override.key_or_group
            there = override.is_add() or mapping is None or OmegaConf.select(config, key, default=MISSING) != MISSING
            require(there, key, f"be a key of the {mapping} given before it", "another one", f"write it into {mapping}={{…}}")
            # Updating by a dotted key keeps the struct flag: a key that is not in the config raises.
            OmegaConf.update(config, key, override.value(), merge=False, force_add=override.is_add())
        values = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_one_line(error, config_name, directory)) from None
    for key, path in raw:
        _put(values, key, path, config_name)
    missing = sorted(key for key, value in _leaves(values) if value == MISSING)
    if missing:
        raise InputError(f"{missing[0]} must be given, got nothing; write {missing[0]}=…")
    return values


def describe(config_name: str, directory: Path | None = None) -> str:
    """What a person can set: the groups with their choices, then the config itself as it stands in its file."""
    directory = directory or config_directory()
    text = (directory / f"{config_name}.yaml").read_text(encoding="utf-8")
    defaults = OmegaConf.to_container(OmegaConf.create(text)).get("defaults", [])
    groups = [group for entry in defaults if isinstance(entry, dict) for group in entry]
    lines = ["groups (group=choice):"]
    lines += [f"  {group}: {', '.join(_choices(directory, group))}" for group in groups]
    lines += ["", f"keys (key=value) and their defaults, from {config_name}.yaml:"]
    body = re.sub(r"(?ms)^defaults:.*?(?=^\S)", "", text)
    return "\n".join(lines + [f"  {line}".rstrip() for line in body.strip().splitlines()])


def _split(argv: Sequence[str], path_keys: Collection[str]) -> tuple[list[tuple[str, str]], list[str]]:
    raw, overrides = [], []
    for argument in argv:
        key, equals, value = argument.partition("=")
        require(bool(equals) and bool(key), "an argument", "look like key=value", repr(argument))
        if key in path_keys:
            require(bool(value), key, "be a path", "nothing")
            raw.append((key, str(Path(value).expanduser()) if value.startswith("~") else value))
        else:
            overrides.append(argument)
    return raw, overrides


def _parse(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"an argument must look like key=value, got {text!r}: {reason}") from None
    if override.key_or_group.split(".")[0] == "hydra":
        raise InputError(f"{override.key_or_group} must be a key of this project, got one of Hydra's own")
    require(not override.is_sweep_override(), override.key_or_group, "be one value", override.get_value_string(),
            "write a list as [a,b]")  # fmt: skip
    return override


def _in_two_turns(parsed: Sequence[Override], directory: Path) -> tuple[list[Override], list[tuple[Override, str | None]]]:
    """What Hydra sets, and what replaces whole values after it: mappings, and what later arguments say about the same.

    Beside each of these stands the key of the mapping that it sets a part of, None where it sets no part of one.
    """
    kept: list[Override] = []
    afterwards: list[tuple[Override, str | None]] = []
    for override in parsed:
        key = override.key_or_group
        if (directory / key).is_dir():
            kept.append(override)
            continue
        given = [before.key_or_group for before, _ in afterwards]
        within = next((m for m in reversed(given) if key.startswith(f"{m}.")), None)
        again = within is not None or any(m == key or m.startswith(f"{key}.") for m in given)
        require(not (again and override.is_delete()), key, "be either given or taken out", override.input_line)
        if again or (isinstance(override.value(), dict) and not override.is_delete()):
            afterwards.append((override, within))
        else:
            kept.append(override)
    return kept, afterwards


def _put(values: dict[str, Any], key: str, value: str, config_name: str) -> None:
    *parents, last = key.split(".")
    branch = values
    for parent in parents:
        branch = branch.get(parent) if isinstance(branch, dict) else None
    if not isinstance(branch, dict) or last not in branch:
        raise InputError(_unknown(key, config_name, [k for k, _ in _leaves(values)]))
    branch[last] = value


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _in_our_case(text: str, directory: Path) -> str:
    """`material=Cu` as `material=cu`: an argument whose choice of a group differs from a known one in case alone."""
    group, equals, choice = text.partition("=")
    known = _choices(directory, group) if equals and (directory / group).is_dir() else []
    return f"{group}={choice.lower()}" if choice not in known and choice.lower() in known else text


def _choices(directory: Path, group: str) -> list[str]:
    return sorted(p.stem for p in (directory / group).glob("*.yaml"))


def _unknown(key: str, config_name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else "; --help lists the keys"
    return f"{key} must be a key of this {config_name} configuration, got an unknown key{hint}"


def _one_line(error: Exception, config_name: str, directory: Path) -> str:
    text = str(error)
    if isinstance(error, MissingConfigException):
        found = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
        if found:
            group, choice = found.groups()
            return f"{group} must be one of {', '.join(_choices(directory, group)) or 'nothing'}, got {choice}"
        found = re.search(r"Could not override '([^'@]+)", text) or re.search(r"Could not find '([^']+)'", text)
        if found:
            return _unknown(found.group(1), config_name, _keys(config_name, directory))
    while error is not None and not isinstance(error, OmegaConfBaseException) and error.__cause__ is not None:
        error = error.__cause__
    found = re.search(r"Could not override '([^'@]+)", text) or re.search(r"full_key: (\S+)", str(error))
    if found and ("not in struct" in str(error) or "not in struct" in text or "Could not override" in text):
        return _unknown(found.group(1), config_name, _keys(config_name, directory))
    first = [line.strip() for line in text.splitlines() if line.strip()]
    return f"the {config_name} configuration must be readable, got: {first[0] if first else type(error).__name__}"


def _keys(config_name: str, directory: Path) -> list[str]:
    try:
        with initialize_config_dir(str(directory), version_base="1.3"):
            config = hydra_compose(config_name)
        known = [key for key, _ in _leaves(OmegaConf.to_container(config, resolve=False))]
    except (HydraException, OmegaConfBaseException):
        known = []
    return known + [p.name for p in directory.iterdir() if p.is_dir()]
