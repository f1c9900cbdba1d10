#!/usr/bin/env bash
# A fresh machine, proved: build a root of Debian's own packages with Python and make and nothing else, enter it without
# anything of this machine, and run the README's commands on a clone of the last commit. What is missing there was never
# said in the README. Needs root, mmdebstrap (or debootstrap) and 15 GB.
#
#   make fresh                          make repro and make test, as root
#   make fresh AS=user                  as a user without root, with a home that is read-only, in "/srv/Größe 1/wsss mm"
#   make fresh SUITE=trixie             another Debian (trixie: Python 3.13)
#   make fresh RUN="make setup"         another command
#   make fresh KEEP=1 ROOT=/big/root    elsewhere than in /var/tmp, and left there
#
# The mirror is apt's (or MIRROR), the index pip's: their settings are taken over, and the folders these name.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${SUITE:-bookworm} as=${AS:-root} run=${RUN:-make repro && make test}
root=${ROOT:-$(mktemp -d /var/tmp/fresh.XXXXXX)}
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 2>/dev/null | head -n 1)}
packages=python3,make
[[ $as == root ]] || packages+=,python3-venv,git  # as root, `make setup` installs what it needs

say() { echo "fresh: $*" >&2; }
fail() { say "$*"; exit 2; }
[[ $(id -u) == 0 ]] || fail "needs root: sudo make fresh"
command -v mmdebstrap >/dev/null || command -v debootstrap >/dev/null || fail "needs mmdebstrap; install with: sudo apt-get install mmdebstrap"
git diff --quiet HEAD || say "changes that are not committed stay out"

# All mounts are in a namespace of their own: they end with this script, however it ends.
if [[ -z ${FRESH_INSIDE:-} ]]; then
    trap '[[ ${KEEP:-} ]] || rm -rf --one-file-system "$root"' EXIT
    began=$SECONDS
    mkdir -p "$root"
    if [[ ! -e $root/etc/debian_version ]]; then
        say "building $suite in $root"
        if command -v mmdebstrap >/dev/null; then
            proxies=()
            while read -r line; do proxies+=(--aptopt="$line"); done < <(apt-config dump | grep -E '^Acquire::[a-z]+::Proxy')
            mmdebstrap --quiet --variant=minbase --include="$packages" ${proxies[@]+"${proxies[@]}"} "$suite" "$root" \
                ${mirror:+"$mirror"}
        else
            debootstrap --variant=minbase --include="$packages" "$suite" "$root" ${mirror:+"$mirror"} >/dev/null
        fi
    fi
    say "Debian $(<"$root/etc/debian_version"), $(du -sxm "$root" | cut -f1) MB, after $((SECONDS - began)) s"
    FRESH_INSIDE=1 ROOT=$root unshare --mount --pid --fork --kill-child --ipc --uts bash "$0"
    say "passed, after $((SECONDS - began)) s"
    exit
fi

# What a running machine has: devices, processes, names of others.
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 none "$root/dev"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 none "$root/dev/shm"
mount -t devpts none "$root/dev/pts"
for name in null zero full random urandom; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
hostname fresh
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
printf '127.0.0.1 localhost fresh\n' >"$root/etc/hosts"

# pip's settings as one file; what they name on this machine (an index in a folder, certificates) is below /mnt/pip.
python3 - "$root/etc/pip.conf" <<'PYTHON' | while read -r path; do
import ast, os, subprocess, sys
listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
named = set()
def moved(word):
    path = word.removeprefix("file://")
    if not path.startswith("/") or not os.path.exists(path):
        return word
    named.add(os.path.dirname(path) if os.path.basename(path) == "simple" else path)  # an index's files lie beside it
    return word.removesuffix(path) + "/mnt/pip" + path
settings = {}
for line in listed.stdout.splitlines():  # those of the environment come first, and count
    key, _, value = line.partition("=")
    settings.setdefault(key.rpartition(".")[2], map(moved, ast.literal_eval(value).split()))
with open(sys.argv[1], "w") as file:
    file.write("[global]\n" + "".join(f"{key} = " + "\n    ".join(words) + "\n" for key, words in settings.items()))
print("\n".join(sorted(named)))
PYTHON
    [[ -n $path ]] || continue
    mkdir -p "$root/mnt/pip$(dirname "$path")"
    if [[ -d $path ]]; then mkdir -p "$root/mnt/pip$path"; else touch "$root/mnt/pip$path"; fi
    mount --bind -o ro "$path" "$root/mnt/pip$path"
done

folder=/root/wsss_mm home=/root
if [[ $as == user ]]; then
    folder="/srv/Größe 1/wsss mm" home=/home/fresh
    chroot "$root" useradd --home-dir "$home" --shell /bin/bash fresh 2>/dev/null || true
    mkdir -p "$root$home" "$root$(dirname "$folder")"
    chmod 555 "$root$home"
    mount --bind "$root$home" "$root$home"
    mount -o remount,bind,ro "$root$home"
fi
rm -rf "$root$folder"
git clone --quiet --no-hardlinks "file://$PWD" "$root$folder"
[[ $as == root ]] || chroot "$root" chown -R fresh: "$folder"

say "as $as in $folder: $run"
if [[ $as == root ]]; then enter=(chroot "$root"); else enter=(chroot --userspec=fresh:fresh "$root"); fi
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME="$home" USER="$as" LANG=C.UTF-8 TERM=dumb \
    "${enter[@]}" /bin/bash -ec 'cd "$1"; eval "$2"' fresh "$folder" "$run"
