//! The figures that the project set itself, each with what this run reached, in one table at the end.

use imprint_proof::Figure;

/// A figure with its goal, and what was reached.
pub(crate) struct Row {
    what: &'static str,
    goal: &'static str,
    reached: Reached,
}

enum Reached {
    /// As a person reads it, and whether it is the goal.
    Measured(String, bool),
    /// Why not.
    NotMeasured(String),
}

impl Row {
    /// At most so much.
    pub(crate) fn at_most(what: &'static str, goal: &'static str, is: f64, most: f64, said: String) -> Self {
        Self { what, goal, reached: Reached::Measured(said, is <= most) }
    }

    /// At least so much.
    pub(crate) fn at_least(
        what: &'static str,
        goal: &'static str,
        is: f64,
        least: f64,
        said: String,
    ) -> Self {
        Self { what, goal, reached: Reached::Measured(said, is >= least) }
    }

    /// Nothing, and why.
    pub(crate) fn not_measured(what: &'static str, goal: &'static str, why: &str) -> Self {
        Self { what, goal, reached: Reached::NotMeasured(why.to_owned()) }
    }

    /// For the report of `make proof`.
    pub(crate) fn figure(&self) -> Figure {
        let (measured, reached) = match &self.reached {
            Reached::Measured(said, is) => (said.clone(), Some(*is)),
            Reached::NotMeasured(why) => (format!("not measured: {why}"), None),
        };
        Figure { name: self.what.to_owned(), measured, goal: self.goal.to_owned(), reached }
    }

    /// For a person.
    pub(crate) fn line(&self) -> String {
        let reached = match &self.reached {
            Reached::Measured(said, true) => said.clone(),
            Reached::Measured(said, false) => format!("{said}   NOT REACHED"),
            Reached::NotMeasured(why) => format!("NOT MEASURED: {why}"),
        };
        format!("{:<44}{:<36}{reached}", self.what, self.goal)
    }
}
