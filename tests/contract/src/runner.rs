//! A run: a branch of our own, every case in turn, and the branch removed again whatever happened.

use std::collections::BTreeSet;

use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use crate::case::{self, Case, Needs};
use crate::check::check;
use crate::client::{Incoming, Outgoing};
use crate::pattern::{is_key, unset};
use crate::target::Target;
use crate::vars::{Missing, RESERVED, Vars};
use imprint_stack::conjur::Version;

/// How one case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another reply came, or none.
    Failed(String),
    /// The reply was the expected one.
    Passed,
    /// The case was not asked, and why.
    Skipped(String),
}

/// One case and its end.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The name of the case.
    pub name: String,
    /// What it asks.
    pub what: String,
    /// How it ended.
    pub verdict: Verdict,
}

pub(crate) struct Run<'a> {
    pub(crate) target: &'a Target,
    pub(crate) vars: Vars,
    pub(crate) branch: String,
    /// Identifiers of the hosts that were redeemed.
    pub(crate) hosts: BTreeSet<String>,
}

/// Asks every case of a server, tells each outcome as it comes, and removes what the run left there.
pub async fn run(target: &Target, mut tell: impl FnMut(&Outcome)) -> Result<Vec<Outcome>, String> {
    let cases = case::all()?;
    let mut run = Run::new(target);
    let mut outcomes = Vec::new();
    let mut end = |outcome: Outcome, counted: bool| {
        if counted || matches!(outcome.verdict, Verdict::Failed(_)) {
            tell(&outcome);
            outcomes.push(outcome);
        }
    };
    for (_, case) in &cases {
        let verdict = match run.skipped(case) {
            Some(why) => Verdict::Skipped(why),
            None => {
                run.ask(case).await.map_or_else(|why| Verdict::Failed(redacted(&why)), |()| Verdict::Passed)
            }
        };
        end(Outcome { name: case.name.clone(), what: case.what.clone(), verdict }, !case.step);
    }
    for (name, what, id) in [
        ("12b-50-same-new", "50 clients redeem the same new id at once: one of the keys works", "race-new"),
        (
            "12c-50-same-existing",
            "50 clients redeem the same existing id at once: one of the keys works",
            "race-new",
        ),
    ] {
        let verdict =
            run.race(id).await.map_or_else(|why| Verdict::Failed(redacted(&why)), |()| Verdict::Passed);
        end(Outcome { name: name.to_owned(), what: what.to_owned(), verdict }, true);
    }
    let cleaned = run.clean().await;
    let verdict = cleaned.map_or_else(|why| Verdict::Failed(redacted(&why)), |()| Verdict::Passed);
    let what = "the run has removed everything that it made".to_owned();
    end(Outcome { name: "99-nothing-left".to_owned(), what, verdict }, true);
    Ok(outcomes)
}

impl<'a> Run<'a> {
    fn new(target: &'a Target) -> Self {
        let branch = format!("imprint-contract-a{:011x}", fastrand::u64(..1 << 44));
        let mut vars = Vars::default();
        vars.set("account", &target.account);
        vars.set("branch", &branch);
        vars.set("login", &target.login);
        vars.set("key.admin", &target.key);
        let role = target
            .login
            .strip_prefix("host/")
            .map_or_else(|| format!("user:{}", target.login), |id| format!("host:{id}"));
        vars.set("admin_role", format!("{}:{role}", target.account));
        vars.set("in_1h", zulu(target.now() + 3600));
        Self { target, vars, branch, hosts: BTreeSet::new() }
    }

    fn skipped(&self, case: &Case) -> Option<String> {
        let because =
            case.because.clone().unwrap_or_else(|| "the server's settings are not ours to change".to_owned());
        let version = self.target.version;
        match (case.needs, &case.only) {
            (_, Some(only)) if only != version.number() => Some(format!("recorded on {only} alone")),
            (Some(Needs::StandIn), _) if !self.target.is_stand_in() => Some(because),
            (Some(Needs::Loopback), _)
                if !self.target.is_stand_in() && !self.target.endpoint.is_loopback() =>
            {
                Some("the server is not on this machine, so the address that it sees is not known".to_owned())
            }
            _ => None,
        }
    }

    async fn ask(&mut self, case: &Case) -> Result<(), String> {
        if case.wait > 0 {
            self.target.wait(case.wait).await;
        }
        self.vars.set("in_3s", zulu(self.target.now() + 3));
        let request = self.complete(case).await?;
        self.target.set(case.settings.as_ref());
        let reply = self.target.endpoint.exchange(&request).await;
        self.target.set(None);
        let reply = reply.map_err(|error| format!("no reply: {error}"))?;
        self.note(&reply);
        let expected = match (&case.reply_1_22_3, self.target.version) {
            (Some(older), Version::V1_22_3) => older,
            (Some(_) | None, Version::V1_22_3 | Version::V1_24_0) => &case.reply,
        };
        for (name, value) in check(expected, &reply, &self.vars)? {
            self.vars.set(name, value);
        }
        Ok(())
    }

    /// The request of a case; logs in first where it needs an access token that is not there yet.
    async fn complete(&mut self, case: &Case) -> Result<Outgoing, String> {
        loop {
            match request(case, &self.vars) {
                Ok(request) => return Ok(request),
                Err(Missing::Access(name)) => self.log_in(&name).await?,
                Err(missing) => return Err(unset(&missing)),
            }
        }
    }

    async fn log_in(&mut self, name: &str) -> Result<(), String> {
        let login =
            if name == "admin" { self.target.login.clone() } else { format!("host/{}/{name}", self.branch) };
        let key = self.vars.get(&format!("key.{name}")).map_err(|missing| unset(&missing))?.to_owned();
        let reply = self.authenticate(&login, &key).await?;
        if reply.status != 200 {
            return Err(format!("{login} could not authenticate: {}", reply.status));
        }
        self.vars.set(format!("access.{name}"), reply.text());
        Ok(())
    }

    pub(crate) async fn authenticate(&self, login: &str, key: &str) -> Result<Incoming, String> {
        let login = utf8_percent_encode(login, RESERVED);
        let request = Outgoing {
            method: "POST".to_owned(),
            target: format!("/authn/{}/{login}/authenticate", self.target.account),
            headers: vec![pair("Content-Type", "text/plain"), pair("Accept-Encoding", "base64")],
            body: key.as_bytes().to_vec(),
            ..Outgoing::default()
        };
        self.target.endpoint.exchange(&request).await.map_err(|error| format!("no reply: {error}"))
    }

    /// Remembers a host that was made, so that it can be removed.
    fn note(&mut self, reply: &Incoming) {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let prefix = format!("{}:host:", self.target.account);
        let id = body.get("id").and_then(Value::as_str).and_then(|id| id.strip_prefix(&prefix));
        if reply.status == 201 {
            self.hosts.extend(id.map(str::to_owned));
        }
    }

    /// 50 clients redeem one id at once. Servers may fail some with 500; of the keys returned exactly one works.
    async fn race(&mut self, id: &str) -> Result<(), String> {
        let id = format!("{}/{id}", self.branch);
        let token = self.vars.get("hf.web").map_err(|missing| unset(&missing))?.to_owned();
        let request = Outgoing {
            method: "POST".to_owned(),
            target: "/host_factories/hosts".to_owned(),
            headers: vec![
                pair("Authorization", &format!("Token token=\"{token}\"")),
                pair("Content-Type", FORM),
            ],
            body: format!("id={}", utf8_percent_encode(&id, RESERVED)).into_bytes(),
            ..Outgoing::default()
        };
        let replies =
            futures_util::future::join_all((0..50).map(|_| self.target.endpoint.exchange(&request))).await;
        let mut keys = BTreeSet::new();
        for reply in replies {
            let reply = reply.map_err(|error| format!("no reply: {error}"))?;
            self.note(&reply);
            let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            match (reply.status, body.get("api_key").and_then(Value::as_str)) {
                (201, Some(key)) => keys.insert(key.to_owned()),
                (500, None) if reply.body.is_empty() => false,
                (status, _) => return Err(format!("a redeem ended with {status}")),
            };
        }
        let mut working = 0;
        for key in &keys {
            working += usize::from(self.authenticate(&format!("host/{id}"), key).await?.status == 200);
        }
        if working == 1 { Ok(()) } else { Err(format!("{working} of {} keys work, expected 1", keys.len())) }
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The request that a case describes.
fn request(case: &Case, vars: &Vars) -> Result<Outgoing, Missing> {
    let (method, target) = case.send.split_once(' ').unwrap_or(("GET", &case.send));
    let mut headers = Vec::new();
    if let Some(name) = &case.token {
        headers.push(pair(
            "Authorization",
            &format!("Token token=\"{}\"", vars.get(&format!("access.{name}"))?),
        ));
    }
    if let Some(token) = &case.redeem {
        headers.push(pair("Authorization", &format!("Token token=\"{}\"", vars.expand(token)?)));
    }
    if let Some(basic) = &case.basic {
        use base64::Engine;
        let packed = base64::engine::general_purpose::STANDARD.encode(vars.expand(basic)?);
        headers.push(pair("Authorization", &format!("Basic {packed}")));
    }
    if let Some(value) = &case.authorization {
        headers.push(pair("Authorization", &vars.expand(value)?));
    }
    for (name, value) in &case.with {
        headers.push((name.clone(), vars.expand(value)?));
    }
    let mut body = Vec::new();
    if let Some(fields) = &case.form {
        if !case.with.contains_key("content-type") {
            headers.push(pair("Content-Type", FORM));
        }
        let mut pairs = Vec::new();
        for field in fields {
            let field = vars.expand(field)?;
            let (name, value) = field.split_once('=').unwrap_or((&field, ""));
            pairs.push(format!(
                "{}={}",
                utf8_percent_encode(name, RESERVED),
                utf8_percent_encode(value, RESERVED)
            ));
        }
        body = pairs.join("&").into_bytes();
    }
    if let Some(text) = &case.body {
        body = vars.expand(text)?.into_bytes();
    }
    if let Some(packed) = &case.bytes {
        use base64::Engine;
        let decoded = base64::engine::general_purpose::STANDARD.decode(packed);
        body = decoded.map_err(|_| Missing::Value(packed.clone()))?;
    }
    let target = vars.expand(target)?;
    Ok(Outgoing { method: method.to_owned(), target, headers, body, chunked: case.chunked, from: case.from })
}

pub(crate) fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn zulu(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// A message without the keys and tokens that a reply may have held.
fn redacted(message: &str) -> String {
    let mut shown = String::new();
    for word in message.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_key(bare) || bare.len() > 100 {
            shown.push_str("(redacted)");
            shown.push_str(word.get(bare.len()..).unwrap_or_default());
        } else {
            shown.push_str(word);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_no_keys() {
        let key = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefghj";
        assert_eq!(
            redacted(&format!("$.token is \"{key}\", expected x")),
            "$.token is \"(redacted)\", expected x"
        );
        assert_eq!(redacted("status 404, expected 204"), "status 404, expected 204");
    }
}
