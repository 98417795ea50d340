//! One reconcile of one ReleaseSet: observe, decide, act, report.
//!
//! ```text
//!   GET set ─▶ policy ─▶ look and decide ──▶ commit? ──▶ smoke Jobs ─▶ guard ─▶ targets ─▶ report
//!                            ▲                  │
//!                            └── decide anew ◀──┘ from the reply
//! ```
//!
//! Watch events only wake; everything acted upon is read here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;

use crate::api::references::References;
use crate::api::status::{self, UnreadableStatus};
use crate::api::v1alpha1::DeletionPolicy;
use crate::api::{ReleaseSetSpec, ReleaseSetStatus, validate};
use crate::controller::context::{ApiError, Context, SetMemory};
use crate::controller::credentials::Wanted;
use crate::controller::live::{self, Live, WriteError};
use crate::controller::look::Eyes;
use crate::controller::reader::Reader;
use crate::controller::{
    credentials, deletion, events, flux, gauges, guard, jobs, look_room, reach, targets,
};
use crate::engine::clearance::Granted;
use crate::engine::decision::Decision;
use crate::engine::observation::{Marks, Observation};
use crate::engine::policy::{GateKind, Policy};
use crate::engine::record::Outcome;
use crate::engine::report::{TargetReports, conditions, stalled_conditions};
use crate::engine::{CONFIRMATION_LIFE, decide};
use crate::model::{ImageName, Problem, Reason, TargetState};
use crate::registry::Depth;
use crate::smoke::outcome::{self, JobEnd, SmokeJob};
use crate::smoke::runner::SmokeError;
use crate::targets::Stopped;
use crate::telemetry::metrics::SetFigures;

/// Most commits of one reconcile: one, then a decision from its reply. A second would need a candidate that
/// was not followed before; it can wait for the next reconcile.
const DECISIONS_MAX: usize = 2;
/// Pause before a reconcile that must start over: long enough for the other writer to be done, far below the
/// shortest pace (3 s).
const AGAIN: Duration = Duration::from_millis(200);
/// Pause before the questions that one reconcile had no round for.
const GO_ON: Duration = Duration::from_secs(1);
/// Pause before a Job that was refused (quota, webhook, RBAC) is tried again: the shortest interval of a spec.
const JOB_AGAIN: SignedDuration = SignedDuration::from_secs(10);
/// Pause before a Job without a pod is looked at again: "no node" and refusals are named within 10 s.
const PODLESS_AGAIN: SignedDuration = SignedDuration::from_secs(3);
/// Pause before a set is looked for again that is not there although something woke it: gone, in which case nothing is
/// found then, or hidden by a server that lags behind or does not serve the kind yet.
const ABSENT_AGAIN: Duration = Duration::from_secs(10);
/// Longest sleep when nothing is due: also the safety net for events that a watch lost.
const SLEEP_MAX: SignedDuration = SignedDuration::from_mins(10);

/// Why a reconcile could not be finished. Nothing was lost; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Reading or writing the ReleaseSet.
    #[error(transparent)]
    Set(#[from] WriteError),
    /// Status that cannot be read back into values.
    #[error(transparent)]
    Record(#[from] UnreadableStatus),
    /// Smoke Jobs or their pods.
    #[error(transparent)]
    Smoke(#[from] SmokeError),
}

/// A set on its way through one reconcile.
struct Session<'a> {
    context: &'a Context,
    live: Live,
    spec: ReleaseSetSpec,
    references: References,
    policy: Policy,
    observation: Observation,
    memory: SetMemory,
    jobs: Vec<SmokeJob>,
    before: ReleaseSetStatus,
    /// Why no target may be written now.
    hold: Option<String>,
    /// The guard does not list the release yet, which is one more reason.
    unguarded: bool,
    told: events::Told,
    /// What a commit of this reconcile brought about.
    untold: Vec<events::Happening>,
}

/// Reconciles one set: reads it, looks, decides, acts, reports.
///
/// # Errors
/// When the API server fails or the status cannot be understood; the caller backs off and calls again.
pub async fn reconcile(context: &Context, namespace: &str, name: &str) -> Result<Action, ReconcileError> {
    let Some(mut live) = live::read(context, namespace, name).await? else {
        context.forget(namespace, name);
        return Ok(Action::requeue(ABSENT_AGAIN));
    };
    if live.deleting {
        return Ok(deletion::finish(context, &live).await);
    }
    let spec = match serde_path_to_error::deserialize::<_, ReleaseSetSpec>(live.spec()) {
        Ok(spec) => spec,
        Err(error) => {
            let problem = Problem::new(format!("spec.{}", error.path()), error.inner().to_string());
            return stall(context, live, Reason::Undecodable, &[problem]).await;
        }
    };
    context.flux_index.set(namespace, name, flux::references::named(&spec));
    let read = flux::references::read(context, namespace, &spec).await;
    let policy = match validate::policy_with(&spec, live.generation, &read.references) {
        Ok(policy) => policy,
        Err(problems) => return stall(context, live, Reason::InvalidSpec, &problems).await,
    };
    if context.look_room.is_full(&policy.hosts()) {
        return Ok(Action::requeue(look_room::AGAIN));
    }
    let hold = match deletion::prepare(context, &live, spec.deletion_policy).await {
        Ok(prepared) => {
            live = prepared.unwrap_or(live);
            None
        }
        Err(WriteError::Stale) => return Ok(Action::requeue(AGAIN)),
        Err(error) if spec.deletion_policy == DeletionPolicy::Delete => {
            Some(format!("is not written before the finalizer {}: {error}", deletion::FINALIZER))
        }
        Err(error) => {
            tracing::warn!(set = %live.name, "the finalizer {} stays for now: {error}", deletion::FINALIZER);
            None
        }
    };
    let session = Session::open(context, live, spec, read, policy, hold).await?;
    // On the heap: a reconcile holds a whole set, and many wait at once.
    Box::pin(session.run()).await
}

/// A set that cannot be acted upon says so, and everything promoted stays as it is.
async fn stall(
    context: &Context,
    live: Live,
    reason: Reason,
    problems: &[Problem],
) -> Result<Action, ReconcileError> {
    // What its status says still stands, and so does its spec.breakGlass.
    let unguarded = Box::pin(guard::follow(context, &live)).await;
    let (record, name) = (status::record(&live.status)?, live.name.clone());
    let conditions = stalled_conditions(reason, problems, &record);
    let now = context.clock.now();
    let mut next = status::with_conditions(&live.status, live.generation, &conditions, now);
    // Whoever asked is told that it was looked at, and finds why nothing came of it.
    next.last_handled_reconcile_at.clone_from(&live.requested_at);
    if next != live.status {
        let happenings = events::between(&live.status, &next, &events::Told::default());
        let written = match live.write(context, "status", &next).await {
            Err(WriteError::Stale) => return Ok(Action::requeue(AGAIN)),
            written => written?,
        };
        events::publish(context, &written, happenings).await;
    }
    if context.leadership.is_held() {
        context.metrics.sets.set(gauges::labels(&name), gauges::figures(&next));
    }
    // Only an edit mends it, and an edit wakes.
    Ok(if unguarded.is_some() { Action::requeue(guard::AGAIN) } else { Action::await_change() })
}

// === impl Session ===

impl<'a> Session<'a> {
    async fn open(
        context: &'a Context,
        live: Live,
        spec: ReleaseSetSpec,
        read: flux::references::Read,
        policy: Policy,
        hold: Option<String>,
    ) -> Result<Session<'a>, ReconcileError> {
        let mut memory = context.take_memory(&live.name, live.generation);
        memory.note_places(&policy);
        let is_asked =
            live.requested_at.is_some() && live.requested_at != live.status.last_handled_reconcile_at;
        if memory.note_scans(read.scans) || is_asked {
            memory.memory.hinted_at = Some(context.clock.now());
        }
        let has_smoke = policy.gates.iter().any(|gate| matches!(gate.kind, GateKind::Smoke(_)));
        // A spec without smoke gates may have had some before: their Jobs are looked for once.
        let jobs = if has_smoke {
            memory.old_jobs_sought = true;
            jobs::observe(context, &live.name, &live.status).await?
        } else if !std::mem::replace(&mut memory.old_jobs_sought, true) {
            jobs::left_over(context, &live.name, &live.status).await?
        } else {
            Vec::new()
        };
        context.smoke_room.saw(&live.name, jobs::running(&jobs));
        let smoke = outcome::views(&jobs);
        let record = status::record(&live.status)?;
        let marks = targets::marks(context, &live, &policy, &mut memory).await;
        let observation = Observation {
            deleting: live.deleting,
            record,
            memory: std::mem::take(&mut memory.memory),
            smoke,
            marks,
            named: read.named,
            retries: jobs::retries(&live.annotations),
            smoke_running_max: Some(context.smoke_running_max),
        };
        let before = live.status.clone();
        Ok(Self {
            context,
            live,
            spec,
            references: read.references,
            policy,
            observation,
            memory,
            jobs,
            before,
            hold,
            unguarded: false,
            told: events::Told::default(),
            untold: Vec::new(),
        })
    }

    async fn run(mut self) -> Result<Action, ReconcileError> {
        let wanted = credentials::wanted(&self.spec, &self.references);
        let namespace = self.live.name.namespace.clone();
        let reader = Reader::new(self.context, &namespace);
        let mut access = credentials::read(&reader, &self.policy, &wanted).await;
        reach::complete(&reader, &self.spec, &self.references, &mut access).await;
        // Sets take turns at a host that many of them ask.
        let asker: Arc<str> = self.live.name.to_string().into();
        for access in access.values_mut() {
            access.asker = Some(Arc::clone(&asker));
        }
        let eyes = Eyes {
            registry: &*self.context.registry,
            access: &access,
            depth: Depth::Configs,
            clock: &self.context.clock,
            line: Some(&self.context.confirm_line),
        };
        let mut decision = decide(&self.policy, &self.observation, self.context.clock.now());
        if !decision.ask.is_empty() {
            let Some(_looking) = self.context.look_room.enter(self.policy.hosts()).await else {
                self.keep();
                return Ok(Action::requeue(look_room::AGAIN));
            };
            decision = eyes.decide(&self.policy, &mut self.observation).await;
        }
        for _ in 1..DECISIONS_MAX {
            let Some(granted) = decision.commit.take() else { break };
            if !self.commit(granted, &decision).await? {
                self.keep();
                return Ok(Action::requeue(AGAIN));
            }
            decision = eyes.decide(&self.policy, &mut self.observation).await;
        }
        // A grant that is not used now is worth nothing later.
        decision.commit = None;
        let started = self.start_jobs(&mut decision, &wanted, &reader).await;
        let (mut targets, again) = match self.follow().await {
            Ok(followed) => (followed.reports, followed.again),
            Err(stopped) => {
                tracing::info!(set = %self.live.name, "{stopped}");
                self.tell_commit().await;
                self.keep();
                return Ok(Action::requeue(AGAIN));
            }
        };
        flux::following::follow(self.context, &self.live, &self.policy, &mut targets).await;
        self.remember_ended(&decision);
        let reported = self.report(&decision, &targets).await;
        let action =
            if again { Action::requeue(AGAIN) } else { self.next_action(&decision, &targets, started) };
        self.keep();
        match reported {
            Err(ReconcileError::Set(WriteError::Stale)) => Ok(Action::requeue(AGAIN)),
            Err(error) => Err(error),
            Ok(()) => Ok(action),
        }
    }

    /// Starts what the decision wants to run, and decides anew with it running, so that one report tells both.
    async fn start_jobs(
        &mut self,
        decision: &mut Decision,
        wanted: &BTreeMap<ImageName, Wanted>,
        reader: &Reader<'_>,
    ) -> jobs::Started {
        let (started, views) = jobs::start(self.context, &self.live.name, decision, wanted, reader).await;
        if !views.is_empty() {
            self.observation.smoke.extend(views);
            *decision = decide(&self.policy, &self.observation, self.context.clock.now());
            decision.commit = None;
        }
        started
    }

    /// The one write that matters. False when it must not be made any more, or was refused: read again.
    async fn commit(&mut self, granted: Granted, decision: &Decision) -> Result<bool, ReconcileError> {
        let now = self.context.clock.now();
        let age = now.duration_since(granted.look_started_at());
        // Below zero the clock was set back: how long ago it was cannot be told.
        if !(SignedDuration::ZERO..CONFIRMATION_LIFE).contains(&age) {
            return Ok(false);
        }
        self.remember_ended(decision);
        // Until they are written, targets carry the release before: Ready must not say otherwise.
        let unwritten = (TargetState::Pending, "is about to be written".to_owned());
        let targets = self.policy.targets.iter().map(|target| (target.name.clone(), unwritten.clone()));
        let mut next = self.rendered(decision, &targets.collect(), now);
        status::apply_commit(&mut next, granted, validate::history_limit(&self.spec), now);
        let live = match self.live.write(self.context, "commit", &next).await {
            Err(WriteError::Stale) => return Ok(false),
            written => written?,
        };
        self.observation.record = status::record(&live.status)?;
        if let Some(promoted) = self.observation.record.promoted.clone() {
            self.observation.memory.note_commit(&promoted, now);
        }
        self.live = live;
        self.untold = events::between(&self.before, &self.live.status, &std::mem::take(&mut self.told));
        self.before = self.live.status.clone();
        // Whatever the marks held was continued by this very commit.
        self.observation.marks = Marks::InStep;
        Ok(true)
    }

    async fn follow(&mut self) -> Result<targets::Followed, Stopped> {
        let unguarded = Box::pin(guard::follow(self.context, &self.live)).await;
        self.unguarded = unguarded.is_some();
        let Self { context, live, policy, observation, memory, hold, .. } = self;
        let hold = hold.clone().or(unguarded);
        targets::follow(context, live, policy, &observation.marks, hold.as_deref(), memory).await
    }

    fn rendered(&self, decision: &Decision, targets: &TargetReports, now: Timestamp) -> ReleaseSetStatus {
        let record = &self.observation.record;
        let conditions = conditions(&self.policy, record, decision, targets);
        let mut next = status::render(&self.live.status, &self.policy, decision, &conditions, targets, now);
        next.last_handled_reconcile_at.clone_from(&self.live.requested_at);
        next
    }

    /// Ended candidates and ignored names are told once, and gone ones are not followed again until they are pushed again.
    fn remember_ended(&mut self, decision: &Decision) {
        for ended in &decision.ended {
            if ended.outcome == Outcome::Gone {
                self.observation.memory.forget_gone(&ended.tag);
            }
        }
        self.told.ended.extend(decision.ended.iter().cloned());
        self.told.older.extend(decision.named_older.clone());
    }

    /// Tells of the commit, whatever becomes of the report: once it is read back nothing shows that it is new.
    async fn tell_commit(&mut self) {
        events::publish(self.context, &self.live, std::mem::take(&mut self.untold)).await;
    }

    /// Writes the status when it says something new, and tells what happened.
    async fn report(&mut self, decision: &Decision, targets: &TargetReports) -> Result<(), ReconcileError> {
        self.tell_commit().await;
        let next = self.rendered(decision, targets, self.context.clock.now());
        if next != self.live.status {
            self.live = self.live.write(self.context, "status", &next).await?;
        }
        let happenings = events::between(&self.before, &self.live.status, &self.told);
        jobs::tidy(self.context, &self.live.name, &self.policy, &self.live.status, &self.jobs).await;
        events::publish(self.context, &self.live, happenings).await;
        self.gauge(decision);
        Ok(())
    }

    fn gauge(&self, decision: &Decision) {
        // Another process reports the set by now.
        if !self.context.leadership.is_held() {
            return;
        }
        let Self { context, live, policy, .. } = self;
        let labels = gauges::labels(&live.name);
        let before = context.metrics.sets.get(&labels).unwrap_or_default();
        let now = context.clock.now();
        let figures = SetFigures {
            unknown_since: gauges::unknown_since(policy, decision, &before.unknown_since, now),
            ..gauges::figures(&live.status)
        };
        context.metrics.sets.set(labels, figures);
    }

    /// When to come back although nothing happened.
    fn next_action(&self, decision: &Decision, targets: &TargetReports, started: jobs::Started) -> Action {
        let now = self.context.clock.now();
        let soon = now.checked_add(self.policy.interval).unwrap_or(now);
        let mut next = decision.next_look.unwrap_or(Timestamp::MAX);
        if !decision.ask.is_empty() {
            return Action::requeue(GO_ON);
        }
        if started == jobs::Started::Unfinished {
            next = next.min(now.checked_add(JOB_AGAIN).unwrap_or(now));
        }
        // Targets are read again every interval, so that drift is put back (design §4 Targets); Jobs too,
        // should a watch lose their end.
        if !targets.is_empty() || !self.jobs.is_empty() || started == jobs::Started::All {
            next = next.min(soon);
        }
        if self.unguarded {
            next = next.min(now.checked_add(guard::AGAIN).unwrap_or(now));
        }
        if let Some(due) = flux::following::due(&self.policy, &self.live.status, targets, now) {
            next = next.min(due);
        }
        // What keeps a Job from its pod is told by Events, which nothing watches.
        if self.jobs.iter().any(|job| job.is_podless && job.end == JobEnd::NotOver) {
            next = next.min(now.checked_add(PODLESS_AGAIN).unwrap_or(now));
        }
        let pause = next.duration_since(now).clamp(SignedDuration::ZERO, SLEEP_MAX);
        Action::requeue(Duration::try_from(pause).unwrap_or(AGAIN).max(AGAIN))
    }

    fn keep(mut self) {
        self.memory.memory = self.observation.memory;
        self.context.keep_memory(&self.live.name, self.memory);
    }
}

impl From<ApiError> for ReconcileError {
    fn from(error: ApiError) -> Self {
        Self::Set(WriteError::Api(error))
    }
}
