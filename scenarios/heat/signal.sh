#!/bin/sh
# Run in the guest by its init. Signals both wait conditions with the id of this boot, which nobody
# outside knows. There is a shell, busybox's nc, and no name resolution.

# call METHOD URL BODY [HEADER]: one HTTP request; succeeds when the answer is a 2xx.
call() {
    rest=${2#http://}
    server=${rest%%/*}
    status=none
    {
        printf '%s /%s HTTP/1.0\r\nHost: %s\r\n' "$1" "${rest#*/}" "$server"
        printf 'Content-Type: application/json\r\nContent-Length: %d\r\n' ${#3}
        printf '%s\r\nConnection: close\r\n\r\n%s' "${4:-Accept: application/json}" "$3"
    } | nc -w 20 "${server%:*}" "${server#*:}" >"$store/answer"
    read -r _ status _ <"$store/answer"
    case $status in 2*) true ;; *) false ;; esac
}

# signal NAME METHOD URL BODY [HEADER]: again and again until it is taken.
signal() {
    name=$1
    shift
    until call "$@"; do
        echo "devenv-guest: signal name=$name status=$status"
        sleep 1
    done
    echo "devenv-guest: signal name=$name status=$status"
}

store=${STATE:-/run}
read -r boot_id <"${PROC:-/proc}/sys/kernel/random/boot_id"
signal orchestration POST '@ENDPOINT@' \
    "{\"status\": \"SUCCESS\", \"reason\": \"it is up\", \"data\": \"$boot_id\", \"id\": \"guest\"}" \
    'X-Auth-Token: @TOKEN@'
signal cloudformation PUT '@SIGNED@' \
    "{\"Status\": \"SUCCESS\", \"Reason\": \"it is up\", \"Data\": \"$boot_id\", \"UniqueId\": \"guest\"}"
