"""Firewalls built the way firewalld and ufw build theirs: same hooks, priorities, chains and order of verdicts, and only
what decides here. Compared with firewalld 1.3.3 (nftables backend, zone public) and ufw 0.36.2 of Debian 12."""


def firewalld(ports=(), trusted=()):
    """As text for `nft -f`. `ports`: UDP, open in zone public; `trusted`: interfaces of zone trusted, which accepts all."""
    zones = {hook: "".join(f'iifname "{device}" goto filter_{hook}_trusted; ' for device in trusted) for hook in ("IN", "FWD")}
    opened = "".join(f"udp dport {port} accept; " for port in ports)
    onward = "".join(f'oifname "{device}" accept; ' for device in trusted)
    known = 'ct state { established, related } accept; ct status dnat accept; iifname "lo" accept; ct state invalid drop;'
    return f"""table inet firewalld {{
  chain filter_IN_allow {{ tcp dport 22 accept; {opened} }}
  chain filter_IN_trusted {{ accept; }}
  chain filter_IN_public {{
    jump filter_IN_allow
    meta l4proto {{ icmp, ipv6-icmp }} accept
    reject with icmpx admin-prohibited
  }}
  chain filter_INPUT_ZONES {{ {zones["IN"]} goto filter_IN_public; }}
  chain filter_INPUT {{
    type filter hook input priority filter + 10; policy accept;
    {known}
    jump filter_INPUT_ZONES
    reject with icmpx admin-prohibited
  }}
  chain filter_FWD_trusted {{ accept; }}
  chain filter_FWD_policies {{ {onward} }}
  chain filter_FWD_public {{ jump filter_FWD_policies; reject with icmpx admin-prohibited; }}
  chain filter_FORWARD_ZONES {{ {zones["FWD"]} goto filter_FWD_public; }}
  chain filter_FORWARD {{
    type filter hook forward priority filter + 10; policy accept;
    {known}
    jump filter_FORWARD_ZONES
    reject with icmpx admin-prohibited
  }}
}}
"""


def ufw():
    """As text for `iptables-restore`: `ufw enable` after `ufw allow 22/tcp`, with answers, pings and DHCP let in."""
    return """*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
:ufw-before-input -
:ufw-not-local -
:ufw-user-input -
:ufw-after-input -
:ufw-skip-to-policy-input -
:ufw-before-forward -
:ufw-user-forward -
-A INPUT -j ufw-before-input
-A INPUT -j ufw-after-input
-A FORWARD -j ufw-before-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -p udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j LOG
-A ufw-not-local -j DROP
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
-A ufw-after-input -p udp --dport 137 -j ufw-skip-to-policy-input
-A ufw-skip-to-policy-input -j DROP
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp --icmp-type 8 -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
COMMIT
"""
