//! Through a proxy that wants a password.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tidegate::embedded::registry::Options;
use tidegate::model::sighting::DoubtKind;
use tidegate::registry::{Access, Proxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{World, client, doubt, look, look_at_all, started};

/// A proxy for CONNECT and for plain requests; wants user / hunter2.
struct Corporate {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Corporate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Corporate {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Self { address, heads, serving }
    }

    /// Heads of the requests that came in, in lower case.
    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn proxy(&self, username: &str, password: &str) -> Arc<Proxy> {
        let address = format!("http://{}", self.address);
        let password = password.to_owned().into();
        Arc::new(Proxy::new("the Secret egress", &address, Some(username), Some(&password)))
    }
}

async fn serve(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head.clone()).unwrap();
    heads.lock().unwrap().push(text.to_ascii_lowercase());
    if !text.contains("Basic dXNlcjpodW50ZXIy") {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\
                       content-length: 0\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(refusal.as_bytes()).await;
        return;
    }
    let target = text.split(' ').nth(1).unwrap().trim_start_matches("http://");
    let mut onward = TcpStream::connect(target.split('/').next().unwrap()).await.unwrap();
    if text.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    } else {
        // A real proxy keeps its own header to itself; one request per connection is enough here.
        let kept: Vec<&str> =
            text.split("\r\n").filter(|line| !line.to_lowercase().starts_with("proxy-")).collect();
        let head = kept.join("\r\n").replacen("accept:", "connection: close\r\naccept:", 1);
        onward.write_all(head.as_bytes()).await.unwrap();
    }
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
}

#[tokio::test]
async fn an_https_registry_is_reached_and_the_password_stays_at_the_proxy() {
    let (world, corporate) = (World::start().await, Corporate::start().await);
    let access = Access { proxy: Some(corporate.proxy("user", "hunter2")), ..world.access() };
    look_at_all(&client(), &access, &world.registry.host()).await;

    let heads = corporate.heads();
    assert_eq!(heads.len(), 1, "one tunnel: {heads:?}");
    assert!(heads[0].starts_with(&format!("connect {} ", world.registry.host())), "{heads:?}");
    assert!(world.registry.total() > 0);
    assert_eq!(world.registry.count(|request| request.info.with_credentials), 0);
    assert!(!format!("{access:?}").contains("hunter2") && !format!("{access:?}").contains("dXNlcjp"));
}

#[tokio::test]
async fn a_plain_registry_is_reached_through_it_too() {
    let (registry, corporate) = (started(Options::default()).await, Corporate::start().await);
    let access =
        Access { insecure: true, proxy: Some(corporate.proxy("user", "hunter2")), ..Access::default() };
    look_at_all(&client(), &access, &registry.host()).await;
    assert!(corporate.heads().iter().all(|head| head.contains(" http://127.0.0.1:")));
    assert_eq!(registry.count(|request| request.info.with_credentials), 0);
}

#[tokio::test]
async fn a_wrong_password_names_the_proxy_and_the_field() {
    let (world, corporate) = (World::start().await, Corporate::start().await);
    let shown = corporate.address.to_string();
    let words =
        ["the proxy", &shown, "does not accept the user name and password", "registry.proxySecretRef"];
    let access = Access { proxy: Some(corporate.proxy("user", "wrong")), ..world.access() };
    let seen = look(&client(), &access, &world.registry.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &words);
    assert_eq!(world.registry.connections(), 0);

    let plain = started(Options::default()).await;
    let access =
        Access { insecure: true, proxy: Some(corporate.proxy("user", "wrong")), ..Access::default() };
    let seen = look(&client(), &access, &plain.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &words);
    assert_eq!(plain.connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let world = World::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::new("the Secret egress", &format!("http://{nobody}"), None, None);
    let access = Access { proxy: Some(Arc::new(proxy)), ..world.access() };
    let seen = look(&client(), &access, &world.registry.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &["the proxy", &nobody.to_string(), "registry.proxySecretRef"]);
}

#[tokio::test]
async fn a_proxy_secret_that_cannot_be_used_is_named_and_no_request_is_sent() {
    let world = World::start().await;
    let proxy =
        Proxy::new("the Secret egress", "proxy.corp", Some("user"), Some(&"hunter2".to_owned().into()));
    let access = Access { proxy: Some(Arc::new(proxy)), ..world.access() };
    let seen = look(&client(), &access, &world.registry.host(), "app").await;
    doubt(&seen, DoubtKind::Auth, &["the Secret egress names no usable proxy", "`address`"]);
    assert_eq!(world.registry.connections(), 0);
}
