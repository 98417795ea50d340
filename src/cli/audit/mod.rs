//! `tidegate audit`: how many of the last releases would have half-rolled if one image's tag alone had been followed.
//!
//! ```text
//!   subject (file or cluster ─▶ policy) ─▶ tags of the watched image ─▶ registry::Client::built ─▶ verdict ─▶ report
//! ```
//!
//! Asks registries alone, and goes by when builds say that they made an image, which is not when it was pushed.

pub mod args;
mod report;
mod subject;
mod verdict;

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;

use crate::cli::audit::args::AuditArgs;
use crate::cli::audit::report::Report;
use crate::cli::audit::subject::Subject;
use crate::cli::audit::verdict::{Moment, judge, moment};
use crate::cli::error::{CliError, Result};
use crate::cli::{Context, exit};
use crate::engine::order::Rank;
use crate::engine::policy::{ImagePolicy, Policy};
use crate::model::{Doubt, DoubtKind, ImageName, Sighting, Tag, TagList};
use crate::registry::{Access, Built, Client, Depth, Pace, Question, Registry as _};
use crate::telemetry::clock::Clock;

/// Most questions on their way at once; the client paces their requests by host.
const QUESTIONS_AT_ONCE: usize = 16;

/// Prints what would have half-rolled: exit code 3 when a release would have, 7 when of one it cannot be told, else 0.
///
/// # Errors
/// When there is no valid set to look at, or the report cannot be printed.
pub fn run(args: &AuditArgs, context: &Context) -> Result<u8> {
    let runtime = crate::cli::check::runtime()?;
    runtime.block_on(async {
        let clock = Clock::system();
        let subject = Subject::read(args, context).await?;
        let access = subject.access(context).await;
        let watched = subject.watched(args.watched.as_ref())?;
        let look =
            Look { client: Client::new(clock.clone()).paced_by(Pace::of_one_command()), clock, access };
        let until = tokio::time::Instant::now() + args.timeout;
        let listed = tokio::time::timeout_at(until, look.tags(watched)).await.ok();
        let list = match listed {
            Some(Sighting::Present(list)) => list,
            other => return Err(unlisted(watched, other, context)),
        };
        let tags = newest(&subject.policy, watched, &list, usize::from(args.last));
        let mut seen = BTreeMap::new();
        let in_time =
            tokio::time::timeout_at(until, look.all(&subject.policy, &tags, &mut seen)).await.is_ok();
        if !in_time {
            let secs = args.timeout.as_secs();
            context
                .printer
                .note(&format!("stopped after {secs} s: what was not answered by then is unknown"));
        }
        let report = judged(&subject, watched, &tags, &seen, &look.clock);
        context.printer.data(&report.text(args.output, context.printer.data_colors())?)?;
        say(&report, context);
        Ok(if tags.is_empty() { exit::BLOCKED } else { report.code() })
    })
}

fn say(report: &Report, context: &Context) {
    if report.summary.releases == 0 {
        context.printer.note(&format!("no tag of {} is a candidate of this set", report.watched));
        return;
    }
    context.printer.note(
        "times are those that builds wrote into their images, not when these were pushed: the real gap is a little \
         longer or shorter. A tag that was put on an older image counts as in time, and one that was deleted since as \
         never there",
    );
}

fn judged(
    subject: &Subject,
    watched: &ImagePolicy,
    tags: &[Tag],
    seen: &BTreeMap<(Tag, ImageName), Sighting<Built>>,
    clock: &Clock,
) -> Report {
    let policy = &subject.policy;
    let unasked = Sighting::Unknown(Doubt::new(DoubtKind::Transient, "not asked before the time was up"));
    let releases = tags.iter().map(|tag| {
        let moments: BTreeMap<ImageName, Moment> = policy
            .required_images()
            .map(|(_, image)| {
                let seen = seen.get(&(tag.clone(), image.name.clone())).unwrap_or(&unasked);
                (image.name.clone(), moment(seen, &image.platforms))
            })
            .collect();
        judge(tag.as_str(), &watched.name, &moments, (clock.now(), policy.deadline))
    });
    let releases = releases.collect();
    let siblings: Vec<ImageName> = policy
        .required_images()
        .map(|(_, image)| image.name.clone())
        .filter(|name| *name != watched.name)
        .collect();
    Report::new(&subject.name, &watched.name, &siblings, releases)
}

/// The newest tags of the watched image that the set would promote, newest first.
fn newest(policy: &Policy, watched: &ImagePolicy, list: &TagList, last: usize) -> Vec<Tag> {
    let mut ranked: Vec<(Rank, Tag)> = list
        .iter()
        .filter(|raw| !policy.candidates.excludes(raw))
        .filter(|raw| {
            // In a shared repository a tag belongs to the image whose template fits it best.
            let fits = policy.images.iter().filter(|other| other.place == watched.place);
            let best = fits
                .filter(|other| other.tag_template.extract(raw).is_some())
                .max_by_key(|other| other.tag_template.literal_len());
            best.is_some_and(|best| best.tag_template == watched.tag_template)
        })
        .filter_map(|raw| {
            let tag: Tag = watched.tag_template.extract(raw)?.parse().ok()?;
            Some((policy.candidates.rank(&tag).ok()?, tag))
        })
        .collect();
    ranked.sort_by(|(one, _), (other, _)| other.cmp(one));
    ranked.dedup_by(|(_, one), (_, other)| one == other);
    ranked.into_iter().map(|(_, tag)| tag).take(last).collect()
}

fn unlisted<T>(watched: &ImagePolicy, seen: Option<Sighting<T>>, context: &Context) -> CliError {
    let place = watched.place.text();
    let error = CliError::new(format!("failed to list the tags of {place}"));
    let error = match seen {
        None => error.because("there was no answer in time"),
        Some(Sighting::Unknown(doubt)) => error.because(doubt.message),
        Some(Sighting::Broken(defect)) => error.because(defect.message),
        Some(Sighting::Missing | Sighting::Present(_)) => {
            error.because("the registry knows no such repository")
        }
    };
    error.hint(format!("run `{} registry ping {place}`", context.program))
}

/// Who is asked, and how.
struct Look {
    client: Client,
    clock: Clock,
    access: BTreeMap<ImageName, Access>,
}

// === impl Look ===

impl Look {
    async fn tags(&self, image: &ImagePolicy) -> Sighting<std::sync::Arc<TagList>> {
        let (Some(repository), Some(access)) = (image.place.repository(), self.access.get(&image.name))
        else {
            return Sighting::Missing;
        };
        self.client.tags(access, repository, self.clock.now()).await.sighting
    }

    /// Looks at every required image of every tag.
    async fn all(
        &self,
        policy: &Policy,
        tags: &[Tag],
        seen: &mut BTreeMap<(Tag, ImageName), Sighting<Built>>,
    ) {
        let questions: Vec<(&Tag, &ImagePolicy)> = tags
            .iter()
            .flat_map(|tag| policy.required_images().map(move |(_, image)| (tag, image)))
            .collect();
        let mut answers = stream::iter(questions)
            .map(|(tag, image)| async move {
                ((tag.clone(), image.name.clone()), self.one(policy, tag, image).await)
            })
            .buffer_unordered(QUESTIONS_AT_ONCE);
        while let Some((key, answer)) = answers.next().await {
            seen.insert(key, answer);
        }
    }

    async fn one(&self, policy: &Policy, tag: &Tag, image: &ImagePolicy) -> Sighting<Built> {
        let (Some(repository), Some(access)) = (image.place.repository(), self.access.get(&image.name))
        else {
            return Sighting::Missing;
        };
        let Some(tag) = image.tag_template.render(tag.as_str()) else { return Sighting::Missing };
        let question = Question {
            repository: repository.clone(),
            tag,
            platforms: image.platforms.clone(),
            revision_keys: Vec::new(),
            depth: Depth::Configs,
            verify: policy.verify,
        };
        self.client.built(access, &question).await
    }
}
