//! What came of a run as CloudWatch metrics: lines in the Embedded Metric Format, which CloudWatch Logs takes
//! out of a function's log. A pure function of the report and the time; no request and no permission.
//!
//! Source: CloudWatch user guide, "Specification: Embedded metric format". Every metric of a name and set of
//! dimensions is paid for each month, so the one dimension is the function's name, as in AWS's own metrics
//! of it; the factory is a member of its line beside, for Logs Insights. See ARCHITECTURE.md.

use crate::instance;
use crate::rotate::{Counts, Offered, Outcome, Report};
use imprint_core::error::{Class, Classified as _};
use imprint_core::second::Second;
use serde_json::{Map, Value, json};

/// The namespace of all metrics.
const NAMESPACE: &str = "Imprint";

/// The dimension.
const FUNCTION: &str = "FunctionName";

/// Which run of which function.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The function's name.
    pub function: &'a str,
    /// The run.
    pub rotation_id: &'a str,
    /// When it ended.
    pub now: Second,
}

/// What became of a run over the fleet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FleetCounts {
    /// Hosts that were removed, since their instances are gone.
    pub removed: usize,
    /// Hosts whose instances are missing, but not for long enough.
    pub waiting: usize,
    /// Hosts that the next run removes.
    pub held_back: usize,
    /// Hosts that were tied to their instances' addresses.
    pub pinned: usize,
    /// Factories whose part failed.
    pub failed: usize,
}

/// What a look at the fleet's hosts showed, of all factories that could be looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HostCounts {
    /// Running instances that should have a host and have none; `None` where no rule says which should.
    pub without_host: Option<usize>,
    /// Hosts whose instance is gone.
    pub without_instance: usize,
    /// Hosts that should be pinned and are not.
    pub unpinned: usize,
    /// Instances that should be promoted and are not; `None` where no rule promotes.
    pub unpromoted: Option<usize>,
    /// Factories that could not be looked at.
    pub failed: usize,
}

impl Of<'_> {
    /// The lines of a run that came to its end: one of its counts, and one for each factory of which it is
    /// known what agents find there.
    #[must_use]
    pub fn run(&self, report: &Report) -> Vec<String> {
        let class = report.class();
        let lines = report.factories.iter().filter_map(|outcome| self.factory(outcome));
        std::iter::once(self.counts(&report.counts(), class)).chain(lines).collect()
    }

    /// The line of a run that could not begin, so that none of its `factories` was looked at.
    #[must_use]
    pub fn not_begun(&self, class: Class, factories: usize) -> String {
        // Where not even the configuration was read, something failed all the same.
        self.counts(&Counts { failed: factories.max(1), ..Counts::default() }, Some(class))
    }

    /// The line of a run over the fleet.
    #[must_use]
    pub fn fleet(&self, counts: &FleetCounts, class: Option<Class>) -> String {
        let metrics = [
            ("HostsRemoved", counts.removed),
            ("HostsWaiting", counts.waiting),
            ("HostsHeldBack", counts.held_back),
            ("HostsPinned", counts.pinned),
            ("Failed", counts.failed),
        ];
        let metrics = metrics.map(|(name, count)| (name, "Count", count as u64));
        self.line(&metrics, &[("class", class.map(Class::as_str))])
    }

    /// The line of a run that minted for single instances.
    #[must_use]
    pub fn instances(&self, counts: &instance::report::Counts, class: Option<Class>) -> String {
        let metrics = [
            ("InstanceTokensPublished", counts.published),
            ("InstanceTokensKept", counts.kept),
            ("OldHostsRemoved", counts.old_removed),
            ("SquattedIds", counts.squatted),
            ("Failed", counts.failed),
        ];
        let metrics = metrics.map(|(name, count)| (name, "Count", count as u64));
        self.line(&metrics, &[("class", class.map(Class::as_str))])
    }

    /// The line of a look at the fleet's hosts that could not begin.
    #[must_use]
    pub fn not_looked(&self, class: Class) -> String {
        self.line(&[("Failed", "Count", 1)], &[("class", Some(class.as_str()))])
    }

    /// The line of a look at the fleet's hosts. What is not known is not in it.
    #[must_use]
    pub fn hosts(&self, counts: &HostCounts, class: Option<Class>) -> String {
        let metrics = [
            ("InstancesWithoutHost", counts.without_host),
            ("HostsWithoutInstance", Some(counts.without_instance)),
            ("HostsUnpinned", Some(counts.unpinned)),
            ("InstancesUnpromoted", counts.unpromoted),
            ("Failed", Some(counts.failed)),
        ];
        let metrics: Vec<(&str, &str, u64)> =
            metrics.into_iter().filter_map(|(name, count)| Some((name, "Count", count? as u64))).collect();
        self.line(&metrics, &[("class", class.map(Class::as_str))])
    }

    fn counts(&self, counts: &Counts, class: Option<Class>) -> String {
        let metrics = [
            ("Rotated", counts.rotated),
            ("Kept", counts.kept),
            ("LostRaces", counts.lost_races),
            ("Failed", counts.failed),
            ("OrphansRevoked", counts.orphans_revoked),
            ("OrphansLeft", counts.orphans_left),
        ];
        let metrics = metrics.map(|(name, count)| (name, "Count", count as u64));
        self.line(&metrics, &[("class", class.map(Class::as_str))])
    }

    fn factory(&self, outcome: &Outcome) -> Option<String> {
        let left = |expires_at: Second| ("SecondsToExpiry", "Seconds", expires_at.since(self.now).as_secs());
        let metrics = match &outcome.offered {
            Offered::Token { issued_at, expires_at } => {
                vec![("TokenAge", "Seconds", self.now.since(*issued_at).as_secs()), left(*expires_at)]
            }
            // No age, which would look young; but an end that any threshold finds.
            Offered::Nothing => vec![left(self.now)],
            Offered::Unknown => return None,
        };
        let class = outcome.result.as_ref().err().map(|error| error.class().as_str());
        Some(self.line(&metrics, &[("factory", Some(outcome.factory.as_str())), ("class", class)]))
    }

    fn line(&self, metrics: &[(&str, &str, u64)], more: &[(&str, Option<&str>)]) -> String {
        let defined: Vec<Value> =
            metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
        let directive = json!({"Namespace": NAMESPACE, "Dimensions": [[FUNCTION]], "Metrics": defined});
        let mut members = Map::new();
        let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
        let milliseconds = self.now.unix().saturating_mul(1000);
        add("_aws", json!({"Timestamp": milliseconds, "CloudWatchMetrics": [directive]}));
        add(FUNCTION, self.function.into());
        add("rotation_id", self.rotation_id.into());
        for (name, value) in more {
            if let Some(value) = value {
                add(name, (*value).into());
            }
        }
        for (name, _, value) in metrics {
            add(name, (*value).into());
        }
        Value::Object(members).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Why;
    use crate::rotate::{Done, Error, Swept};
    use imprint_core::token::Fingerprint;
    use std::time::Duration;

    fn of() -> Of<'static> {
        Of { function: "rotator", rotation_id: "r-1", now: Second::from_unix(1_800_000_000) }
    }

    fn outcome(id: &str, result: Result<Done, Error>, offered: Offered) -> Outcome {
        let orphans = Swept { revoked: vec![Fingerprint::of(b"o")], left: vec![] };
        Outcome { factory: id.parse().unwrap(), result, notes: vec![], offered, orphans, older: None }
    }

    fn lines(factories: Vec<Outcome>) -> Vec<Value> {
        let report = Report { rotation_id: "r-1".to_owned(), factories };
        of().run(&report).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_run_over_the_fleet() {
        let counts = FleetCounts { removed: 1, waiting: 2, held_back: 3, pinned: 4, failed: 5 };
        let line: Value = serde_json::from_str(&of().fleet(&counts, Some(Class::Refused))).unwrap();
        let told = ["HostsRemoved", "HostsWaiting", "HostsHeldBack", "HostsPinned", "Failed"]
            .map(|name| &line[name]);
        assert_eq!(told, [1, 2, 3, 4, 5].map(Value::from).each_ref());
        assert_eq!((&line["class"], &line["FunctionName"]), (&"refused".into(), &"rotator".into()));
        let defined = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert_eq!(defined.len(), 5);
    }

    #[test]
    fn a_run_that_mints_for_instances() {
        let counts =
            instance::report::Counts { published: 1, kept: 2, failed: 3, old_removed: 4, squatted: 5 };
        let line: Value = serde_json::from_str(&of().instances(&counts, None)).unwrap();
        let told =
            ["InstanceTokensPublished", "InstanceTokensKept", "Failed", "OldHostsRemoved", "SquattedIds"]
                .map(|name| &line[name]);
        assert_eq!(told, [1, 2, 3, 4, 5].map(Value::from).each_ref());
        assert!(line.get("class").is_none());
    }

    #[test]
    fn a_look_at_the_hosts() {
        let told = |line: String| {
            let line: Value = serde_json::from_str(&line).unwrap();
            let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
            let names = metrics.iter().map(|metric| metric["Name"].as_str().unwrap());
            let values: Vec<String> = names.map(|name| format!("{name}={}", line[name])).collect();
            format!("{} {}", line["class"].as_str().unwrap_or("-"), values.join(" "))
        };
        let counts = HostCounts {
            without_host: Some(1),
            without_instance: 2,
            unpinned: 3,
            unpromoted: Some(0),
            failed: 5,
        };
        assert_eq!(
            told(of().hosts(&counts, Some(Class::Refused))),
            "refused InstancesWithoutHost=1 HostsWithoutInstance=2 HostsUnpinned=3 InstancesUnpromoted=0 Failed=5"
        );
        assert_eq!(
            told(of().hosts(&HostCounts::default(), None)),
            "- HostsWithoutInstance=0 HostsUnpinned=0 Failed=0",
            "what nobody knows is no zero"
        );
        assert_eq!(told(of().not_looked(Class::Transient)), "transient Failed=1");
    }

    #[test]
    fn a_run_and_its_factories() {
        let (fingerprint, now) = (Fingerprint::of(b"x"), of().now);
        let before = Second::from_unix(now.unix() - 600);
        let (in_an_hour, past) = (now.plus(Duration::from_secs(3600)), Second::from_unix(now.unix() - 9));
        let token = |issued_at, expires_at| Offered::Token { issued_at, expires_at };
        let kept = Done::Kept { fingerprint: fingerprint.clone(), expires_at: in_an_hour, until: now };
        let rotated = Done::Rotated {
            fingerprint: fingerprint.clone(),
            expires_at: in_an_hour,
            why: Why::Due,
            superseded: None,
        };
        let no_time = || Err(Error::NoTime { factory: "x".parse().unwrap() });
        let all = lines(vec![
            outcome("new", Ok(rotated), token(now, in_an_hour)),
            outcome("kept", Ok(kept), token(before, in_an_hour)),
            outcome("race", Ok(Done::LostRace { fingerprint }), Offered::Unknown),
            outcome("aging", no_time(), token(before, in_an_hour)),
            outcome("over", no_time(), token(before, past)),
            outcome("empty", no_time(), Offered::Nothing),
            outcome("unseen", no_time(), Offered::Unknown),
        ]);
        let told = |line: &Value| {
            let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
            let names = metrics.iter().map(|metric| metric["Name"].as_str().unwrap());
            let values = names.map(|name| format!("{name}={}", line[name])).collect::<Vec<_>>().join(" ");
            format!(
                "{} {} {values}",
                line["factory"].as_str().unwrap_or("-"),
                line["class"].as_str().unwrap_or("-")
            )
        };
        assert_eq!(
            all.iter().map(told).collect::<Vec<_>>(),
            [
                "- transient Rotated=1 Kept=1 LostRaces=1 Failed=4 OrphansRevoked=7 OrphansLeft=0",
                "new - TokenAge=0 SecondsToExpiry=3600",
                "kept - TokenAge=600 SecondsToExpiry=3600",
                "aging transient TokenAge=600 SecondsToExpiry=3600",
                "over transient TokenAge=600 SecondsToExpiry=0",
                "empty transient SecondsToExpiry=0",
            ]
        );
        for line in &all {
            assert_eq!((&line["FunctionName"], &line["rotation_id"]), (&json!("rotator"), &json!("r-1")));
            assert_eq!(line["_aws"]["Timestamp"], 1_800_000_000_000_u64);
            assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["FunctionName"]]));
        }
    }

    #[test]
    fn a_run_that_cannot_begin_fails_for_all_its_factories() {
        for (factories, failed) in [(0, 1), (1, 1), (1000, 1000)] {
            let line: Value = serde_json::from_str(&of().not_begun(Class::Refused, factories)).unwrap();
            assert_eq!(
                (&line["Failed"], &line["Rotated"], &line["class"]),
                (&json!(failed), &json!(0), &json!("refused"))
            );
        }
    }

    #[test]
    fn a_thousand_factories_are_as_many_short_lines_and_no_more_metrics() {
        let token = || Offered::Token { issued_at: of().now, expires_at: of().now };
        let kept =
            || Done::Kept { fingerprint: Fingerprint::of(b"x"), expires_at: of().now, until: of().now };
        let factories = (0..1000).map(|n| outcome(&format!("{n:0>250}"), Ok(kept()), token())).collect();
        let all = lines(factories);
        assert_eq!(all.len(), 1001);
        // CloudWatch Logs takes a quarter of a megabyte as one event.
        assert!(all.iter().all(|line| line.to_string().len() < 1024));
        let mut names: Vec<String> = all
            .iter()
            .flat_map(|line| line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap())
            .map(|metric| metric["Name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
    }
}
