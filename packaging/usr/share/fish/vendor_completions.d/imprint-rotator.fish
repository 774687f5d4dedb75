# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_imprint_rotator_global_optspecs
    string join \n config= config-owner= v/verbose h/help V/version
end

function __fish_imprint_rotator_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_imprint_rotator_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_imprint_rotator_using_subcommand
    set -l cmd (__fish_imprint_rotator_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -s V -l version -d 'Print version'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "rotate" -d 'Replace each published token that is due, missing or no longer known to Conjur'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "policy" -d 'Print the Conjur policy that the configuration needs'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "seal" -d 'Seal a token with facts of the machines that shall open it, where there is no cloud'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "plan" -d 'Show what rotate would do now for each factory, and why'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "seal-login" -d 'Seal the rotator\'s own API key and put it into the bucket, from where sealed_login = true takes it'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "publish" -d 'Seal and publish a token that was minted elsewhere, for a factory with mint = false'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "decommission" -d 'Remove the hosts at Conjur whose instances are gone'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "mint" -d 'Publish a token for one instance alone, after a look at its facts'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "pin" -d 'Tie hosts at Conjur to the addresses of their instances'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "rules" -d 'Check the rules that say which instances may have what, and list them or explain them'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "promote" -d 'Promote instances to hosts of a privileged factory'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "status" -d 'Show what is published for each factory, when it is replaced, and what Conjur has beside it; or its hosts'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "doctor" -d 'Look at all that a rotation needs: configuration, servers, privileges, bucket, key'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "token" -d 'Mint, list and revoke tokens by hand'
complete -c imprint-rotator -n "__fish_imprint_rotator_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rotate" -l factory -d 'Only this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rotate" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rotate" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rotate" -l now -d 'Replace it in any case'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rotate" -l revoke-superseded -d 'Then revoke all older tokens, when the new one was read back; those sealed with client data or minted by hand stay'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rotate" -l json -d 'One JSON object instead of lines'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rotate" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand policy" -l factory -d 'Only this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand policy" -l branch -d 'The branch that the policy is loaded into; what lies elsewhere is left out [default: root]' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand policy" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand policy" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand policy" -l unprivileged -d 'Layers that nothing is permitted to, each with a group of its own that owns it and its factory'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand policy" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand policy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l client-data -d 'What each machine reported: the JSON of ohai, of facter --json, or of imprint facts --json --reveal' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l facts -d 'The facts to seal with: names that imprint facts shows, or paths of Ohai or Facter, such as dmi.system.version' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l secret-file -d 'Seal with the content of this file as well; each machine needs the same as secret_file' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l factory -d 'The host factory; may be left out when the configuration has one alone' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l lifetime -d 'How long the token lives, such as 2h; as the published ones if left out' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l cidr -d 'Where the token may be used from, as Conjur sees it; the factory\'s cidr if left out. May be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l token-from -d 'Seal a given token instead of minting one: from standard input' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l expires-at -d 'When the given token ends, such as 2026-11-22T08:00:00Z' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l memory -d 'Memory that one guess costs, and the agent once, in MiB' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l passes -d 'Passes over that memory' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l out -d 'The file to write, with mode 0600' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l any-address -d 'Let it be used from any address'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -l json -d 'One JSON object instead of lines'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand plan" -l factory -d 'Only this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand plan" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand plan" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand plan" -l now -d 'As if a new token were asked for in any case'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand plan" -l json -d 'One JSON object instead of lines'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand plan" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal-login" -l of -d 'Whose API key it is: the rotator\'s, or that of the login in the section fleet or instances' -r -f -a "minter\t'`login` of `[instances]`'
reaper\t'`login` of `[fleet]`'
rotator\t'`login`'"
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal-login" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal-login" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal-login" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand seal-login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand publish" -l factory -d 'The host factory, of the configuration, with mint = false' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand publish" -l token-from -d 'Where the token comes from: standard input' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand publish" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand publish" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand publish" -l json -d 'One JSON object instead of a line'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand publish" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand publish" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand decommission" -l factory -d 'Only this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand decommission" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand decommission" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand decommission" -l dry-run -d 'Look and decide, and change nothing'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand decommission" -l json -d 'One JSON object instead of lines'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand decommission" -l even-all -d 'Believe EC2 also when it knows not one of ten or more instances'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand decommission" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand decommission" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand mint" -l factory -d 'Of this factory of the configuration; may be repeated; of all that the rules allow when left out' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand mint" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand mint" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand mint" -l without-rule -d 'Whatever the rules say; the report tells it'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand mint" -l json -d 'One JSON object instead of lines'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand mint" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand mint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand pin" -l factory -d 'Only this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand pin" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand pin" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand pin" -l dry-run -d 'Look and decide, and change nothing'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand pin" -l json -d 'One JSON object instead of lines'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand pin" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand pin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rules" -l explain -d 'Say why each of these instances matches or not' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rules" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rules" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rules" -l json -d 'One JSON object instead of a table'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rules" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand rules" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l to -d 'To hosts of this factory of the configuration; to those of all that the rules promote to when left out' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l from -d 'From hosts of this factory, where no rule with promote_from says it' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l without-rule -d 'Whatever the rules say; the report tells it'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l grant -d 'Print a policy that adds their present hosts to the factory\'s layer, for a person to load; needs --pin'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l pin -d 'With --grant, tie these hosts to the addresses of their instances first'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l dry-run -d 'Look and decide, and change nothing'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -l json -d 'One JSON object instead of lines'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand promote" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand status" -l factory -d 'Only this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand status" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand status" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand status" -l hosts -d 'The hosts and their instances, not the tokens'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand status" -l json -d 'One JSON object instead of a table'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand status" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand doctor" -l factory -d 'Only this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand doctor" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand doctor" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand doctor" -l json -d 'One JSON object instead of a table'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand doctor" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "create" -d 'Mint tokens for a machine or a tool that takes them as they are'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "list" -d 'Show all tokens at Conjur by their fingerprints, and what each is'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "revoke" -d 'Revoke tokens at Conjur, named by their fingerprints or by what they are'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l factory -d 'The host factory, of the configuration' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l duration-days -d 'How long the tokens live: so many days' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l duration-hours -d 'and so many hours' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l duration-minutes -d 'and so many minutes' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l cidr -d 'Where the token may be used from, as Conjur sees it; the factory\'s cidr if left out. May be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l count -d 'How many tokens, at most 100' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l out -d 'A new file for the tokens, one a line, with mode 0600; - for standard output' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l any-address -d 'Let it be used from any address'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l reveal -d 'With --out -, also onto a terminal'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -l json -d 'Tell what was made as one JSON object, which has no token'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from list" -l factory -d 'Only this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from list" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from list" -l json -d 'One JSON object instead of a table'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l fingerprint -d 'The token of this name; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l token-from -d 'A given token: from standard input' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l factory -d 'Only of this factory of the configuration; may be repeated' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names' -r -F
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config-owner -d 'The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER' -r
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l orphans -d 'Every orphan: tokens that were minted and never published'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l expired -d 'Every expired token of this deployment'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l foreign -d 'Every token that this deployment did not mint, live or expired; --factory must say where'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l published -d 'Also one that is published, or that a run may be publishing: agents that fetch it are refused'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -l json -d 'One JSON object instead of lines'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Say more on standard error'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "create" -d 'Mint tokens for a machine or a tool that takes them as they are'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show all tokens at Conjur by their fingerprints, and what each is'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Revoke tokens at Conjur, named by their fingerprints or by what they are'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "rotate" -d 'Replace each published token that is due, missing or no longer known to Conjur'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "policy" -d 'Print the Conjur policy that the configuration needs'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "seal" -d 'Seal a token with facts of the machines that shall open it, where there is no cloud'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "plan" -d 'Show what rotate would do now for each factory, and why'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "seal-login" -d 'Seal the rotator\'s own API key and put it into the bucket, from where sealed_login = true takes it'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "publish" -d 'Seal and publish a token that was minted elsewhere, for a factory with mint = false'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "decommission" -d 'Remove the hosts at Conjur whose instances are gone'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "mint" -d 'Publish a token for one instance alone, after a look at its facts'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "pin" -d 'Tie hosts at Conjur to the addresses of their instances'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "rules" -d 'Check the rules that say which instances may have what, and list them or explain them'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "promote" -d 'Promote instances to hosts of a privileged factory'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "status" -d 'Show what is published for each factory, when it is replaced, and what Conjur has beside it; or its hosts'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "doctor" -d 'Look at all that a rotation needs: configuration, servers, privileges, bucket, key'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "token" -d 'Mint, list and revoke tokens by hand'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and not __fish_seen_subcommand_from rotate policy seal plan seal-login publish decommission mint pin rules promote status doctor token help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "create" -d 'Mint tokens for a machine or a tool that takes them as they are'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'Show all tokens at Conjur by their fingerprints, and what each is'
complete -c imprint-rotator -n "__fish_imprint_rotator_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'Revoke tokens at Conjur, named by their fingerprints or by what they are'
