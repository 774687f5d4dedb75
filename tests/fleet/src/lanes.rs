//! What bounds a server, as pure functions of the time in seconds: [`Lane`], a queue of so much work and no
//! more, and [`Rate`], so many requests a second. Nothing here waits, and nothing is drawn.

/// One after the other, at a fixed pace; what would wait too long is turned away.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Seconds that one piece of work takes.
    takes: f64,
    /// Seconds of work that may wait.
    patience: f64,
    free_at: f64,
}

impl Lane {
    /// Does `a_second` pieces of work, of which `patience` seconds may wait.
    #[must_use]
    pub const fn new(a_second: f64, patience: f64) -> Self {
        Self { takes: 1.0 / a_second, patience, free_at: 0.0 }
    }

    /// When the work that comes now is done; `None` when too much is waiting, and it is not taken.
    pub fn enter(&mut self, now: f64) -> Option<f64> {
        self.enter_with(now, self.takes)
    }

    /// The same with work that takes so many seconds.
    pub fn enter_with(&mut self, now: f64, takes: f64) -> Option<f64> {
        let begin = self.free_at.max(now);
        if begin - now > self.patience {
            return None;
        }
        self.free_at = begin + takes;
        Some(self.free_at)
    }

    /// What waits is lost: the server is away from now on.
    pub const fn go_away(&mut self) {
        self.free_at = 0.0;
    }
}

/// A token bucket: so many a second, and one second's worth at once.
#[derive(Clone, Debug)]
pub struct Rate {
    a_second: f64,
    left: f64,
    at: f64,
}

impl Rate {
    /// So many a second.
    #[must_use]
    pub const fn new(a_second: f64) -> Self {
        Self { a_second, left: a_second, at: 0.0 }
    }

    /// Whether one more is let through now.
    pub fn take(&mut self, now: f64) -> bool {
        self.left = ((now - self.at).max(0.0)).mul_add(self.a_second, self.left).min(self.a_second);
        self.at = self.at.max(now);
        let taken = self.left >= 1.0;
        if taken {
            self.left -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_does_one_after_the_other_and_turns_away_what_would_wait_too_long() {
        let mut lane = Lane::new(2.0, 1.0);
        assert_eq!(lane.enter(0.0), Some(0.5));
        assert_eq!(lane.enter(0.0), Some(1.0));
        // One second of work waits: the last that is taken; then one more is too much.
        assert_eq!(lane.enter(0.0), Some(1.5));
        assert_eq!(lane.enter(0.0), None);
        // Half a second later there is room for just one.
        assert_eq!(lane.enter(0.5), Some(2.0));
        assert_eq!(lane.enter(0.5), None);
        // An idle lane begins at once; what waited when it went away is forgotten.
        assert_eq!(lane.enter(10.0), Some(10.5));
        lane.go_away();
        assert_eq!(lane.enter(10.2), Some(10.7));
        // Work may be heavier or lighter than usual.
        assert_eq!(lane.enter_with(30.0, 0.25), Some(30.25));
    }

    #[test]
    fn a_lane_never_does_more_than_its_pace() {
        let mut lane = Lane::new(140.0, 20.0);
        let mut random = fastrand::Rng::with_seed(1);
        let mut now = 0.0;
        let (mut taken, mut last) = (0_u32, 0.0_f64);
        for _ in 0..50_000 {
            now += random.f64() / 500.0;
            if let Some(done) = lane.enter(now) {
                assert!(done >= last + 1.0 / 140.0 - 1e-9 && done <= now + 20.0 + 2.0 / 140.0, "{done}");
                (taken, last) = (taken + 1, done);
            }
        }
        let most = 140.0 * (now + 20.0) + 1.0;
        assert!(f64::from(taken) <= most && f64::from(taken) > most - 10.0, "{taken} of {most}");
    }

    #[test]
    fn a_rate_lets_a_seconds_worth_through_and_then_its_pace() {
        let mut rate = Rate::new(5.0);
        let passed = |rate: &mut Rate, now| (0..20).filter(|_| rate.take(now)).count();
        assert_eq!((passed(&mut rate, 0.0), passed(&mut rate, 0.1), passed(&mut rate, 0.2)), (5, 0, 1));
        // It saves no more than one second, and time that runs back gives nothing.
        assert_eq!((passed(&mut rate, 100.0), passed(&mut rate, 50.0)), (5, 0));
    }
}
