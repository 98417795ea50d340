//! A registry with state, and scripts for what real ones do wrong.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::Digest;
use crate::registry::evidence::manifest::{OCI_INDEX, OCI_MANIFEST};

/// Who may read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    Open,
    /// user / [`World::password`].
    Basic,
    /// A token; the user or nobody may fetch one, see [`World::anonymous_tokens`].
    Bearer,
    /// 404 without a challenge for who is not the user.
    Hiding,
}

/// One answer that replaces the registry's own.
#[derive(Clone, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Breaks the connection after the body, which is announced one byte longer.
    pub(super) breaks: bool,
    /// Never answers.
    pub(super) hangs: bool,
}

struct Script {
    verb: &'static str,
    path: String,
    reply: Reply,
    times: usize,
}

pub(super) struct World {
    pub(super) guard: Guard,
    pub(super) realm: String,
    pub(super) anonymous_tokens: bool,
    pub(super) password: String,
    /// What a POST must bring to get a token.
    pub(super) identity_token: Option<&'static str>,
    /// Bodies of POSTs.
    pub(super) forms: Vec<String>,
    pub(super) token_life_secs: Option<u64>,
    pub(super) digest_header: bool,
    pub(super) page_max: usize,
    /// Tokens that are accepted now.
    pub(super) tokens: HashSet<String>,
    issued: usize,
    tags: BTreeMap<String, String>,
    manifests: HashMap<String, (String, Vec<u8>)>,
    blobs: HashMap<String, Vec<u8>>,
    scripts: Vec<Script>,
    /// `VERB /path?query`, with ` +Scheme` for an Authorization header.
    pub(super) log: Vec<String>,
}

pub(super) struct Fixture {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    connections: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

/// One image of an index.
pub(super) struct Part {
    pub(super) digest: Digest,
    pub(super) descriptor: Value,
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    let hex: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat()).parse().unwrap()
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn ok(content_type: &str, body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..Self::status(200).header("content-type", content_type) }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fixture {
    pub(super) async fn start(guard: Guard) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World {
            guard,
            realm: format!("http://{address}/token"),
            anonymous_tokens: true,
            password: "hunter2".to_owned(),
            identity_token: None,
            forms: Vec::new(),
            token_life_secs: Some(300),
            digest_header: true,
            page_max: 1_000,
            tokens: HashSet::new(),
            issued: 0,
            tags: BTreeMap::new(),
            manifests: HashMap::new(),
            blobs: HashMap::new(),
            scripts: Vec::new(),
            log: Vec::new(),
        }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&world));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let listener = listener.tap_io(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, world, connections, server }
    }

    /// An open registry with `acme/app:v1` for linux/amd64 and linux/arm64.
    pub(super) async fn with_app(guard: Guard) -> Self {
        let fixture = Self::start(guard).await;
        fixture.push_app();
        fixture
    }

    pub(super) fn push_app(&self) -> Digest {
        let parts = [self.image("linux", "amd64", ""), self.image("linux", "arm64", "v8")];
        self.index("v1", &parts)
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Connections accepted so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn world<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    /// Requests since the last call.
    pub(super) fn log(&self) -> Vec<String> {
        self.world(|world| std::mem::take(&mut world.log))
    }

    /// Answers `reply` to the next `times` requests with `verb` whose path and query contain `path`.
    pub(super) fn script(&self, verb: &'static str, path: &str, times: usize, reply: Reply) {
        self.world(|world| world.scripts.push(Script { verb, path: path.to_owned(), reply, times }));
    }

    /// Ends everything that was scripted.
    pub(super) fn unscript(&self) {
        self.world(|world| world.scripts.clear());
    }

    pub(super) fn blob(&self, bytes: Vec<u8>) -> Digest {
        let digest = digest_of(&bytes);
        self.world(|world| world.blobs.insert(digest.to_string(), bytes));
        digest
    }

    pub(super) fn manifest(&self, content_type: &str, body: &Value) -> Digest {
        let bytes = serde_json::to_vec(body).unwrap();
        let digest = digest_of(&bytes);
        self.world(|world| world.manifests.insert(digest.to_string(), (content_type.to_owned(), bytes)));
        digest
    }

    pub(super) fn tag(&self, tag: &str, digest: &Digest) {
        self.world(|world| world.tags.insert(tag.to_owned(), digest.to_string()));
    }

    pub(super) fn forget(&self, digest: &Digest) {
        self.world(|world| {
            world.manifests.remove(digest.as_str());
            world.blobs.remove(digest.as_str());
        });
    }

    pub(super) fn config_of(&self, manifest: &Digest) -> Digest {
        let bytes = self.world(|world| world.manifests[manifest.as_str()].1.clone());
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        body["config"]["digest"].as_str().unwrap().parse().unwrap()
    }

    pub(super) fn image(&self, os: &str, architecture: &str, variant: &str) -> Part {
        let config = json!({ "os": os, "architecture": architecture, "variant": variant });
        self.image_of(
            &config,
            &json!({}),
            &json!({"os": os, "architecture": architecture, "variant": variant}),
        )
    }

    /// An image from its config, its manifest's annotations, and the platform that the index will promise.
    pub(super) fn image_of(&self, config: &Value, annotations: &Value, platform: &Value) -> Part {
        let config = self.blob(serde_json::to_vec(config).unwrap());
        let body = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.as_str(), "size": 1},
            "layers": [],
            "annotations": annotations,
        });
        let digest = self.manifest(OCI_MANIFEST, &body);
        let mut descriptor = json!({"mediaType": OCI_MANIFEST, "digest": digest.as_str(), "size": 1});
        if !platform.is_null() {
            descriptor["platform"] = platform.clone();
        }
        Part { digest, descriptor }
    }

    pub(super) fn index(&self, tag: &str, parts: &[Part]) -> Digest {
        let digest = self.index_of(parts, &json!({}));
        self.tag(tag, &digest);
        digest
    }

    pub(super) fn index_of(&self, parts: &[Part], annotations: &Value) -> Digest {
        let manifests: Vec<&Value> = parts.iter().map(|part| &part.descriptor).collect();
        let body = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, "annotations": annotations,
        });
        self.manifest(OCI_INDEX, &body)
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
    let form = String::from_utf8(body.to_vec()).unwrap();
    let reply = world.lock().unwrap().answer(&Request::from_parts(parts, Body::empty()), &form);
    if reply.hangs {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    if !reply.breaks {
        return response.body(Body::from(reply.body)).unwrap();
    }
    let parts = [Ok(reply.body.clone()), Err(std::io::Error::other("broken on purpose"))];
    response
        .header("content-length", reply.body.len() + 1)
        .body(Body::from_stream(futures::stream::iter(parts)))
        .unwrap()
}

impl World {
    fn answer(&mut self, request: &Request, form: &str) -> Reply {
        let verb = request.method().as_str();
        let target = request.uri().path_and_query().unwrap().as_str().to_owned();
        let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap());
        let scheme = authorization.and_then(|value| value.split(' ').next());
        self.log.push(match scheme {
            Some(scheme) => format!("{verb} {target} +{scheme}"),
            None => format!("{verb} {target}"),
        });
        if verb == "POST" {
            self.forms.push(form.to_owned());
        }
        let fits =
            |script: &&mut Script| script.times > 0 && script.verb == verb && target.contains(&script.path);
        if let Some(script) = self.scripts.iter_mut().find(fits) {
            script.times -= 1;
            return script.reply.clone();
        }
        let path = request.uri().path();
        if path == "/token" || path == "/token2" {
            return self.token(verb, authorization, form);
        }
        if let Some(refusal) = self.refuse(authorization) {
            return refusal;
        }
        if path == "/v2/" {
            return Reply::status(200);
        }
        match path.strip_prefix("/v2/acme/app/").and_then(|rest| rest.split_once('/')) {
            Some(("manifests", reference)) => self.manifest_answer(reference),
            Some(("blobs", digest)) => match self.blobs.get(digest) {
                Some(blob) => Reply::ok("application/octet-stream", blob),
                None => error(404, "BLOB_UNKNOWN"),
            },
            Some(("tags", "list")) => self.tag_page(request.uri().query().unwrap_or_default()),
            _ => error(404, "NAME_UNKNOWN"),
        }
    }

    fn token(&mut self, verb: &str, authorization: Option<&str>, form: &str) -> Reply {
        let allowed = match (verb, authorization) {
            ("POST", _) => self
                .identity_token
                .is_some_and(|token| form.split('&').any(|pair| pair == format!("refresh_token={token}"))),
            (_, Some(authorization)) => self.is_user(authorization),
            (_, None) => self.anonymous_tokens,
        };
        if !allowed {
            return error(401, "UNAUTHORIZED");
        }
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.insert(token.clone());
        let body = match self.token_life_secs {
            Some(secs) => json!({"token": token, "expires_in": secs}),
            None => json!({"access_token": token}),
        };
        Reply::ok("application/json", &serde_json::to_vec(&body).unwrap())
    }

    fn refuse(&self, authorization: Option<&str>) -> Option<Reply> {
        let bearer = authorization.and_then(|value| value.strip_prefix("Bearer "));
        let challenge = format!(r#"Bearer realm="{}",service="fixture""#, self.realm);
        match self.guard {
            Guard::Open => None,
            Guard::Basic | Guard::Hiding if authorization.is_some_and(|value| self.is_user(value)) => None,
            Guard::Basic => Some(error(401, "UNAUTHORIZED").header("www-authenticate", "Basic realm=\"x\"")),
            Guard::Bearer if bearer.is_some_and(|token| self.tokens.contains(token)) => None,
            Guard::Bearer => Some(error(401, "UNAUTHORIZED").header("www-authenticate", &challenge)),
            Guard::Hiding => Some(error(404, "NAME_UNKNOWN")),
        }
    }

    fn is_user(&self, authorization: &str) -> bool {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("user:{}", self.password));
        authorization.strip_prefix("Basic ") == Some(&pair)
    }

    fn manifest_answer(&self, reference: &str) -> Reply {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        let Some((content_type, bytes)) = self.manifests.get(digest) else {
            return error(404, "MANIFEST_UNKNOWN");
        };
        let reply = Reply::ok(content_type, bytes);
        if self.digest_header { reply.header("docker-content-digest", digest) } else { reply }
    }

    fn tag_page(&self, query: &str) -> Reply {
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let n = value("n").map_or(self.page_max, |n| n.parse().unwrap()).min(self.page_max);
        let last = value("last").unwrap_or_default();
        let mut rest = self.tags.keys().filter(|tag| tag.as_str() > last);
        let page: Vec<&String> = rest.by_ref().take(n).collect();
        let body = serde_json::to_vec(&json!({"name": "acme/app", "tags": page})).unwrap();
        let reply = Reply::ok("application/json", &body);
        match (rest.next(), page.last()) {
            (Some(_), Some(last)) => {
                reply.header("link", &format!("</v2/acme/app/tags/list?n={n}&last={last}>; rel=\"next\""))
            }
            _ => reply,
        }
    }
}

pub(super) fn error(status: u16, code: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": "hunter2"}]});
    Reply { status, ..Reply::ok("application/json", &serde_json::to_vec(&body).unwrap()) }
}
