# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_imprint_global_optspecs
    string join \n config= v/verbose h/help V/version
end

function __fish_imprint_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_imprint_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_imprint_using_subcommand
    set -l cmd (__fish_imprint_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c imprint -n "__fish_imprint_needs_command" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_needs_command" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_needs_command" -s V -l version -d 'Print version'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "doctor" -d 'Look at all that an enrollment needs, and say what is wrong'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "enroll" -d 'Enroll this instance, or find that there is nothing to do'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "facts" -d 'Show which facts of this machine a token can be sealed with'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "forget" -d 'Remove all that an enrollment left, at the end of an image\'s bake'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "promote" -d 'Become the privileged host that waits for this instance, if one does'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "rotate-key" -d 'Replace this host\'s API key'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "status" -d 'Say what is known of the enrollment, without asking anybody'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "verify" -d 'Prove that the identity on disk authenticates'
complete -c imprint -n "__fish_imprint_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c imprint -n "__fish_imprint_using_subcommand doctor" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_using_subcommand doctor" -l json -d 'As JSON'
complete -c imprint -n "__fish_imprint_using_subcommand doctor" -l offline -d 'Ask no server'
complete -c imprint -n "__fish_imprint_using_subcommand doctor" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_using_subcommand enroll" -l deadline -d 'How long to try, such as 15m; the configuration\'s deadline if left out' -r
complete -c imprint -n "__fish_imprint_using_subcommand enroll" -l token-from -d 'Take the token from stdin, file:PATH or credential:NAME in the place of [source]' -r
complete -c imprint -n "__fish_imprint_using_subcommand enroll" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_using_subcommand enroll" -l dry-run -d 'Do all but redeem and store: nothing is changed'
complete -c imprint -n "__fish_imprint_using_subcommand enroll" -l take-over -d 'Take a host that another instance has, or may have: that one\'s key dies'
complete -c imprint -n "__fish_imprint_using_subcommand enroll" -l again -d 'Replace a key that Conjur does not take any more, however often that was'
complete -c imprint -n "__fish_imprint_using_subcommand enroll" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_using_subcommand enroll" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_using_subcommand facts" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_using_subcommand facts" -l json -d 'As JSON'
complete -c imprint -n "__fish_imprint_using_subcommand facts" -l reveal -d 'Print the values too'
complete -c imprint -n "__fish_imprint_using_subcommand facts" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_using_subcommand facts" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_using_subcommand forget" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_using_subcommand forget" -l bake -d 'Keep this instance from enrolling from now on: an image is made from it'
complete -c imprint -n "__fish_imprint_using_subcommand forget" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_using_subcommand forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_using_subcommand promote" -l deadline -d 'How long to try, such as 1m' -r
complete -c imprint -n "__fish_imprint_using_subcommand promote" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_using_subcommand promote" -l json -d 'As JSON'
complete -c imprint -n "__fish_imprint_using_subcommand promote" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_using_subcommand promote" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_using_subcommand rotate-key" -l deadline -d 'How long to try, such as 15m; the configuration\'s deadline if left out' -r
complete -c imprint -n "__fish_imprint_using_subcommand rotate-key" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_using_subcommand rotate-key" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_using_subcommand rotate-key" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_using_subcommand status" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_using_subcommand status" -l json -d 'As JSON'
complete -c imprint -n "__fish_imprint_using_subcommand status" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_using_subcommand verify" -l deadline -d 'How long to try, such as 1m' -r
complete -c imprint -n "__fish_imprint_using_subcommand verify" -l config -d 'The configuration file' -r -F
complete -c imprint -n "__fish_imprint_using_subcommand verify" -l re-enroll -d 'When Conjur says no, enroll again: once a day at most, or never, as the configuration says'
complete -c imprint -n "__fish_imprint_using_subcommand verify" -s v -l verbose -d 'Say more on standard error'
complete -c imprint -n "__fish_imprint_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "doctor" -d 'Look at all that an enrollment needs, and say what is wrong'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "enroll" -d 'Enroll this instance, or find that there is nothing to do'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "facts" -d 'Show which facts of this machine a token can be sealed with'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "forget" -d 'Remove all that an enrollment left, at the end of an image\'s bake'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "promote" -d 'Become the privileged host that waits for this instance, if one does'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "rotate-key" -d 'Replace this host\'s API key'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "status" -d 'Say what is known of the enrollment, without asking anybody'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "verify" -d 'Prove that the identity on disk authenticates'
complete -c imprint -n "__fish_imprint_using_subcommand help; and not __fish_seen_subcommand_from doctor enroll facts forget promote rotate-key status verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
