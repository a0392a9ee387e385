"""Which targets are refused: by their text, by their addresses, by what a name becomes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fake_target import NamesTo, fake_target, redirect_loop

from screenerd.notify.channels import Request
from screenerd.notify.guard import Guard, RefusedError
from screenerd.notify.sender import Sender, SendError, open_session

INNER = (
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd00::1",
    "fc00::1",
)
NEVER = (
    "0.0.0.0",  # noqa: S104
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "100::1",
)
PUBLIC = ("8.8.8.8", "162.159.128.233", "149.154.167.220", "2001:67c:4e8:f004::9", "172.32.0.1")


@pytest.mark.parametrize("address", [*INNER, *NEVER, "", "localhost", "1.2.3"])
def test_no_inner_address_is_reached(address: str) -> None:
    with pytest.raises(RefusedError):
        Guard().check_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address: str) -> None:
    Guard().check_address(address)


@pytest.mark.parametrize("address", INNER)
def test_private_ones_are_reached_where_allowed(address: str) -> None:
    Guard(private=True).check_address(address)


@pytest.mark.parametrize("address", NEVER)
def test_some_are_never_reached(address: str) -> None:
    with pytest.raises(RefusedError):
        Guard(private=True).check_address(address)


@pytest.mark.parametrize(
    "url",
    [
        *(f"https://{'[' + a + ']' if ':' in a else a}/x" for a in (*INNER, *NEVER)),
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.0x1/",
        "https://127.0.0.1./",
        "https://example.com.1/",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://@example.com/",
        "https://example.com:22/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com/#x",
        "https:///path",
        "https://",
        "https://exa mple.com/",
        "https://example.com/\r\nX-Evil: 1",
        "https://example.com\t/",
        "https://example.com\\@127.0.0.1/",
        "https://例え.jp/",
        "https://[::1/",
        "https://-a..b/",
        "http://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "//example.com/",
        "example.com",
        "",
    ],
)
def test_a_url_is_refused_by_its_text(url: str) -> None:
    with pytest.raises(RefusedError) as caught:
        Guard().check_url(url)
    assert "secret" not in caught.value.reason
    assert "passwd" not in caught.value.reason


@pytest.mark.parametrize(
    "url",
    ["https://example.com/a?b=c", "https://example.com:8443/", "https://8.8.8.8/", "https://a.b./"],
)
def test_an_ordinary_url_is_allowed(url: str) -> None:
    Guard().check_url(url)


def test_a_service_has_its_own_hosts_and_port_only() -> None:
    guard = Guard(hosts=frozenset({"discord.com"}))
    guard.check_url("https://discord.com/api")
    guard.check_url("https://DISCORD.com:443/api")
    for url in (
        "https://discord.com.evil.example/api",
        "https://evil-discord.com/api",
        "https://discord.com./api",
        "https://discord.com:8443/api",
        "http://discord.com/api",
    ):
        with pytest.raises(RefusedError):
            guard.check_url(url)


def _request(url: str) -> Request:
    return Request(url=url, headers={}, body=b"{}", alerts=1)


@pytest.mark.asyncio
async def test_a_name_that_leads_inside_is_refused_when_connecting() -> None:
    async with fake_target() as target:
        url = target.url.replace("127.0.0.1", "innocent.example")
        guard = Guard(plain=True)
        async with open_session(guard, NamesTo("127.0.0.1")) as session:
            with pytest.raises(SendError, match=r"127\.0\.0\.1 is loopback"):
                await Sender(session, guard).send(_request(url))
        assert target.got == []
        # The same name is reached where private addresses are allowed: the refusal was the guard's.
        guard = Guard(plain=True, private=True)
        async with open_session(guard, NamesTo("127.0.0.1")) as session:
            assert (await Sender(session, guard).send(_request(url))).status == 200


@dataclass(frozen=True, slots=True)
class _OnlyFirst(Guard):
    """Takes 127.0.0.1 for a public address."""

    plain: bool = True

    def check_address(self, address: str) -> None:
        if address != "127.0.0.1":
            Guard.check_address(self, address)


@pytest.mark.asyncio
async def test_a_name_that_changes_sides_is_connected_to_the_checked_address_only() -> None:
    async with fake_target() as target:
        url = target.url.replace("127.0.0.1", "flip.example")
        guard, names = _OnlyFirst(), NamesTo("127.0.0.1", "127.0.0.2")
        async with open_session(guard, names) as session:
            assert (await Sender(session, guard).send(_request(url))).status == 200
            # Were there a second lookup for the connection, it would have led elsewhere.
            assert names.asked == 1
        async with open_session(guard, names) as session:
            with pytest.raises(SendError, match="loopback"):
                await Sender(session, guard).send(_request(url))
        assert names.asked == 2
        assert len(target.got) == 1


@pytest.mark.asyncio
async def test_the_socket_is_guarded_whatever_the_url_check_missed() -> None:
    async with fake_target() as target, open_session(Guard(plain=True)) as session:
        blind = Sender(session, Guard(plain=True, private=True))
        with pytest.raises(SendError, match="loopback"):
            await blind.send(_request(target.url))
        assert target.got == []


@pytest.mark.asyncio
async def test_no_redirect_is_followed() -> None:
    guard = Guard(plain=True, private=True)
    async with fake_target() as target, open_session(guard) as session:
        target.always["/loop"] = redirect_loop
        sent = await Sender(session, guard).send(_request(target.url + "/loop"))
        assert sent.status == 307
        assert target.paths() == ["/loop"]
