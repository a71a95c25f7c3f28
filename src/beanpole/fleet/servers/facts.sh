# Looks at a server and says what it sees, as lines of KEY<TAB>VALUE; facts.py reads them.
#
# It is sent on the standard input of `sh -s`, runs in dash, bash and busybox ash, and changes nothing. Nothing is ever
# inserted into this text. A tool that is missing is a fact and no error. All work is in functions and starts on the last
# line, so that half a script does nothing and no command can read the rest of the script as its own input.
#
# Four looks go on at once and write into one pipe. Its reader stops when all have ended or the alarm rings, so that
# a hanging `sudo` (it asks DNS) or a dead network disk costs its own facts and holds the SSH channel no longer. Nothing is
# killed but the alarm's own `sleep`: what hangs ends by itself when it next writes.

limit=15 # seconds until the report ends without the looks that still hang; a healthy server needs less than one
tab=$(printf '\t')
newline='
'

# say KEY VALUE: one line, short enough to reach a pipe in one piece.
say() {
    printf '%s\t%.900s\n' "$1" "$2"
}

# lines KEY: each line of the input as a value.
lines() {
    while IFS= read -r line || [ -n "$line" ]; do
        say "$1" "$line"
    done
}

# content KEY FILE: the first line of a file, nothing if there is none.
content() {
    [ -r "$2" ] && IFS= read -r line <"$2" && say "$1" "$line"
}

# moment KEY: the clock in milliseconds, and how fine it is.
moment() {
    now=$(date +%s%N)
    case $now in
    '' | *[!0-9]*)
        say "$1" "$(date +%s)000"
        say clock_step 1000
        ;;
    *)
        say "$1" "${now%??????}"
        say clock_step 1
        ;;
    esac
}

# tool NAME: its path, also where an ordinary user's PATH does not lead.
tool() {
    command -v "$1" && return
    for folder in /usr/sbin /sbin; do
        [ -x "$folder/$1" ] && printf '%s\n' "$folder/$1" && return
    done
    return 1
}

# standing PATH: sets `place` to the folder, or to its nearest parent that exists.
standing() {
    place=$1
    while [ ! -d "$place" ] && [ "$place" != / ]; do
        place=${place%/*}
        place=${place:-/}
    done
}

look_machine() {
    say user "$(id -un)"
    say uid "$(id -u)"
    say host_name "$(uname -n)"
    say kernel "$(uname -r)"
    say architecture "$(uname -m)"
    say word_bits "$(getconf LONG_BIT)"
    if [ -d /run/systemd/system ]; then say init systemd; else content init /proc/1/comm; fi
    content machine_id /etc/machine-id
    content boot_id /proc/sys/kernel/random/boot_id
    content selinux_enforcing /sys/fs/selinux/enforce
    for file in /etc/os-release /usr/lib/os-release; do
        [ -r "$file" ] || continue
        while IFS= read -r line; do
            case $line in ID=* | VERSION_ID=* | PRETTY_NAME=* | ID_LIKE=*) say os "$line" ;; esac
        done <"$file"
        break
    done

    libc=$(getconf GNU_LIBC_VERSION)
    [ -n "$libc" ] || libc=$(ldd --version 2>&1 | sed -n 1,2p | tr '\n' ' ')
    say libc "$libc"

    cpus=$(getconf _NPROCESSORS_ONLN)
    [ -n "$cpus" ] || cpus=$(grep -c '^processor' /proc/cpuinfo)
    say cpus "$cpus"
    while read -r name amount unit; do
        case $name in
        MemTotal: | MemAvailable: | SwapTotal: | SwapFree:) [ "$unit" = kB ] && say "memory_kib" "${name%:}$tab$amount" ;;
        esac
    done </proc/meminfo

    if [ -r /var/lib/beanpole/host.json ]; then
        od -A n -v -t x1 -N 8192 /var/lib/beanpole/host.json | lines holder_hex
    elif [ -e /var/lib/beanpole/host.json ]; then
        say holder_hex ''
    fi
    for file in /var/app /var/app/current /var/app/staging; do
        if [ -h "$file" ] || [ -e "$file" ]; then ls -ld "$file" | lines var_app; fi
    done
    for name in base64 find getent sha256sum tar useradd userdel; do
        tool "$name" >/dev/null || say missing_tool "$name"
    done
    if grep -q '^ENABLED=yes' /etc/ufw/ufw.conf; then say firewall ufw; fi
    if [ -d /run/firewalld ]; then say firewall firewalld; fi
    for name in nft iptables; do
        tool "$name" >/dev/null && say firewall_tool "$name"
    done
}

# Sets `root`: the words that come before a command so that it runs as root; `powerful`: whether it does.
look_sudo() {
    root=''
    powerful=no
    [ "$(id -u)" = 0 ] && powerful=yes
    if ! command -v sudo >/dev/null; then
        say sudo missing
        return
    fi
    words=$(sudo -n id -u 2>&1)
    case $words in
    0 | *"$newline"0)
        say sudo yes
        [ "$powerful" = yes ] || root='sudo -n'
        powerful=yes
        ;;
    *'password is required'* | *'authentication is required'* | *'terminal is required'*) say sudo password ;;
    *) say sudo no ;;
    esac
    say sudo_words "${words##*"$newline"}"
}

look_listening() {
    said=''
    if ss=$(tool ss) && { said=$($root "$ss" -Htlnp) || said=$($root "$ss" -tlnp); }; then
        say listening_source ss
        printf '%s\n' "$said" | sed -n 1,300p | lines listening
        printf '%s\n' "$said" | tr ',(' '\n\n' | sed -n 's/^pid=\([0-9]*\).*/\1/p' | sort -u | sed -n 1,200p |
            while read -r pid; do
                while IFS= read -r line; do
                    case $line in 0::* | *:name=systemd:*) say process_group "$pid$tab$line" ;; esac
                done <"/proc/$pid/cgroup"
            done
    elif [ -r /proc/net/tcp ]; then
        say listening_source proc
        for file in /proc/net/tcp /proc/net/tcp6; do
            grep ' 0A ' "$file" | sed -n 1,300p | lines listening_proc
        done
    fi
}

look_systemd() {
    command -v systemctl >/dev/null || return
    systemctl --version | sed -n 1p | lines systemd
    say systemd_state "$($root systemctl is-system-running)"
    said=$($root systemctl --no-pager --no-legend --plain --full --state=running,failed list-units) || return
    say units_listed yes
    printf '%s\n' "$said" | while read -r unit load active rest; do
        [ "$active" = failed ] && say failed_unit "$unit"
    done
    names=$(
        printf '%s\n' "$said" | while read -r unit load active sub rest; do
            case $unit,$active,$sub in *.service,active,running) printf '%s\n' "$unit" ;; esac
        done | sed -n 1,150p
    )
    [ -n "$names" ] || return
    # The names are words: a unit's name has no blanks.
    $root systemctl --no-pager -p Id -p MainPID -p User -p ExecStart -p WorkingDirectory -p FragmentPath show $names |
        lines service
}

look_rights() {
    look_sudo
    look_listening
    look_systemd
    [ "$powerful" = yes ] || return
    places=''
    for path in /var/lib/beanpole /var/lib /etc /tmp /var/app; do
        standing "$path"
        places="$places $place"
    done
    # Root may write everywhere but on what is read-only or immutable: asking is enough, nothing need be written.
    $root sh -c 'for place do if [ -w "$place" ]; then echo "yes $place"; else echo "no $place"; fi; done' sh $places |
        lines writable
}

look_pythons() {
    # -B -I -S: leaves no compiled files behind, and no setting or package of the user speaks along.
    question='
import os, sys
def has(name):
    try:
        __import__(name)
    except Exception:
        return "no"
    return "yes"
print("\t".join([".".join(map(str, sys.version_info[:3])), os.path.realpath(sys.executable), has("venv"), has("ensurepip")]))
'
    for name in python3 python3.9 python3.10 python3.11 python3.12 python3.13 python3.14; do
        path=$(command -v "$name") || continue
        say python "$path$tab$("$path" -BIS -c "$question")"
    done
}

look_disks() {
    points=' '
    for path in /var/lib/beanpole /var/lib /etc /tmp /var/app; do
        standing "$path"
        space=$(df -P -k "$place" | sed -n '2,$p' | sed -n '$p')
        say disk_space "$path$tab$place$tab$space"
        say disk_inodes "$path$tab$place$tab$(df -P -i "$place" | sed -n '2,$p' | sed -n '$p')"
        points="$points${space##* } "
    done
    while read -r device point kind options rest; do
        case $points in *" $point "*) say mount "$point$tab$kind$tab$options" ;; esac
    done </proc/mounts
}

# relay: copies lines until four looks have ended or the alarm rings, and ends the alarm.
relay() {
    alarm=''
    left=5
    while IFS= read -r line; do
        case $line in
        "alarm$tab"*)
            alarm=${line#*"$tab"}
            left=$((left - 1))
            ;;
        "expired$tab"*)
            alarm=''
            break
            ;;
        "done$tab"*)
            printf '%s\n' "$line"
            left=$((left - 1))
            ;;
        *) printf '%s\n' "$line" ;;
        esac
        [ "$left" -gt 0 ] || break
    done
    [ -z "$alarm" ] || kill "$alarm"
}

main() {
    LC_ALL=C
    export LC_ALL
    set -f
    # On a line of its own, whatever a login script printed before it.
    printf '\n'
    say beanpole-facts begin
    moment clock_began
    {
        {
            sleep "$limit" >/dev/null &
            say alarm "$!"
            wait "$!"
            say expired "$limit"
        } &
        for look in machine rights pythons disks; do
            {
                "look_$look"
                say 'done' "$look"
            } &
        done
    } | relay
    moment clock_ended
    say beanpole-facts end
}

# `exec` in a process of its own, because a redirection of `main` alone makes the shell keep the old descriptors open
# meanwhile, and what hangs would inherit them.
(exec </dev/null 2>/dev/null && main)
