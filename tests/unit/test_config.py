"""Settings: order of sources, origins, errors with the nearest name, pages (OPS-10)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from leasehold.config import ConfigError, Loaded, Settings, load
from leasehold.config.load import default_config_file
from leasehold.config.pages import example, flat, rows, schema
from leasehold.config.settings import FIXED
from leasehold.model.priority import Priority
from leasehold.model.quiet import PRESETS


def loaded(folder: Path, toml: str = "", flags: dict[str, Any] | None = None, **env: str) -> Loaded:
    """Settings from a file in `folder`, variables and flags."""
    file = folder / "config.toml"
    file.write_text(toml)
    return load(flags or {}, {"HOME": str(folder), "LEASEHOLD_CONFIG": str(file), **env})


@pytest.mark.requirement("OPS-10")
def test_a_flag_goes_before_a_variable_before_the_file_before_the_default(tmp_path: Path) -> None:
    """The same setting from four sources, one taken away after the other; each says where it came from."""
    file = str(tmp_path / "config.toml")
    sources = {"toml": "port = 1", "LEASEHOLD_PORT": "2", "flags": {"port": 3}}
    found = loaded(tmp_path, **sources)
    assert (found.settings.port, found.origin("port")) == (3, "flag")
    del sources["flags"]
    found = loaded(tmp_path, **sources)
    assert (found.settings.port, found.origin("port")) == (2, "LEASEHOLD_PORT")
    del sources["LEASEHOLD_PORT"]
    found = loaded(tmp_path, **sources)
    assert (found.settings.port, found.origin("port")) == (1, file)
    found = loaded(tmp_path)
    assert (found.settings.port, found.origin("port")) == (7117, "default")


@pytest.mark.requirement("OPS-10")
def test_a_part_is_merged_over_the_defaults(tmp_path: Path) -> None:
    """One endpoint of one input, one class, one logger: the rest stays as it was."""
    found = loaded(
        tmp_path,
        '[quiet.inputs.psi_cpu]\none = 70\n[log.levels]\n"leasehold.api" = "debug"\n'
        '[line]\nstrict = ["urgent", "High"]\n[capacity.class_units]\nLOW = 5\n',
        LEASEHOLD_CAPACITY__HEADROOM_PCT="7",
        LEASEHOLD_CAPACITY__CURVE="[[0, 0], [100, 5000]]",
    ).settings
    assert (found.quiet.inputs["psi_cpu"].zero, found.quiet.inputs["psi_cpu"].one) == (10, 70)
    assert found.quiet.inputs["psi_io"] == PRESETS["server"].inputs["psi_io"]
    assert found.log.levels == {"leasehold.api": "debug"}
    assert found.line.strict == (Priority.URGENT, Priority.HIGH)
    assert found.capacity.class_units == {"LOW": 5, "NORMAL": 30, "HIGH": 60}
    assert (found.capacity.headroom_pct, found.capacity.curve) == (7, ((0, 0), (100, 5000)))


@pytest.mark.requirement("OPS-10")
@pytest.mark.parametrize(
    ("toml", "env", "sentence"),
    [
        ("prot = 1", {}, "config.toml: unknown setting prot; did you mean port?"),
        ("[capacity]\nheadrom_pct = 1", {}, "did you mean capacity.headroom_pct?"),
        (
            "",
            {"LEASEHOLD_PRESETS": "server"},
            "LEASEHOLD_PRESETS: unknown setting presets; did you mean preset?",
        ),
        ("[quiet.inputs.psi_cpus]\none = 1", {}, "did you mean quiet.inputs.psi_cpu?"),
        ('port = "x"', {}, "config.toml: port: expected int"),
        ("port = 70000", {}, "port: expected int <= 65535"),
        ('preset = "quiet"', {}, "preset: expected one of auto, desktop, server, always"),
        ("", {"LEASEHOLD_LOG__LEVEL": "loud"}, "LEASEHOLD_LOG__LEVEL: log.level: expected one of debug"),
        ("", {"LEASEHOLD_LOG__LEVELS": "x=y"}, "LEASEHOLD_LOG__LEVELS: expected JSON"),
        ("[quiet]\nquiet_from = 10", {}, "quiet.busy_from, normal_from, quiet_from: expected"),
        ('[quiet]\npreset = "always"', {}, "set `preset`, not quiet.preset"),
        ("[capacity]\nheadroom_pct = 100", {}, "capacity.headroom_pct: expected 0 to 99, got 100"),
        ("[capacity]\ncurve = [[0, 0], [50, 10]]", {}, "capacity.curve: expected"),
        ("[capacity]\ncurve = [[0, 9], [100, 1]]", {}, "capacity.curve: expected"),
        ('[line]\nstrict = ["soon"]', {}, "line.strict: expected one of URGENT"),
        ("[history]\nsample_sec = 7", {}, "history.sample_sec: expected 5, 6, 10"),
        ("[history]\nminute_days = 3", {}, "history.minute_days: expected 7 to 3660, got 3"),
        ("[forecast]\nquiet_from_pct = 20", {}, "forecast.quiet_from_pct: expected 50 to 100"),
        ("[line.holder_weights]\nann = 0", {}, "line.holder_weights.ann: expected 1 to 1000"),
        ("x =", {}, "config.toml: not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_the_key_and_the_cure(
    tmp_path: Path, toml: str, env: dict[str, str], sentence: str
) -> None:
    """Each error names its source, the key, and what was expected or is nearest."""
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, toml, **env)
    assert sentence in str(error.value)


@pytest.mark.requirement("OPS-10")
def test_variables_of_clients_are_no_settings(tmp_path: Path) -> None:
    """What `leasehold run` exports, and where clients look, does not keep a server from starting."""
    found = loaded(
        tmp_path,
        LEASEHOLD_LEASE="lease-1:2",
        LEASEHOLD_RUN="job-1.1",
        LEASEHOLD_URL="http://x",
        LEASEHOLD="off",
    )
    assert found.settings == loaded(tmp_path).settings


def test_the_folders_are_those_of_the_desktop_standard(tmp_path: Path) -> None:
    """Data and configuration are looked for in the XDG folders; relative ones are ignored as it demands."""
    assert load({}, {"HOME": "/h"}).settings.data == "/h/.local/share/leasehold"
    assert load({}, {"HOME": "/h", "XDG_DATA_HOME": "/d"}).settings.data == "/d/leasehold"
    assert load({}, {"HOME": "/h", "XDG_DATA_HOME": "d"}).settings.data == "/h/.local/share/leasehold"
    assert default_config_file({"HOME": "/h"}) == Path("/h/.config/leasehold/config.toml")
    with pytest.raises(ConfigError, match="there is no file"):
        load({}, {"LEASEHOLD_CONFIG": str(tmp_path / "gone.toml")})


@pytest.mark.requirement("OPS-10", "SENSE-13")
def test_a_preset_brings_its_defaults_and_auto_asks_the_machine(tmp_path: Path) -> None:
    """`desktop` has endpoints of its own, which a file may change; `auto` takes what is found, and why."""
    file = tmp_path / "config.toml"
    file.write_text("[quiet.inputs.psi_io]\none = 99\n")
    env = {"HOME": "/h", "LEASEHOLD_CONFIG": str(file)}
    found = load({}, env, lambda: ("desktop", "a battery"))
    assert (found.settings.quiet.preset, found.preset_reason) == ("desktop", "a battery")
    assert found.settings.quiet.inputs["psi_cpu"] == PRESETS["desktop"].inputs["psi_cpu"]
    assert found.settings.quiet.inputs["psi_io"].one == 99
    assert load({"preset": "always"}, env).settings.quiet.always


@pytest.mark.requirement("OPS-10")
def test_the_example_sets_nothing_and_shows_everything(tmp_path: Path) -> None:
    """As it is, the example changes no setting; with every line taken in, it sets each to its default."""
    assert loaded(tmp_path, example()).settings == loaded(tmp_path).settings
    taken_in = "\n".join(line.removeprefix("# ") for line in example().splitlines()[2:])
    found = loaded(tmp_path, taken_in).settings
    assert (found.port, found.quiet, found.policy) == (7117, Settings().quiet, Settings().policy)
    keys = {key for key, _ in flat(Settings())}
    assert {row.key for row in rows(loaded(tmp_path))} == keys
    assert set(FIXED) <= keys


@pytest.mark.requirement("OPS-10")
def test_the_schema_judges_as_the_program_does() -> None:
    """The published JSON Schema takes the defaults and refuses an unknown key and a wrong type."""
    validator = jsonschema_rs.Draft202012Validator(schema())
    assert validator.is_valid(tomllib.loads(example()))
    assert validator.is_valid({"port": 1, "capacity": {"headroom_pct": 3}})
    assert not validator.is_valid({"prot": 1})
    assert not validator.is_valid({"port": "x"})
