# keepalived as a user has it (sourced by compare-failover): VRRP on n2 and n3, the address and the server go with the master.
# $advert_s is its one timer; 1 s is the default, and parts of a second need version 3 of VRRP. n2's priority is higher: it takes the address back when it returns, as by default.

other_prepare() {
    local k
    for k in 2 3; do
        on "n$k" sh -c 'mkdir -p /etc/keepalived && cat >/etc/keepalived/keepalived.conf' <<C
global_defs {
    router_id n$k
    script_user root
    vrrp_version $([ "$advert_s" = 1 ] && echo 2 || echo 3)
}
vrrp_instance service {
    state BACKUP
    interface br-up
    virtual_router_id 51
    priority $((110 - k))
    advert_int $advert_s
    virtual_ipaddress {
        $service_ip/24
    }
    notify_master "/usr/bin/serve start"
    notify_backup "/usr/bin/serve stop"
    notify_fault "/usr/bin/serve stop"
}
C
        on "n$k" sh -c 'cat >/usr/bin/serve && chmod 755 /usr/bin/serve' <<'C'
#!/bin/sh
[ ! -e /run/counter.pid ] || kill -9 "$(cat /run/counter.pid)" 2>/dev/null
rm -f /run/counter.pid
[ "$1" != start ] || { setsid /usr/bin/counter 7000 </dev/null >/dev/null 2>&1 & echo $! >/run/counter.pid; }
C
    done
}
other_start() { [ "$1" = 1 ] || on "n$1" sh -c 'keepalived </dev/null >/var/log/keepalived.log 2>&1'; }
other_is_whole() { on n2 test -e /run/keepalived.pid -o -e /run/keepalived/keepalived.pid && on n3 test -e /run/keepalived.pid -o -e /run/keepalived/keepalived.pid; }
other_words() { echo "keepalived $(on n2 keepalived --version 2>&1 | sed -n 's/^Keepalived \(v[^ ]*\).*/\1/p'), advert_int $advert_s s, no fencing"; }
