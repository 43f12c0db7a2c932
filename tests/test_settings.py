"""Settings: precedence, what is said about a wrong one, and that the sample file tells of every one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.settings import SettingsError, documented, load

SAMPLE = Path(__file__).parents[1] / "config" / "gateway.toml"


def test_defaults_are_enough() -> None:
    settings = load({}, None)
    assert settings.server.port == 8080
    assert list(settings.providers) == ["openai", "anthropic", "gemini", "deepseek", "azure_openai"]
    assert settings.database_url.startswith("sqlite:////")


def test_the_sample_loads_and_changes_nothing() -> None:
    assert load({}, str(SAMPLE)) == load({}, None)


def test_the_sample_tells_of_every_setting() -> None:
    text = SAMPLE.read_text()
    for name, sentence, _ in documented():
        field = name.rsplit(".", 1)[1]
        assert re.search(rf"^# {field} = ", text, re.MULTILINE), f"{name} is not in {SAMPLE.name}"
        assert sentence.endswith("."), f"{name} has no sentence"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[server]\nport = 1\nhost = "0.0.0.0"\n[providers.groq]\nbase_url = "http://g/v1"\n')
    settings = load({"TOLLGATE_SERVER__PORT": "2"}, str(file))
    assert (settings.server.port, settings.server.host) == (2, "0.0.0.0")
    assert next(iter(settings.providers)) == "groq"


def test_credentials_fall_back_to_the_sdks_variables() -> None:
    environ = {
        "OPENAI_API_KEY": "theirs",
        "TOLLGATE_PROVIDERS__DEEPSEEK__CREDENTIAL": "ours",
        "DEEPSEEK_API_KEY": "x",
    }
    providers = load(environ, None).providers
    assert providers["openai"].credential == "theirs"
    assert providers["deepseek"].credential == "ours"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"TOLLGATE_SERVER__PORT": "http"}, "server.port = 'http' (from TOLLGATE_SERVER__PORT)"),
        ({"TOLLGATE_SERVER__PROT": "1"}, "server.prot (from TOLLGATE_SERVER__PROT) is no setting"),
        ({"TOLLGATE_SEVER__PORT": "1"}, "sever (from TOLLGATE_SEVER__PORT) is no section"),
        ({"TOLLGATE_PORT": "1"}, "TOLLGATE_PORT is no setting"),
        ({"TOLLGATE_PRICES__UNPRICED": "free"}, "'refuse'"),
        ({"TOLLGATE_ADMIN_KEY": "short"}, "shorter than 16"),
    ],
)
def test_a_wrong_setting_is_named_with_its_origin(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(environ, None)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 1", "outside any section"),
        ("[server\n", "is not TOML"),
        ("[aliases]\nfast = 3\n", "aliases.fast"),
        ("[providers]\nopenai = 3\n", "is not a table"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        load({}, str(file))
    assert said in str(error.value)


def test_secrets_are_masked() -> None:
    with pytest.raises(SettingsError) as error:
        load(
            {
                "TOLLGATE_PROVIDERS__OPENAI__CREDENTIAL": "sk-secret",
                "TOLLGATE_PROVIDERS__OPENAI__IDLE_TIMEOUT_S": "-1",
            },
            None,
        )
    assert "sk-secret" not in str(error.value)
