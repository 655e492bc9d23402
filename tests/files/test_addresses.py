"""What counts as an address on the public internet."""

from ipaddress import ip_address

import pytest

from batchgen.addresses import is_public


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
    ff02::1 ff0e::1 100::1
""")


@pytest.mark.parametrize("address", PUBLIC)
def test_machines_on_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", OTHERS)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(ip_address(address))
