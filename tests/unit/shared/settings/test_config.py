import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from shared.errors import ConfigurationInvalid
from shared.jobs.durations import Duration
from shared.settings.config import AllocatedCapacity, Auth, Compute, Config, S3Managed
from shared.settings.keys import environment_name, settings, unsupported_keys, values
from shared.settings.loading import LoadedConfig, load
from shared.settings.publisher import is_configured, validate_publisher
from shared.settings.secret import Secret
from shared.settings.tls.declared import FilePath

DOCUMENTED_FILE = """\
Publishers:
  Types:
    S3Managed:
      Bucket: "my-result-bucket"
      Key: "bacalhau-managed-publisher"
      Region: "us-east-1"
      Endpoint: "https://custom-s3.example.com"
      PreSignedURLExpiration: "1h"
"""
DOCUMENTED_FLAGS = [
    "Publishers.Types.S3Managed.Bucket=my-result-bucket",
    "Publishers.Types.S3Managed.Key=bacalhau-managed-publisher",
    "Publishers.Types.S3Managed.Region=us-east-1",
    "Publishers.Types.S3Managed.Endpoint=https://custom-s3.example.com",
    "Publishers.Types.S3Managed.PreSignedURLExpiration=1h",
]
S3 = "Publishers.Types.S3Managed"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".tarpon").mkdir()
    return tmp_path


def loaded(home: Path, *sets: str, env: Mapping[str, str] | None = None) -> LoadedConfig:
    return load(sets=sets, env={"HOME": str(home), **(env or {})})


def config(home: Path, *sets: str, env: Mapping[str, str] | None = None) -> Config:
    return loaded(home, *sets, env=env).config


def problems(home: Path, *sets: str, env: Mapping[str, str] | None = None) -> Sequence[str]:
    with pytest.raises(ConfigurationInvalid) as caught:
        loaded(home, *sets, env=env)
    return caught.value.problems


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


class TestDeclaration:
    def test_every_setting_says_what_it_means(self) -> None:
        assert [setting.key for setting in settings() if not setting.description.endswith(".")] == []

    def test_only_the_join_secrets_and_users_with_their_keys_are_secret(self) -> None:
        assert [s.key for s in settings() if s.is_secret] == [
            "API.Auth.Users",
            "Orchestrator.Auth.Token",
            "Compute.Auth.Token",
        ]

    def test_the_defaults_are_those_of_the_documentation(self) -> None:
        defaults = {setting.key: setting.default for setting in settings()}
        assert defaults["API.Port"] == 1234
        assert defaults["Orchestrator.NodeManager.DisconnectTimeout"] == 60.0
        assert defaults[f"{S3}.PreSignedURLExpiration"] == 3600.0
        assert defaults["Compute.Orchestrators"] == ()
        assert defaults["JobDefaults.Batch.Task.Resources.CPU"] == "500m"

    def test_every_key_has_an_environment_name_of_its_own(self) -> None:
        keys = [setting.key for setting in settings()] + list(unsupported_keys())
        assert len({environment_name(key) for key in keys}) == len(keys)

    def test_a_setting_that_tarpon_has_is_not_among_the_unsupported_ones(self) -> None:
        assert {s.key.lower() for s in settings()} & {key.lower() for key in unsupported_keys()} == set()

    def test_values_are_plain_data_that_hides_secrets(self) -> None:
        shown = values(Config(compute=Compute(auth=Auth(token=Secret("hunter2"), token_file=FilePath("/t")))))
        assert shown["Compute.Auth.Token"] == "********"
        assert shown["Compute.Auth.TokenFile"] == "/t"
        assert shown["Orchestrator.Auth.Token"] == ""
        assert shown["Publishers.PublishTimeout"] == "2h0m0s"
        assert msgspec.json.decode(msgspec.json.encode(shown))["Compute.Orchestrators"] == []

    def test_no_form_of_a_secret_shows_it(self) -> None:
        secret = Secret("hunter2")
        forms = [
            repr(secret),
            str(secret),
            f"{secret}",
            repr(Config(compute=Compute(auth=Auth(token=secret)))),
        ]
        assert not [form for form in forms if "hunter2" in form]
        assert secret.reveal() == "hunter2"

    def test_secrets_compare_by_what_they_hold(self) -> None:
        assert Secret("a") == Secret("a")
        assert Secret("a") != Secret("b")
        assert len({Secret("a"), Secret("a")}) == 1
        assert not Secret()


class TestSources:
    def test_without_any_source_the_defaults_hold(self, home: Path) -> None:
        result = loaded(home)
        assert result.config == Config(data_dir=home / ".tarpon")
        assert set(result.origins.values()) == {"default"}
        assert result.warnings == ()

    def test_the_documented_file_and_the_documented_flags_mean_the_same(self, home: Path) -> None:
        file = written(home / "tarpon.yaml", DOCUMENTED_FILE)
        assert config(home, file) == config(home, *DOCUMENTED_FLAGS)
        assert config(home, file).publishers.types.s3managed == S3Managed(
            bucket="my-result-bucket",
            key="bacalhau-managed-publisher",
            region="us-east-1",
            endpoint="https://custom-s3.example.com",
            presigned_url_expiration=Duration(3600),
        )

    def test_the_documented_settings_can_come_from_the_environment(self, home: Path) -> None:
        pairs = (flag.split("=", 1) for flag in DOCUMENTED_FLAGS)
        env = {environment_name(key): value for key, value in pairs}
        assert "TARPON_PUBLISHERS_TYPES_S3MANAGED_BUCKET" in env
        assert config(home, env=env) == config(home, *DOCUMENTED_FLAGS)

    def test_a_flag_beats_the_environment_which_beats_the_later_file_which_beats_the_earlier(self, home: Path) -> None:
        first = written(home / "1.yaml", "API: {Port: 1, Host: one}\nLabels: {a: one}\nNameProvider: one\n")
        second = written(home / "2.yml", "API: {Port: 2, Host: two}\nLabels: {a: two}\n")
        env = {"TARPON_API_PORT": "3", "TARPON_API_HOST": "three"}
        result = loaded(home, "API.Port=4", first, second, "API.Port=5", env=env)
        assert (result.config.api.port, result.config.api.host) == (5, "three")
        assert (result.config.labels, result.config.name_provider) == ({"a": "two"}, "one")
        assert result.origins["API.Port"] == "-c"
        assert result.origins["API.Host"] == "environment TARPON_API_HOST"
        assert result.origins["Labels"] == f"file {second}"
        assert result.origins["NameProvider"] == f"file {first}"
        assert result.origins["Logging.Level"] == "default"

    def test_the_file_in_the_data_directory_is_read_if_no_other_is_named(self, home: Path) -> None:
        written(home / ".tarpon" / "config.yaml", "API: {Port: 7}\n")
        other = written(home / "other.yaml", "API: {Host: other}\n")
        assert config(home).api.port == 7
        assert config(home, other).api.port == 1234
        assert load(env={"HOME": str(home)}, default_file=False).config.api.port == 1234

    @pytest.mark.parametrize("how", ["-c", "TARPON_DIR", "TARPON_DATADIR"])
    def test_the_data_directory_decides_which_file_that_is(self, home: Path, how: str) -> None:
        (home / "data").mkdir()
        written(home / "data" / "config.yaml", "API: {Port: 8}\n")
        where = str(home / "data")
        result = loaded(home, f"datadir={where}") if how == "-c" else loaded(home, env={how: where})
        assert (result.config.api.port, result.config.data_dir) == (8, home / "data")

    def test_a_tilde_is_the_home_directory(self, home: Path) -> None:
        result = config(home, "DataDir=~/data", "Compute.Auth.TokenFile=~/token")
        assert result.data_dir == home / "data"
        assert result.compute.auth.token_file == f"{home}/token"

    def test_where_nobody_knows_the_home_directory_the_data_directory_must_be_given(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nobody() -> Path:
            raise RuntimeError

        monkeypatch.setattr(Path, "home", nobody)
        assert load(env={}, sets=[f"DataDir={home}"]).config.data_dir == home
        with pytest.raises(ConfigurationInvalid, match=r"DataDir: '~/\.tarpon' is not an absolute path"):
            load(env={})

    def test_settings_are_loaded_without_yaml_where_there_is_no_file(self, home: Path) -> None:
        program = "import sys; from shared.settings.loading import load; load(env={'HOME': sys.argv[1]});"
        check = "print(sorted({'yaml', 'difflib', 'asyncio', 'nats'} & set(sys.modules)))"
        command = [sys.executable, "-c", program + check, str(home)]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"

    def test_a_value_may_end_like_the_name_of_a_file(self, home: Path) -> None:
        assert config(home, "Compute.Auth.TokenFile=/etc/token.yaml").compute.auth.token_file == "/etc/token.yaml"

    def test_empty_variables_and_empty_keys_count_as_not_set(self, home: Path) -> None:
        file = written(home / "a.yaml", "API:\nCompute:\n  Auth:\n    Token:\nNameProvider: ~\n")
        assert config(home, file, env={"TARPON_API_PORT": "", "TARPON_NOPE": ""}) == Config(data_dir=home / ".tarpon")


class TestConversion:
    def test_keys_match_whatever_their_case(self, home: Path) -> None:
        file = written(home / "a.yaml", "aPI: {pORT: 5}\nnameprovider: Some_Random_VALUE\n")
        result = config(home, file, "api.HOST=x")
        assert (result.api.port, result.api.host, result.name_provider) == (5, "x", "Some_Random_VALUE")

    def test_a_key_with_dots_works_in_a_file_too(self, home: Path) -> None:
        assert config(home, written(home / "a.yaml", "API.Port: 5\n")).api.port == 5

    def test_a_bare_yes_or_no_key_means_true(self, home: Path) -> None:
        assert config(home, "orchestrator.enabled").orchestrator.enabled

    @pytest.mark.parametrize(("text", "value"), [("true", True), ("FALSE", False), ("yes", True), ("off", False)])
    def test_yes_and_no_can_be_written_in_several_ways(self, home: Path, *, text: str, value: bool) -> None:
        file = written(home / "a.yaml", f"Compute: {{Enabled: {text}}}\n")
        assert config(home, f"Compute.Enabled={text}").compute.enabled is value
        assert config(home, file).compute.enabled is value

    def test_lists_and_maps_are_separated_by_commas_in_text(self, home: Path) -> None:
        result = config(
            home,
            "Compute.Orchestrators=nats://a:1, b:2",
            "Engines.Disabled=",
            env={"TARPON_LABELS": "Zone=eu,kind=a=b", "TARPON_ENGINES_DISABLED": "docker"},
        )
        assert result.compute.orchestrators == ("nats://a:1", "b:2")
        assert result.engines.disabled == ()
        assert result.labels == {"Zone": "eu", "kind": "a=b"}

    def test_lists_maps_and_numbers_have_their_own_form_in_a_file(self, home: Path) -> None:
        text = "Labels: {Zone: eu, rack: 7}\nEngines: {Disabled: [docker]}\nCompute:\n  AllocatedCapacity: {CPU: 2}\n"
        result = config(home, written(home / "a.yaml", text))
        assert (result.labels, result.engines.disabled) == ({"Zone": "eu", "rack": "7"}, ("docker",))
        assert result.compute.allocated_capacity == AllocatedCapacity(cpu="2")

    def test_durations_are_go_text(self, home: Path) -> None:
        result = config(home, "Compute.Heartbeat.Interval=1m30s", "Publishers.PublishTimeout=24h0m0s")
        assert (result.compute.heartbeat.interval, result.publishers.publish_timeout) == (90.0, 86400.0)

    def test_a_token_of_digits_keeps_its_spelling(self, home: Path) -> None:
        file = written(home / "a.yaml", "Compute: {Auth: {Token: 0123}}\nOrchestrator: {Auth: {Token: 123}}\n")
        result = config(home, file)
        assert (result.compute.auth.token.reveal(), result.orchestrator.auth.token.reveal()) == ("0123", "123")

    def test_log_levels_match_whatever_their_case(self, home: Path) -> None:
        assert config(home, "Logging.Level=DEBUG").logging.level == "debug"

    @pytest.mark.parametrize("number", ["18446744073709551616", "-" + "9" * 30])
    def test_a_number_beyond_64_bits_is_refused(self, home: Path, number: str) -> None:
        for given in (
            f"Compute.QueueCapacity={number}",
            written(home / "big.yaml", f"Compute: {{QueueCapacity: {number}}}"),
        ):
            assert any("Compute.QueueCapacity" in problem for problem in problems(home, given))


class TestWarnings:
    def test_a_token_on_the_command_line_is_warned_of_and_not_shown(self, home: Path) -> None:
        result = loaded(home, "Compute.Auth.Token=hunter2")
        (warning,) = result.warnings
        assert warning == (
            "Compute.Auth.Token was given on the command line, where other users of this machine can read it in the"
            " list of processes; use the environment (TARPON_COMPUTE_AUTH_TOKEN) or Compute.Auth.TokenFile"
        )
        assert "hunter2" not in repr(result)

    def test_a_token_from_the_environment_is_fine(self, home: Path) -> None:
        result = loaded(home, env={"TARPON_COMPUTE_AUTH_TOKEN": "hunter2"})
        assert result.config.compute.auth.token == Secret("hunter2")
        assert result.warnings == ()

    def test_a_variable_that_belongs_to_no_setting_is_only_warned_of(self, home: Path) -> None:
        assert loaded(home, env={"TARPON_API_PROT": "1"}).warnings == (
            "the environment variable TARPON_API_PROT belongs to no setting; did you mean TARPON_API_PORT?",
        )

    def test_the_variables_of_tasks_and_integrations_are_not_warned_of(self, home: Path) -> None:
        tasks = ("EXECUTION_ID", "JOB_ID", "JOB_NAME", "PARTITION_INDEX", "NODE_ID", "HOST_PORT_web", "PORT_web")
        names = (*tasks, "API_SUBJECT")
        assert loaded(home, env={f"TARPON_{name}": "1" for name in names}).warnings == ()

    def test_a_setting_of_bacalhau_that_changes_nothing_is_warned_of(self, home: Path) -> None:
        file = written(home / "a.yaml", "webui: {enabled: true}\nFeatureFlags: {X: 1}\n")
        assert loaded(home, file, env={"TARPON_STRICTVERSIONMATCH": "true"}).warnings == (
            f"WebUI.Enabled is not supported by Tarpon and has no effect (file {file})",
            f"FeatureFlags is not supported by Tarpon and has no effect (file {file})",
            "StrictVersionMatch is not supported by Tarpon and has no effect (environment TARPON_STRICTVERSIONMATCH)",
        )

    def test_a_protection_that_is_not_asked_for_does_not_stop_the_start(self, home: Path) -> None:
        text = """\
API:
  TLS: {UseTLS: false, CertFile: "", AutoCert: ""}
  Auth: {Methods: {ClientKey: {Type: challenge}}, Users: [], Oauth2: {Issuer: "", PollingInterval: 0, Scopes: []}}
Orchestrator: {TLS: {ServerTimeout: 10}, NodeManager: {ManualApproval: false}}
Compute: {AllowListedLocalPaths: []}
"""
        assert len(loaded(home, written(home / "a.yaml", text), "Compute.TLS.RequireTLS=False").warnings) == 3


class TestProblems:
    def test_all_problems_are_told_in_one_message(self, home: Path) -> None:
        text = "API: {Prot: 5, Port: many}\nPublishers: {Types: {S3Managed: {Bucket: b, Endpoint: s3.example.com}}}\n"
        file = written(home / "a.yaml", text)
        with pytest.raises(ConfigurationInvalid) as caught:
            loaded(home, file, "Compute.Heartbeat.Interval=banana", env={"TARPON_LOGGING_MODE": "xml"})
        assert caught.value.message == (
            "The configuration is not valid:"
            f"\n  - API.Prot is not a setting (file {file}); did you mean API.Port?"
            f"\n  - API.Port: expected a whole number, found a text (file {file})"
            "\n  - Logging.Mode: must be one of default, json (environment TARPON_LOGGING_MODE)"
            "\n  - Compute.Heartbeat.Interval: 'banana' is not a duration. Write a number and a unit, such as 90s,"
            " 15m or 1h30m. (-c)"
            "\n  - Publishers.Types.S3Managed.Bucket: 'b' cannot be the name of a bucket; it has 3 to 63 characters"
            " out of a-z 0-9 . and -, begins and ends with a letter or digit, and is no IP address"
            "\n  - Publishers.Types.S3Managed.Region is missing"
            "\n  - Publishers.Types.S3Managed.Endpoint must be a URL such as https://s3.example.com, without user,"
            " path or query"
        )

    @pytest.mark.parametrize(
        ("flag", "problem"),
        [
            ("Nonsense=1", "Nonsense is not a setting (-c)"),
            ("Buckt=1", "Buckt is not a setting (-c)"),
            ("Bucket=1", f"Bucket is not a setting (-c); did you mean {S3}.Bucket?"),
            ("Publishers.Type.S3Managed.Bucket=1", None),
            ("API=1", "API is a group of settings, not a setting (-c)"),
            ("API.Port", "API.Port has no value; write -c API.Port=VALUE"),
            ("API.Port=", "API.Port: expected a whole number, found a text (-c)"),
            ("API.Port=65536", "API.Port: must be at most 65535 (-c)"),
            ("Orchestrator.Scheduler.MaxAttempts=0", "Orchestrator.Scheduler.MaxAttempts: must be at least 1 (-c)"),
            (
                "Orchestrator.Scheduler.Backoff.Floor=0s",
                "Orchestrator.Scheduler.Backoff.Floor must be greater than zero",
            ),
            (
                "Orchestrator.Scheduler.Backoff.Ceiling=500ms",
                "Orchestrator.Scheduler.Backoff.Ceiling must not be less than its Floor, which is 1s",
            ),
            ("Compute.Enabled=maybe", "Compute.Enabled: expected true or false, found a text (-c)"),
            ("Labels=a", "Labels: expected name=value, found 'a' (-c)"),
            ("Labels==b", "Labels: a label has no name"),
            (
                "DataDir=data",
                "DataDir: 'data' is not an absolute path; variables such as $HOME are not replaced here",
            ),
            (
                "DataDir=/a/$USER",
                "DataDir: '/a/$USER' is not an absolute path; variables such as $HOME are not replaced here",
            ),
            (
                "NameProvider=aws",
                "NameProvider: aws is not supported; use host, hostname, uuid, puuid, or the name itself",
            ),
            (
                "NameProvider=a.b",
                "NameProvider: 'a.b' cannot name a node; use 1 to 64 characters out of A-Z a-z 0-9 _ and -",
            ),
            (
                "Tracing.Endpoint=collector:4318",
                "Tracing.Endpoint: 'collector:4318' is not a URL such as http://127.0.0.1:4318",
            ),
            (
                "Tracing.Endpoint=http://me:secret@collector:4318",
                "Tracing.Endpoint holds a password; give it in OTEL_EXPORTER_OTLP_HEADERS instead",
            ),
            (
                "Compute.AllowListedLocalPaths=/data/**:ro,data",
                (
                    "Compute.AllowListedLocalPaths: 'data' does not begin with a slash, or is too long; write the whole"
                    " path of a folder, or a pattern such as /data/**"
                ),
            ),
            (
                "Compute.Inputs.AllowedAddresses=private,10.1.2.3/8",
                (
                    "Compute.Inputs.AllowedAddresses: '10.1.2.3/8' is neither an address, nor a network such as"
                    " 10.1.0.0/16, nor `private`"
                ),
            ),
            (
                "Compute.Metrics.Address=9464",
                "Compute.Metrics.Address: '9464' is not a host and port, such as 127.0.0.1:9464",
            ),
            (
                "Compute.Metrics.Address=127.0.0.1:99999",
                "Compute.Metrics.Address: '127.0.0.1:99999' is not a host and port, such as 127.0.0.1:9464",
            ),
            (
                "Compute.Metrics.Address=http://127.0.0.1:9464",
                "Compute.Metrics.Address: 'http://127.0.0.1:9464' is not a host and port, such as 127.0.0.1:9464",
            ),
            ("Compute.Heartbeat.Interval=0s", "Compute.Heartbeat.Interval must be greater than zero"),
            (
                "JobDefaults.Batch.Task.Timeouts.TotalTimeout=-1s",
                "JobDefaults.Batch.Task.Timeouts.TotalTimeout must not be negative",
            ),
            (
                "Engines.Types.Docker.PullStallTimeout=-1s",
                "Engines.Types.Docker.PullStallTimeout must not be negative",
            ),
            (
                "Orchestrator.NATS.SyncInterval=never",
                "Orchestrator.NATS.SyncInterval must be always, or a duration greater than zero such as 2s",
            ),
            (
                "Compute.Orchestrators=http://a",
                "Compute.Orchestrators: 'http://a' is not an address such as nats://host:4222 or tls://host:4222",
            ),
            (
                "Compute.Orchestrators=nats://a,wss://b",
                "Compute.Orchestrators: 'wss://b' is NATS over WebSocket, which Tarpon does not use; write nats:// or tls://",
            ),
            (
                "Compute.Orchestrators=nats://[::1",
                "Compute.Orchestrators: 'nats://[::1' is not an address such as nats://host:4222 or tls://host:4222",
            ),
            (
                "Orchestrator.Advertise=[::1",
                "Orchestrator.Advertise: '[::1' is not a host, or a host and port, such as example.com:4222",
            ),
            (
                "Compute.Metrics.Address=[::1",
                "Compute.Metrics.Address: '[::1' is not a host and port, such as 127.0.0.1:9464",
            ),
            (
                "Tracing.Endpoint=http://[::1",
                "Tracing.Endpoint: 'http://[::1' is not a URL such as http://127.0.0.1:4318",
            ),
            (
                "Compute.Orchestrators=nats://hunter2@a:1",
                "Compute.Orchestrators: an address holds a token or password; set Auth.Token or Auth.TokenFile instead",
            ),
            (
                "Compute.AllocatedCapacity.CPU=120%",
                "Compute.AllocatedCapacity.CPU: '120%' is not an amount of capacity. A share is between 0% and 100%.",
            ),
            (
                "JobDefaults.Batch.Task.Network.Type=HTTP",
                "JobDefaults.Batch.Task.Network.Type: 'HTTP' is none of None, Bridge and Host",
            ),
            (
                "JobDefaults.Batch.Task.Publisher.Type=ftp",
                "JobDefaults.Batch.Task.Publisher.Type: 'ftp' is not a publisher; there are s3managed and noop",
            ),
            (
                "JobDefaults.Batch.Task.Timeouts.ExecutionTimeout=9000h",
                "JobDefaults.Batch.Task.Timeouts.ExecutionTimeout must not be longer than 8760h",
            ),
            (
                "JobDefaults.Batch.Task.Resources.GPU=.5",
                "JobDefaults.Batch.Task.Resources.GPU: '.5' is not an amount of GPUs. Write a whole number, such as 1.",
            ),
        ],
    )
    def test_a_setting_that_makes_no_sense_is_refused(self, home: Path, flag: str, problem: str | None) -> None:
        expected = problem or (f"Publishers.Type.S3Managed.Bucket is not a setting (-c); did you mean {S3}.Bucket?")
        assert problems(home, flag) == (expected,)

    def test_a_default_publisher_of_the_reference_is_refused_with_the_one_that_replaces_it(self, home: Path) -> None:
        (problem,) = problems(home, "JobDefaults.Batch.Task.Publisher.Type=Local")
        told = "JobDefaults.Batch.Task.Publisher.Type: local is not supported yet; write s3managed in its place."
        assert problem.startswith(told)

    def test_default_time_outs_fit_each_other(self, home: Path) -> None:
        section = "JobDefaults.Batch.Task.Timeouts"
        assert problems(home, f"{section}.ExecutionTimeout=2h", f"{section}.TotalTimeout=1h") == (
            f"{section}.ExecutionTimeout must not be longer than its TotalTimeout",
        )

    def test_a_token_and_a_token_file_at_once_are_refused(self, home: Path) -> None:
        env = {"TARPON_COMPUTE_AUTH_TOKEN": "a", "TARPON_COMPUTE_AUTH_TOKENFILE": "/b"}
        assert problems(home, env=env) == (
            "Compute.Auth.Token and Compute.Auth.TokenFile are both set; keep one of them",
        )

    def test_a_wrong_token_is_not_shown(self, home: Path) -> None:
        file = written(home / "a.yaml", "Compute: {Auth: {Token: [hunter2]}}\n")
        assert problems(home, file) == (f"Compute.Auth.Token: expected a text, found a list (file {file})",)

    def test_a_duration_without_a_unit_is_refused(self, home: Path) -> None:
        file = written(home / "a.yaml", "Compute: {Heartbeat: {Interval: 15}}\n")
        assert problems(home, file)[0].startswith("Compute.Heartbeat.Interval: '15' is not a duration.")

    def test_a_setting_that_could_not_be_read_is_not_told_to_be_missing_too(self, home: Path) -> None:
        file = written(home / "a.yaml", "Publishers: {Types: {S3Managed: {Bucket: [a], Region: us-east-1}}}\n")
        assert problems(home, file) == (f"{S3}.Bucket: expected a text, found a list (file {file})",)

    def test_a_wrong_item_is_told_with_its_place(self, home: Path) -> None:
        file = written(home / "a.yaml", "Labels: {a: [1]}\nEngines: {Disabled: [x, {y: z}]}\n")
        assert problems(home, file) == (
            f"Labels.a: expected a text, found a list (file {file})",
            f"Engines.Disabled[1]: expected a text, found a mapping (file {file})",
        )

    def test_keys_that_differ_only_in_case_are_refused(self, home: Path) -> None:
        file = written(home / "a.yaml", "API: {Port: 1}\napi: {port: 2}\n")
        assert problems(home, file) == (f"api.port is given twice, as keys that differ in case (file {file})",)

    def test_a_file_that_cannot_be_read_is_told_with_the_reason(self, home: Path) -> None:
        (home / "bytes.yaml").write_bytes(b"a: \xff\n")
        (home / "folder.yaml").mkdir()
        listed = written(home / "list.yaml", "- a\n")
        assert problems(home, f"{home}/none.yaml", f"{home}/bytes.yaml", f"{home}/folder.yaml", listed) == (
            f"the file {home}/none.yaml does not exist",
            f"the file {home}/bytes.yaml cannot be read: it is not UTF-8 text",
            f"the file {home}/folder.yaml cannot be read: Is a directory",
            f"the file {home}/list.yaml is a list, not a mapping of names to values.",
        )

    @pytest.mark.parametrize(
        "flag",
        [
            "API.TLS.AutoCert=example.com",
            "API.Auth.Methods=x",
            "API.Auth.AccessPolicyPath=x",
            "Orchestrator.NodeManager.ManualApproval=true",
            "JobAdmissionControl.RejectStatelessJobs=true",
            "JobAdmissionControl.RejectNetworkedJobs=true",
        ],
    )
    def test_a_protection_that_tarpon_does_not_have_stops_the_start(self, home: Path, flag: str) -> None:
        (problem,) = problems(home, flag)
        assert problem.endswith(
            " is not supported, and starting without it would leave you less protected than you asked (-c)"
        )

    def test_such_a_protection_stops_the_start_from_the_environment_and_a_file_too(self, home: Path) -> None:
        file = written(home / "a.yaml", "api: {auth: {users: [{alias: a}], methods: {k: {type: ask}}}}\n")
        env = {"TARPON_API_TLS_AUTOCERT": "example.com", "TARPON_API_AUTH_ACCESSPOLICYPATH": "x"}
        assert [problem.split()[0] for problem in problems(home, file, env=env)] == [
            "API.Auth.Users[0]:",
            "API.Auth.Methods",
            "API.Auth.AccessPolicyPath",
            "API.TLS.AutoCert",
        ]


class TestTls:
    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            (("API.TLS.CertFile=/c",), "API.TLS.KeyFile is missing, which API.TLS.CertFile needs"),
            (
                ("Orchestrator.TLS.ServerKey=/k",),
                "Orchestrator.TLS.ServerCert is missing, which Orchestrator.TLS.ServerKey needs",
            ),
            (
                ("API.TLS.SelfSigned", "API.TLS.PlainText"),
                "API.TLS.PlainText contradicts API.TLS.CertFile and API.TLS.SelfSigned; set one of them",
            ),
            (
                ("API.TLS.Insecure", "API.TLS.CAFile=/c"),
                "API.TLS.Insecure takes any certificate, so that API.TLS.CAFile has no effect; set one of them",
            ),
            (
                ("Compute.TLS.CACert=/c", "Compute.TLS.Authority=x"),
                "Compute.TLS.CACert and Compute.TLS.Authority are both set; keep one of them",
            ),
            (
                ("Compute.Orchestrators=tls://a:4222,b:4222",),
                "Compute.Orchestrators mixes addresses with and without tls://; the same secrets go to both",
            ),
            (("Compute.TLS.ClientCert=/c",), "Compute.TLS.ClientKey is missing, which Compute.TLS.ClientCert needs"),
            (
                ("API.TLS.ClientCA=/c", "API.TLS.PlainText"),
                "API.TLS.PlainText contradicts API.TLS.ClientCA, since a certificate is shown by TLS; set one of them",
            ),
            (
                ("Orchestrator.TLS.ClientCA=/c", "Orchestrator.TLS.PlainText=also"),
                (
                    "Orchestrator.TLS.PlainText is `also`, so that nobody would have to show a certificate of"
                    " Orchestrator.TLS.ClientCA; set one of them"
                ),
            ),
            (
                ("Orchestrator.TLS.ClientCA=/c", "Orchestrator.NATS.Servers=tls://a"),
                (
                    "Orchestrator.TLS.ClientCA is of our own NATS server, and Orchestrator.NATS.Servers names others,"
                    " which have settings of their own; set one of them"
                ),
            ),
            (
                ("Orchestrator.TLS.ClientCert=/c", "Orchestrator.TLS.ClientKey=/c"),
                (
                    "Orchestrator.TLS.ClientCert is for Orchestrator.NATS.Servers, of which there are none: our own"
                    " NATS server takes a certificate that the orchestrator makes for itself"
                ),
            ),
        ],
        ids=[
            "half of a pair",
            "other half",
            "plain and not",
            "any and one",
            "twice",
            "mixed addresses",
            "half of what a node shows",
            "asked for in plain text",
            "not asked of all",
            "asked by servers of others",
            "shown to nobody",
        ],
    )
    def test_wishes_that_contradict_each_other_are_told(
        self, home: Path, flags: tuple[str, ...], expected: str
    ) -> None:
        assert list(problems(home, *flags)) == [expected]


class TestManagedPublisher:
    def publisher_problems(self, **changes: str | Duration) -> list[str]:
        managed = msgspec.structs.replace(S3Managed(bucket="my-bucket", region="us-east-1"), **changes)
        config = Config()
        types = msgspec.structs.replace(config.publishers.types, s3managed=managed)
        publishers = msgspec.structs.replace(config.publishers, types=types)
        return validate_publisher(msgspec.structs.replace(config, publishers=publishers))

    def test_a_publisher_that_nobody_configured_has_no_problems(self) -> None:
        assert not is_configured(Config())
        assert validate_publisher(Config()) == []

    @pytest.mark.parametrize("flag", ["Bucket=my-bucket", "Key=k", "Region=eu-west-1", "Endpoint=https://a"])
    def test_any_of_four_settings_means_that_it_is_configured(self, home: Path, flag: str) -> None:
        assert all(problem.endswith("is missing") for problem in problems(home, f"{S3}.{flag}"))

    def test_all_that_is_wrong_is_told_together(self) -> None:
        found = self.publisher_problems(
            bucket="",
            region="",
            key="/a/../\n",
            endpoint="ftp://a",
            public_endpoint="http://u:hunter2@a",
            presigned_url_expiration=Duration(0),
        )
        url = "must be a URL such as https://s3.example.com, without user, path or query"
        assert found == [
            f"{S3}.Bucket is missing",
            f"{S3}.Key must not begin with a slash",
            f"{S3}.Key must not contain '..'",
            f"{S3}.Key must not contain control characters",
            f"{S3}.Region is missing",
            f"{S3}.Endpoint {url}",
            f"{S3}.PublicEndpoint {url}",
            f"{S3}.PreSignedURLExpiration must be greater than zero and at most 7 days (168h)",
        ]

    @pytest.mark.parametrize("name", ["abc", "my.bucket-1", "a" * 63, "1ab"])
    def test_names_that_s3_permits_are_accepted(self, name: str) -> None:
        assert self.publisher_problems(bucket=name) == []

    @pytest.mark.parametrize(
        "name", ["ab", "a" * 64, "My-bucket", "a_b", "-ab", "ab-", "a..b", "10.0.0.1", "a/b", "abc\n"]
    )
    def test_names_that_s3_does_not_permit_are_refused(self, name: str) -> None:
        assert len(self.publisher_problems(bucket=name)) == 1

    @pytest.mark.parametrize("url", ["http://127.0.0.1:8333", "https://s3.example.com/", "http://[::1]:9000"])
    def test_the_address_of_a_service_is_accepted(self, url: str) -> None:
        assert self.publisher_problems(endpoint=url, public_endpoint=url) == []

    @pytest.mark.parametrize(
        "url", ["s3.example.com", "http://", "http://a/b", "http://a?b", "http://a#", "http://a:99999", "http://a b"]
    )
    def test_what_is_no_address_of_a_service_is_refused(self, url: str) -> None:
        assert len(self.publisher_problems(endpoint=url)) == 1

    def test_a_signed_url_may_live_for_seven_days_and_no_longer(self) -> None:
        assert self.publisher_problems(presigned_url_expiration=Duration(7 * 86400)) == []
        assert len(self.publisher_problems(presigned_url_expiration=Duration(7 * 86400 + 1))) == 1

    def test_a_long_prefix_leaves_no_room_for_the_ids(self) -> None:
        assert len(self.publisher_problems(key="a" * 701)) == 1

    def test_a_half_configured_publisher_does_not_stop_a_command_that_does_not_use_it(self, home: Path) -> None:
        result = load(sets=[f"{S3}.Bucket=my-bucket"], env={"HOME": str(home)}, check_publisher=False)
        assert result.config.publishers.types.s3managed.bucket == "my-bucket"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("URLs=ftp://example.com/", "is not an http or https URL"),
        ("URLs=https://user:word@example.com/", "has a user or password in it"),
        ("URLs=http://10.0.0.1/hooks", "is http:// to another machine"),
        ("Events=job.exploded", "is none of job.completed"),
        ("AllowedAddresses=nowhere", "is neither an address nor a network"),
        ("MaxAge=0s", "must be greater than zero"),
    ],
)
def test_a_webhook_that_could_not_be_sent_stops_the_start(home: Path, setting: str, problem: str) -> None:
    sets = [f"Orchestrator.Webhooks.{setting}", "Orchestrator.Webhooks.SecretFile=/etc/tarpon/webhooks.secret"]
    with pytest.raises(ConfigurationInvalid, match=problem) as raised:
        load(sets=sets, env={"HOME": str(home)})
    assert "word@" not in str(raised.value)


def test_a_webhook_without_a_secret_stops_the_start(home: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="SecretFile is missing"):
        load(sets=["Orchestrator.Webhooks.URLs=https://example.com/hooks"], env={"HOME": str(home)})
