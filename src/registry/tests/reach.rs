//! Where a registry may send us, with names that mean what a test wants.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;

use super::fixture::{Fixture, Guard, Reply};
use super::{Subject, app, open, present};
use crate::model::sighting::DoubtKind;
use crate::model::{ImageEvidence, Repository, Sighting};
use crate::registry::wire::resolve::Names;
use crate::registry::{Client, Question, Registry as _};
use crate::telemetry::clock::Clock;

/// A name server: each name has a list of answers, of which the last stays. Keeps what it was asked.
#[derive(Default)]
struct Zone {
    answers: Mutex<HashMap<String, Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Zone {
    fn new(names: &[(&str, &[&str])]) -> Arc<Self> {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let answers = names.iter().map(|(name, answers)| ((*name).to_owned(), parse(answers))).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: Mutex::default() })
    }

    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

impl Names for Zone {
    fn look_up(&self, name: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let mut answers = self.answers.lock().unwrap();
        let found = answers
            .get_mut(&name)
            .map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0] });
        self.asked.lock().unwrap().push(name);
        let answer = found.map(|address| vec![SocketAddr::new(address, 0)]);
        Box::pin(async move { answer.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

/// `acme/app:v1` at the fixture by the name `registry.test`.
fn by_name(fixture: &Fixture) -> Question {
    let repository = format!("registry.test:{}/acme/app", port(fixture)).parse().unwrap();
    Question { repository, ..app(fixture) }
}

fn port(fixture: &Fixture) -> String {
    fixture.host().rsplit(':').next().unwrap().to_owned()
}

async fn look(fixture: &Fixture, zone: &Arc<Zone>) -> Sighting<ImageEvidence> {
    Subject::new().resolving_by(Arc::clone(zone) as Arc<dyn Names>).look(&open(), &by_name(fixture)).await
}

fn inside(seen: &Sighting<ImageEvidence>, words: &str) {
    let Sighting::Unknown(doubt) = seen else { panic!("{seen:?}") };
    assert_eq!(doubt.kind, DoubtKind::Protocol, "{}", doubt.message);
    assert!(doubt.message.contains(words) && doubt.message.contains("; "), "{}", doubt.message);
}

#[tokio::test]
async fn a_registrys_own_name_may_be_this_machine_or_a_private_one() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let zone = Zone::new(&[("registry.test", &["127.0.0.1"])]);
    assert!(look(&fixture, &zone).await.is_present());
    assert_eq!(zone.asked("registry.test"), fixture.connections(), "once per connection");
}

#[tokio::test]
async fn a_registrys_own_name_is_never_where_clouds_keep_credentials() {
    let fixture = Fixture::with_app(Guard::Open).await;
    for address in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "0.0.0.0"] {
        let seen = look(&fixture, &Zone::new(&[("registry.test", &[address])])).await;
        inside(&seen, "where clouds keep credentials");
    }
    assert!(fixture.log().is_empty());
}

#[tokio::test]
async fn a_realm_that_resolves_as_far_inside_as_the_registry_is_asked() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| world.realm = format!("http://auth.test:{}/token", port(&fixture)));
    let zone = Zone::new(&[("registry.test", &["127.0.0.1"]), ("auth.test", &["127.0.0.1"])]);
    assert!(look(&fixture, &zone).await.is_present());
}

#[tokio::test]
async fn a_realm_that_resolves_to_a_metadata_address_is_not_asked() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| world.realm = format!("http://auth.test:{}/token", port(&fixture)));
    let zone = Zone::new(&[("registry.test", &["127.0.0.1"]), ("auth.test", &["169.254.169.254"])]);
    inside(&look(&fixture, &zone).await, "auth.test resolves to 169.254.169.254");
    assert!(!fixture.log().iter().any(|line| line.contains("/token")));
}

#[tokio::test]
async fn a_name_that_means_another_address_the_next_time_is_checked_again() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| {
        world.realm = format!("http://auth.test:{}/token", port(&fixture));
        world.token_life_secs = Some(0);
    });
    let zone =
        Zone::new(&[("registry.test", &["127.0.0.1"]), ("auth.test", &["127.0.0.1", "169.254.169.254"])]);
    assert!(look(&fixture, &zone).await.is_present(), "what was checked is what is connected to");
    // A new process: no connection to the token server is open, so its name is looked up again.
    inside(&look(&fixture, &zone).await, "auth.test resolves to 169.254.169.254");
}

#[tokio::test]
async fn a_redirect_to_a_name_inside_is_not_followed() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let elsewhere = format!("http://cdn.test:{}/blob", port(&fixture));
    fixture.script("GET", "/blobs/", 9, Reply::status(307).header("location", &elsewhere));
    let zone = Zone::new(&[("registry.test", &["127.0.0.1"]), ("cdn.test", &["169.254.169.254"])]);
    let Sighting::Present(evidence) = look(&fixture, &zone).await else { panic!("the index is there") };
    for child in evidence.children.values() {
        let why = child.why().unwrap_or_default();
        assert!(child.is_unknown() && why.contains("cdn.test resolves to 169.254.169.254"), "{child:?}");
    }
    assert!(!fixture.log().iter().any(|line| line.ends_with("/blob")));
}

#[tokio::test(start_paused = true)]
async fn a_registry_in_this_process_is_asked_instead_of_a_network() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let answers: crate::registry::InProcess = Arc::new(move |request| {
        let (verb, path) = (request.method().clone(), request.uri().path().to_owned());
        heard.lock().unwrap().push(format!("{verb} {} {path}", request.uri().host().unwrap()));
        let answer = if path.ends_with("/tags/list") {
            let body = json!({"name": "acme/app", "tags": ["v1", "v2"]}).to_string();
            let answer = http::Response::builder().header("content-type", "application/json");
            Ok(answer.body(bytes::Bytes::from(body)).unwrap())
        } else {
            Err(std::io::ErrorKind::ConnectionReset.into())
        };
        Box::pin(async { answer })
    });
    let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
    let client = Client::new(clock).in_process(answers);
    // No resolver knows this name: nothing goes out.
    let repository: Repository = "nowhere.invalid/acme/app".parse().unwrap();
    let list = client.tags(&open(), &repository, Timestamp::MAX).await.sighting;
    assert_eq!(present(&list).iter().collect::<Vec<_>>(), ["v1", "v2"]);
    let broken = client.head_tag(&open(), &repository, &"v1".parse().unwrap()).await;
    let Sighting::Unknown(doubt) = &broken else { panic!("{broken:?} is not Unknown") };
    assert_eq!(doubt.kind, DoubtKind::Transient, "{}", doubt.message);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.first().unwrap(), "GET nowhere.invalid /v2/acme/app/tags/list");
    assert!(
        asked.iter().skip(1).all(|asked| asked == "HEAD nowhere.invalid /v2/acme/app/manifests/v1"),
        "{asked:?}"
    );
}
