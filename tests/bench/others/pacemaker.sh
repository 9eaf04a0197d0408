# corosync and pacemaker as a user has them (sourced by compare-failover): three nodes with quorum, the address (IPaddr2) and the server
# (anything) as one group on n2 or n3, all timers at their defaults (token 3000 ms, and 650 more for the third node). There is no fencing
# device in the lab, so stonith is off: with it a failover is longer by the time that fencing takes.

other_prepare() {
    local k
    for k in 1 2 3; do
        on "n$k" sh -c 'cat >/etc/corosync/corosync.conf' <<C
totem {
    version: 2
    cluster_name: lab
    transport: knet
}
nodelist {
$(for i in 1 2 3; do printf '    node {\n        name: n%d\n        nodeid: %d\n        ring0_addr: 10.90.0.%d\n    }\n' "$i" "$i" "$i"; done)
}
quorum {
    provider: corosync_votequorum
}
logging {
    to_syslog: no
    to_logfile: yes
    logfile: /var/log/corosync.log
}
C
    done
}
other_start() {
    on "n$1" sh -c 'mkdir -p /run/corosync /var/log/corosync; setsid corosync -f </dev/null >/var/log/corosync.out 2>&1 &
        until corosync-cfgtool -s >/dev/null 2>&1; do sleep 0.05; done
        setsid pacemakerd </dev/null >/var/log/pacemakerd.out 2>&1 &'
}
other_is_whole() { on n1 crm_mon -1 2>/dev/null | grep -q 'Online: \[ n1 n2 n3 \]'; }
other_configure() {
    within 60 other_is_whole || return 1
    on n1 sh -c 'crm_attribute -n stonith-enabled -v false && crm_attribute -t rsc_defaults -n resource-stickiness -v 100 &&
        cibadmin -M -o resources --xml-pipe --allow-create' <<C || return 1
<resources>
  <group id="service">
    <primitive id="address" class="ocf" provider="heartbeat" type="IPaddr2">
      <instance_attributes id="address-i">
        <nvpair id="address-ip" name="ip" value="$service_ip"/>
        <nvpair id="address-nic" name="nic" value="br-up"/>
        <nvpair id="address-mask" name="cidr_netmask" value="24"/>
      </instance_attributes>
      <operations><op id="address-m" name="monitor" interval="10s"/></operations>
    </primitive>
    <primitive id="server" class="ocf" provider="heartbeat" type="anything">
      <instance_attributes id="server-i">
        <nvpair id="server-bin" name="binfile" value="/usr/bin/counter"/>
        <nvpair id="server-options" name="cmdline_options" value="7000"/>
      </instance_attributes>
      <operations><op id="server-m" name="monitor" interval="10s"/></operations>
    </primitive>
  </group>
</resources>
C
    on n1 cibadmin -M -o constraints --allow-create --xml-pipe <<'C'
<constraints><rsc_location id="not-n1" rsc="service" node="n1" score="-INFINITY"/></constraints>
C
}
other_words() { echo "pacemaker $(on n2 pacemakerd --version | sed -n 's/^Pacemaker //p'), corosync with token $(on n2 corosync-cmapctl -g runtime.config.totem.token | sed 's/.* = //') ms, stonith off"; }
