//! What was seen in registries so far, and how a new answer changes it.
//!
//! Lives in the process, not in status: after a restart everything is looked at again. Loss of evidence never
//! clears what was Present (S6): Unknown blocks and keeps, only an answer that says otherwise replaces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::decision::{Answer, Checked};
use crate::engine::order::{NotOrdered, Rank, Source};
use crate::engine::policy::Policy;
use crate::engine::record::Record;
use crate::engine::tags;
use crate::model::{
    Defect, DefectKind, Digest, Doubt, DoubtKind, ImageEvidence, ImageName, Platform, Promoted, ReleaseImage,
    Sighted, Sighting, Tag, TagList,
};

/// Most candidate tags above the floor that are remembered, newest first. Of them at most
/// `maxFollowed` ≤ 20 are followed; six times that leaves room for a burst of pushes between two polls, and
/// keeps a set under 20 kB (goal G4).
pub const KNOWN_TAGS_MAX: usize = 128;

/// Most tags of which looks are kept where candidates are named and no list prunes them: the five names, the
/// promoted tag and a pin, and as many again between two prunes.
const NAMED_LOOKS_MAX: usize = 16;

/// What was seen in registries, for one set and one generation of its spec.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Everything asked before this instant is due again (`reconcile.fluxcd.io/requestedAt`, webhooks).
    pub hinted_at: Option<Timestamp>,
    /// When the newest answer came: later than now where the clock was set back since.
    pub(in crate::engine) newest: Option<Timestamp>,
    pub(in crate::engine) lists: BTreeMap<ImageName, ListMemory>,
    pub(in crate::engine) tags: BTreeMap<Rank, Listing>,
    pub(in crate::engine) images: BTreeMap<(Tag, ImageName), ImageMemory>,
    pub(in crate::engine) gone: BTreeMap<Tag, Listing>,
    pub(in crate::engine) confirmation: Option<Confirmation>,
    pub(in crate::engine) drift: Option<DriftMemory>,
}

/// When something was looked at last.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Asked {
    /// When the answer was asked for, by this set or by one that it shares with: what it says was so then.
    pub at: Timestamp,
    /// When the answer came in.
    pub answered_at: Timestamp,
}

/// The last answer of one image's tag list.
#[derive(Clone, Debug)]
pub(in crate::engine) struct ListMemory {
    pub asked: Asked,
    pub doubt: Option<Doubt>,
    pub counts: ListCounts,
}

/// How much the last list that could be read gave.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct ListCounts {
    pub tags: usize,
    pub matched: usize,
    pub not_numbers: usize,
    pub not_versions: usize,
    pub out_of_range: usize,
}

/// Which images list a shared tag, one bit per image in the order of the spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Listing {
    /// In any list so far: a shrinking list removes nothing.
    pub ever: u32,
    /// In the newest list.
    pub now: u32,
}

/// What was seen of one image of one candidate.
#[derive(Clone, Debug)]
pub(in crate::engine) struct ImageMemory {
    /// When the newest look was made.
    pub asked: Asked,
    /// What it said.
    pub sighting: Sighting<ImageEvidence>,
    /// The newest evidence, with when its children were seen last; kept through Unknown.
    pub kept: Option<(ImageEvidence, Timestamp)>,
    /// Since when every look said Missing, without a break.
    pub missing_since: Option<Timestamp>,
    /// When an answer last differed from the one before.
    pub progressed_at: Timestamp,
    /// When the digest changed to something that is no mere extension.
    pub changed_at: Option<Timestamp>,
    /// A HEAD said that the tag points elsewhere now: look again at once.
    pub stale: bool,
}

/// A confirming look in which every answer was 200 with the digest that was judged.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Confirmation {
    pub tag: Tag,
    pub started_at: Timestamp,
    pub digests: BTreeMap<ImageName, Digest>,
}

/// What the promoted tags pointed at when they were last asked.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DriftMemory {
    /// Of the oldest head.
    pub asked: Asked,
    pub sequence: i64,
    pub heads: BTreeMap<ImageName, Sighted<Digest>>,
}

// === impl Memory ===

impl Memory {
    /// Takes in an answer that came at `now`. `record` is the status of the same moment. An answer that was asked
    /// for before what is known already changes nothing: knowledge never goes back in time.
    pub fn absorb(&mut self, policy: &Policy, record: &Record, answer: Answer, now: Timestamp) {
        if self.newest.is_some_and(|newest| newest > now) {
            self.keep_to_the_past(now);
        }
        self.newest = Some(now);
        // An answer of the future is one of a clock that was set back.
        let asked = |at: Timestamp| Asked { at: at.min(now), answered_at: now };
        match answer {
            Answer::List { image, sighted } => {
                let asked = asked(sighted.asked_at);
                if self.lists.get(&image).is_none_or(|known| known.asked.at <= asked.at) {
                    self.absorb_list(policy, record, image, sighted.sighting, asked);
                }
            }
            Answer::Look { tag, image, sighted } => {
                let asked = asked(sighted.asked_at);
                if self.image(&tag, &image).is_none_or(|known| known.asked.at <= asked.at) {
                    self.absorb_look(record, tag, image, sighted.sighting, asked);
                    let looks_max = NAMED_LOOKS_MAX * policy.images.len();
                    if policy.candidates.source == Source::Named && self.images.len() > looks_max {
                        self.prune(policy, record);
                    }
                }
            }
            Answer::Confirm { tag, started_at, checked } => {
                self.absorb_confirm(&tag, started_at, checked, asked(started_at));
            }
            Answer::Drift { heads } => {
                let sequence = record.promoted.as_ref().map_or(0, |promoted| promoted.sequence);
                let oldest = heads.values().map(|head| head.asked_at).min().unwrap_or(now);
                let known = self.drift.as_ref().filter(|known| known.sequence == sequence);
                if known.is_none_or(|known| known.asked.at <= oldest) {
                    self.drift = Some(DriftMemory { asked: asked(oldest), sequence, heads });
                }
            }
        }
    }

    /// The clock was set back: nothing that is known was learned later than now. Left alone, all of it would be newer than
    /// every answer until the clock is there again, and no answer would change anything.
    fn keep_to_the_past(&mut self, now: Timestamp) {
        let past = |at: &mut Timestamp| *at = (*at).min(now);
        let asked = |asked: &mut Asked| {
            past(&mut asked.at);
            past(&mut asked.answered_at);
        };
        self.hinted_at.iter_mut().for_each(past);
        self.lists.values_mut().for_each(|list| asked(&mut list.asked));
        for image in self.images.values_mut() {
            asked(&mut image.asked);
            past(&mut image.progressed_at);
            image.missing_since.iter_mut().chain(&mut image.changed_at).for_each(past);
            // How long ago that was cannot be told: too long.
            let seen_at = image.kept.as_mut().map(|(_, seen_at)| seen_at);
            seen_at.into_iter().filter(|at| **at > now).for_each(|at| *at = Timestamp::MIN);
        }
        if let Some(drift) = &mut self.drift {
            asked(&mut drift.asked);
            drift.heads.values_mut().for_each(|head| past(&mut head.asked_at));
        }
        self.confirmation = None;
    }

    /// After a commit: its confirming look is what is known of the promoted tags.
    pub fn note_commit(&mut self, promoted: &Promoted, at: Timestamp) {
        let images = promoted.release.images.iter();
        let heads = images.map(|image| {
            let sighting = Sighting::Present(image.digest.clone());
            (image.name.clone(), Sighted { asked_at: at, sighting })
        });
        let asked = Asked { at, answered_at: at };
        self.drift = Some(DriftMemory { asked, sequence: promoted.sequence, heads: heads.collect() });
    }

    /// What was seen of one image of one candidate.
    pub(in crate::engine) fn image(&self, tag: &Tag, image: &ImageName) -> Option<&ImageMemory> {
        self.images.get(&(tag.clone(), image.clone()))
    }

    /// Forgets what nobody will ask for again, so that a set's memory has a limit: candidates that left the
    /// lists' newest, and everything at or below the floor but the promoted release.
    fn prune(&mut self, policy: &Policy, record: &Record) {
        let floor = tags::floor_rank(policy, record);
        self.tags.retain(|rank, _| floor.as_ref().is_none_or(|floor| rank > floor));
        while self.tags.len() > KNOWN_TAGS_MAX {
            self.tags.pop_first();
        }
        let mut wanted: BTreeSet<&Tag> = self.tags.keys().map(Rank::tag).collect();
        wanted.extend(record.candidates.iter().map(|candidate| &candidate.tag));
        wanted.extend(record.promoted.iter().map(|promoted| &promoted.release.tag));
        wanted.extend(&record.named);
        wanted.extend(&policy.pin);
        self.images.retain(|(tag, _), _| wanted.contains(tag));
    }

    fn absorb_list(
        &mut self,
        policy: &Policy,
        record: &Record,
        image: ImageName,
        sighting: Sighting<Arc<TagList>>,
        asked: Asked,
    ) {
        let previous = self.lists.get(&image).map(|list| list.counts).unwrap_or_default();
        let (doubt, counts) = match sighting {
            Sighting::Present(list) => {
                (list.incomplete.clone(), self.absorb_tags(policy, record, &image, &list))
            }
            // A repository that does not exist yet lists nothing, which is known.
            Sighting::Missing => (None, ListCounts::default()),
            Sighting::Broken(defect) => (Some(Doubt::new(DoubtKind::Protocol, defect.message)), previous),
            Sighting::Unknown(doubt) => (Some(doubt), previous),
        };
        self.lists.insert(image, ListMemory { asked, doubt, counts });
    }

    fn absorb_tags(
        &mut self,
        policy: &Policy,
        record: &Record,
        image: &ImageName,
        list: &TagList,
    ) -> ListCounts {
        let Some(place) = policy.images.iter().position(|known| &known.name == image) else {
            return ListCounts::default();
        };
        let bit = 1_u32 << place;
        let mut counts = ListCounts { tags: list.len(), ..ListCounts::default() };
        let floor = tags::floor_rank(policy, record);
        // What half a list does not name may stand in the other half.
        let whole = list.incomplete.is_none();
        if whole {
            self.tags.values_mut().for_each(|listing| listing.now &= !bit);
        }
        let mut listed_again = BTreeSet::new();
        for raw in list.iter() {
            match tags::shared_tag(policy, place, raw) {
                Ok(rank) => {
                    counts.matched += 1;
                    if self.gone.contains_key(rank.tag()) {
                        listed_again.insert(rank);
                    } else if floor.as_ref().is_none_or(|floor| rank > *floor) {
                        self.note_listed(rank, bit);
                    }
                }
                Err(NotOrdered::NotANumber) => counts.not_numbers += 1,
                Err(NotOrdered::NotAVersion) => counts.not_versions += 1,
                Err(NotOrdered::OutOfRange) => counts.out_of_range += 1,
                Err(NotOrdered::Filtered | NotOrdered::Untold) => {}
            }
        }
        self.welcome_back(&listed_again, bit, whole);
        self.prune(policy, record);
        counts
    }

    fn note_listed(&mut self, rank: Rank, bit: u32) {
        let listing = self.tags.entry(rank).or_default();
        listing.ever |= bit;
        listing.now |= bit;
    }

    /// A tag that was called gone is a candidate again once a list has it that had lost it: a list that
    /// never stopped naming it says nothing new.
    fn welcome_back(&mut self, listed: &BTreeSet<Rank>, bit: u32, whole: bool) {
        let tags: BTreeSet<&Tag> = listed.iter().map(Rank::tag).collect();
        let lost = self.gone.iter_mut().filter(|(tag, _)| whole && !tags.contains(tag));
        lost.for_each(|(_, gone)| gone.now &= !bit);
        for rank in listed {
            if self.gone.get(rank.tag()).is_some_and(|gone| gone.now & bit == 0) {
                self.gone.remove(rank.tag());
                self.note_listed(rank.clone(), bit);
            }
        }
    }

    /// Called once for a candidate that is Gone: it is not followed again until it is pushed again.
    pub fn forget_gone(&mut self, tag: &Tag) {
        let listing = self.tags.iter().find(|(rank, _)| rank.tag() == tag).map(|(_, listing)| *listing);
        self.tags.retain(|rank, _| rank.tag() != tag);
        self.images.retain(|(known, _), _| known != tag);
        self.gone.insert(tag.clone(), listing.unwrap_or_default());
        while self.gone.len() > KNOWN_TAGS_MAX {
            self.gone.pop_first();
        }
    }

    fn absorb_look(
        &mut self,
        record: &Record,
        tag: Tag,
        image: ImageName,
        sighting: Sighting<ImageEvidence>,
        asked: Asked,
    ) {
        let at = asked.at;
        // The status remembers digests across a restart; of a candidate its children are unknown, so that any
        // other digest counts as a change.
        let known = record.candidates.iter().find(|candidate| candidate.tag == tag);
        let differs_from_record = |new: &ImageEvidence| {
            known.and_then(|known| known.digests.get(&image)).is_some_and(|digest| *digest != new.digest)
                || committed(record, &tag, &image).is_some_and(|known| is_another(new, known))
        };
        let old = self.images.remove(&(tag.clone(), image.clone()));
        let changed = match (&sighting, old.as_ref().and_then(|old| old.kept.as_ref())) {
            (Sighting::Present(new), Some((kept, _))) => kept.digest != new.digest && !new.extends(kept),
            (Sighting::Present(new), None) => differs_from_record(new),
            _ => false,
        };
        // The first look of a process is no progress of a candidate that status knows already: the pace goes
        // on where it was.
        let progressed_at = match &old {
            Some(old) if old.sighting == sighting => old.progressed_at,
            None => known.map_or(at, |known| known.blocked_since.unwrap_or(known.first_seen)),
            Some(_) => at,
        };
        let missing = matches!(sighting, Sighting::Missing);
        let (kept, missing_since, changed_at) =
            old.map_or((None, None, None), |old| (old.kept, old.missing_since, old.changed_at));
        let memory = ImageMemory {
            asked,
            kept: match &sighting {
                Sighting::Present(evidence) => Some((evidence.clone(), at)),
                _ => kept,
            },
            sighting,
            missing_since: if missing { missing_since.or(Some(at)) } else { None },
            progressed_at,
            changed_at: if changed { Some(at) } else { changed_at },
            stale: false,
        };
        self.images.insert((tag, image), memory);
    }

    fn absorb_confirm(&mut self, tag: &Tag, started_at: Timestamp, checked: Vec<Checked>, asked: Asked) {
        let mut digests = BTreeMap::new();
        let mut sound = true;
        for checked in checked {
            let Some(memory) = self.images.get_mut(&(tag.clone(), checked.image.clone())) else {
                sound = false;
                continue;
            };
            let image = checked.image.clone();
            match memory.confirm(checked, asked) {
                Some(digest) => {
                    digests.insert(image, digest);
                }
                None => sound = false,
            }
        }
        self.confirmation = sound.then(|| Confirmation { tag: tag.clone(), started_at, digests });
    }
}

/// The image as it was committed, when `tag` is the promoted one.
fn committed<'a>(record: &'a Record, tag: &Tag, image: &ImageName) -> Option<&'a ReleaseImage> {
    let promoted = record.promoted.as_ref().filter(|promoted| promoted.release.tag == *tag)?;
    promoted.release.images.iter().find(|known| known.name == *image)
}

/// True when a child that was committed is not there unchanged.
fn is_another(new: &ImageEvidence, known: &ReleaseImage) -> bool {
    let is_same = |(platform, digest): &(Platform, Digest)| new.cell(platform).present() == Some(digest);
    new.digest != known.digest && !known.platforms.iter().all(is_same)
}

// === impl ImageMemory ===

impl ImageMemory {
    /// The digest, when the tag still points at it and all that was asked for is still there. Everything else
    /// takes Present back: a new digest is looked at again at once, the rest is what it is.
    fn confirm(&mut self, checked: Checked, asked: Asked) -> Option<Digest> {
        let Sighting::Present(evidence) = &self.sighting else { return None };
        let expected = evidence.digest.clone();
        let all_asked = !checked.children.is_empty() || !checked.blobs.is_empty();
        let lost = match checked.tag {
            Sighting::Present(digest) if digest == expected => {
                lost(evidence, checked.children, checked.blobs)
            }
            Sighting::Present(_) => {
                self.stale = true;
                let why = "its tag points at another digest since a moment ago";
                Some(Sighting::Unknown(Doubt::new(DoubtKind::Transient, why)))
            }
            Sighting::Missing => Some(Sighting::Missing),
            Sighting::Broken(defect) => Some(Sighting::Broken(defect)),
            Sighting::Unknown(doubt) => Some(Sighting::Unknown(doubt)),
        };
        match lost {
            None => {
                if let (true, Some((_, seen_at))) = (all_asked, &mut self.kept) {
                    *seen_at = asked.at;
                }
                Some(expected)
            }
            Some(sighting) => {
                self.missing_since = matches!(sighting, Sighting::Missing).then_some(asked.at);
                self.sighting = sighting;
                self.asked = asked;
                self.progressed_at = asked.at;
                None
            }
        }
    }
}

/// What is left of `evidence` when something that it needs is not there any more; `None` when all is. A child
/// that is gone, or lost a blob, is Broken alone; what could not be told makes the whole image Unknown.
fn lost(
    evidence: &ImageEvidence,
    children: Vec<(Platform, Digest, Sighting<()>)>,
    blobs: Vec<(Platform, Digest, Sighting<()>)>,
) -> Option<Sighting<ImageEvidence>> {
    let mut left = evidence.clone();
    let mut unknown = None;
    let children = children.into_iter().map(|(platform, digest, sighting)| match sighting {
        Sighting::Missing => {
            let message = format!("the index names {digest} for {platform}, which is gone");
            (platform, Sighting::Broken(Defect { kind: DefectKind::DanglingChild(digest), message }))
        }
        other => (platform, other),
    });
    let blobs = blobs.into_iter().map(|(platform, digest, sighting)| match sighting {
        // The child itself is gone: its blobs cannot be told.
        Sighting::Missing => {
            let message = format!("{digest}, the image for {platform}, is gone");
            (platform, Sighting::Broken(Defect { kind: DefectKind::DanglingChild(digest), message }))
        }
        other => (platform, other),
    });
    for (platform, sighting) in children.chain(blobs) {
        match sighting {
            Sighting::Broken(defect) => {
                left.children.insert(platform, Sighting::Broken(defect));
            }
            Sighting::Unknown(doubt) => unknown = unknown.or(Some(doubt)),
            Sighting::Present(()) | Sighting::Missing => {}
        }
    }
    match unknown {
        Some(doubt) => Some(Sighting::Unknown(doubt)),
        None if left == *evidence => None,
        None => Some(Sighting::Present(left)),
    }
}
