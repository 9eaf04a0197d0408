#!/bin/bash
# The cluster: init, tokens, join, who leads, what every node knows, and what is refused.
# limit: 300
. "$(dirname "$0")/lib.sh"

token_of() { on "$1" skein token create "${@:2}" | tail -n 1; }
nodes_of() { json "$1" '[.[].name] | join(" ")' skein node list; }
voters_of() { json "$1" '[.[] | select(.role == "voter")] | length' skein node list; }
has_three_voters() { [ "$(voters_of "$1")" = 3 ]; }

ok 'three nodes come up' lab up -n 3 || bail 'no lab'

# Before init
refused 'a command before init' 1 'skein init' on 1 skein node list
refused 'a mangled token' 1 'token' on 2 skein join not-a-token
ok 'init makes a cluster of one' on 1 skein init
is 'it is ready at once' "$(nodes_of 1)" n1
refused 'a second init' 1 'already' on 1 skein init

# Joining
token=$(token_of 1)
ok 'join with a token' on 2 skein join "$token"
refused 'the same token again' 1 'used' on 3 skein join "$token"
damaged=${token%?????}AAAAA
refused 'a damaged token' 1 'token' on 3 skein join "$damaged"
short=$(token_of 1 --expires 1s)
expired() { sleep 1.1; }
expired # the token's life is wall clock; there is no event for its end
refused 'an expired token' 1 'expired' on 3 skein join "$short"
refused 'a name that is taken' 1 'n2' on 3 skein join "$(token_of 1)" --name n2

# A board whose own settings are not the cluster's
again() {
    local old
    old=$(on 3 cat /run/node/skeind.pid)
    on 3 kill "$old"
    wait_until 60 on 3 sh -c "[ \"\$(cat /run/node/skeind.pid)\" != $old ] && skein status | grep -q 'not initialised'"
}
on 3 sh -c 'echo "lease_ms = 700" >>/etc/skein/skein.conf'
again
refused 'a board with timers of its own' 1 'lease_ms = 700 here, but the cluster has 600' on 3 skein join "$(token_of 2)"
on 3 sed -i '/^lease_ms/d' /etc/skein/skein.conf
again
ok 'after all of these the third joins' on 3 skein join "$(token_of 2)"
refused 'a member joins again' 1 'already' on 3 skein join "$(token_of 1)"

# What every node knows
for k in 1 2 3; do
    ok "n$k knows three voters" wait_until 60 has_three_voters "$k"
    is "n$k lists them" "$(nodes_of "$k")" 'n1 n2 n3'
done
n_leaders() { for k in 1 2 3; do json $k '.[] | select(.leader) | .name' skein node list; done | sort -u | wc -l; }
becomes 'all agree who leads' 1 n_leaders
is 'fields of a node' "$(json 2 '[has("name", "id", "role", "state", "leader", "cores_isolated", "cores_free", "address")] | all' skein node show n3)" true
is 'cores as declared' "$(json 2 '"\(.cores_isolated) \(.cores_free) \(.isolation)"' skein node show n3)" '3 3 simulated'
is 'address' "$(json 3 .address skein node show n2)" 10.90.0.2
refused 'an unknown node' 1 'n9' on 1 skein node show n9
refused 'cordon of an unknown node' 1 'n9' on 1 skein node cordon n9
refused 'wrong usage' 2 'usage' on 1 skein node frobnicate
ok 'cordon' on 1 skein node cordon n3
becomes 'cordon is seen everywhere' true json 2 .cordoned skein node show n3
ok 'uncordon' on 1 skein node uncordon n3

# Timers: they are the cluster's
becomes 'the profile is shown' default json 3 .profile skein status
becomes 'a new node has the leases of the cluster' 600 json 1 '[.[].ceiling_ms] | unique | join(" ")' skein node list
is 'a start with other timers ends and says what to do' \
    "$(on 2 sh -c 'skeind --lease-ms 700 2>&1; echo "exit $?"' | grep -cE 'lease_ms = 700 here, but the cluster has 600.*take the key|^exit 2')" 2

# Slices
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24 --rate 20mbit
refused 'its name again' 1 'red' on 2 skein slice create red --subnet 10.8.0.0/24
refused 'its subnet again' 1 '10.7.0.0/24' on 2 skein slice create blue --subnet 10.7.0.0/25
refused 'a wrong subnet' 2 '10.7.0.1/24' on 2 skein slice create blue --subnet 10.7.0.1/24
becomes 'there is one slice' red json 3 '[.[].name] | join(" ")' skein slice list

# Another cluster
ok 'a foreign cluster' env LAB="$LAB-b" "$skein_root/deploy/lab" up -n 1
foreign=$(LAB=$LAB-b "$skein_root/deploy/lab" exec n1 -- sh -c 'skein init --profile fast >/dev/null && skein token create' | tail -n 1)
is 'a fast one' "$(LAB=$LAB-b "$skein_root/deploy/lab" exec n1 -- skein node show n1 -f json | jq -r '"\(.profile) \(.ceiling_ms)"')" 'fast 300'
LAB=$LAB-b "$skein_root/deploy/lab" down
ok 'it has a token' test -n "$foreign"
refused 'its token here' 1 '' on 1 skein join "$foreign"

# Configuration
is 'a wrong line of the configuration is named' \
    "$(on 1 sh -c 'printf "name = n1\nnonsense = 1\n" >/tmp/bad.conf; skeind --config /tmp/bad.conf 2>&1; echo "exit $?"' | grep -cE 'bad.conf:2:.*nonsense|exit 2')" 2

# Without a quorum
ok 'two nodes die' sh -c "'$skein_root/deploy/lab' kill n2 && '$skein_root/deploy/lab' kill n3"
refused 'a write without a quorum' 4 'quorum\|leader\|majority' on 1 skein slice create blue --subnet 10.8.0.0/24 --timeout 10s
ok 'a read still answers' on 1 skein node list
ok 'one node returns' lab start n2
can_write() { on 1 skein node cordon n3; }
ok 'writes go on' wait_until 60 can_write
is 'and nothing of the refused one is there' "$(json 1 '[.[].name] | join(" ")' skein slice list)" red
done_testing
