//! The boots of `make fleet` with Conjur there all the time, whose figures belong to those of an enrollment.

use crate::Failed;
use crate::goals::Row;
use imprint_fleet::report::{HEAD, Ran, row};
use imprint_fleet::scenarios::{self, FEW, Figures, SOON};

/// The worst of all windows.
pub(crate) fn measure() -> Result<Vec<Row>, Failed> {
    print!("\n{HEAD}");
    let mut all: Vec<Figures> = Vec::new();
    let boots = |trial: &scenarios::Trial| trial.bound.is_some() && trial.scenario.is_plain_boot();
    for trial in scenarios::all().into_iter().filter(boots) {
        let ran = Ran::of(trial)?;
        println!("{}", row(&ran));
        all.push(ran.figures);
    }
    let worst = |of: fn(&Figures) -> f64| all.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
    let enrolled = all.iter().map(|is| is.enrolled).min().unwrap_or_default();
    let (redeems, time) = (worst(|is| is.redeems), worst(|is| is.most));
    Ok(vec![
        Row::at_least(
            "100,000 boots: enrolled",
            "all, whatever the window",
            enrolled as f64,
            f64::from(scenarios::HOSTS),
            enrolled.to_string(),
        ),
        Row::at_most(
            "  redeems a host",
            "at most 1.3, whatever the window",
            redeems,
            FEW,
            format!("{redeems:.2}"),
        ),
        Row::at_most(
            "  time over the least, 99.9 %",
            "at most 1.25x, whatever the window",
            time,
            SOON,
            format!("{time:.2}x"),
        ),
    ])
}
