"""What the settings let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.auth.grants import EVERYTHING
from recorder.auth.tokens import authority_of
from recorder.config.settings import load_settings
from recorder.core.errors import InvalidSetting, NotAuthenticated
from tests.support.tokens import SECRET, key_file, signed


def test_without_tokens_everyone_may_do_everything_whatever_they_carry() -> None:
    authority = authority_of(load_settings(), lambda: 0)
    assert authority.is_open
    assert authority.grant(["Basic x", "Bearer y"], ["bearer.z"]) is EVERYTHING


def test_tokens_come_from_the_setting_and_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# who: why\n\n  in-the-file  \nboth\n")
    authority = authority_of(
        load_settings(publish_tokens="listed,both", subscribe_tokens_file=file), lambda: 0
    )
    assert authority.grant(["Bearer listed"]).roles == {"publish"}
    assert authority.grant(["bearer in-the-file"]).roles == {"subscribe"}
    assert authority.grant([], ["bearer.both"]).roles == {"publish", "subscribe"}
    assert not authority.is_open
    for wrong in ("liste", "listed2", "LISTED", "# who: why", ""):
        with pytest.raises(NotAuthenticated):
            authority.grant([f"Bearer {wrong}"])


def test_a_request_is_clear_about_its_token_or_has_none(tmp_path: Path) -> None:
    authority = authority_of(
        load_settings(admin_tokens="one,two", jwt_key_file=key_file(tmp_path)), lambda: 0
    )
    assert authority.grant(["Bearer one"], ["bearer.one"])
    assert authority.grant([f"Bearer {signed('admin')}"]).roles == {"admin"}
    for authorization, subprotocols in (
        ([], []),
        ([], ["token.one"]),
        (["one"], []),
        (["Basic one"], []),
        (["Bearer one, Bearer two"], []),
        (["Bearer one", "Bearer one"], []),
        (["Bearer one"], ["bearer.two"]),
        ([], ["bearer.one", "bearer.two"]),
        (["Bearer"], []),
    ):
        with pytest.raises(NotAuthenticated):
            authority.grant(authorization, subprotocols)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no token"),
        (b"# none\n\n", "holds no token"),
        (b"a b\n", "number 1"),
        (b"\xff", "not text"),
    ],
)
def test_a_file_without_tokens_refuses_the_start_rather_than_open_the_door(
    content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(content)
    with pytest.raises(InvalidSetting, match=r"^ADMIN_TOKENS_FILE: ") as refused:
        authority_of(load_settings(admin_tokens_file=file), lambda: 0)
    assert said in str(refused.value)
    with pytest.raises(InvalidSetting, match="No such file"):
        authority_of(load_settings(admin_tokens_file=tmp_path / "none"), lambda: 0)


def test_where_others_can_try_tokens_short_ones_refuse_the_start(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("x" * 15)
    for given in ({"publish_tokens": "x" * 15}, {"publish_tokens_file": file}):
        assert authority_of(load_settings(**given), lambda: 0)
        with pytest.raises(InvalidSetting, match="PUBLISH_TOKENS: has a token of less than 16 characters"):
            authority_of(load_settings(host="0.0.0.0", **given), lambda: 0)
    assert authority_of(load_settings(host="0.0.0.0", publish_tokens="x" * 16), lambda: 0)


def test_what_was_granted_holds_as_long_as_it_would_be_granted_again(tmp_path: Path) -> None:
    tokens, keys = tmp_path / "tokens", key_file(tmp_path)
    tokens.write_text("stays\ngoes\nmoves\n")
    settings = load_settings(subscribe_tokens_file=tokens, publish_tokens="moves", jwt_key_file=keys)
    authority = authority_of(settings, lambda: 0)
    granted = {name: authority.grant([f"Bearer {name}"]) for name in ("stays", "goes", "moves")}
    granted["signed"] = authority.grant([f"Bearer {signed(exp=60)}"])
    assert all(authority.holds(grant) for grant in granted.values())
    tokens.write_text("stays\n")
    authority.renew(authority_of(settings, lambda: 0))
    # One that has lost a role is to come again, for what it has left.
    assert {name: authority.holds(grant) for name, grant in granted.items()} == {
        "stays": True,
        "goes": False,
        "moves": False,
        "signed": True,
    }
    assert authority.grant(["Bearer moves"]).roles == {"publish"}
    keys.write_text("another-secret-of-thirty-two-bytes-or-more")
    authority.renew(authority_of(settings, lambda: 0))
    assert not authority.holds(granted["signed"])
    with pytest.raises(NotAuthenticated):
        authority.grant([f"Bearer {signed()}"])


def test_an_open_recorder_stays_open() -> None:
    authority = authority_of(load_settings(), lambda: 0)
    granted = authority.grant([])
    authority.renew(authority_of(load_settings(), lambda: 0))
    assert authority.holds(granted)


def test_no_secret_is_in_what_a_grant_remembers(tmp_path: Path) -> None:
    authority = authority_of(
        load_settings(admin_tokens="a-listed-token", jwt_key_file=key_file(tmp_path)), lambda: 0
    )
    for token in ("a-listed-token", signed("admin")):
        grant = authority.grant([f"Bearer {token}"])
        assert token not in repr((grant, grant.by))
        assert SECRET not in repr((grant, grant.by))
