//! What must hold for every input, as plain functions: cargo-fuzz searches for inputs that break it (`fuzz/`), and
//! the tests replay the corpora with changes of their own. The product never calls this.
//!
//! A body answers with what did not hold and never panics itself: a panic is the finding of a parser.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::api::duration;
use crate::engine::semver::{Range, Version};
use crate::model::reference::{REPOSITORY_MAX_BYTES, Repository, Tag, TagTemplate};
use crate::model::{Digest, Platform};
use crate::registry::fuzz as registry;

/// One body: what did not hold for the input, in words.
pub type Check = fn(&[u8]) -> Result<(), String>;

/// Every target by its name, which is also the folder of its corpus.
pub const TARGETS: [(&str, Check); 8] = [
    ("dockerconfigjson", registry::docker_config),
    ("duration", duration_text),
    ("link", registry::link),
    ("manifest", registry::manifest),
    ("reference", reference),
    ("retry_after", registry::retry_after_header),
    ("semver_range", semver_range),
    ("www_authenticate", registry::www_authenticate),
];

/// Versions that tell ranges apart.
const PROBES: [&str; 10] = [
    "0.0.0",
    "0.0.1",
    "0.1.0",
    "1.0.0-0",
    "1.0.0-rc.1",
    "1.0.0",
    "1.2.3-beta.2",
    "1.2.3",
    "2.0.0",
    "18446744073709551615.0.0",
];

/// Runs a target by name, for cargo-fuzz.
///
/// # Errors
/// What did not hold, or that there is no such target.
pub fn check(target: &str, data: &[u8]) -> Result<(), String> {
    let known = TARGETS.iter().find(|(name, _)| *name == target);
    known.map_or_else(|| Err(format!("no target is named {target}")), |(_, check)| check(data))
}

fn hold(condition: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what()) }
}

/// What parses prints as a text that parses to the same.
fn returns<T: FromStr<Err: Debug> + Display + PartialEq>(text: &str) -> Result<Option<T>, String> {
    let Ok(value) = text.parse::<T>() else { return Ok(None) };
    let printed = value.to_string();
    let again = printed.parse::<T>();
    hold(again.as_ref().is_ok_and(|again| *again == value), || format!("{text:?} prints as {printed:?}"))?;
    Ok(Some(value))
}

/// Tags, digests, repositories, templates and platforms.
fn reference(data: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(data) else { return Ok(()) };
    returns::<Digest>(text)?;
    returns::<Platform>(text)?;
    let tag = returns::<Tag>(text)?;
    if let Some(template) = returns::<TagTemplate>(text)? {
        for x in ["v1", "a-b", "_"] {
            let rendered = template.render(x);
            let back = rendered.as_ref().is_none_or(|raw| template.extract(raw.as_str()) == Some(x));
            hold(back, || format!("{text:?} does not give {x} back"))?;
        }
    }
    let Some(repository) = returns::<Repository>(text)? else { return Ok(()) };
    let (host, path) = (repository.host(), repository.path());
    let canonical = format!("{host}/{path}");
    // What Docker Hub implies may pass the length that a person can write.
    let too_long = canonical.len() > REPOSITORY_MAX_BYTES;
    let same = too_long || canonical.parse::<Repository>().is_ok_and(|same| same == repository);
    hold(same, || format!("{text:?} is {canonical:?}, which is another place"))?;
    let sound =
        !path.starts_with('/') && !path.contains(['@', ':', '?', '#', '%', '\\']) && !path.contains("..");
    hold(sound, || format!("the path {path:?} leads elsewhere"))?;
    hold(tag.is_none() || host == "docker.io", || format!("{text:?} is a tag and names a host"))?;
    // The address that is asked is on that host and no other. Addresses of IPv6 have many spellings.
    let Ok(url) = url::Url::parse(&format!("https://{canonical}")) else { return Ok(()) };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let asked = url.host_str().unwrap_or_default();
    hold(host.starts_with('[') || asked == name, || format!("{host:?} is asked at {asked:?}"))?;
    hold(url.path().strip_prefix('/') == Some(path), || format!("{path:?} is asked at {:?}", url.path()))
}

/// Versions and ranges of them.
fn semver_range(data: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(data) else { return Ok(()) };
    let version = returns::<Version>(text)?;
    let range = match text.parse::<Range>() {
        Ok(range) => range,
        Err(error) => {
            let within = (1..=text.chars().count() + 1).contains(&error.at);
            return hold(within, || format!("character {} of {text:?}", error.at));
        }
    };
    let printed = range.to_string();
    let again: Range = printed.parse().map_err(|error| format!("{text:?} prints as {printed:?}: {error}"))?;
    hold(again == range, || format!("{text:?} prints as {printed:?}, another range"))?;
    let looks_at_prereleases = text.contains('-');
    for probe in PROBES.iter().filter_map(|probe| probe.parse::<Version>().ok()).chain(version) {
        let accepted = range.accepts(&probe);
        let allowed = looks_at_prereleases || !probe.is_prerelease();
        hold(!accepted || allowed, || format!("{text:?} accepts {probe}, which it does not ask for"))?;
        let or_all = format!("{text} || *").parse::<Range>().is_ok_and(|range| range.accepts(&probe));
        hold(or_all || probe.is_prerelease() || text.len() > 500 || text.matches("||").count() > 30, || {
            format!("{text:?} or everything does not accept {probe}")
        })?;
    }
    Ok(())
}

/// Durations of a spec.
fn duration_text(data: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(data) else { return Ok(()) };
    let Ok(span) = duration::parse(text) else { return Ok(()) };
    hold(span.as_secs() >= 0 && span.subsec_nanos() == 0, || format!("{text:?} is {span:?}"))?;
    let printed = duration::Text(span).to_string();
    // The printed hours of 999999m are within what is read.
    let again = duration::parse(&printed);
    hold(again.as_ref().is_ok_and(|again| *again == span) || span.as_hours() > 999_999, || {
        format!("{text:?} prints as {printed:?}")
    })
}
