//! Each trouble as rules of the embedded registry's plan.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tidegate::embedded::registry::{On, Reply, Rule, Step, When};

use super::Trouble;

/// Every repository of every story.
const REPOSITORIES: [&str; 2] = ["acme/app", "acme/worker"];
/// A digest that nothing has.
const NOBODYS_DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000deadbeef";
/// Longer than a look may take beside others, shorter than a request may.
const SLOW: Duration = Duration::from_secs(7);

// === impl Trouble ===

impl Trouble {
    pub(super) fn rules(self) -> Vec<Rule> {
        let all = |reply: Reply| vec![Rule::new(On::any()).answer(reply)];
        let denied = || Reply::error(StatusCode::FORBIDDEN, "DENIED", "requested access is denied");
        let unknown = |code: &str| Reply::error(StatusCode::NOT_FOUND, code, "unknown");
        let page = || Reply::html(StatusCode::OK, "<html><body>Welcome</body></html>");
        match self {
            Self::Throttled(secs) => all(throttled(secs)),
            Self::ThrottledNowAndThen => {
                vec![Rule::new(On::any()).when(When::Every(2)).answer(throttled(Some(1)))]
            }
            Self::Down(code) => all(Reply::status(StatusCode::from_u16(code).unwrap())),
            Self::Forbidden => all(denied()),
            Self::ForbiddenForMissing => {
                let hidden = Step::Replace { status: StatusCode::NOT_FOUND, with: denied() };
                vec![Rule::new(On::any()).step(hidden)]
            }
            Self::NameUnknown => vec![Rule::new(On::tags()).answer(unknown("NAME_UNKNOWN"))],
            Self::ManifestUnknown => vec![Rule::new(On::manifest()).answer(unknown("MANIFEST_UNKNOWN"))],
            Self::ManifestBreaksOff => {
                vec![Rule::new(On::manifest().method(Method::GET)).step(Step::Truncate(20))]
            }
            Self::HalfAManifest => {
                let half = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.ind"#;
                vec![Rule::new(On::manifest().method(Method::GET)).step(Step::Body(half.as_slice().into()))]
            }
            Self::WebPage => all(page()),
            Self::WrongDigest => {
                let wrong = Step::SetHeader("docker-content-digest", NOBODYS_DIGEST.to_owned());
                vec![Rule::new(On::manifest()).step(wrong)]
            }
            Self::Slow => vec![Rule::new(On::any()).step(Step::Delay(SLOW))],
            Self::ListBreaksOff => {
                let fails = Rule::new(On::tags().last_unknown());
                let fails = fails.answer(Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
                let goes_on = |name: &str| {
                    let link = format!("</v2/{name}/tags/list?last=nothing&n=100>; rel=\"next\"");
                    Rule::new(On::tags().repository(name)).step(Step::SetHeader("link", link))
                };
                std::iter::once(fails).chain(REPOSITORIES.map(goes_on)).collect()
            }
            Self::ListFlaps => {
                let empty = |name: &str| {
                    let reply = Reply::json(StatusCode::OK, json!({"name": name, "tags": null}).to_string());
                    Rule::new(On::tags().repository(name)).when(When::Every(2)).answer(reply)
                };
                REPOSITORIES.map(empty).into()
            }
            Self::TokensExpire | Self::Like(_) => Vec::new(),
            Self::TokenServerDown => {
                vec![Rule::new(On::token()).answer(Reply::status(StatusCode::SERVICE_UNAVAILABLE))]
            }
            Self::TokensRefused => vec![Rule::new(On::token()).answer(denied())],
            Self::TokenWebPage => vec![Rule::new(On::token()).answer(page())],
        }
    }
}

fn throttled(secs: Option<u32>) -> Reply {
    let reply = Reply::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "slow down");
    match secs {
        Some(secs) => reply.header("retry-after", secs.to_string()),
        None => reply,
    }
}
