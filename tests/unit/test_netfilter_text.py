import pytest

from kubectl_fsm.netfilter.script import parse
from kubectl_fsm.netfilter.text import describe


def rule(matches):
    return parse(f"iptables -t nat -A OUTPUT {matches} -j ACCEPT").tables["nat"]["OUTPUT"].rules[0]


@pytest.mark.parametrize(
    ("matches", "words"),
    [
        ("", "everything else"),
        ("-p tcp", "everything else"),
        ("-o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500", "lo, not 127.0.0.1, uid 1500"),
        ("-o lo -m owner ! --uid-owner 1500", "lo, not uid 1500"),
        ("-d 127.0.0.1/32", "to 127.0.0.1"),
        ("-d 10.0.0.0/8", "to 10.0.0.0/8"),
        ("-d 2.2.2.2/24", "to 2.2.2.2/24"),
        ("-d 2.2.2.2/255.255.255.0", "to 2.2.2.2/255.255.255.0"),
        ("-s 10.0.0.1 -d 10.0.0.2", "from 10.0.0.1, to 10.0.0.2"),
        ("! -s 10.0.0.1", "not from 10.0.0.1"),
        ("-o net1", "interface net1"),
        ("-i veth+", "interface veth+"),
        ("! -o lo", "not lo"),
        ("! -o net1", "not interface net1"),
        ("-i lo -o net1", "in lo, out interface net1"),
        ("-p tcp --dport 15000", "port 15000"),
        ("-p tcp --match multiport --dports 6379,7070", "port 6379, 7070"),
        ("-p tcp -m multiport ! --dports 22,8000:8003", "not port 22, 8000-8003"),
        ("-p tcp --sport :1024 --dport 90:", "source port 0-1024, port 90-65535"),
        ("-m owner --uid-owner 0-99 -m owner --gid-owner 5", "uid 0-99, gid 5"),
        ("-p udp -d 127.0.0.153 --dport 53", "udp, to 127.0.0.153, port 53"),
        ("! -p tcp", "not tcp"),
        ("-p all", "all"),
        ("-p sctp", "sctp"),
        ("-p tcp -m multiport --ports 1,5:7", "either port 1, 5-7"),
        ("-m conntrack --ctstate ESTABLISHED,NEW", "state NEW or ESTABLISHED"),
        ("-m conntrack ! --ctstate NEW", "not state NEW"),
        ("-m addrtype --dst-type LOCAL", "to LOCAL addresses"),
        ("-m addrtype ! --src-type LOCAL,UNICAST", "not from UNICAST or LOCAL addresses"),
        ("-m statistic --mode random --probability 0.33333333349", "0.333 of all"),
        ("-m statistic --mode nth ! --every 4", "0.75 of all"),
        ("-m mark --mark 0x4000/0x4000", "mark 0x4000/0x4000"),
        ("-m mark ! --mark 5", "not mark 0x5"),
        ("-m set --match-set blocked dst,src", "destination, source in set blocked"),
        ("-m set ! --match-set blocked dst", "not destination in set blocked"),
        ('-p tcp -m comment --comment "why not"', '"why not"'),
    ],
)
def test_describe(matches, words):
    assert describe(rule(matches)) == words
