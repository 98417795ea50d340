use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::StatusCode;
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    secrets::RegistryAuth,
};
use reqwest::header::{ACCEPT, LINK, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use super::*;
use crate::embedded::image::{
    ImageDescription, ImagePlatform, MEDIA_TYPE_INDEX as OCI_INDEX, MEDIA_TYPE_MANIFEST as OCI_MANIFEST,
    sha256,
};

const EVERY_TYPE: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

async fn started(options: Options) -> RegistryServer {
    // Fails when another test was first; one provider is enough.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
    RegistryServer::start(options, clock).await.unwrap()
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap()
}

fn url(registry: &RegistryServer, path: &str) -> String {
    format!("http://{}{path}", registry.host())
}

fn oci(use_monolithic_push: bool) -> Client {
    let config =
        ClientConfig { protocol: ClientProtocol::Http, use_monolithic_push, ..ClientConfig::default() };
    Client::try_from(config).unwrap()
}

async fn error_code(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

/// An index over one platform, without HTTP: (index digest, child digest).
fn push_index(registry: &RegistryServer, repository: &str, tag: &str) -> (String, String) {
    let platform = ImagePlatform::parse("linux/amd64").unwrap();
    let image = ImageDescription::new(platform, tag).label("made-for", tag).build();
    let index = Index::build(vec![image], &BTreeMap::new());
    (registry.push_index(repository, Some(tag), &index), index.images[0].manifest.digest.clone())
}

#[tokio::test]
async fn oci_client_pushes_and_pulls_chunked_and_monolithic() {
    let registry = started(Options::default()).await;
    for (tag, monolithic) in [("chunked", false), ("monolithic", true)] {
        let client = oci(monolithic);
        let reference: Reference = format!("{}/acme/app:{tag}", registry.host()).parse().unwrap();
        let layer = ImageLayer::oci_v1(format!("layer of {tag}").into_bytes(), None);
        let config = Config::oci_v1(br#"{"os":"linux","architecture":"arm64"}"#.to_vec(), None);
        let auth = RegistryAuth::Anonymous;
        client.push(&reference, std::slice::from_ref(&layer), config, &auth, None).await.unwrap();

        let (raw, digest) = client.pull_manifest_raw(&reference, &auth, &[OCI_MANIFEST]).await.unwrap();
        assert_eq!(sha256(&raw), digest);
        assert_eq!(client.fetch_manifest_digest(&reference, &auth).await.unwrap(), digest);
        assert_eq!(registry.resolve("acme/app", tag), Some(digest));
        let manifest: Value = serde_json::from_slice(&raw).unwrap();
        let pulled = manifest["layers"][0]["digest"].as_str().unwrap();
        let mut content = Vec::new();
        client.pull_blob(&reference, pulled, &mut content).await.unwrap();
        assert_eq!(content, layer.data);
        let config = registry.image_config(&reference.to_string(), "linux/arm64").unwrap();
        assert_eq!(config["architecture"], "arm64");
    }
    let chunks = registry.count(|request| request.info.method == axum::http::Method::PATCH);
    assert_eq!(chunks, 2, "one chunk each for layer and config of the chunked push");
    let reference = format!("{}/acme/app:x", registry.host()).parse().unwrap();
    let tags = oci(false).list_tags(&reference, &RegistryAuth::Anonymous, None, None).await.unwrap();
    assert_eq!(tags.tags, ["chunked", "monolithic"]);
}

#[tokio::test]
async fn a_weak_accept_hides_an_index_and_a_strong_one_shows_it() {
    let registry = started(Options::default()).await;
    let (index, child) = push_index(&registry, "acme/app", "v1");
    let at = |reference: &str| url(&registry, &format!("/v2/acme/app/manifests/{reference}"));
    for weak in ["*/*", OCI_MANIFEST] {
        let answer = http().get(at("v1")).header(ACCEPT, weak).send().await.unwrap();
        assert_eq!(error_code(answer).await, (404, "MANIFEST_UNKNOWN".to_owned()), "{weak}");
    }
    let answer = http().head(at("v1")).header(ACCEPT, EVERY_TYPE).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["Docker-Content-Digest"], index.as_str());
    assert_eq!(answer.headers()["content-type"], OCI_INDEX);
    assert_eq!(answer.bytes().await.unwrap().len(), 0);
    let config = registry.image_config(&format!("{}/acme/app:v1@{index}", registry.host()), "linux/amd64");
    assert_eq!(config.unwrap()["config"]["Labels"]["made-for"], "v1");
    let answer = http().get(at(&child)).header(ACCEPT, EVERY_TYPE).send().await.unwrap();
    assert_eq!(sha256(&answer.bytes().await.unwrap()), child);
    let unchanged =
        http().get(at("v1")).header("if-none-match", format!("\"{index}\"")).send().await.unwrap();
    assert_eq!(unchanged.status(), 304);
}

#[tokio::test]
async fn what_is_absent_has_the_right_code_and_an_index_outlives_its_child() {
    let registry = started(Options::default()).await;
    let (index, child) = push_index(&registry, "acme/app", "v1");
    assert!(registry.delete_manifest("acme/app", &child));
    let get =
        async |path: &str| http().get(url(&registry, path)).header(ACCEPT, EVERY_TYPE).send().await.unwrap();
    assert_eq!(get("/v2/acme/app/manifests/v1").await.status(), 200);
    let absent = |code: &str| (404, code.to_owned());
    let child_path = format!("/v2/acme/app/manifests/{child}");
    assert_eq!(error_code(get(&child_path).await).await, absent("MANIFEST_UNKNOWN"));
    assert_eq!(error_code(get("/v2/acme/app/manifests/v2").await).await, absent("MANIFEST_UNKNOWN"));
    assert_eq!(error_code(get("/v2/acme/none/tags/list").await).await, absent("NAME_UNKNOWN"));
    let blob = format!("/v2/acme/app/blobs/{index}");
    assert_eq!(error_code(get(&blob).await).await, absent("BLOB_UNKNOWN"));
    assert_eq!(get("/elsewhere").await.status(), 404);
    assert_eq!(get("/v2/").await.status(), 200);
    let error = registry.tag("acme/app", "v3", &child).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("failed to tag acme/app: it holds no manifest {child}; push it first")
    );
    assert!(registry.delete_tag("acme/app", "v1") && !registry.delete_tag("acme/app", "v1"));
}

#[tokio::test]
async fn pushes_are_verified() {
    let registry = started(Options::default()).await;
    let put = async |path: String, media_type: &str, body: String| {
        let request = http().put(url(&registry, &path)).header("content-type", media_type).body(body);
        error_code(request.send().await.unwrap()).await
    };
    let zero = format!("sha256:{}", "0".repeat(64));
    let manifest = |digest: &str| json!({"config": {"digest": digest}, "layers": []}).to_string();
    let path = |reference: &str| format!("/v2/acme/app/manifests/{reference}");
    let refused = |code: &str| (400, code.to_owned());
    assert_eq!(put(path("v1"), OCI_MANIFEST, manifest(&zero)).await, refused("MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(put(path(&zero), OCI_MANIFEST, manifest(&zero)).await, refused("DIGEST_INVALID"));
    assert_eq!(put(path("v1"), "text/plain", manifest(&zero)).await, refused("MANIFEST_INVALID"));
    assert_eq!(put(path("v1"), OCI_MANIFEST, "no JSON".to_owned()).await, refused("MANIFEST_INVALID"));
    let contradiction = json!({"mediaType": OCI_MANIFEST, "manifests": []}).to_string();
    assert_eq!(put(path("v1"), OCI_INDEX, contradiction).await, refused("MANIFEST_INVALID"));
    assert_eq!(
        put("/v2/Acme/manifests/v1".to_owned(), OCI_MANIFEST, manifest(&zero)).await,
        refused("NAME_INVALID")
    );
    let sparse = json!({"manifests": [{"digest": zero}]}).to_string();
    assert_eq!(put(path("v1"), OCI_INDEX, sparse).await, refused("MANIFEST_BLOB_UNKNOWN"));
    let blob = http().post(url(&registry, &format!("/v2/acme/app/blobs/uploads/?digest={zero}")));
    let answer = blob.body("something else").send().await.unwrap();
    assert_eq!(error_code(answer).await, refused("DIGEST_INVALID"));
    assert_eq!(registry.tags("acme/app"), Vec::<String>::new());
}

#[tokio::test]
async fn chunks_must_follow_each_other() {
    let registry = started(Options::default()).await;
    let opened = http().post(url(&registry, "/v2/acme/app/blobs/uploads/")).send().await.unwrap();
    assert_eq!(opened.status(), 202);
    let location = url(&registry, opened.headers()["location"].to_str().unwrap());
    let patch = async |range: &str, chunk: &'static str| {
        http()
            .patch(&location)
            .header("content-range", range)
            .body(chunk)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(patch("0-2", "abc").await, 202);
    assert_eq!(patch("5-7", "xyz").await, 416);
    assert_eq!(patch("3-5", "def").await, 202);
    let progress = http().get(&location).send().await.unwrap();
    assert_eq!((progress.status().as_u16(), &progress.headers()["range"]), (204, &"0-5".parse().unwrap()));
    let digest = sha256(b"abcdef");
    let finished = http().put(format!("{location}?digest={digest}")).send().await.unwrap();
    assert_eq!(finished.status(), 201);
    assert_eq!(registry.blob("acme/app", &digest).unwrap(), "abcdef");
    let mounted = format!("/v2/acme/copy/blobs/uploads/?mount={digest}&from=acme/app");
    assert_eq!(http().post(url(&registry, &mounted)).send().await.unwrap().status(), 201);
    assert!(registry.blob("acme/copy", &digest).is_some());
}

#[tokio::test]
async fn tag_lists_are_paged_by_link() {
    let registry = started(Options { page_tags_max: Some(100), ..Options::default() }).await;
    for number in 0..250 {
        push_index(&registry, "acme/app", &format!("main-{number:03}"));
    }
    let (mut path, mut seen, mut pages) = ("/v2/acme/app/tags/list?n=1000".to_owned(), Vec::new(), 0);
    loop {
        let answer = http().get(url(&registry, &path)).send().await.unwrap();
        let link = answer.headers().get(LINK).map(|link| link.to_str().unwrap().to_owned());
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        seen.extend(body["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()));
        pages += 1;
        let Some(link) = link else { break };
        path = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!((seen, pages), (registry.tags("acme/app"), 3));
    let bad = http().get(url(&registry, "/v2/acme/app/tags/list?n=many")).send().await.unwrap();
    assert_eq!(error_code(bad).await, (400, "PAGINATION_NUMBER_INVALID".to_owned()));
}

#[tokio::test]
async fn basic_credentials_are_asked_for_and_never_shown() {
    let auth = Auth::Basic(Credentials::new("me", "s3cret"));
    assert!(!format!("{auth:?}").contains("s3cret"));
    let registry = started(Options { auth, ..Options::default() }).await;
    let get = || http().get(url(&registry, "/v2/"));
    let refused = get().send().await.unwrap();
    assert_eq!(refused.headers()[WWW_AUTHENTICATE], "Basic realm=\"embedded\"");
    assert_eq!(error_code(refused).await, (401, "UNAUTHORIZED".to_owned()));
    assert_eq!(get().basic_auth("me", Some("wrong")).send().await.unwrap().status(), 401);
    assert_eq!(get().basic_auth("me", Some("s3cret")).send().await.unwrap().status(), 200);
    assert!(!format!("{:?}", registry.requests()).contains("s3cret"));
}

#[tokio::test]
async fn oci_client_gets_bearer_tokens_for_its_user_only() {
    let auth = Auth::Bearer(BearerAuth::for_user(Credentials::new("me", "s3cret")));
    let registry = started(Options { auth, ..Options::default() }).await;
    let reference: Reference = format!("{}/acme/app:v1", registry.host()).parse().unwrap();
    let config = || Config::oci_v1(b"{}".to_vec(), None);
    let basic = |password: &str| RegistryAuth::Basic("me".to_owned(), password.to_owned());
    oci(false).push(&reference, &[], config(), &basic("s3cret"), None).await.unwrap();
    assert!(registry.resolve("acme/app", "v1").is_some());
    for refused in [basic("wrong"), RegistryAuth::Anonymous] {
        oci(false).auth(&reference, &refused, RegistryOperation::Pull).await.unwrap_err();
        oci(false).pull_manifest(&reference, &refused).await.unwrap_err();
    }
    let tokens = registry.count(|request| {
        request.info.operation == Operation::Token && request.status == Some(StatusCode::OK)
    });
    assert_eq!(tokens, 1);
}

#[tokio::test(start_paused = true)]
async fn tokens_end_by_the_clock_and_hold_for_their_scope() {
    let mut bearer = BearerAuth::for_user(Credentials::new("me", "s3cret"));
    bearer.anonymous_pull = true;
    let registry = started(Options { auth: Auth::Bearer(bearer), ..Options::default() }).await;
    push_index(&registry, "acme/app", "v1");
    let list = |token: &str| http().get(url(&registry, "/v2/acme/app/tags/list")).bearer_auth(token);
    let challenge =
        list("unknown").send().await.unwrap().headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned();
    let realm = url(&registry, "/token");
    let scope = "scope=\"repository:acme/app:pull\"";
    assert_eq!(
        challenge,
        format!("Bearer realm=\"{realm}\",service=\"embedded\",{scope},error=\"invalid_token\"")
    );
    let token = async |scope: &str| {
        let answer = http().get(format!("{realm}?service=embedded&scope={scope}")).send().await.unwrap();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["expires_in"], 300);
        body["token"].as_str().unwrap().to_owned()
    };
    let good = token("repository:acme/app:pull,push").await;
    assert_eq!(list(&good).send().await.unwrap().status(), 200);
    let upload = http().post(url(&registry, "/v2/acme/app/blobs/uploads/")).bearer_auth(&good);
    let refused = upload.send().await.unwrap();
    assert_eq!(refused.status(), 401, "an anonymous token may only pull");
    assert!(refused.headers()[WWW_AUTHENTICATE].to_str().unwrap().ends_with("error=\"insufficient_scope\""));
    assert_eq!(list(&token("repository:acme/worker:pull").await).send().await.unwrap().status(), 401);
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(list(&good).send().await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(list(&good).send().await.unwrap().status(), 401);
}

#[tokio::test(start_paused = true)]
async fn faults_answer_delay_and_drop_and_are_logged() {
    let registry = started(Options::default()).await;
    push_index(&registry, "acme/app", "v1");
    registry.set_fault(Some(Arc::new(|request: &RequestInfo| match request.sequence {
        1 => Some(Fault::Respond {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: vec![("Retry-After".to_owned(), "7".to_owned())],
            body: "slow down".into(),
        }),
        2 => Some(Fault::Delay(Duration::from_secs(30))),
        3 => Some(Fault::Drop),
        4 => Some(Fault::Delay(Duration::from_secs(3))),
        _ => None,
    })));
    let client = http();
    let get = || client.get(url(&registry, "/v2/acme/app/tags/list")).send();
    let throttled = get().await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), &throttled.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert!(get().await.unwrap_err().is_timeout());
    let cut = get().await.unwrap_err();
    assert!(cut.is_request() && !cut.is_timeout(), "{cut:?}");
    assert_eq!(get().await.unwrap().status(), 200);
    assert_eq!(get().await.unwrap().status(), 200);
    let log = registry.requests();
    let answered: Vec<_> = log
        .iter()
        .map(|record| (record.info.sequence, record.status.map(|status| status.as_u16())))
        .collect();
    assert_eq!(answered, [(1, Some(429)), (2, None), (3, None), (4, Some(200)), (5, Some(200))]);
    assert_eq!(
        (log[2].at - log[1].at).get_seconds(),
        10,
        "the second request ran into its client's time-out"
    );
    registry.clear_log();
    assert_eq!((registry.total(), registry.requests().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn two_virtual_hours_of_polling_take_no_time() {
    let registry = started(Options::default()).await;
    push_index(&registry, "acme/app", "v1");
    #[expect(clippy::disallowed_methods, reason = "the real time is what this test measures")]
    let begun = std::time::Instant::now();
    let virtually = tokio::time::Instant::now();
    let client = http();
    for _ in 0..720 {
        let answer = client.head(url(&registry, "/v2/acme/app/manifests/v1")).header(ACCEPT, EVERY_TYPE);
        assert_eq!(answer.send().await.unwrap().status(), 200);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(registry.total(), 720);
    assert_eq!(virtually.elapsed().as_secs(), 7_200);
    // 0.1 s when it has a core for itself.
    assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn rules_count_what_fits_and_the_first_that_is_due_acts() {
    let registry = started(Options::default()).await;
    push_index(&registry, "acme/app", "v1");
    let teapot = |code: u16| Reply::status(StatusCode::from_u16(code).unwrap());
    registry.plan(Rule::new(On::tags()).when(When::Nth(2)).answer(teapot(418)));
    registry.plan(Rule::new(On::tags().repository("acme/app")).when(When::Every(2)).answer(teapot(503)));
    registry.plan(Rule::new(On::tags()).when(When::After(5)).answer(teapot(429)));
    registry.plan(Rule::new(On::manifest()).answer(teapot(500)));
    let mut seen = Vec::new();
    for _ in 0..7 {
        let answer = http().get(url(&registry, "/v2/acme/app/tags/list")).send().await.unwrap();
        seen.push(answer.status().as_u16());
    }
    assert_eq!(seen, [200, 418, 200, 503, 200, 503, 429]);
    registry.clear_plan();
    let answer = http().get(url(&registry, "/v2/acme/app/tags/list")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let user = Credentials::new("user", "secret");
    let auth =
        BearerAuth { identity_token: Some("identity".to_owned().into()), ..BearerAuth::for_user(user) };
    let registry = started(Options { auth: Auth::Bearer(auth), ..Options::default() }).await;
    push_index(&registry, "acme/app", "v1");
    let post = async |form: &str| {
        let form = format!("service=embedded&scope=repository%3Aacme%2Fapp%3Apull&{form}");
        let request = http().post(url(&registry, "/token")).body(form);
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
    };
    for refused in
        ["grant_type=refresh_token&refresh_token=other", "grant_type=password&username=user&password="]
    {
        assert_eq!(post(refused).await.status(), 401, "{refused}");
    }
    assert_eq!(post("grant_type=none").await.status(), 400);
    for granted in [
        "grant_type=refresh_token&refresh_token=identity",
        "grant_type=password&username=user&password=secret",
    ] {
        let body = post(granted).await.bytes().await.unwrap();
        let token: Value = serde_json::from_slice(&body).unwrap();
        let list = http().get(url(&registry, "/v2/acme/app/tags/list"));
        let list = list.bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(list.status(), 200, "{granted}");
    }
}

#[tokio::test]
async fn a_truncated_body_announces_its_whole_and_a_trickle_takes_its_time() {
    let registry = started(Options::default()).await;
    let (digest, _) = push_index(&registry, "acme/app", "v1");
    let get = async || {
        let path = format!("/v2/acme/app/manifests/{digest}");
        http().get(url(&registry, &path)).header(ACCEPT, EVERY_TYPE).send().await.unwrap()
    };
    registry.plan(Rule::new(On::manifest()).when(When::Nth(1)).step(Step::Truncate(10)));
    registry.plan(
        Rule::new(On::manifest())
            .step(Step::Trickle { piece_bytes: 100, pause: Duration::from_millis(20) })
            .step(Step::Chunked),
    );
    let cut = get().await;
    assert!(cut.content_length().unwrap() > 10);
    assert!(cut.bytes().await.is_err(), "the end never comes");
    let slow = get().await;
    assert_eq!(slow.content_length(), None);
    assert_eq!(sha256(&slow.bytes().await.unwrap()), digest);
}

#[tokio::test(start_paused = true)]
async fn a_registry_in_process_answers_what_it_is_given_without_a_socket() {
    let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
    let registry = RegistryServer::in_process("registry.test", Options::default(), clock);
    let (index, _) = push_index(&registry, "acme/app", "v1");
    assert_eq!((registry.host(), registry.connections()), ("registry.test".to_owned(), 0));
    let ask = |method: &str, path: &str| {
        let request = http::Request::builder().method(method).uri(format!("http://registry.test{path}"));
        registry.answer(request.header("accept", EVERY_TYPE).body(Bytes::new()).unwrap())
    };
    let manifest = "/v2/acme/app/manifests/v1";
    let got = ask("GET", manifest).await.unwrap();
    assert_eq!((got.status(), sha256(got.body())), (StatusCode::OK, index.clone()));
    assert_eq!(got.headers()["docker-content-digest"], index.as_str());
    let head = ask("HEAD", manifest).await.unwrap();
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
    assert_eq!(ask("GET", "/v2/acme/app/manifests/v2").await.unwrap().status(), StatusCode::NOT_FOUND);
    // What would have cut a connection is an error.
    registry.plan(Rule::new(On::manifest()).when(When::First(1)).step(Step::Cut));
    assert_eq!(ask("GET", manifest).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(ask("GET", manifest).await.unwrap().status(), StatusCode::OK);
    registry.plan(Rule::new(On::manifest()).step(Step::Truncate(5)));
    assert!(ask("GET", manifest).await.is_err());
    assert_eq!(registry.total(), 6, "every request is in the log");
}
