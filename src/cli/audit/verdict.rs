//! What would have become of a release if one image's tag alone had been followed. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::model::{ImageName, Platform, Sighting};
use crate::registry::Built;

/// Before this no container image was built: a time before it is one that a build chose, as 0 or the 1980 of zip files.
const EARLIEST_SECS: i64 = 1_356_998_400; // 2013-01-01, the year of Docker's first release.

/// When an image of a release was built for all platforms that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The last of them.
    At(Timestamp),
    /// It is there, and its time says nothing: why.
    Untold(String),
    /// It is not there, or not for a platform: which.
    Never(String),
    /// It could not be looked at: why.
    Unknown(String),
}

/// What would have become of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// No sibling was built after the watched image.
    Whole,
    /// The watched image was there before a sibling, or a sibling never came.
    HalfRolled,
    /// A sibling is missing, and the release is younger than the set's deadline.
    NotYet,
    /// Neither is known.
    CannotTell,
}

/// One sibling that was late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Late {
    /// Its name.
    pub image: String,
    /// For how long the watched image was there without it.
    pub secs: i64,
}

/// One sibling, and something about it in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Its name.
    pub image: String,
    /// What.
    pub why: String,
}

/// One release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its tag.
    pub tag: String,
    /// What would have become of it.
    pub outcome: Outcome,
    /// When the watched image was built; null where that cannot be told.
    pub watched_at: Option<Timestamp>,
    /// For how long it would have been half-rolled, at least; null where it would not, or for ever.
    pub half_rolled_secs: Option<i64>,
    /// Siblings that were built later.
    pub late: Vec<Late>,
    /// Siblings that are not there.
    pub never: Vec<Said>,
    /// Siblings of which it cannot be told.
    pub untold: Vec<Said>,
}

/// When an image was built, of what a look at its tag saw.
pub fn moment(seen: &Sighting<Built>, required: &[Platform]) -> Moment {
    let built = match seen {
        Sighting::Present(built) => built,
        Sighting::Missing => return Moment::Never("missing".to_owned()),
        Sighting::Broken(defect) => return Moment::Never(format!("broken: {}", defect.message)),
        Sighting::Unknown(doubt) => return Moment::Unknown(doubt.message.clone()),
    };
    let (mut latest, mut untold, mut unknown) = (None, None, None);
    for wanted in required {
        let child = built.platforms.iter().find(|(platform, _)| platform.satisfies(wanted));
        match child.map(|(_, child)| child) {
            None | Some(Sighting::Missing) => return Moment::Never(format!("{wanted} missing")),
            Some(Sighting::Broken(defect)) => {
                return Moment::Never(format!("{wanted} broken: {}", defect.message));
            }
            Some(Sighting::Unknown(doubt)) => unknown = Some(doubt.message.clone()),
            Some(Sighting::Present(None)) => untold = Some("its config says no time".to_owned()),
            Some(Sighting::Present(Some(at))) if at.as_second() < EARLIEST_SECS => {
                untold = Some(format!("its config says {at}, which a reproducible build wrote"));
            }
            Some(Sighting::Present(Some(at))) => latest = latest.max(Some(*at)),
        }
    }
    match (unknown, untold, latest) {
        (Some(why), _, _) => Moment::Unknown(why),
        (None, Some(why), _) => Moment::Untold(why),
        (None, None, Some(at)) => Moment::At(at),
        (None, None, None) => Moment::Untold("no platform was asked for".to_owned()),
    }
}

/// Judges one release of which every required image was looked at. A sibling is Missing for sure only once the release is
/// older than `deadline`.
pub fn judge(
    tag: &str,
    watched: &ImageName,
    moments: &BTreeMap<ImageName, Moment>,
    (now, deadline): (Timestamp, SignedDuration),
) -> Release {
    let lead = moments.get(watched);
    let watched_at = match lead {
        Some(Moment::At(at)) => Some(*at),
        _ => None,
    };
    let mut release = Release {
        tag: tag.to_owned(),
        outcome: Outcome::Whole,
        watched_at,
        half_rolled_secs: None,
        late: Vec::new(),
        never: Vec::new(),
        untold: Vec::new(),
    };
    for (name, moment) in moments {
        let said = |why: &str| Said { image: name.to_string(), why: why.to_owned() };
        match moment {
            // It was listed: what is gone or half there now says nothing of when it came.
            Moment::Never(why) | Moment::Untold(why) | Moment::Unknown(why) if name == watched => {
                release.untold.push(said(why));
            }
            _ if name == watched => {}
            Moment::Never(why) => release.never.push(said(why)),
            Moment::Untold(why) | Moment::Unknown(why) => release.untold.push(said(why)),
            Moment::At(at) => match watched_at {
                Some(lead) if *at == lead => {
                    release
                        .untold
                        .push(said("built at exactly the same time, which a reproducible build writes"));
                }
                Some(lead) if *at > lead => {
                    let secs = at.duration_since(lead).as_secs().max(1);
                    release.late.push(Late { image: name.to_string(), secs });
                }
                _ => {}
            },
        }
    }
    let is_young = watched_at.is_some_and(|at| now.duration_since(at) < deadline);
    release.outcome = match () {
        () if !release.never.is_empty() && is_young => Outcome::NotYet,
        () if !release.never.is_empty() || !release.late.is_empty() => Outcome::HalfRolled,
        () if !release.untold.is_empty() => Outcome::CannotTell,
        () => Outcome::Whole,
    };
    if release.outcome == Outcome::HalfRolled && release.never.is_empty() {
        release.half_rolled_secs = release.late.iter().map(|late| late.secs).max();
    }
    release
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Doubt, DoubtKind};

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn at(text: &str) -> Moment {
        Moment::At(format!("2026-11-20T{text}Z").parse().unwrap())
    }

    fn judged(moments: [(&str, Moment); 3]) -> Release {
        let moments = moments.map(|(name, moment)| (name.parse().unwrap(), moment));
        let limits = (NOW.parse().unwrap(), SignedDuration::from_mins(45));
        judge("v1", &"app".parse().unwrap(), &BTreeMap::from(moments), limits)
    }

    #[test]
    fn the_worst_sibling_says_for_how_long() {
        let release =
            judged([("app", at("10:00:00")), ("worker", at("10:12:00")), ("embeddings", at("09:00:00"))]);
        assert_eq!((release.outcome, release.half_rolled_secs), (Outcome::HalfRolled, Some(720)));
        assert_eq!(release.late, [Late { image: "worker".into(), secs: 720 }]);
        let release = judged([
            ("app", at("10:00:00")),
            ("worker", at("10:12:00")),
            ("embeddings", Moment::Never("missing".into())),
        ]);
        assert_eq!(
            (release.outcome, release.half_rolled_secs),
            (Outcome::HalfRolled, None),
            "until it is mended"
        );
    }

    #[test]
    fn what_cannot_be_told_is_never_whole() {
        for doubt in [Moment::Unknown("401".into()), Moment::Untold("1970".into()), at("10:00:00")] {
            let release =
                judged([("app", at("10:00:00")), ("worker", doubt), ("embeddings", at("09:00:00"))]);
            assert_eq!((release.outcome, release.untold.len()), (Outcome::CannotTell, 1), "{release:?}");
        }
        let release = judged([
            ("app", Moment::Untold("1970".into())),
            ("worker", at("10:00:00")),
            ("embeddings", at("09:00:00")),
        ]);
        assert_eq!(release.outcome, Outcome::CannotTell);
    }

    #[test]
    fn a_young_release_may_still_become_whole() {
        let now = at("00:00:00");
        let Moment::At(_) = now else { unreachable!() };
        let young = Moment::At("2026-11-21T11:30:00Z".parse().unwrap());
        let missing = Moment::Never("missing".into());
        let release = judged([("app", young), ("worker", missing), ("embeddings", at("09:00:00"))]);
        assert_eq!(release.outcome, Outcome::NotYet);
    }

    #[test]
    fn an_image_is_as_late_as_its_last_required_platform() {
        let (amd64, arm64): (Platform, Platform) =
            ("linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap());
        let time = |text: &str| Sighting::Present(Some(text.parse().unwrap()));
        let (early, late) = ("2026-11-20T10:00:00Z", "2026-11-20T10:09:00Z");
        let platforms = BTreeMap::from([(amd64.clone(), time(early)), (arm64.clone(), time(late))]);
        let seen = Sighting::Present(Built { platforms });
        let both = [amd64.clone(), arm64.clone()];
        assert_eq!(moment(&seen, &both), Moment::At(late.parse().unwrap()));
        assert_eq!(moment(&seen, &both[..1]), Moment::At(early.parse().unwrap()));
        let built = |child| Sighting::Present(Built { platforms: BTreeMap::from([(amd64.clone(), child)]) });
        assert!(
            matches!(moment(&built(time(early)), &both), Moment::Never(why) if why == "linux/arm64 missing")
        );
        for reproducible in ["1970-01-01T00:00:00Z", "1980-01-01T00:00:00Z"] {
            assert!(matches!(moment(&built(time(reproducible)), &both[..1]), Moment::Untold(_)));
        }
        assert!(matches!(moment(&built(Sighting::Present(None)), &both[..1]), Moment::Untold(_)));
        let doubt = Sighting::Unknown(Doubt::new(DoubtKind::Auth, "401"));
        assert_eq!(moment(&built(doubt), &both[..1]), Moment::Unknown("401".into()));
        assert_eq!(moment(&Sighting::Missing, &both), Moment::Never("missing".into()));
    }
}
