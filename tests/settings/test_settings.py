"""Settings: written values are used, and an error names what is wrong."""

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import SettingsError
from detectors.features import Kind
from stream.settings import settings as config
from stream.settings.layers import Secret

EXAMPLE = """
kafka: {bootstrap_servers: "127.0.0.1:9092", group_id: driftline, security_protocol: PLAINTEXT}
topics: {events: [inference-events], labels: [inference-labels]}
http: {host: 127.0.0.1, port: 9108}
false_alarms_per_model_per_month: 1
checkpoint_interval_seconds: 30
models:
  fraud:
    reference: reference.json
    segment_by: country
    features: {amount: {kind: numeric}, merchant: {kind: categorical}}
    ignore: [customer_id]
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None, **flags: Any) -> config.Settings:
    return config.load(write(tmp_path / "driftline.yaml", text), environ or {}, flags)


def test_everything_has_a_default() -> None:
    assert config.load(None, {}) == config.Settings()


def test_the_documented_example_means_what_it_says(tmp_path: Path) -> None:
    settings = load(tmp_path, EXAMPLE)
    fraud = settings.model("fraud")
    assert (fraud.reference, fraud.segment_by, fraud.ignore) == ("reference.json", "country", ("customer_id",))
    assert fraud.features["amount"].kind is Kind.NUMERIC
    assert msgspec.structs.replace(settings, models={}) == config.Settings()


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    environ = {"DRIFTLINE_HTTP__PORT": "2", "DRIFTLINE_HTTP__HOST": "b"}
    settings = load(tmp_path, "http: {port: 1, host: a, max_request_bytes: 2048}", environ, **{"http.port": 3})
    assert (settings.http.port, settings.http.host, settings.http.max_request_bytes) == (3, "b", 2048)


def test_a_flag_that_is_not_given_changes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "http: {port: 1}", **{"http.port": None}).http.port == 1


def test_a_list_in_the_environment_is_separated_by_commas() -> None:
    settings = config.load(None, {"DRIFTLINE_TOPICS__EVENTS": "a, b"})
    assert settings.topics.event_names == ("a", "b")


def test_a_model_in_the_environment_is_the_one_of_the_file_whatever_its_case(tmp_path: Path) -> None:
    settings = load(tmp_path, "models: {Fraud: {ignore: [a]}}", {"DRIFTLINE_MODELS__FRAUD__SEGMENT_BY": "country"})
    assert settings.models == {"Fraud": config.ModelSettings(segment_by="country", ignore=("a",))}


@pytest.mark.parametrize(
    "name",
    [
        "DRIFTLINE_PORT",
        "DRIFTLINE_SERVICE_HOST",
        "DRIFTLINE_SERVICE_PORT_HTTP",
        "DRIFTLINE_WORKER_PORT_9108_TCP_ADDR",
        "DRIFTLINE_TEST_KAFKA",
    ],
)
def test_variables_that_kubernetes_and_the_tests_set_are_no_settings(name: str) -> None:
    assert config.load(None, {name: "tcp://10.0.0.1:9108"}) == config.Settings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http: {prt: 1}", "http.prt: no such key; did you mean http.port?"),
        ("htp: {port: 1}", "htp: no such key; did you mean http?"),
        ("bootstrap_servers: a:1", "did you mean kafka.bootstrap_servers?"),
        ("models: {fraud: {segment: c}}", "models.fraud.segment: no such key; did you mean models.fraud.segment_by?"),
        ("http: {port: abc}", "http.port 'abc': expected `int`"),
        ("http: {port: 65536}", "http.port 65536: expected `int` <= 65535"),
        ("checkpoint_interval_seconds: 0", "checkpoint_interval_seconds 0: expected `float` >= 0.1"),
        ("models: {a: {}, b: {features: {x: {kind: nmeric}}}}", "models.b.features.x.kind 'nmeric'"),
        ("models: {a: {}, b: {ignore: 5}}", "models.b.ignore 5: expected `array`"),
        ("topics: {events: [drift-events]}", "'drift-events' is used for two purposes"),
        ("topics: {events: ['a b']}", "topics.events"),
        ("kafka: {security_protocol: SASL_SSL}", "PLAIN needs sasl_username and sasl_password"),
        ("http: {port: 1, port: 2}", "line 1: key 'port' is given twice"),
        ("http: [", "is not valid YAML: line 1"),
        ("- a", "must hold keys and values"),
        ("models: {3: {}}", "models.3: a key must be text"),
        ("http: 5", "http 5"),
        ("models: {no: {}}", "a key must be text"),
    ],
)
def test_what_is_wrong_is_named_with_file_key_and_value(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "driftline.yaml"))
    assert "\n" not in str(caught.value)


def test_a_wrong_variable_is_named_as_a_variable() -> None:
    with pytest.raises(SettingsError, match=r"^environment variable DRIFTLINE_HTTP__PORT: http\.port 'x'"):
        config.load(None, {"DRIFTLINE_HTTP__PORT": "x"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml: cannot be read: No such file"):
        config.load(tmp_path / "absent.yaml", {})


def test_an_empty_file_and_empty_tables_mean_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == config.Settings()
    assert load(tmp_path, "http:\nmodels:\n  fraud:\n").models == {"fraud": config.ModelSettings()}


def test_a_key_that_is_no_text_is_a_settings_error(tmp_path: Path) -> None:
    """Found by the guided fuzzer."""
    with pytest.raises(SettingsError, match="a key must be a text"):
        load(tmp_path, "models:\n  ? {ignore: [id]}\n  : x\n")


@pytest.mark.parametrize("where", ["file", "environment"])
def test_a_secret_can_lie_in_a_file_of_its_own(tmp_path: Path, where: str) -> None:
    secret = write(tmp_path / "token", "hunter2\n")
    if where == "file":
        settings = load(tmp_path, f"http: {{token_file: {secret}}}")
    else:
        settings = config.load(None, {"DRIFTLINE_HTTP__TOKEN_FILE": str(secret)})
    assert settings.http.token is not None
    assert settings.http.token.reveal() == "hunter2"


def test_no_form_of_the_settings_shows_a_secret(tmp_path: Path) -> None:
    text = "kafka: {security_protocol: SASL_SSL, sasl_username: u, sasl_password: hunter2}\nhttp: {token: hunter2}"
    settings = load(tmp_path, text)
    shown = config.masked(settings)
    assert shown["kafka"]["sasl_password"] == "****"
    assert "hunter2" not in repr(settings) + str(settings) + repr(shown)


def test_an_error_about_a_secret_does_not_show_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, "http: {token: [hunter2]}")
    assert "hunter2" not in str(caught.value)


def test_a_masked_dump_of_what_has_no_secret_reads_back_as_the_same(tmp_path: Path) -> None:
    settings = load(tmp_path, EXAMPLE)
    assert load(tmp_path, yaml.safe_dump(config.masked(settings))) == settings


def test_a_model_inherits_what_it_leaves_open(tmp_path: Path) -> None:
    settings = load(tmp_path, "false_alarms_per_model_per_month: 2\nmodels: {a: {learning_events: 500}}")
    assert settings.model("a").learning_events == 500
    assert settings.model("a").false_alarms_per_model_per_month == 2
    assert settings.model("unknown").learning_events == settings.learning_events


def test_secrets_compare_by_their_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert hash(Secret("a")) == hash(Secret("a"))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
known = st.sampled_from(["kafka", "http", "port", "models", "topics", "events", "token", "token_file", "features"])


@given(st.dictionaries(known | st.text(max_size=8), trees | st.dictionaries(known, trees, max_size=3), max_size=3))
def test_any_file_is_settings_or_a_settings_error(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    try:
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
    except UnicodeEncodeError:
        return
    with contextlib.suppress(SettingsError):
        assert isinstance(config.load(path, {}), config.Settings)
