//! What becomes of a request that left: it is carried whatever becomes of its sender, as by a network, and meets its fault.

use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::oneshot;
use tower::{BoxError, Service as _};

use super::answer::{garbled, refused, registry_says};
use super::fault::{Class, Fault, Form, WatchFault};
use super::fences::Fence;
use super::line::{ApiReply, Letter, Line};
use super::process::Process;
use super::world::{HOLE, NAMESPACE};

/// What a run counts a write under whose sender was no longer the leader when it arrived.
pub const OF_ANOTHER_LEADER: &str = "written by who led no more";

// === impl Line ===

impl Line {
    pub async fn ask_api(self, process: Process, request: Request<Body>) -> Result<ApiReply, BoxError> {
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
        let mut service = self.ends().api.service(&letter.process.identity());
        // An API server answers a GET from a quorum; what would be promoted twice if it did not is no bug.
        let may_lag = class == Class::Read && !letter.what.contains("/configmaps/");
        if let (Some(Fault::Stale(revisions)), true) = (letter.fault, may_lag) {
            service = service.as_of(self.ends().api.revision().saturating_sub(revisions).max(1));
        }
        let witness = &self.ends().witness;
        let request =
            if self.is_fenced(&letter.what) { request } else { self.unfenced(&letter.what, request).await? };
        let counts = class == Class::Write && !letter.what.contains("dryRun");
        if counts && letter.process.stands_for_election() && !letter.what.contains("/leases") {
            let is_leader = self.holder().is_none_or(|holder| holder == letter.process.identity());
            if !is_leader {
                self.note(OF_ANOTHER_LEADER);
            }
        }
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
        if counts && witness.after(&sight) {
            self.note_write();
        }
        Ok(reply)
    }

    /// Who holds the lease now.
    fn holder(&self) -> Option<String> {
        let lease = self.ends().api.object("coordination.k8s.io", "leases", NAMESPACE, "tidegate")?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        (!holder.is_empty()).then(|| holder.to_owned())
    }

    fn is_fenced(&self, what: &str) -> bool {
        let fence = match what {
            what if !what.starts_with("PUT") || what.contains("/leases/") => return true,
            what if what.contains("/status") => Fence::StatusRevision,
            _ => Fence::OtherRevisions,
        };
        self.ends().fences.hold(fence)
    }

    /// A PUT as somebody would send it who read the object again.
    async fn unfenced(&self, what: &str, request: Request<Body>) -> Result<Request<Body>, BoxError> {
        let Some(present) = self.ends().witness.present(what) else { return Ok(request) };
        let (mut parts, body) = request.into_parts();
        let mut object: Value = serde_json::from_slice(&body.collect().await?.to_bytes())?;
        for field in ["resourceVersion", "uid"] {
            object["metadata"][field] = present["metadata"][field].clone();
        }
        parts.headers.remove(http::header::CONTENT_LENGTH);
        Ok(Request::from_parts(parts, Body::from(object.to_string().into_bytes())))
    }

    pub async fn ask_registry(
        self,
        process: Process,
        request: Request<Bytes>,
    ) -> io::Result<Response<Bytes>> {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let what = format!("registry {} {path}", request.method());
        let is_lost = request.uri().host() == Some(HOLE);
        let letter = self.admit(process, Class::Registry, what).await;
        if is_lost {
            return std::future::pending().await;
        }
        if letter.fault == Some(Fault::Moved(Form::Lost)) {
            (self.ends().mover)();
        }
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let answer = match self.before(&letter).await {
            Err(None) => return std::future::pending().await,
            Err(Some(Fault::Answer(_, code))) => Ok(registry_says(code)),
            Err(Some(_)) => Err(reset()),
            Ok(()) => self.ends().registry.answer(request).await,
        };
        let answer = match letter.fault {
            Some(Fault::Die(Form::Applied)) => {
                letter.process.die();
                return std::future::pending().await;
            }
            Some(Fault::Moved(Form::Applied)) => {
                (self.ends().mover)();
                answer
            }
            Some(Fault::Broken(Form::Applied)) => Err(reset()),
            _ => answer,
        };
        let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        self.heard(letter.number, code);
        self.ends().witness.heard(&letter.process, &letter.what, code);
        answer
    }
}
