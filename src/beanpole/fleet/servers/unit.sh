# Says what a service that somebody made by hand is: its unit, what runs, its Python, what its folder has.
# $1: the unit. Changes nothing. Values that may have blanks or several lines are in base64.
set -eu
export LC_ALL=C

say() { printf '@ %s\n' "$*"; }
pack() { base64 -w 0; }

# as_user WORDS…: whoever may change a program of the user's must not decide what root runs.
as_user() {
    if [ "$user" = root ]; then "$@" </dev/null; else runuser -u "$user" -- "$@" </dev/null; fi
}

names=Id,LoadState,ActiveState,UnitFileState,FragmentPath,DropInPaths,User,WorkingDirectory,MainPID,Environment
names=$names,EnvironmentFiles,ExecStartPre,ExecStartPost,ExecStop,ExecReload,NeedDaemonReload,Type
say show "$(systemctl show --no-pager --property="$names" -- "$1" | pack)"
say text "$(systemctl cat --no-pager -- "$1" 2>/dev/null | pack)"

say kernel "$(uname -r)"

value() { systemctl show --property="$1" --value -- "$unit"; }
unit=$1
user=$(value User)
user=${user:-root}
folder=$(value WorkingDirectory)
group=$(value ControlGroup)
value EnvironmentFiles | sed -n 's/^\(.*\) (ignore_errors=[a-z]*)$/\1/p' | while IFS= read -r path; do
    [ -r "$path" ] || continue
    say variables "$(printf %s "$path" | pack) $(head -c 262144 "$path" | pack)"
done
for mount in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    if [ -n "$group" ] && [ -d "$mount$group" ]; then
        say pids $(find "$mount$group" -name cgroup.procs -exec cat {} + | sort -un)
        break
    fi
done
say listening "$(ss -Htlnp 2>/dev/null | pack)"

case $folder in
/?*) ;;
*) folder= ;;
esac
folder=${folder#[!-]}
if [ -n "$folder" ]; then folder=/${folder#/}; fi
if [ -z "$folder" ] || [ ! -d "$folder" ]; then exit 0; fi
say home "$(getent passwd "$user" | cut -d : -f 6 | pack)"
ls -A "$folder" | sed -n 1,500p | while IFS= read -r name; do
    kind=file
    if [ -d "$folder/$name" ]; then kind=folder; fi
    if [ -e "$folder/$name/pyvenv.cfg" ]; then kind=venv; fi
    say entry "$kind" "$(printf %s "$name" | pack)"
done
find "$folder" -xdev -type f -size +51200k -printf '%s\t%P\n' 2>/dev/null | sed -n 1,50p |
    while IFS="$(printf '\t')" read -r size name; do say large "$size" "$(printf %s "$name" | pack)"; done
if [ -e "$folder/.git" ]; then
    say revision "$(as_user git -C "$folder" describe --always --dirty --abbrev=12 2>/dev/null | sed -n 1p | pack)"
fi

# The interpreter: the one beside the program that is started, or that program itself.
program=$(systemctl show --property=ExecStart --value -- "$unit" | sed -n 's/^{ path=\([^ ]*\) ;.*/\1/p' | sed -n 1p)
for path in "${program%/*}/python" "${program%/*}/python3"; do
    case $path in /*) ;; *) continue ;; esac
    [ -x "$path" ] || continue
    said=$(as_user "$path" -c 'import sys; print("%d.%d.%d %s %s" % (sys.version_info[:3] + (sys.prefix, sys.prefix != sys.base_prefix)))' 2>/dev/null || :)
    say python "$(printf %s "$path" | pack) $(printf %s "$said" | pack)"
    say frozen "$(as_user "$path" -m pip freeze 2>/dev/null | sed -n 1,1000p | pack)"
    break
done
