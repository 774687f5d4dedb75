# The agent of Imprint on a machine of this catalog, enrolled with a token that is sealed for the machine.
#
# @param config
#   The agent's configuration: `[instance] id = "machine"`, and as `[source]` the kind "client-data" with
#   file = "/etc/imprint/token.json"
# @param ca
#   The certificate of Conjur's CA, as PEM
# @param token
#   The sealed token: what imprint-rotator seal has written. Undef once the machine is enrolled
class imprint (
  String[1]           $config,
  String[1]           $ca,
  Optional[String[1]] $token = undef,
) {
  package { 'imprint':
    ensure => installed,
  }

  file { '/etc/imprint/config.toml':
    ensure  => file,
    owner   => 'root',
    group   => 'root',
    mode    => '0644',
    content => $config,
    require => Package['imprint'],
  }

  file { '/etc/imprint/ca.pem':
    ensure  => file,
    owner   => 'root',
    group   => 'root',
    mode    => '0644',
    content => $ca,
    require => Package['imprint'],
  }

  $token_file = $token ? {
    undef   => absent,
    default => file,
  }

  file { '/etc/imprint/token.json':
    ensure    => $token_file,
    owner     => 'root',
    group     => 'root',
    mode      => '0600',
    content   => $token,
    show_diff => false,
    require   => Package['imprint'],
  }

  # The unit stays active once the machine is enrolled. A change of the configuration runs it again, which does
  # nothing where the identity is good.
  service { 'imprint':
    ensure    => running,
    enable    => true,
    subscribe => File['/etc/imprint/config.toml', '/etc/imprint/ca.pem'],
    require   => File['/etc/imprint/token.json'],
  }
}
