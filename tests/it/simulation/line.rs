//! The line between processes and servers: every request of a controller passes here, is numbered, and meets its fault.
//!
//! A request that left is carried by the line whatever becomes of its sender, as a network would.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::Value;
use tidegate::embedded::api::ApiServer;
use tidegate::embedded::registry::RegistryServer;
use tidegate::registry::InProcess;
use tidegate::telemetry::clock::Clock;
use tokio::sync::oneshot;
use tower::{BoxError, Service as _};

use super::answer::{garbled, refused, registry_says};
use super::fault::{Class, Fault, Form, Plan, WatchFault};
use super::process::Process;
use super::witness::Witness;
use super::world::{BEGINNING, Fences, NAMESPACE};

/// An answer of the API server.
pub type ApiReply = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// The line. All clones are one.
#[derive(Clone)]
pub struct Line(Arc<Inner>);

struct Inner {
    api: ApiServer,
    registry: RegistryServer,
    clock: Clock,
    witness: Witness,
    fences: Fences,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: u64,
    plan: Plan,
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
struct Letter {
    process: Process,
    number: u64,
    fault: Option<Fault>,
    what: String,
    /// When the process had decided to send it.
    asked_at: Timestamp,
}

// === impl Line ===

impl Line {
    pub fn new(
        api: ApiServer,
        registry: RegistryServer,
        clock: Clock,
        witness: Witness,
        plan: Plan,
        fences: Fences,
    ) -> Self {
        let state = Mutex::new(State { plan, ..State::default() });
        Self(Arc::new(Inner { api, registry, clock, witness, fences, state }))
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
        state.plan.is_over(state.sent)
    }

    /// No fault from now on.
    pub fn calm(&self) {
        self.state().plan.end();
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

    async fn admit(&self, process: Process, class: Class, what: String) -> Letter {
        process.awake().await;
        let sent_at = self.0.clock.now();
        // The writer checked the age of its look before it was stopped, and nobody can check his own pause (found by duel
        // seed 8714: a tag moved meanwhile; the release was complete when it was looked at).
        let asked_at = sent_at.checked_sub(process.just_stopped_for()).unwrap_or(sent_at);
        let mut state = self.state();
        state.sent += 1;
        let number = state.sent;
        let fault = state.plan.fault(number, class);
        if let Some(fault) = fault {
            *state.injected.entry(fault.kind()).or_default() += 1;
        }
        let at_millis = sent_at.duration_since(BEGINNING).as_millis();
        state.log.push(Entry { process: process.id, at_millis, what: what.clone(), fault, code: None });
        drop(state);
        Letter { process, number, fault, what, asked_at }
    }

    fn heard(&self, number: u64, code: u16) {
        let index = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
        if let Some(entry) = self.state().log.get_mut(index) {
            entry.code = Some(code);
        }
    }

    async fn ask_api(self, process: Process, request: Request<Body>) -> Result<ApiReply, BoxError> {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let is_watch = path.contains("watch=true");
        let class = match *request.method() {
            http::Method::GET if is_watch => Class::Watch,
            http::Method::GET => Class::Read,
            _ => Class::Write,
        };
        // The names of Events hold the machine's time.
        let path = if path.contains("/events") { "/events".to_owned() } else { path };
        let letter = self.admit(process, class, format!("{} {path}", request.method())).await;
        let number = letter.number;
        let (answer, answered) = oneshot::channel();
        let line = self.clone();
        tokio::spawn(async move {
            if let Some(reply) = line.deliver(&letter, class, request).await {
                let _ = answer.send(reply);
            }
        });
        let Ok(reply) = answered.await else { return std::future::pending().await };
        self.heard(number, reply.as_ref().map_or(0, |reply| reply.status().as_u16()));
        reply
    }

    /// What happens before a request reaches its server. `Err` is the end of it.
    async fn before(&self, letter: &Letter) -> Result<(), Option<Fault>> {
        match letter.fault {
            Some(Fault::Die(Form::Lost)) => {
                letter.process.die();
                return Err(None);
            }
            Some(Fault::Stop(form, pause)) => {
                letter.process.stop_for(pause);
                if form == Form::Lost {
                    letter.process.awake().await;
                }
            }
            Some(Fault::Silent(Form::Lost)) => return Err(None),
            Some(fault @ (Fault::Broken(Form::Lost) | Fault::Answer(Form::Lost, _))) => {
                return Err(Some(fault));
            }
            Some(fault @ Fault::Watch(WatchFault::Gone)) => return Err(Some(fault)),
            Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
            _ => {}
        }
        Ok(())
    }

    async fn deliver(
        &self,
        letter: &Letter,
        class: Class,
        request: Request<Body>,
    ) -> Option<Result<ApiReply, BoxError>> {
        if let Err(ending) = self.before(letter).await {
            return ending.map(refused);
        }
        let reply = self.serve(letter, class, request).await;
        match letter.fault {
            Some(Fault::Die(Form::Applied)) => {
                letter.process.die();
                None
            }
            Some(Fault::Silent(_)) => None,
            Some(fault @ (Fault::Broken(_) | Fault::Answer(..))) => Some(refused(fault)),
            Some(Fault::Watch(fault)) => {
                let is_of_sets = letter.what.contains("/releasesets");
                Some(reply.map(|reply| garbled(reply, fault, is_of_sets)))
            }
            _ => Some(reply),
        }
    }

    /// The server's own answer, with a witness at every write.
    async fn serve(
        &self,
        letter: &Letter,
        class: Class,
        request: Request<Body>,
    ) -> Result<ApiReply, BoxError> {
        let mut service = self.0.api.service(&letter.process.identity());
        // An API server answers a GET from a quorum; what would be promoted twice if it did not is no bug.
        let may_lag = class == Class::Read && !letter.what.contains("/configmaps/");
        if let (Some(Fault::Stale(revisions)), true) = (letter.fault, may_lag) {
            service = service.as_of(self.0.api.revision().saturating_sub(revisions).max(1));
        }
        let witness = &self.0.witness;
        let request =
            if self.0.fences.revisions { request } else { self.unfenced(&letter.what, request).await? };
        let sight = witness.before(&letter.what, &letter.process, letter.asked_at);
        let reply = service.call(request).await?;
        if !reply.status().is_success() {
            return Ok(reply);
        }
        let reply = if class == Class::Read && letter.what.contains("/releasesets/") {
            let (parts, body) = reply.into_parts();
            let bytes = body.collect().await?.to_bytes();
            witness.read(&letter.process, &bytes);
            let body = Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
            Response::from_parts(parts, body)
        } else {
            reply
        };
        if class == Class::Write && !letter.what.contains("dryRun") {
            let counts = witness.after(&sight);
            if counts {
                self.state().last_write = Some(self.0.clock.now());
            }
        }
        Ok(reply)
    }

    /// A PUT as somebody would send it who read the object again.
    async fn unfenced(&self, what: &str, request: Request<Body>) -> Result<Request<Body>, BoxError> {
        let Some(present) = self.0.witness.present(what).filter(|_| what.starts_with("PUT")) else {
            return Ok(request);
        };
        let (mut parts, body) = request.into_parts();
        let mut object: Value = serde_json::from_slice(&body.collect().await?.to_bytes())?;
        for field in ["resourceVersion", "uid"] {
            object["metadata"][field] = present["metadata"][field].clone();
        }
        parts.headers.remove(http::header::CONTENT_LENGTH);
        Ok(Request::from_parts(parts, Body::from(object.to_string().into_bytes())))
    }

    async fn ask_registry(self, process: Process, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let what = format!("registry {} {path}", request.method());
        let letter = self.admit(process, Class::Registry, what).await;
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let answer = match self.before(&letter).await {
            Err(None) => return std::future::pending().await,
            Err(Some(Fault::Answer(_, code))) => Ok(registry_says(code)),
            Err(Some(_)) => Err(reset()),
            Ok(()) => self.0.registry.answer(request).await,
        };
        let answer = match letter.fault {
            Some(Fault::Die(Form::Applied)) => {
                letter.process.die();
                return std::future::pending().await;
            }
            Some(Fault::Broken(Form::Applied)) => Err(reset()),
            _ => answer,
        };
        self.heard(letter.number, answer.as_ref().map_or(0, |answer| answer.status().as_u16()));
        answer
    }
}
