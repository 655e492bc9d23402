"""Addresses that count as public."""

from ipaddress import IPv4Network, ip_address

import pytest

from batchgen.errors import ProviderBusy, ProviderRejected
from batchgen.pictures.public_network import Rule, is_local_name, is_public, refusal_of


def words(text: str) -> list[str]:
    return text.split()


PUBLIC = words("""
    1.1.1.1 93.184.215.14 172.15.255.255 172.32.0.1 192.167.1.1 2606:4700::1111 2a00:1450:4001::200e
    ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::1
""")
OTHERS = words("""
    0.0.0.0 10.0.0.7 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.9.9 192.0.0.1 192.0.2.1
    192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.9 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.7 64:ff9b::7f00:1 64:ff9b::a00:7 64:ff9b:1::1 2002:7f00:1::1
    2002:a00:7::1 2001:0:a00:7::1 2001:0:4136:e378:8000:63bf:80ff:fffe 2001:db8::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1
    ff02::1 ff0e::1 100::1 3fff::1 3fff:fff:ffff::1 5f00::1 100:0:0:1::1 2001::1 2001:2::1 2001:10::1 2001:20::1
    2001:3::1 2001:4:112::1 2001:1::1 2620:4f:8000::1 4000::1 ::ffff:0:7f00:1 192.88.99.1 192.0.0.9 192.0.0.170
    192.31.196.1 192.52.193.1 192.175.48.1 198.19.255.255 2002:c612:1::1 64:ff9b::c612:1 ::ffff:198.18.0.1
    64:ff9b:1:fffe::1.1.1.1 2001:0:101:101::1
""")


@pytest.mark.parametrize("address", PUBLIC)
def test_internet_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", OTHERS)
def test_all_other_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    words("""127.0.0.1 127.1 0x7f.1 0x7f000001 017700000001 2130706433 [::1] [fe80::1%25eth0] 10.0.0.7. 198.18.0.5
          localhost LOCALHOST. db db.local minio.internal a.localhost nas.lan router.home.arpa 3fff::1"""),
)
def test_local_names_and_spellings_are_recognized(host: str) -> None:
    assert is_local_name(host)


@pytest.mark.parametrize("host", words("1.1.1.1 0x01010101 [2606:4700::1111] pictures.test replicate.delivery."))
def test_other_names_are_not_local(host: str) -> None:
    assert not is_local_name(host)


def test_an_operator_can_allow_networks() -> None:
    rule = Rule((IPv4Network("198.18.0.0/15"),))

    assert rule.allows("198.18.0.5")
    assert not rule.allows("10.0.0.7")
    assert refusal_of("pictures.test", ["198.18.0.5", "1.1.1.1"], rule) is None


def test_fake_dns_addresses_wait_and_other_local_ones_are_refused() -> None:
    made_up = refusal_of("pictures.test", ["198.18.0.5", "198.19.0.1"], Rule())
    mixed = refusal_of("pictures.test", ["198.18.0.5", "10.0.0.7"], Rule())
    named = [refusal_of(host, ["198.18.0.5"], Rule()) for host in ("198.18.0.5", "0xc6120005", "198.18.5")]

    assert isinstance(made_up, ProviderBusy)
    assert (made_up.code, made_up.order.over) == ("network_not_public", False)
    assert "BATCHGEN_PICTURE_NETWORKS=198.18.0.0/15" in str(made_up)
    assert isinstance(mixed, ProviderRejected)
    assert all(isinstance(problem, ProviderRejected) for problem in named), "no resolver made these up"
