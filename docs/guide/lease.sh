#!/bin/sh
# Hold, renew, wait with a ticket, give back and lose a lease, with nothing but curl.
# LEASEHOLD_URL and LEASEHOLD_TOKEN name a server other than your own.
set -eu

url=${LEASEHOLD_URL:-http://127.0.0.1:7117}
token=${LEASEHOLD_TOKEN:-$(cat "${XDG_DATA_HOME:-$HOME/.local/share}/leasehold/admin.token")}

call() { # METHOD PATH BODY: the answer's body, then its status on a line of its own
    curl -sS -X "$1" "$url/api/scheduler$2" -w '\n%{http_code}\n' --data "$3" \
        -H "Authorization: Bearer $token" -H "Content-Type: application/json"
}
field() { # NAME: its value in the JSON on standard input, the first one of that name
    tr ',{' '\n\n' | sed -n "s/^\"$1\":\"\{0,1\}\([^\"}]*\).*/\1/p" | head -n 1
}
keep() { call POST "/lease/$1/heartbeat" "{\"fencing_token\": $2}"; }

# Ask, and wait up to 60 s for room and a quiet machine. A grant is an offer for 5 s: the first heartbeat
# takes it up; after that the lease lives 30 s from each heartbeat. The token goes with every call.
answer=$(call POST /lease/request '{"job_type": "example", "cost_units": 90, "wait_sec": 60}')
first=$(echo "$answer" | field lease_id)
first_token=$(echo "$answer" | field fencing_token)
[ -n "$first" ] || { echo "not granted: $(echo "$answer" | field reason)" >&2; exit 75; }
echo "granted: $first, token $first_token"
echo "renewed: $(keep "$first" "$first_token" | field action)"

# A denial is an answer too: why, when to ask again, and a ticket that keeps the place in the line.
ask='{"job_type": "example", "cost_units": 50'
answer=$(call POST /lease/request "$ask}")
ticket=$(echo "$answer" | field ticket)
reason=$(echo "$answer" | sed -n 's/.*"reason":"\([^"]*\)".*/\1/p' | head -n 1)
echo "the next one has to wait: $reason; ticket $ticket, place $(echo "$answer" | field position)"

# Give the first one back; whoever waits gets the room.
echo "given back: $(call POST "/lease/$first/release" "{\"fencing_token\": $first_token}" | field state)"
answer=$(call POST /lease/request "$ask, \"wait_sec\": 60, \"ticket\": \"$ticket\"}")
second=$(echo "$answer" | field lease_id)
second_token=$(echo "$answer" | field fencing_token)
[ -n "$second" ] || { echo "not granted: $(echo "$answer" | field reason)" >&2; exit 75; }
keep "$second" "$second_token" >/dev/null
echo "with its ticket: $second is granted"

# Lose it: the owner takes it back. Its holder hears action=stop, and 410 once it has ended.
call POST "/lease/$second/revoke" '{"grace_sec": 0}' >/dev/null
while answer=$(keep "$second" "$second_token") && [ "$(echo "$answer" | tail -n 1)" = 200 ]; do sleep 0.2; done
echo "taken back: the next heartbeat is answered $(echo "$answer" | tail -n 1) $(echo "$answer" | field code)"
