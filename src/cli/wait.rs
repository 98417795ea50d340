//! `tidegate wait`: `check` until the release would be promoted or the time is up.
//!
//! One memory for all rounds: after the first look only what is not Present is asked for, when the engine says that
//! it is due. Ends early when waiting does not help.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::api::duration;
use crate::cli::Context;
use crate::cli::args::{ReportFormat, WaitArgs};
use crate::cli::check::{Request, runtime};
use crate::cli::contract::Report;
use crate::cli::error::Result;
use crate::cli::exit::{self, Obstacle, Verdict};
use crate::cli::judge::Judgement;
use crate::cli::printer::{Palette, Printer};
use crate::cli::render::{self, one_line};
use crate::cli::screen::{self, Screen};
use crate::controller::look::Eyes;
use crate::engine::decide;
use crate::engine::decision::Decision;
use crate::engine::observation::Observation;
use crate::registry::{Client, Pace};
use crate::telemetry::clock::Clock;

/// Shortest pause between two rounds, whatever is due: nothing that the engine paces is due sooner.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How often a terminal is drawn again while nothing happens, so that its clock goes on.
const TICK: Duration = Duration::from_secs(1);

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum End {
    /// There is an answer that waiting does not change.
    Answered,
    /// The time is up.
    TimedOut,
    /// Ctrl+C.
    Stopped,
}

/// Who is told how far it is.
pub(in crate::cli) trait Watcher: Send {
    /// A look gave this.
    fn looked(&mut self, report: &Report, waited: Duration);
    /// A test begins, or something is worth knowing.
    fn says(&mut self, _text: &str) {}
    /// Nothing happened; the next look is in so long.
    fn ticked(&mut self, _waited: Duration, _next_look: Duration) {}
}

/// Rounds of looking at one request.
pub(in crate::cli) struct Rounds<'a> {
    pub request: &'a Request<'a>,
    pub eyes: Eyes<'a>,
    pub timeout: Duration,
}

/// Waits, prints the report and returns the exit code of its verdict.
///
/// # Errors
/// When there is no valid ReleaseSet to look at, or the report cannot be printed.
pub fn run(args: &WaitArgs, context: &Context) -> Result<u8> {
    let request = Request::read(&args.look, context)?;
    let clock = Clock::system();
    let mut observation = request.observation();
    let mut progress = Progress::new(context.printer, args.timeout);
    progress.begin();
    let end = runtime()?.block_on(async {
        let waited = async {
            let access = request.access(context).await;
            let client = Client::new(clock.clone()).paced_by(Pace::of_one_command());
            let eyes = request.eyes(&client, &access, &clock);
            let rounds = Rounds { request: &request, eyes, timeout: args.timeout };
            rounds.run(&mut observation, &mut progress).await
        };
        tokio::select! {
            end = waited => end,
            _ = tokio::signal::ctrl_c() => Ok(End::Stopped),
        }
    });
    progress.finish();
    let end = end?;
    let judgement = request.judged(&decide(&request.asked, &observation, clock.now()));
    let judgement = ended(end, judgement);
    match end {
        End::Answered => {}
        End::TimedOut => context.printer.note(&format!("timed out after {}", text(args.timeout))),
        End::Stopped => context.printer.note("stopped: this is what was known by then"),
    }
    request.print(judgement, context)
}

/// Only a wait that could have gone on has timed out.
fn ended(end: End, judgement: Judgement) -> Judgement {
    let timed_out = end == End::TimedOut && judgement.report.verdict == Verdict::Wait;
    let exit_code =
        if timed_out { exit::code(Verdict::Wait, Some(Obstacle::Time)) } else { judgement.exit_code };
    Judgement { exit_code, ..judgement }
}

// === impl Rounds ===

impl Rounds<'_> {
    /// Looks again and again until there is an answer or the time is up. What was seen is in `observation`, also when
    /// this is dropped before its end.
    ///
    /// # Errors
    /// When the command of `--smoke-exec` cannot be run.
    pub async fn run(&self, observation: &mut Observation, watcher: &mut impl Watcher) -> Result<End> {
        let started = Instant::now();
        let until = started + self.timeout;
        loop {
            let mut say = |text: &str| watcher.says(text);
            let round = self.request.round(&self.eyes, observation, &mut say);
            let Ok(decision) = tokio::time::timeout_at(until, round).await else { return Ok(End::TimedOut) };
            let decision = decision?;
            let judgement = self.request.judged(&decision);
            watcher.looked(&judgement.report, started.elapsed());
            if self.is_answer(&judgement) {
                return Ok(End::Answered);
            }
            let next = Instant::now() + self.pause(&decision);
            // Clocks and changes of the candidates go on from here, as they do through a status.
            observation.record.candidates =
                decision.followed.into_iter().map(|candidate| candidate.record).collect();
            while Instant::now() < next {
                if Instant::now() >= until {
                    return Ok(End::TimedOut);
                }
                watcher.ticked(started.elapsed(), next - Instant::now());
                tokio::time::sleep_until(next.min(until).min(Instant::now() + TICK)).await;
            }
        }
    }

    fn pause(&self, decision: &Decision) -> Duration {
        let next_look = decision.next_look.map(|at| at.duration_since(self.eyes.clock.now()));
        let pause = next_look.unwrap_or(self.request.asked.interval);
        Duration::try_from(pause).unwrap_or_default().max(PAUSE_MIN)
    }

    /// Waiting changes nothing any more. Without a tag a newer one may come after one that failed.
    fn is_answer(&self, judgement: &Judgement) -> bool {
        match judgement.report.verdict {
            Verdict::Promote | Verdict::Held | Verdict::Superseded => true,
            Verdict::Failed => self.request.is_of_one_tag(),
            // Nobody runs the smoke test that is asked for.
            Verdict::Wait => judgement.exit_code == exit::SMOKE,
        }
    }
}

/// The progress of a wait on standard error: drawn in place on a terminal, else one line for each change.
struct Progress {
    printer: Printer,
    screen: Option<Screen>,
    timeout: Duration,
    last: Option<Report>,
}

// === impl Progress ===

impl Progress {
    fn new(printer: Printer, timeout: Duration) -> Self {
        let screen = printer.talk_is_terminal().then(Screen::default);
        Self { printer, screen, timeout, last: None }
    }

    /// The first look may take as long as a host that does not answer.
    fn begin(&mut self) {
        if let Some(screen) = &mut self.screen {
            self.printer
                .progress(&screen.draw("looking for the first time; Ctrl+C ends it\n", screen::rows()));
        }
    }

    fn draw(&mut self, waited: Duration, next_look: Option<Duration>) {
        let (Some(screen), Some(report)) = (&mut self.screen, &self.last) else { return };
        let text = picture(report, waited, self.timeout, next_look, self.printer.talk_colors());
        self.printer.progress(&screen.draw(&text, screen::rows()));
    }

    /// Takes the picture away: the report follows.
    fn finish(&mut self) {
        if let Some(screen) = &mut self.screen {
            self.printer.progress(&screen.clear());
        }
    }
}

impl Watcher for Progress {
    fn looked(&mut self, report: &Report, waited: Duration) {
        let last = self.last.replace(report.clone());
        if self.screen.is_some() {
            return self.draw(waited, None);
        }
        for change in changes(last.as_ref(), report) {
            self.printer.progress(&format!("{:>7}  {change}\n", text(waited)));
        }
    }

    fn says(&mut self, text: &str) {
        // What the command writes follows below.
        self.finish();
        self.printer.note(text);
    }

    fn ticked(&mut self, waited: Duration, next_look: Duration) {
        self.draw(waited, Some(next_look));
    }
}

/// What stands on the terminal: the table of `check` and how long it goes on.
fn picture(
    report: &Report,
    waited: Duration,
    timeout: Duration,
    next_look: Option<Duration>,
    palette: Palette,
) -> String {
    // A table of owned parts cannot fail to be written.
    let table = render::report(report, ReportFormat::Table, palette).unwrap_or_default();
    let look = next_look.map_or_else(
        || "looking".to_owned(),
        |next| format!("next look in {}", text(next + Duration::from_millis(999))),
    );
    format!("{table}\nwaiting for {} of {}, {look}; Ctrl+C ends it\n", text(waited), text(timeout))
}

/// What is different since the last look, a line each; at first, where it stands.
fn changes(last: Option<&Report>, now: &Report) -> Vec<String> {
    let same_tag = last.filter(|last| last.tag == now.tag);
    let Some(last) = same_tag else {
        let tag = now.tag.as_deref().unwrap_or("no candidate");
        let required = || now.images.iter().flat_map(|image| &image.cells).filter(|cell| cell.required);
        let present = required().filter(|cell| cell.state == "Present").count();
        let why = now.blocked_by.as_deref().map(|why| format!("; {}", one_line(why))).unwrap_or_default();
        return vec![format!("{tag}: {present}/{} required cells are present{why}", required().count())];
    };
    let mut lines = Vec::new();
    for (image, before) in now.images.iter().zip(&last.images) {
        for (cell, old) in image.cells.iter().zip(&before.cells) {
            if (cell.state, &cell.reason, &cell.digest) != (old.state, &old.reason, &old.digest) {
                let why =
                    cell.reason.as_deref().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
                let again = if cell.state == old.state && cell.digest != old.digest { " again" } else { "" };
                let state = cell.state.to_ascii_lowercase();
                lines.push(format!("{} {} {state}{again}{why}", image.name, cell.platform));
            }
        }
    }
    for (gate, before) in now.gates.iter().zip(&last.gates) {
        if (gate.state, &gate.message) != (before.state, &before.message) {
            lines.push(format!("gate {} {}", gate.name, one_line(&gate.message)));
        }
    }
    lines
}

fn text(span: Duration) -> String {
    duration::Text(SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)).to_string()
}

#[cfg(test)]
mod tests;
