"""What kube-proxy 1.36.3 in iptables mode wrote on a node, as iptables-save 1.8.9 printed it.

The objects are `RECORDED_SERVICES` and `RECORDED_SLICES` of `test_services.py`, created in an API server; the node was
`node`, the pods' range `--cluster-cidr=10.244.0.0/16`. Left out here is what `kube_proxy` leaves out: chains for node
ports, forwarding and masquerading, and the rule without a target at the end of KUBE-FW.
"""

RECORDED = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-PROXY-FIREWALL -d 192.0.2.12/32 -p tcp -m comment --comment "shop/closed:http traffic not accepted by KUBE-FW-5U5KDEQTW6DX6FEU" -m tcp --dport 80 -j DROP
-A KUBE-SERVICES -d 10.96.0.11/32 -p udp -m comment --comment "shop/empty has no endpoints" -m udp --dport 53 -j REJECT --reject-with icmp-port-unreachable
-A KUBE-SERVICES -d 10.96.0.13/32 -p tcp -m comment --comment "shop/far:http has no local endpoints" -m tcp --dport 80 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-EXT-5U5KDEQTW6DX6FEU - [0:0]
:KUBE-EXT-EM74DFHYVYKNO344 - [0:0]
:KUBE-EXT-G2XTYZMHDQJ5ZWPO - [0:0]
:KUBE-EXT-UQGPBIWO2H6DZMJI - [0:0]
:KUBE-FW-5U5KDEQTW6DX6FEU - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SEP-2BBWKZ7VS7L3H5KA - [0:0]
:KUBE-SEP-2KVHGFZR7V6ET44D - [0:0]
:KUBE-SEP-3B5XO7OSMV7VPARF - [0:0]
:KUBE-SEP-6CMI4LZOKE57KQ3U - [0:0]
:KUBE-SEP-7XS52N36OL4O37OM - [0:0]
:KUBE-SEP-MUME4V5IUXEHBD6K - [0:0]
:KUBE-SEP-OLBUFZVHCJLG5LFW - [0:0]
:KUBE-SEP-SWTWUEZUZY3IHLAU - [0:0]
:KUBE-SEP-V35P3QW45VBL4Z5S - [0:0]
:KUBE-SEP-ZHE6EDIZXTAO6N7K - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-5U5KDEQTW6DX6FEU - [0:0]
:KUBE-SVC-67NZLRHBNDSAWJRO - [0:0]
:KUBE-SVC-EM74DFHYVYKNO344 - [0:0]
:KUBE-SVC-G2XTYZMHDQJ5ZWPO - [0:0]
:KUBE-SVC-UQGPBIWO2H6DZMJI - [0:0]
:KUBE-SVL-2S6KKOSRNB4JOMNG - [0:0]
:KUBE-SVL-G2XTYZMHDQJ5ZWPO - [0:0]
:KUBE-SVL-UQGPBIWO2H6DZMJI - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-EXT-5U5KDEQTW6DX6FEU -m comment --comment "masquerade traffic for shop/closed:http external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-5U5KDEQTW6DX6FEU -j KUBE-SVC-5U5KDEQTW6DX6FEU
-A KUBE-EXT-EM74DFHYVYKNO344 -m comment --comment "masquerade traffic for shop/open:http external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-EM74DFHYVYKNO344 -j KUBE-SVC-EM74DFHYVYKNO344
-A KUBE-EXT-G2XTYZMHDQJ5ZWPO -s 10.244.0.0/16 -m comment --comment "pod traffic for shop/strict:http external destinations" -j KUBE-SVC-G2XTYZMHDQJ5ZWPO
-A KUBE-EXT-G2XTYZMHDQJ5ZWPO -m comment --comment "masquerade LOCAL traffic for shop/strict:http external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-EXT-G2XTYZMHDQJ5ZWPO -m comment --comment "route LOCAL traffic for shop/strict:http external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-G2XTYZMHDQJ5ZWPO
-A KUBE-EXT-G2XTYZMHDQJ5ZWPO -j KUBE-SVL-G2XTYZMHDQJ5ZWPO
-A KUBE-EXT-UQGPBIWO2H6DZMJI -s 10.244.0.0/16 -m comment --comment "pod traffic for shop/remote:http external destinations" -j KUBE-SVC-UQGPBIWO2H6DZMJI
-A KUBE-EXT-UQGPBIWO2H6DZMJI -m comment --comment "masquerade LOCAL traffic for shop/remote:http external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-EXT-UQGPBIWO2H6DZMJI -m comment --comment "route LOCAL traffic for shop/remote:http external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-UQGPBIWO2H6DZMJI
-A KUBE-EXT-UQGPBIWO2H6DZMJI -j KUBE-SVL-UQGPBIWO2H6DZMJI
-A KUBE-FW-5U5KDEQTW6DX6FEU -s 203.0.113.0/24 -m comment --comment "shop/closed:http loadbalancer IP" -j KUBE-EXT-5U5KDEQTW6DX6FEU
-A KUBE-FW-5U5KDEQTW6DX6FEU -s 10.244.0.0/16 -m comment --comment "shop/closed:http loadbalancer IP" -j KUBE-EXT-5U5KDEQTW6DX6FEU
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SEP-2BBWKZ7VS7L3H5KA -s 10.244.0.1/32 -m comment --comment "shop/near:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-2BBWKZ7VS7L3H5KA -p tcp -m comment --comment "shop/near:http" -m tcp -j DNAT --to-destination 10.244.0.1:8080
-A KUBE-SEP-2KVHGFZR7V6ET44D -s 10.244.1.1/32 -m comment --comment "shop/strict:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-2KVHGFZR7V6ET44D -p tcp -m comment --comment "shop/strict:http" -m tcp -j DNAT --to-destination 10.244.1.1:8080
-A KUBE-SEP-3B5XO7OSMV7VPARF -s 10.244.1.1/32 -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-3B5XO7OSMV7VPARF -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 10.244.1.1:8080
-A KUBE-SEP-6CMI4LZOKE57KQ3U -s 10.244.0.1/32 -m comment --comment "shop/closed:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-6CMI4LZOKE57KQ3U -p tcp -m comment --comment "shop/closed:http" -m tcp -j DNAT --to-destination 10.244.0.1:8080
-A KUBE-SEP-7XS52N36OL4O37OM -s 10.244.0.1/32 -m comment --comment "shop/open:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-7XS52N36OL4O37OM -p tcp -m comment --comment "shop/open:http" -m tcp -j DNAT --to-destination 10.244.0.1:8080
-A KUBE-SEP-MUME4V5IUXEHBD6K -s 10.244.0.1/32 -m comment --comment "shop/strict:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-MUME4V5IUXEHBD6K -p tcp -m comment --comment "shop/strict:http" -m tcp -j DNAT --to-destination 10.244.0.1:8080
-A KUBE-SEP-OLBUFZVHCJLG5LFW -s 10.244.0.2/32 -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-OLBUFZVHCJLG5LFW -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 10.244.0.2:8080
-A KUBE-SEP-SWTWUEZUZY3IHLAU -s 10.244.0.1/32 -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-SWTWUEZUZY3IHLAU -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 10.244.0.1:8080
-A KUBE-SEP-V35P3QW45VBL4Z5S -s 10.244.1.1/32 -m comment --comment "shop/remote:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-V35P3QW45VBL4Z5S -p tcp -m comment --comment "shop/remote:http" -m tcp -j DNAT --to-destination 10.244.1.1:8080
-A KUBE-SEP-ZHE6EDIZXTAO6N7K -s 10.244.0.3/32 -m comment --comment "shop/remote:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-ZHE6EDIZXTAO6N7K -p tcp -m comment --comment "shop/remote:http" -m tcp -j DNAT --to-destination 10.244.0.3:8080
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-67NZLRHBNDSAWJRO
-A KUBE-SERVICES -d 10.96.0.22/32 -p tcp -m comment --comment "shop/closed:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-5U5KDEQTW6DX6FEU
-A KUBE-SERVICES -d 192.0.2.12/32 -p tcp -m comment --comment "shop/closed:http loadbalancer IP" -m tcp --dport 80 -j KUBE-FW-5U5KDEQTW6DX6FEU
-A KUBE-SERVICES -d 10.96.0.12/32 -p tcp -m comment --comment "shop/near:http cluster IP" -m tcp --dport 80 -j KUBE-SVL-2S6KKOSRNB4JOMNG
-A KUBE-SERVICES -d 10.96.0.21/32 -p tcp -m comment --comment "shop/open:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-EM74DFHYVYKNO344
-A KUBE-SERVICES -d 192.0.2.21/32 -p tcp -m comment --comment "shop/open:http external IP" -m tcp --dport 80 -j KUBE-EXT-EM74DFHYVYKNO344
-A KUBE-SERVICES -d 192.0.2.11/32 -p tcp -m comment --comment "shop/open:http loadbalancer IP" -m tcp --dport 80 -j KUBE-EXT-EM74DFHYVYKNO344
-A KUBE-SERVICES -d 10.96.0.24/32 -p tcp -m comment --comment "shop/remote:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-UQGPBIWO2H6DZMJI
-A KUBE-SERVICES -d 192.0.2.24/32 -p tcp -m comment --comment "shop/remote:http external IP" -m tcp --dport 80 -j KUBE-EXT-UQGPBIWO2H6DZMJI
-A KUBE-SERVICES -d 192.0.2.14/32 -p tcp -m comment --comment "shop/remote:http loadbalancer IP" -m tcp --dport 80 -j KUBE-EXT-UQGPBIWO2H6DZMJI
-A KUBE-SERVICES -d 10.96.0.23/32 -p tcp -m comment --comment "shop/strict:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-G2XTYZMHDQJ5ZWPO
-A KUBE-SERVICES -d 192.0.2.13/32 -p tcp -m comment --comment "shop/strict:http loadbalancer IP" -m tcp --dport 80 -j KUBE-EXT-G2XTYZMHDQJ5ZWPO
-A KUBE-SVC-5U5KDEQTW6DX6FEU ! -s 10.244.0.0/16 -d 10.96.0.22/32 -p tcp -m comment --comment "shop/closed:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-5U5KDEQTW6DX6FEU -m comment --comment "shop/closed:http -> 10.244.0.1:8080" -j KUBE-SEP-6CMI4LZOKE57KQ3U
-A KUBE-SVC-67NZLRHBNDSAWJRO ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-67NZLRHBNDSAWJRO -m comment --comment "shop/web:http -> 10.244.0.1:8080" -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-SWTWUEZUZY3IHLAU
-A KUBE-SVC-67NZLRHBNDSAWJRO -m comment --comment "shop/web:http -> 10.244.0.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-OLBUFZVHCJLG5LFW
-A KUBE-SVC-67NZLRHBNDSAWJRO -m comment --comment "shop/web:http -> 10.244.1.1:8080" -j KUBE-SEP-3B5XO7OSMV7VPARF
-A KUBE-SVC-EM74DFHYVYKNO344 ! -s 10.244.0.0/16 -d 10.96.0.21/32 -p tcp -m comment --comment "shop/open:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-EM74DFHYVYKNO344 -m comment --comment "shop/open:http -> 10.244.0.1:8080" -j KUBE-SEP-7XS52N36OL4O37OM
-A KUBE-SVC-G2XTYZMHDQJ5ZWPO ! -s 10.244.0.0/16 -d 10.96.0.23/32 -p tcp -m comment --comment "shop/strict:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-G2XTYZMHDQJ5ZWPO -m comment --comment "shop/strict:http -> 10.244.0.1:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-MUME4V5IUXEHBD6K
-A KUBE-SVC-G2XTYZMHDQJ5ZWPO -m comment --comment "shop/strict:http -> 10.244.1.1:8080" -j KUBE-SEP-2KVHGFZR7V6ET44D
-A KUBE-SVC-UQGPBIWO2H6DZMJI ! -s 10.244.0.0/16 -d 10.96.0.24/32 -p tcp -m comment --comment "shop/remote:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-UQGPBIWO2H6DZMJI -m comment --comment "shop/remote:http -> 10.244.1.1:8080" -j KUBE-SEP-V35P3QW45VBL4Z5S
-A KUBE-SVL-2S6KKOSRNB4JOMNG ! -s 10.244.0.0/16 -d 10.96.0.12/32 -p tcp -m comment --comment "shop/near:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVL-2S6KKOSRNB4JOMNG -m comment --comment "shop/near:http -> 10.244.0.1:8080" -j KUBE-SEP-2BBWKZ7VS7L3H5KA
-A KUBE-SVL-G2XTYZMHDQJ5ZWPO -m comment --comment "shop/strict:http -> 10.244.0.1:8080" -j KUBE-SEP-MUME4V5IUXEHBD6K
-A KUBE-SVL-UQGPBIWO2H6DZMJI -m comment --comment "shop/remote:http -> 10.244.0.3:8080" -j KUBE-SEP-ZHE6EDIZXTAO6N7K
COMMIT
"""
