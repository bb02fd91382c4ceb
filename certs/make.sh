#!/usr/bin/env bash
# Creates a certificate authority and a server certificate signed by it, for `chat serve --certs certs`.
# Optional: by default, the server creates a self-signed certificate. See README.md in this directory.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: certs/make.sh [--force] [--days N] [--out DIR] [NAME-OR-ADDRESS...]

  NAME-OR-ADDRESS   a name or address of the server, such as chat.example.org or 192.0.2.7;
                    localhost, 127.0.0.1 and ::1 are always included
  --days N          validity of the server's certificate in days (default: 825)
  --out DIR         output directory (default: the directory of this script)
  --force           replace existing files
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
        -*) fail "unknown option $1 (see --help)" ;;
        *) names+=("$1") ;;
    esac
    shift
done

[[ $days =~ ^[1-9][0-9]*$ ]] || fail "invalid value for --days: '$days' (expected a number of days)"
command -v openssl >/dev/null || fail "openssl not found (Debian, Ubuntu: apt install openssl)"

alternatives=
for name in "${names[@]}"; do
    [[ $name =~ ^[A-Za-z0-9.:*-]+$ ]] || fail "invalid host name or address: '$name'"
    if [[ $name =~ ^[0-9]+(\.[0-9]+){3}$ || $name == *:* ]]; then
        alternatives+=",IP:$name"
    else
        alternatives+=",DNS:$name"
    fi
done

mkdir -p "$out"
for file in ca.pem ca-key.pem cert.pem key.pem; do
    if [[ -e $out/$file && $force == false ]]; then
        fail "$out/$file already exists (--force replaces it; clients that trust it will then refuse the server)"
    fi
done

# Files are created in a temporary directory and moved at the end, so that a failure changes nothing.
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
created in $out:
  cert.pem, key.pem   certificate and key of the server: chat serve --certs $out
  ca.pem              certificate of the authority, for clients: chat join --ca ca.pem
  ca-key.pem          private key of the authority: do not keep it on the server
names: ${names[*]}; valid for $days days
DONE
