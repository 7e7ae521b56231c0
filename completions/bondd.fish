# fish completion of bondd(8): asks bondd itself; a file where it knows nothing.
function __bondd_complete
    set -l words (commandline -opc) "$(commandline -ct)"
    bondd complete -- $words[2..-1] 2>/dev/null
end
complete -c bondd -n 'test -n "$(__bondd_complete)"' -f -a '(__bondd_complete)'
