#!/usr/bin/env bash
# Makes a certificate authority and a server certificate signed by it, for `chat serve --certs certs`.
# Nobody needs this: without it the server makes a certificate by itself. See README.md beside this file.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: certs/make.sh [--force] [--days N] [--out DIR] [NAME-OR-ADDRESS...]

  NAME-OR-ADDRESS   under which clients reach the server, such as chat.example.org or 192.0.2.7;
                    localhost, 127.0.0.1 and ::1 are always among them
  --days N          how long the server's certificate is valid (default 825)
  --out DIR         where the files go (default: the folder of this script)
  --force           replace files that are already there
USAGE
}

fail() {
    echo "make.sh: $1" >&2
    exit 1
}

out=$(cd "$(dirname "$0")" && pwd)
days=825
force=false
names=(localhost 127.0.0.1 ::1)
while (($# > 0)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --force) force=true ;;
        --days | --out)
            (($# > 1)) || fail "$1 needs a value"
            if [[ $1 == --days ]]; then days=$2; else out=$2; fi
            shift
            ;;
        -*) fail "unknown option $1 (--help tells which there are)" ;;
        *) names+=("$1") ;;
    esac
    shift
done

[[ $days =~ ^[1-9][0-9]*$ ]] || fail "--days is a number of days, not '$days'"
command -v openssl >/dev/null || fail "openssl is not installed (Debian, Ubuntu: apt install openssl)"

alternatives=
for name in "${names[@]}"; do
    [[ $name =~ ^[A-Za-z0-9.:*-]+$ ]] || fail "'$name' is neither a host name nor an address"
    if [[ $name =~ ^[0-9]+(\.[0-9]+){3}$ || $name == *:* ]]; then
        alternatives+=",IP:$name"
    else
        alternatives+=",DNS:$name"
    fi
done

mkdir -p "$out"
for file in ca.pem ca-key.pem cert.pem key.pem; do
    if [[ -e $out/$file && $force == false ]]; then
        fail "$out/$file is already there; --force replaces it, and its clients have to be told"
    fi
done

# Made apart and moved at the end, so that a failure leaves what was there.
umask 077
work=$(mktemp -d "$out/.make.XXXXXX")
trap 'rm -rf "$work"' EXIT

openssl_quietly() {
    openssl "$@" 2>"$work/errors" || {
        cat "$work/errors" >&2
        fail "openssl $1 failed"
    }
}

openssl_quietly req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj "/CN=chat certificate authority" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$work/ca-key.pem" -out "$work/ca.pem"
openssl_quietly req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj "/CN=chat server" -keyout "$work/key.pem" -out "$work/request.pem"
cat >"$work/extensions" <<EXTENSIONS
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = ${alternatives#,}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EXTENSIONS
openssl_quietly x509 -req -in "$work/request.pem" -days "$days" -sha256 \
    -CA "$work/ca.pem" -CAkey "$work/ca-key.pem" -extfile "$work/extensions" -out "$work/cert.pem"
openssl_quietly verify -CAfile "$work/ca.pem" "$work/cert.pem" >/dev/null

chmod 600 "$work/ca-key.pem" "$work/key.pem"
chmod 644 "$work/ca.pem" "$work/cert.pem"
for file in ca-key.pem ca.pem key.pem cert.pem; do
    mv -f "$work/$file" "$out/$file"
done

cat <<DONE
made in $out:
  cert.pem, key.pem   the server's: chat serve --certs $out
  ca.pem              for those who want to check the server's certificate
  ca-key.pem          signs more of them: keep it off the server
names: ${names[*]}; valid for $days days
DONE
