"""Where the token and the addresses are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.core.errors import NotConfigured
from tasks.scalingo.credentials import find

TOKEN = "tk-us-from-the-file-0123"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def write_auth(path: Path, host: str = "auth.scalingo.com", token: str = TOKEN) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "auth_data_version": "2.1",
        "auth_config_data": {host: {"tokens": {"token": token}, "user": {}}},
    }
    path.write_text(json.dumps(content))


def test_the_variable_goes_first(home: dict[str, str]) -> None:
    write_auth(Path(home["HOME"], ".config/scalingo/auth"))
    found = find(environ={**home, "SCALINGO_API_TOKEN": " tk-us-variable \n"})
    assert (found.token.reveal(), found.source) == ("tk-us-variable", "SCALINGO_API_TOKEN")


def test_the_official_clients_login_is_used(home: dict[str, str]) -> None:
    path = Path(home["HOME"], ".config/scalingo/auth")
    write_auth(path)
    found = find(environ=home)
    assert (found.token.reveal(), found.source) == (TOKEN, str(path))
    assert found.endpoints.declared == ["https://auth.scalingo.com"]


def test_the_file_is_read_by_the_host_of_the_authentication_service(
    home: dict[str, str], tmp_path: Path
) -> None:
    write_auth(tmp_path / "elsewhere", "127.0.0.1", "tk-us-of-a-sandbox")
    environ = {**home, "AUTH_FILE": str(tmp_path / "elsewhere"), "SCALINGO_AUTH_URL": "http://127.0.0.1:8080"}
    assert find(environ=environ).token.reveal() == "tk-us-of-a-sandbox"
    with pytest.raises(NotConfigured, match=r"has one for auth\.scalingo\.com"):
        find(environ={**home, "AUTH_FILE": str(tmp_path / "elsewhere")})


def test_nothing_found_is_one_line_and_where_to_get_it(home: dict[str, str]) -> None:
    with pytest.raises(NotConfigured) as caught:
        find(environ=home)
    assert str(caught.value).splitlines() == [
        "Scalingo's API token: neither SCALINGO_API_TOKEN nor "
        f"{home['HOME']}/.config/scalingo/auth has one for auth.scalingo.com",
        "Next: run `scalingo login`, or put a token into SCALINGO_API_TOKEN "
        "(dashboard.scalingo.com > Account settings > API tokens > Create new token)",
    ]


@pytest.mark.parametrize("content", ["not json", "[]", '{"auth_config_data": []}', b"\xff\xfe"])
def test_a_broken_file_is_said_so(home: dict[str, str], tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "auth"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(NotConfigured, match=str(path)):
        find(environ={**home, "AUTH_FILE": str(path)})


def test_the_region_of_the_inventory_goes_first(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"region": "from-file"}')
    environ = {
        **home, "SCALINGO_API_TOKEN": "tk-us-variable", "CONFIG_FILE_PATH": str(tmp_path / "config.json"),
    }  # fmt: skip
    assert find(environ=environ).endpoints.region == "from-file"
    environ["SCALINGO_REGION"] = "from-variable"
    assert find(environ=environ).endpoints.region == "from-variable"
    assert find("declared", environ=environ).endpoints.region == "declared"


def test_the_two_addresses_go_together(home: dict[str, str]) -> None:
    environ = {**home, "SCALINGO_API_TOKEN": "tk-us-variable", "SCALINGO_API_URL": "http://127.0.0.1:1"}
    with pytest.raises(NotConfigured, match="only one is set"):
        find(environ=environ)
    environ["SCALINGO_DB_URL"] = "http://127.0.0.1:2"
    assert find(environ=environ).endpoints.declared == [
        "https://auth.scalingo.com", "http://127.0.0.1:1", "http://127.0.0.1:2",
    ]  # fmt: skip
