//! The whole story on one machine: the rotator mints, seals and publishes; an instance boots, and
//! the agent fetches, unseals, redeems and writes its identity; a client logs in with it.
//!
//! `demo` tells it once and ends with 0; `demo up` keeps the servers running and prints how to try
//! the commands by hand.
#![expect(clippy::print_stdout, reason = "a demo speaks to a person")]
#![expect(clippy::expect_used, reason = "a demo that cannot go on must say where it stopped")]

use imprint_core::sealed::SealedToken;
use imprint_e2e::peers::Peers;
use imprint_e2e::{Machine, Programs, Ran, Site, client};
use std::error::Error;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let built = own.parent().expect("a program lies in a folder");
    let folder = built.join("demo-site");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let from = Instant::now();
    let site = Site::new(&folder, Programs::named().unwrap_or_else(|| Programs::shipped(built)));
    println!("Imprint: an EC2 instance gets its Conjur identity, with no secret in its image or user-data.");
    println!("Everything runs here: Conjur, S3, KMS and the metadata service are stand-ins on loopback.\n");
    servers(&site, from);
    if std::env::args().nth(1).as_deref() == Some("up") { keep(&site) } else { tell(&site) }
}

fn tell(site: &Site) -> Result<(), Box<dyn Error>> {
    rotation(site)?;
    let machine = site.machine("web");
    enrollment(site, &machine)?;
    proof(site, &machine)?;
    again(site, &machine)?;
    println!("\nThat is all of it. By hand: make demo-up. The files: {}", site.folder().display());
    Ok(())
}

fn servers(site: &Site, from: Instant) {
    step("an operator's site: two layers, web and db", from);
    let stack = &site.stack;
    say("Conjur", &format!("{} (TLS, its own CA; account {})", stack.conjur.url(), stack.options().account));
    say("S3", &format!("{} (bucket {})", stack.s3.url(), stack.options().bucket));
    say("KMS", &format!("{} ({})", stack.kms.url(), stack.key));
}

fn rotation(site: &Site) -> Result<(), Box<dyn Error>> {
    let from = Instant::now();
    succeed(&mut site.rotator(&["rotate"]))?;
    step("imprint-rotator rotate: mint at Conjur, seal with KMS, publish in S3", from);
    for layer in ["web", "db"] {
        let object = site.stack.published(layer).ok_or("nothing was published")?;
        let sealed = SealedToken::parse(&object)?;
        let binding = sealed.binding();
        let key = site.stack.object_key(layer);
        say(layer, &format!("s3://{}/{key}, {} bytes", site.stack.options().bucket, object.len()));
        say(
            "",
            &format!("token {} until {}, sealed; no secret in it", binding.fingerprint, binding.expires_at),
        );
    }
    let from = Instant::now();
    succeed(&mut site.rotator(&["rotate"]))?;
    step("imprint-rotator rotate, once more: nothing is due, nothing is minted", from);
    for layer in ["web", "db"] {
        let live = site.stack.conjur.service().live_tokens(&site.stack.factory(layer));
        say(layer, &format!("{live} live token at Conjur"));
    }
    Ok(())
}

fn enrollment(site: &Site, machine: &Machine) -> Result<(), Box<dyn Error>> {
    let instance = machine.instance();
    step("an instance of layer web boots", Instant::now());
    say("instance", &format!("{} in {}, role {}", instance.id, instance.region, site.stack.role("web")));
    say("IMDSv2", &machine.imds.url());
    site.stack.clear_logs();

    let from = Instant::now();
    succeed(&mut machine.imprint(&["enroll"]))?;
    step("imprint enroll: role credentials, fetch, unseal, redeem, write, prove", from);
    let asked = |names: Vec<String>| names.join(", ");
    say("IMDS", &asked(machine.imds.log().into_iter().map(|r| r.name).collect()));
    say("S3", &asked(site.stack.s3.log().into_iter().map(|r| r.name).collect()));
    say("KMS", &asked(site.stack.kms.log().into_iter().map(|r| r.name).collect()));
    say("Conjur", &asked(site.stack.conjur.log().into_iter().map(|r| r.name).collect()));
    let path = machine.path("etc/conjur.identity");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path)?.permissions()) & 0o777;
    println!("\n     {} ({mode:04o}):", path.display());
    let text = machine.identity_text().ok_or("no identity file")?;
    let (_, key) = machine.identity();
    for line in text.replace(&key, &format!("({} characters, not shown)", key.len())).lines() {
        println!("       {line}");
    }
    Ok(())
}

fn proof(site: &Site, machine: &Machine) -> Result<(), Box<dyn Error>> {
    let stack = &site.stack;
    let (login, key) = machine.identity();
    let from = Instant::now();
    let read = |variable: &str| {
        client::secret(&stack.conjur.url(), &stack.options().account, &site.ca_file(), &login, &key, variable)
    };
    let value = read(&stack.variable("web"))?;
    if value != stack.secret("web") {
        return Err("the secret is not the one that was set".into());
    }
    step("a client logs in with that file and reads its layer's secret", from);
    say("web/password", &format!("{}... ({} characters)", &value[..6], value.len()));
    let refused = read(&stack.variable("db")).err().ok_or("a host of web read a secret of db")?;
    say("db/password", &format!("refused ({refused})"));

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(peers) = Peers::below(&root, true)? else {
        say("", "(after `make peers`, the official Python client does the same here)");
        return Ok(());
    };
    let from = Instant::now();
    let ran = peers.read_with_sdk(machine, &stack.variable("web"));
    if ran.code != 0 || ran.out.trim() != stack.secret("web") {
        return Err(format!("the official client did not read the secret: {}{}", ran.out, ran.err).into());
    }
    step("the official Python client, which knows nothing of Imprint, does the same", from);
    say("web/password", "the same value");
    Ok(())
}

fn again(site: &Site, machine: &Machine) -> Result<(), Box<dyn Error>> {
    let before = machine.identity_text();
    machine.imds.clear_log();
    site.stack.clear_logs();
    let from = Instant::now();
    succeed(&mut machine.imprint(&["enroll"]))?;
    let requests = machine.imds.log().len() + site.stack.requests();
    if requests != 0 || machine.identity_text() != before {
        return Err(format!("a second enroll made {requests} requests").into());
    }
    step("imprint enroll, once more: the identity is good, 0 requests, nothing is touched", from);
    let status = succeed(&mut machine.imprint(&["status"]))?;
    for line in status.out.lines() {
        println!("     {line}");
    }
    Ok(())
}

/// Keeps the servers running until a key is pressed, having said how to use them.
fn keep(site: &Site) -> Result<(), Box<dyn Error>> {
    let machine = site.machine("web");
    println!("\nThe rotator, as its role:\n");
    shell(&site.rotator(&["rotate"]));
    println!("\nThe agent, on instance {}:\n", machine.instance().id);
    shell(&machine.imprint(&["enroll"]));
    println!(
        "\nTry also, with the same --config: imprint verify, imprint doctor, imprint status --json, imprint rotate-key;\n\
         and imprint-rotator status. Enter or Ctrl-C ends the servers."
    );
    let input = std::io::stdin();
    let ended = input.lock().read(&mut [0])? == 0;
    // Without a keyboard (a service, a script) there is nothing to wait for but a signal.
    while ended && !input.is_terminal() {
        std::thread::park();
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Result<Ran, Box<dyn Error>> {
    let ran = Ran::of(command);
    if ran.code != 0 {
        let program = Path::new(command.get_program()).display();
        return Err(format!("{program} ended with {}:\n{}{}", ran.code, ran.out, ran.err).into());
    }
    Ok(ran)
}

fn step(what: &str, from: Instant) {
    println!("\n[{:>4} ms] {what}", from.elapsed().as_millis());
}

fn say(name: &str, text: &str) {
    println!("     {name:<13} {text}");
}

/// The command as a person would type it.
fn shell(command: &Command) {
    for (name, value) in command.get_envs() {
        if let Some(value) = value.filter(|_| name != "PATH") {
            println!("  export {}={}", name.display(), value.display());
        }
    }
    let words: Vec<_> = command.get_args().map(|a| a.display().to_string()).collect();
    println!("  {} {}", command.get_program().display(), words.join(" "));
}
