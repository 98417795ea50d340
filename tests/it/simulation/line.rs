//! The line between processes and servers: every request of a controller passes here, is numbered, and is told its fault.
//! What becomes of it then is in [`super::carry`].

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use jiff::Timestamp;
use kube::client::Body;
use tidegate::embedded::api::ApiServer;
use tidegate::embedded::registry::RegistryServer;
use tidegate::registry::InProcess;
use tidegate::telemetry::clock::Clock;

use super::fault::{Class, Fault, Plan};
use super::fences::Fences;
use super::process::Process;
use super::trouble::{Lock, Spell};
use super::truth::Past;
use super::witness::Witness;
use super::world::{BEGINNING, NAMESPACE};

/// An answer of the API server.
pub type ApiReply = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// The line. All clones are one.
#[derive(Clone)]
pub struct Line(Arc<Inner>);

/// What lies at both ends of the line.
pub struct Ends {
    pub api: ApiServer,
    pub registry: RegistryServer,
    /// How the registry asks for a credential.
    pub lock: Lock,
    pub clock: Clock,
    pub witness: Witness,
    pub past: Past,
    pub fences: Fences,
    /// Builds a tag anew, where a plan says so.
    pub mover: Box<dyn Fn() + Send + Sync>,
}

struct Inner {
    ends: Ends,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: u64,
    plan: Plan,
    /// The registry is in trouble.
    is_spellbound: bool,
    log: Vec<Entry>,
    injected: BTreeMap<&'static str, u64>,
    last_write: Option<Timestamp>,
}

/// One request, as a run is compared with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub process: u32,
    pub at_millis: i128,
    pub what: String,
    pub fault: Option<Fault>,
    /// `None` where nothing was heard.
    pub code: Option<u16>,
}

/// A request on its way.
pub struct Letter {
    pub process: Process,
    pub number: u64,
    pub fault: Option<Fault>,
    pub what: String,
    /// When the process had decided to send it.
    pub asked_at: Timestamp,
}

// === impl Line ===

impl Line {
    pub fn new(ends: Ends, plan: Plan) -> Self {
        if let Plan::Habit(habit) = plan {
            ends.registry.adopt(habit);
        }
        let state = Mutex::new(State { plan, ..State::default() });
        Self(Arc::new(Inner { ends, state }))
    }

    pub fn ends(&self) -> &Ends {
        &self.0.ends
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests were sent so far.
    pub fn sent(&self) -> u64 {
        self.state().sent
    }

    pub fn log(&self) -> Vec<Entry> {
        self.state().log.clone()
    }

    pub fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.state().injected.clone()
    }

    /// Whether every fault of the plan is over.
    pub fn is_calm(&self) -> bool {
        let state = self.state();
        state.plan.is_over(state.sent) && !state.is_spellbound
    }

    /// No fault from now on.
    pub fn calm(&self) {
        self.state().plan.end();
    }

    /// A thing of which a run tells how often it was so.
    pub fn note(&self, kind: &'static str) {
        *self.state().injected.entry(kind).or_default() += 1;
    }

    /// Something but a lease or an Event was written by a controller.
    pub fn note_write(&self) {
        self.state().last_write = Some(self.ends().clock.now());
    }

    /// When something but a lease or an Event was last written by a controller.
    pub fn last_write(&self) -> Option<Timestamp> {
        self.state().last_write
    }

    // --- the ways of one process ---

    pub fn client(&self, process: &Process) -> kube::Client {
        let (line, process) = (self.clone(), process.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (line, process) = (line.clone(), process.clone());
            async move { line.ask_api(process, request).await }
        });
        kube::Client::new(service, NAMESPACE)
    }

    pub fn to_registry(&self, process: &Process) -> InProcess {
        let (line, process) = (self.clone(), process.clone());
        Arc::new(move |request| {
            let (line, process) = (line.clone(), process.clone());
            Box::pin(async move { line.ask_registry(process, request).await })
        })
    }

    pub async fn admit(&self, process: Process, class: Class, what: String) -> Letter {
        process.awake().await;
        let sent_at = self.ends().clock.now();
        // The writer checked the age of its look before it was stopped, and nobody can check his own pause (found by duel
        // seed 8714: a tag moved meanwhile; the release was complete when it was looked at).
        let asked_at = sent_at.checked_sub(process.just_stopped_for()).unwrap_or(sent_at);
        let mut state = self.state();
        state.sent += 1;
        let number = state.sent;
        let fault = state.plan.fault(number, class, &what);
        if let Some(fault) = fault {
            *state.injected.entry(fault.kind()).or_default() += 1;
        }
        let spell = if state.is_spellbound { None } else { state.plan.spell(number) };
        if let Some(spell) = spell {
            state.is_spellbound = true;
            *state.injected.entry(spell.trouble.kind()).or_default() += 1;
        }
        let at_millis = sent_at.duration_since(BEGINNING).as_millis();
        state.log.push(Entry { process: process.id, at_millis, what: what.clone(), fault, code: None });
        drop(state);
        if let Some(spell) = spell {
            self.cast(spell);
        }
        Letter { process, number, fault, what, asked_at }
    }

    /// The registry is in trouble from now on, for a while.
    fn cast(&self, spell: Spell) {
        let line = self.clone();
        let (trouble, hides) = (spell.trouble, spell.trouble.hides_everything(self.ends().lock));
        trouble.begin(&self.ends().registry, self.ends().lock);
        if hides {
            self.ends().past.note_answers(false);
        }
        tokio::spawn(async move {
            tokio::time::sleep(spell.lasts).await;
            let Ends { registry, lock, past, .. } = line.ends();
            trouble.end(registry, *lock);
            if hides {
                past.note_answers(true);
            }
            line.state().is_spellbound = false;
        });
    }

    pub fn heard(&self, number: u64, code: u16) {
        let index = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
        if let Some(entry) = self.state().log.get_mut(index) {
            entry.code = Some(code);
        }
    }
}
