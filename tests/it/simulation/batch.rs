//! Many runs on all cores, and what is told of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Failures that are told in full: the first ones tell what is wrong.
const TOLD_MAX: usize = 8;

/// Failures of one story that are told at once.
const OF_STORY_MAX: usize = 2;

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Report {
    pub runs: u64,
    pub requests: u64,
    pub injected: BTreeMap<&'static str, u64>,
    /// What failed, with the command that replays it.
    pub failed: Vec<String>,
    /// Failures are told at once.
    is_telling: bool,
}

/// One run, as a report takes it in.
pub struct Told {
    pub requests: u64,
    pub injected: BTreeMap<&'static str, u64>,
    /// How to replay it.
    pub replay: String,
    pub broken: Vec<String>,
}

fn story_of(failed: &str) -> Option<&str> {
    failed.split("TIDEGATE_SIMULATION='").nth(1)?.split(' ').next()
}

// === impl Report ===

impl Report {
    /// Does every job on as many threads as there are cores, each on a runtime of its own.
    /// With `is_telling` failures are told as they come.
    pub fn of<J: Sync>(jobs: &[J], is_telling: bool, run: impl Fn(&J) -> Told + Sync) -> Self {
        let (next, report) = (AtomicUsize::new(0), Mutex::new(Self { is_telling, ..Self::default() }));
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let told = run(job);
                        report.lock().unwrap_or_else(PoisonError::into_inner).take(told);
                    }
                });
            }
        });
        report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self, told: Told) {
        self.runs += 1;
        self.requests += told.requests;
        for (kind, count) in told.injected {
            *self.injected.entry(kind).or_default() += count;
        }
        if !told.broken.is_empty() {
            let broken = told.broken.join("\n    ");
            let replay = told.replay;
            let command = "cargo test --test it simulation::replay -- --nocapture";
            let failed = format!("    {broken}\n  replay: TIDEGATE_SIMULATION='{replay}' {command}");
            // At once: a long run may be ended before it says anything.
            let of_story = |told: &&String| story_of(told) == story_of(&failed);
            if self.is_telling && self.failed.iter().filter(of_story).count() < OF_STORY_MAX {
                let _ = writeln!(std::io::stderr(), "{failed}");
            }
            self.failed.push(failed);
        }
    }

    /// Says what was done, past the capture of tests, and fails with what failed.
    pub fn conclude(mut self, what: &str, began: std::time::SystemTime) {
        let spent = began.elapsed().map_or(0.0, |spent| spent.as_secs_f64());
        let mut text =
            format!("simulation: {what}: {} runs, {} requests, {spent:.1} s", self.runs, self.requests);
        for (kind, count) in &self.injected {
            let _ = write!(text, "; {kind} {count}");
        }
        let _ = writeln!(std::io::stderr(), "{text}");
        let failed = self.failed.len();
        self.failed.truncate(TOLD_MAX);
        assert!(failed == 0, "{failed} of {} runs failed:\n{}", self.runs, self.failed.join("\n"));
    }
}
