import re
from pathlib import Path

import pytest

from orchestrator.admission.nats_config import (
    ConfigSection,
    Neighbours,
    ServerConfig,
    render_accounts,
    render_part,
    render_server,
)

ISSUER = "ACFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVYYOU"
USER = "UC3PTPXAUZRDCHW4WNHGNQRK4VTJSWNFEDNYMDCDS574S73PA7NPJJP2"

CONFIG = ServerConfig(
    directory=Path("/var/lib/tarpon/nats"),
    host="127.0.0.1",
    port=4222,
    server_name="tarpon",
    issuer=ISSUER,
    orchestrator=USER,
)


def account(name: str) -> str:
    """What the configuration says of one account."""
    found = re.search(
        rf"^  {name} {{(.*?)^  }}$", render_accounts(issuer=ISSUER, orchestrator=USER), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


def entries(name: str, of: str) -> list[str]:
    """The services and streams that an account exports or imports, in short."""
    found = re.search(rf"{of}: \[(.*?)^    \]", account(name), re.DOTALL | re.MULTILINE)
    return [] if found is None else [line.strip() for line in found[1].splitlines() if line.strip()]


def test_streams_and_the_orchestrator_are_alone_in_their_account() -> None:
    assert "jetstream: enabled" in account("TARPON")
    assert f"users: [ {{ nkey: {USER} }} ]" in account("TARPON")
    for name in ("TARPON_NODES", "TARPON_INTEGRATIONS"):
        assert "jetstream" not in account(name)
        assert "users" not in account(name)


def test_nodes_reach_the_orchestrator_by_three_services_alone() -> None:
    assert entries("TARPON_NODES", "imports") == [
        '{ service: { account: TARPON, subject: "tarpon.v1.node.*.out.reports" } }',
        '{ service: { account: TARPON, subject: "tarpon.v1.node.*.out.requests" } }',
        '{ service: { account: TARPON, subject: "tarpon.v1.node.*.out.heartbeat" } }',
    ]


def test_integrations_reach_the_api_and_see_events_alone() -> None:
    assert entries("TARPON_INTEGRATIONS", "imports") == [
        '{ service: { account: TARPON, subject: "tarpon.v1.api.>" } }',
        '{ stream: { account: TARPON, subject: "tarpon.v1.events.>" } }',
        '{ service: { account: TARPON, subject: "$SRV.>" } }',
    ]
    assert entries("TARPON_INTEGRATIONS", "exports") == []


def test_every_export_names_the_one_account_that_it_is_for() -> None:
    exports = entries("TARPON", "exports") + entries("TARPON_NODES", "exports")
    assert len(exports) == 7
    assert all(re.search(r"accounts: \[ (TARPON_NODES|TARPON_INTEGRATIONS|TARPON) \]", each) for each in exports)


def test_whoever_is_not_the_orchestrator_is_judged_by_it() -> None:
    text = render_accounts(issuer=ISSUER, orchestrator=USER)
    assert f"issuer: {ISSUER}" in text
    assert "account: TARPON\n" in text
    assert f"auth_users: [ {USER} ]" in text


def test_a_part_has_nothing_of_the_blocks_into_which_it_is_included() -> None:
    parts = {part: render_part(part, Neighbours(), issuer=ISSUER, orchestrator=USER) for part in ConfigSection}
    assert re.findall(r"^[\w]+", parts[ConfigSection.ALL], re.MULTILINE) == [
        "max_payload",
        "ping_interval",
        "ping_max",
        "accounts",
        "system_account",
        "authorization",
    ]
    assert re.findall(r"^[\w]+", parts[ConfigSection.SERVER], re.MULTILINE) == ["system_account", "authorization"]
    assert re.findall(r"^[\w]+", parts[ConfigSection.AUTHORIZATION], re.MULTILINE) == ["timeout", "auth_callout"]
    names = ["TARPON", "TARPON_NODES", "TARPON_INTEGRATIONS", "TARPON_SYSTEM"]
    assert re.findall(r"^[\w]+", parts[ConfigSection.ACCOUNTS], re.MULTILINE) == names


def test_beside_others_their_system_account_and_users_stay() -> None:
    beside = Neighbours(system_account="ADMIN", users=("admin", "shop"))
    for part in ConfigSection:
        text = render_part(part, beside, issuer=ISSUER, orchestrator=USER)
        assert "system_account" not in text
        assert "TARPON_SYSTEM" not in text
        assert part is ConfigSection.ACCOUNTS or f'auth_users: [ {USER}, "admin", "shop" ]' in text


def test_the_embedded_server_writes_below_its_directory_and_through_to_the_disk() -> None:
    text = render_server(CONFIG)
    paths = re.findall(r'"(/[^"]*)"', text)
    assert len(paths) == 3
    assert all(path.startswith("/var/lib/tarpon/nats") for path in paths)
    assert 'sync_interval: "always"' in text
    assert "logfile_size_limit: " in text


def test_the_same_settings_give_the_same_text() -> None:
    assert render_server(CONFIG) == render_server(CONFIG)


def test_an_external_server_keeps_its_own_addresses_and_files() -> None:
    text = render_accounts(issuer=ISSUER, orchestrator=USER)
    assert not [word for word in ("port:", "host:", "store_dir", "pid_file", "log_file") if word in text]


@pytest.mark.parametrize("name", ['with "quotes"', "back\\slash", "ünï", "$HOME # not a comment", "{ }"])
def test_any_directory_can_be_written_down(name: str) -> None:
    text = render_server(
        ServerConfig(
            directory=Path("/data") / name,
            host="127.0.0.1",
            port=4222,
            server_name="tarpon",
            issuer=ISSUER,
            orchestrator=USER,
        )
    )
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    assert f'store_dir: "/data/{escaped}"\n' in text
