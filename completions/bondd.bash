# bash completion of bondd(8): asks bondd itself; a file where it knows nothing.
_bondd() {
  local IFS=$'\n'
  COMPREPLY=($(bondd complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o bashdefault -o default -F _bondd bondd
