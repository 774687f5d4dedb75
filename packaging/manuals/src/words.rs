//! What the command lines do not say and a man page must: files, environment, references, notes.

use clap::Command;

/// Pairs of what is named and what is said of it.
pub(crate) type Rows = &'static [(&'static str, &'static str)];

/// What belongs to the pages of one program.
pub(crate) struct Words {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its command line.
    pub(crate) command: fn() -> Command,
    /// What it reads, its configuration first.
    pub(crate) settings: &'static [Settings],
    /// `FILES`
    pub(crate) files: Rows,
    /// `ENVIRONMENT`
    pub(crate) environment: Rows,
    /// Pages beside the program's own.
    pub(crate) see_also: &'static [&'static str],
    /// `NOTES`, by the page's name.
    pub(crate) notes: &'static [(&'static str, &'static [&'static str])],
}

/// A file with settings, which has a page of its own.
pub(crate) struct Settings {
    /// The page's name.
    pub(crate) page: &'static str,
    /// What it is of the program.
    pub(crate) what: &'static str,
    /// Where it usually is.
    pub(crate) path: &'static str,
    /// The commented sample.
    pub(crate) text: &'static str,
}

/// Both programs.
pub(crate) const PROGRAMS: &[Words] = &[AGENT, ROTATOR];

const AGENT: Words = Words {
    name: "imprint",
    command: imprint_agent::cli::command,
    settings: &[Settings {
        page: "imprint.toml",
        what: "the configuration",
        path: "/etc/imprint/config.toml",
        text: include_str!("../../etc/imprint/config.toml"),
    }],
    files: &[
        ("/etc/imprint/config.toml", "The configuration; see imprint.toml(5). There is no secret in it."),
        (
            "/etc/conjur.identity",
            "Host id and API key, as a netrc. The path, the owner, the group and the mode can be set.",
        ),
        ("/etc/conjur.conf", "Account, appliance URL and the places of the other two files."),
        ("/etc/conjur.pem", "The certificates that Conjur may show, when ca_file is set."),
        ("/var/lib/imprint", "Lock and state. There is no secret in it."),
    ],
    environment: &[
        (
            "HTTPS_PROXY, NO_PROXY",
            "The proxy on the way to S3, KMS and Conjur. The instance metadata service is never asked through a proxy.",
        ),
        (
            "AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_KMS, AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT",
            "Where S3 and KMS answer, as for any program that uses the AWS SDK. Credentials are never taken from the environment.",
        ),
        (
            "AWS_EC2_METADATA_SERVICE_ENDPOINT, AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
            "Where the instance metadata service answers, when the configuration does not say.",
        ),
        ("JOURNAL_STREAM", "Set by systemd: lines then go to the journal alone."),
    ],
    see_also: &["imprint.toml(5)", "imprint-rotator(8)", "journalctl(1)", "sysexits(3)"],
    notes: &[(
        "imprint-forget",
        &[
            "conf and pem are removed when they are what imprint writes. What another tool wrote there stays and is named; it holds no key.",
            "A token or a secret that the configuration names as a file stays and is named: remove it before an image is made.",
            "The configuration and the CA file that it names stay: the image needs them.",
            "Lines in the journal stay too, since nothing can remove single ones. They name hosts and fingerprints, and never hold a secret; journalctl --rotate --vacuum-time=1s removes the whole journal.",
            "The host that this machine enrolled as stays in Conjur, where it can be removed by policy.",
        ],
    )],
};

const ROTATOR: Words = Words {
    name: "imprint-rotator",
    command: imprint_rotator::cli::command,
    settings: &[
        Settings {
            page: "imprint-rotator.toml",
            what: "the configuration",
            path: "/etc/imprint/rotator.toml",
            text: include_str!("../../etc/imprint/rotator.toml"),
        },
        Settings {
            page: "imprint-rules.toml",
            what: "the rules for instances",
            path: "/etc/imprint/rules.toml",
            text: include_str!("../../etc/imprint/rules.toml"),
        },
    ],
    files: &[
        (
            "/etc/imprint/rotator.toml",
            "A usual place for the configuration; see imprint-rotator.toml(5). There is no default: name it with --config or IMPRINT_ROTATOR_CONFIG.",
        ),
        (
            "/etc/imprint/rules.toml",
            "Which instances may have what, where [fleet] rules_file says; see imprint-rules.toml(5).",
        ),
        ("api-key", "The rotator's API key at Conjur, where api_key_file says."),
    ],
    environment: &[
        ("IMPRINT_ROTATOR_CONFIG", "The configuration, when --config does not name it."),
        (
            "IMPRINT_ROTATOR_CONFIG_OWNER",
            "The AWS account that must own the bucket of a configuration in S3, when --config-owner does not name it. A Lambda function takes its own account when neither does.",
        ),
        (
            "IMPRINT_ROTATOR_API_KEY",
            "The API key at Conjur, when the configuration names no other way to log in.",
        ),
        (
            "AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, ...",
            "Who the rotator is at AWS and where that answers, as for any program that uses the AWS SDK.",
        ),
        ("HTTPS_PROXY, NO_PROXY", "The proxy on the way to S3, KMS and Conjur."),
        ("AWS_LAMBDA_RUNTIME_API", "Set by Lambda: the program then serves invocations."),
    ],
    see_also: &["imprint-rotator.toml(5)", "imprint-rules.toml(5)", "imprint(8)", "sysexits(3)"],
    notes: &[],
};
