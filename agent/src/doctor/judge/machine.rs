//! Judgments on the machine itself.

use super::super::found::{Access, Asked, Copied, Holder, Input, Machine};
use super::super::proxy::Way;
use super::super::report::Check;
use super::together;
use crate::config::Config;
use crate::state::{Found, Phase};
use crate::status;
use crate::step::{OnDisk, Refusal, Step};
use imprint_core::Class;
use imprint_core::settings::written;

/// Less than this on a file system, and an enrollment cannot store what it redeemed.
const LEAST_BYTES: u64 = 128 * 1024;

/// Less than this is worth a word.
const FEW_BYTES: u64 = 4 * 1024 * 1024;

/// Files that an enrollment makes, drafts counted.
const LEAST_INODES: u64 = 16;

pub(super) fn checks(config: &Config, machine: &Machine) -> Vec<Check> {
    vec![
        config_access(machine),
        user(machine),
        instance_id(machine),
        state(machine),
        identity(machine),
        identity_access(machine),
        next_enroll(machine),
        promotion(config, machine),
        token_files(machine),
        directories(machine),
        disk(machine),
        lock(machine),
        conf_and_pem(machine),
        client_variables(machine),
        client_files(machine),
        aws_variables(machine),
        proxy(machine),
    ]
}

fn config_access(machine: &Machine) -> Check {
    const NAME: &str = "config-access";
    machine.config.judged(NAME, |is| {
        if is.mode & 0o002 != 0 || is.mode & 0o020 != 0 && is.group != 0 {
            let hint = "take that away with chmod go-w: anybody who may write it decides where secrets go";
            let detail = format!("mode {:04o}: others may write the configuration", is.mode);
            return Check::failure(NAME, Class::Config, detail, hint);
        }
        if is.owner != 0 {
            let detail = format!("it belongs to user {}, who may rewrite it", is.owner);
            return Check::warning(NAME, detail, "chown root the file, so that root alone decides");
        }
        Check::ok(NAME, format!("mode {:04o}, owned by root", is.mode))
    })
}

fn user(machine: &Machine) -> Check {
    if machine.is_root {
        Check::ok("user", "root")
    } else {
        let detail = "not root: what is seen here need not be what enroll sees";
        Check::warning("user", detail, "run imprint doctor as the user who enrolls, usually root")
    }
}

fn instance_id(machine: &Machine) -> Check {
    match &machine.here {
        Some(id) => Check::ok("instance-id", format!("{id}, told by the machine itself")),
        None => Check::ok("instance-id", "the machine does not tell; the metadata service is asked"),
    }
}

fn state(machine: &Machine) -> Check {
    const NAME: &str = "state";
    machine.state.judged(NAME, |found| match found {
        Found::Good(state) => match state.phase {
            Phase::Enrolled => Check::ok(NAME, format!("enrolled since {}", state.since)),
            Phase::Enrolling | Phase::Rotating => {
                let detail = format!("a run that began at {} has not come to its end", state.since);
                Check::warning(NAME, detail, "run imprint enroll, unless one is under way")
            }
        },
        Found::Missing => Check::ok(NAME, "none yet"),
        Found::Unreadable(why) => {
            Check::warning(NAME, why.clone(), "run imprint enroll: what it told is found out anew")
        }
    })
}

fn identity(machine: &Machine) -> Check {
    const NAME: &str = "identity";
    machine.identity.judged(NAME, |on_disk| match on_disk {
        OnDisk::Good { host_id, .. } => Check::ok(NAME, format!("of {host_id}")),
        OnDisk::Missing => Check::warning(NAME, "there is none", "run imprint enroll"),
        OnDisk::Unusable(error) if error.is_anothers() => {
            let hint = "set another path as [files] identity, or remove the file";
            Check::failure(NAME, Class::Tampered, error.to_string(), hint)
        }
        OnDisk::Unusable(error) => {
            Check::failure(NAME, Class::Tampered, error.to_string(), "run imprint enroll: it is made anew")
        }
    })
}

fn identity_access(machine: &Machine) -> Check {
    const NAME: &str = "identity-access";
    let Some((is, should)) = machine.access else { return Check::skipped(NAME, "there is no identity file") };
    let shown = |a: Access| format!("mode {:04o}, owner {}, group {}", a.mode, a.owner, a.group);
    if is == should {
        return Check::ok(NAME, shown(is));
    }
    let detail = format!("{}, not {}", shown(is), shown(should));
    // Whoever could read it may have its key.
    if is.mode & !should.mode != 0 {
        let hint = "run imprint enroll, which sets it back; if others could read it, rotate the key too";
        return Check::failure(NAME, Class::Tampered, detail, hint);
    }
    Check::warning(NAME, detail, "run imprint enroll, which sets it back")
}

fn next_enroll(machine: &Machine) -> Check {
    const NAME: &str = "next-enroll";
    let Some(next) = &machine.next else { return Check::skipped(NAME, "state or identity cannot be read") };
    match next {
        // The identity's own check says it.
        Step::Refuse(Refusal::Shared(_)) => Check::skipped(NAME, "the identity file is another program's"),
        Step::Refuse(refusal) => Check::of(NAME, refusal),
        Step::EnrollAsOneself { .. } => Check::warning(
            NAME,
            status::words(next),
            "run imprint enroll; better run imprint forget at the end of an image's bake",
        ),
        Step::Enroll(_) | Step::Nothing | Step::ShowPromoted => Check::ok(NAME, status::words(next)),
    }
}

fn promotion(config: &Config, machine: &Machine) -> Check {
    const NAME: &str = "promotion";
    let awaited = config.promotion.as_ref().map(|to| to.host_factory.as_str());
    let state = machine.state.told().and_then(Found::good);
    match (state.filter(|state| state.promoted).map(|state| state.made_for.host_factory.as_str()), awaited) {
        (Some(is), awaited) if awaited == Some(is) => Check::ok(NAME, format!("promoted to a host of {is}")),
        (Some(is), awaited) => Check::warning(
            NAME,
            format!("promoted to a host of {is}, and the configuration names {}", awaited.unwrap_or("none")),
            "the host stays what it is until another promotion; to go back, run imprint forget, then imprint enroll",
        ),
        (None, Some(awaited)) => Check::ok(NAME, format!("a host of {awaited} is awaited")),
        (None, None) => Check::skipped(NAME, "there is no [promotion]"),
    }
}

fn token_files(machine: &Machine) -> Check {
    const NAME: &str = "token-files";
    if machine.inputs.is_empty() {
        return Check::ok(NAME, "no source of a token is a file");
    }
    let is_needed = machine.next != Some(Step::Nothing);
    let judged = machine.inputs.iter().map(|(path, input)| match input {
        Input::Ready => Check::ok(NAME, format!("{path} can be read")),
        // A token is of no use after the enrollment, and often removed.
        Input::Missing if !is_needed => Check::ok(NAME, format!("{path} is not there, nor needed now")),
        Input::Missing => Check::failure(
            NAME,
            Class::Absent,
            format!("{path} is not there"),
            "put it there, or name another source of the token",
        ),
        Input::Closed => Check::failure(
            NAME,
            Class::Config,
            format!("{path} cannot be read by this user"),
            "give it to the user who enrolls, and to nobody else",
        ),
        Input::Open(mode) => Check::warning(
            NAME,
            format!("{path} has mode {mode:04o}: everybody may read it"),
            "chown root and chmod 0600: a token in clear is refused there, and is spent once others could read it",
        ),
    });
    together(NAME, judged.collect())
}

fn directories(machine: &Machine) -> Check {
    const NAME: &str = "directories";
    let judged = machine.places.iter().map(|place| match &place.fit {
        Ok(()) => Check::ok(NAME, "nobody else can swap a file"),
        Err(trouble) => trouble.check(NAME),
    });
    together(NAME, judged.collect())
}

fn disk(machine: &Machine) -> Check {
    const NAME: &str = "disk";
    let judged = machine.places.iter().filter(|place| place.fit.is_ok()).map(|place| {
        let (path, Some(room)) = (&place.path, &place.disk) else {
            return Check::skipped(NAME, "the file system does not tell");
        };
        let failure = |what: String, hint| Check::failure(NAME, Class::Storage, what, hint);
        if room.read_only {
            let hint = "set other paths in [files], or fallback_dir, such as below /run";
            return failure(format!("{path}: the file system is read-only"), hint);
        }
        if !room.writable {
            return failure(
                format!("{path}: this user may not write there"),
                "run as root, or set other paths in [files]",
            );
        }
        if room.bytes < LEAST_BYTES {
            return failure(format!("{path}: {} bytes are free", room.bytes), "free some space");
        }
        if room.inodes.is_some_and(|free| free < LEAST_INODES) {
            let free = room.inodes.unwrap_or_default();
            return failure(format!("{path}: {free} inodes are free"), "remove some files");
        }
        if room.bytes < FEW_BYTES {
            return Check::warning(
                NAME,
                format!("{path}: only {} bytes are free", room.bytes),
                "free some space soon",
            );
        }
        Check::ok(NAME, "every file can be written and has room")
    });
    together(NAME, judged.collect())
}

fn lock(machine: &Machine) -> Check {
    const NAME: &str = "lock";
    match &machine.lock {
        Holder::Nobody => Check::ok(NAME, "nobody holds it"),
        Holder::Process(process) => {
            let who = process.map_or("another process".to_owned(), |id| format!("process {id}"));
            let hint = "an enrollment is under way: see journalctl -t imprint";
            Check::warning(NAME, format!("{who} holds it"), hint)
        }
        Holder::Unknown(trouble) => trouble.check(NAME),
    }
}

fn conf_and_pem(machine: &Machine) -> Check {
    const NAME: &str = "conf-and-pem";
    let is_enrolled = matches!(machine.identity, Asked::Told(OnDisk::Good { .. }));
    let judged = machine.copies.iter().map(|(path, copied)| match copied {
        Copied::Same => Check::ok(NAME, format!("{path} is what imprint writes")),
        Copied::Missing if !is_enrolled => Check::ok(NAME, format!("{path} is not there yet")),
        Copied::Missing => {
            Check::warning(NAME, format!("{path} is missing"), "run imprint enroll, which writes it again")
        }
        Copied::Different => Check::warning(
            NAME,
            format!("{path} is not what imprint writes"),
            "enroll leaves it as it is: see whether its readers find Conjur and the identity, else remove it and run imprint enroll",
        ),
    });
    together(NAME, judged.collect())
}

fn client_variables(machine: &Machine) -> Check {
    const NAME: &str = "client-variables";
    if machine.variables.is_empty() {
        return Check::ok(NAME, "no variable leads Conjur's clients elsewhere");
    }
    let detail = format!("{} set in this environment", machine.variables.join(", "));
    Check::warning(
        NAME,
        detail,
        "clients of Conjur prefer these to the files: unset them where programs shall use the files",
    )
}

fn client_files(machine: &Machine) -> Check {
    const NAME: &str = "client-files";
    if machine.shadows.is_empty() {
        return Check::ok(NAME, "no other file leads Conjur's clients elsewhere");
    }
    let detail = format!("there is {}", machine.shadows.join(", "));
    Check::warning(
        NAME,
        detail,
        "clients of Conjur read this rather than imprint's files: see whether it says the same",
    )
}

fn aws_variables(machine: &Machine) -> Check {
    const NAME: &str = "aws-variables";
    if !machine.plain_endpoints.is_empty() {
        let detail = format!("{} is plain http to another machine", machine.plain_endpoints.join(", "));
        return Check::failure(NAME, Class::Config, detail, "plain http is refused: set https, or unset it");
    }
    if machine.aws_variables.is_empty() {
        return Check::ok(NAME, "none is set");
    }
    let detail = format!("{} set; credentials are never taken from there", machine.aws_variables.join(", "));
    Check::ok(NAME, detail)
}

fn proxy(machine: &Machine) -> Check {
    const NAME: &str = "proxy";
    let told = machine.ways.iter().map(|(server, way)| match way {
        Way::Direct => format!("{server} directly"),
        Way::Excepted => format!("{server} directly, by NO_PROXY"),
        Way::Through { proxy, variable } => format!("{server} through {proxy}, by {variable}"),
    });
    let mut told: Vec<String> = told.collect();
    told.push("the metadata service never through a proxy".to_owned());
    Check::ok(NAME, told.join("; "))
}

/// How long ago, for people.
pub(super) fn ago(machine: &Machine, at: imprint_core::second::Second) -> String {
    format!("{at} ({} ago)", written(machine.now.since(at)))
}
