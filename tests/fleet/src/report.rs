//! The table for people, and what programs read: the figures, and the series that the chart is drawn from.

use crate::agents::Failed;
use crate::scenarios::{FEW, Figures, PEAK, SOON, Trial};
use crate::wave::{Cause, Kind, Story};
use crate::world::Series;
use imprint_proof::{Figure, NotTried, Suite};
use serde_json::{Value, json};

/// A wave that was run.
pub struct Ran {
    /// What was tried.
    pub trial: Trial,
    /// How it went.
    pub story: Story,
    /// In the units of the goals.
    pub figures: Figures,
    /// What does not hold.
    pub broken: Vec<String>,
}

impl Ran {
    /// Runs it.
    ///
    /// # Errors
    /// When it cannot begin.
    pub fn of(trial: Trial) -> Result<Self, Failed> {
        let story = crate::wave::run(&trial.scenario)?;
        let figures = Figures::of(&trial.scenario, &story);
        let broken = trial.bound.map_or_else(Vec::new, |bound| bound.broken(&trial.scenario, &figures));
        Ok(Self { trial, story, figures, broken })
    }
}

/// The columns of [`row`].
pub const HEAD: &str = "| wave | window | enrolled | redeems a host | floor | 99.9 % after | last after | peak | peak after the outage | refused connections a host |\n\
    |---|---|---|---|---|---|---|---|---|---|\n";

/// One line of the table, in Markdown. Times are in units of the least, peaks of what Conjur does in a second.
#[must_use]
pub fn row(ran: &Ran) -> String {
    let Ran { trial, figures: is, .. } = ran;
    let scenario = &trial.scenario;
    let window = match scenario.kind {
        Kind::Naive => "none".to_owned(),
        Kind::Calls | Kind::Real => format!("{} s", scenario.window.as_secs()),
    };
    let floor = if scenario.kind == Kind::Naive { String::new() } else { format!("{:.2}", is.floor) };
    let after = scenario.model.away.as_ref().map_or_else(String::new, |_| format!("{:.1}", is.peak_after));
    format!(
        "| {} | {window} | {} | {:.2} | {floor} | {:.2} | {:.2} | {:.1} | {after} | {:.2} |",
        scenario.name, is.enrolled, is.redeems, is.most, is.last, is.peak, is.unreached
    )
}

/// What the proof gathers: every wave with its bounds, every figure with its goal.
#[must_use]
pub fn proof(all: &[Ran]) -> Suite {
    let mut suite = Suite::named("fleet");
    for ran in all.iter().filter(|ran| ran.trial.bound.is_some()) {
        let Ran { trial, figures: is, broken, .. } = ran;
        let name = &trial.scenario.name;
        let held = u64::from(broken.is_empty());
        suite.row(name, 1, held, if broken.is_empty() { told(is) } else { broken.join("; ") });
        let mut figure = |what: &str, measured: f64, goal: f64| {
            suite.figures.push(Figure {
                name: format!("{name}: {what}"),
                measured: format!("{measured:.2}"),
                goal: format!("at most {goal}"),
                reached: Some(measured <= goal),
            });
        };
        figure("redeems a host", is.redeems, FEW);
        // A restore is met by a timer in its own time, so there is no least one.
        if matches!(trial.scenario.cause, Cause::Boot(_)) {
            figure("time over the least, 99.9 % of the hosts", is.most, SOON);
            figure("time over the least, the last host", is.last, SOON);
        }
        if trial.scenario.model.away.is_some() {
            figure("peak after the outage over what Conjur does", is.peak_after, PEAK);
        }
    }
    suite.not_tried.push(NotTried {
        name: "100,000 agents with their files".to_owned(),
        why: "each holds the descriptor of its lock while it waits: the calls of the flow are made without its \
            files, and a smaller fleet of real agents is compared with them, request by request"
            .to_owned(),
    });
    suite
}

fn told(is: &Figures) -> String {
    let Figures { enrolled, redeems, floor, most, .. } = is;
    format!(
        "{enrolled} enrolled, {redeems:.2} redeems a host ({floor:.2} is the least), 99.9 % after {most:.2} of the least time"
    )
}

/// Every wave by the second, for the chart.
#[must_use]
pub fn series(all: &[Ran]) -> Value {
    let waves: Vec<Value> = all
        .iter()
        .map(|ran| {
            let Ran { trial, story, .. } = ran;
            let scenario = &trial.scenario;
            let by_second = |series: &Series| series.0.clone();
            json!({
                "name": scenario.name, "hosts": scenario.hosts, "creations": scenario.model.creations,
                "window": scenario.window.as_secs(),
                "away": scenario.model.away.as_ref().map(|away| [away.start, away.end]),
                "redeems": by_second(&story.tally.redeems), "enrolled": by_second(&story.enrolled),
                "unreached": by_second(&story.tally.unreached),
            })
        })
        .collect();
    json!({ "waves": waves })
}
